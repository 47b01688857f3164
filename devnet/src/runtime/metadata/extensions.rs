//! The extrinsic's shape: signed extensions in their order, and the types they carry.

use std::sync::OnceLock;

use scale_info::build::{Fields, Variants};
use scale_info::{MetaType, Path, Type, TypeInfo, TypeParameter, meta_type};

use super::{BlockHash, Nonce};
use crate::runtime::call::RuntimeCall;
use crate::runtime::primitives::{MultiAddress, MultiSignature};

/// Mortality: variant 0 is immortal; each other variant carries the second byte.
pub struct Era;

/// Names `Mortal1`…`Mortal255`, made once.
fn mortal_names() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| (1..=255).map(|index| format!("Mortal{index}")).collect())
}

impl TypeInfo for Era {
    type Identity = Self;
    fn type_info() -> Type {
        let mut variants = Variants::new().variant("Immortal", |v| v.index(0));
        for (index, name) in (1..=255_u8).zip(mortal_names()) {
            variants = variants.variant(name.as_str(), |v| {
                v.index(index).fields(Fields::unnamed().field(|f| f.ty::<u8>()))
            });
        }
        Type::builder()
            .path(Path::from_segments(["sp_runtime", "generic", "era", "Era"]).expect("constant path"))
            .variant(variants)
    }
}

macro_rules! empty_extensions {
    ($($name:ident),*) => { $(
        /// An extension that adds nothing to the extrinsic.
        #[derive(TypeInfo)]
        pub struct $name;
    )* };
}

empty_extensions!(
    CheckNonZeroSender,
    CheckSpecVersion,
    CheckTxVersion,
    CheckGenesis,
    CheckWeight
);

/// Adds the era.
#[derive(TypeInfo)]
#[allow(dead_code)]
pub struct CheckMortality(Era);

/// Adds the nonce.
#[derive(TypeInfo)]
#[allow(dead_code)]
pub struct CheckNonce(Nonce);

/// Adds the tip.
#[derive(TypeInfo)]
#[allow(dead_code)]
pub struct ChargeTransactionPayment(#[codec(compact)] u128);

/// All extensions.
pub type Extra = (
    CheckNonZeroSender,
    CheckSpecVersion,
    CheckTxVersion,
    CheckGenesis,
    CheckMortality,
    CheckNonce,
    CheckWeight,
    ChargeTransactionPayment,
);

/// Identifier, what is in the extrinsic, what is signed besides.
pub fn all() -> Vec<(&'static str, MetaType, MetaType)> {
    let unit = meta_type::<()>();
    vec![
        ("CheckNonZeroSender", meta_type::<CheckNonZeroSender>(), unit),
        (
            "CheckSpecVersion",
            meta_type::<CheckSpecVersion>(),
            meta_type::<u32>(),
        ),
        (
            "CheckTxVersion",
            meta_type::<CheckTxVersion>(),
            meta_type::<u32>(),
        ),
        (
            "CheckGenesis",
            meta_type::<CheckGenesis>(),
            meta_type::<BlockHash>(),
        ),
        (
            "CheckMortality",
            meta_type::<CheckMortality>(),
            meta_type::<BlockHash>(),
        ),
        ("CheckNonce", meta_type::<CheckNonce>(), unit),
        ("CheckWeight", meta_type::<CheckWeight>(), unit),
        (
            "ChargeTransactionPayment",
            meta_type::<ChargeTransactionPayment>(),
            unit,
        ),
    ]
}

/// An extrinsic: opaque bytes whose parts are told by type parameters.
pub struct UncheckedExtrinsic;

impl TypeInfo for UncheckedExtrinsic {
    type Identity = Self;
    fn type_info() -> Type {
        Type::builder()
            .path(
                Path::from_segments([
                    "sp_runtime",
                    "generic",
                    "unchecked_extrinsic",
                    "UncheckedExtrinsic",
                ])
                .expect("constant path"),
            )
            .type_params(vec![
                TypeParameter::new("Address", Some(meta_type::<MultiAddress>())),
                TypeParameter::new("Call", Some(meta_type::<RuntimeCall>())),
                TypeParameter::new("Signature", Some(meta_type::<MultiSignature>())),
                TypeParameter::new("Extra", Some(meta_type::<Extra>())),
            ])
            .composite(Fields::unnamed().field(|f| f.ty::<Vec<u8>>()))
    }
}
