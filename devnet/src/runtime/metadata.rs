//! The metadata that clients resolve names with, versions 14 and 15, built from the very Rust
//! types that the pallets decode and encode.
//!
//! The type registry first holds the paths of this crate; [`paths`] renames them to those of the
//! real runtime, which clients look up (`sp_runtime::DispatchError` above all).

use std::sync::OnceLock;

use frame_metadata::{RuntimeMetadataPrefixed, v14, v15};
use parity_scale_codec::{Compact, Encode};
use scale_info::{TypeInfo, meta_type};

use super::call::{RuntimeCall, RuntimeError, RuntimeEvent};
use super::primitives::{AccountId32, DispatchClass, H256, MultiAddress, MultiSignature, Weight};

mod apis;
mod extensions;
mod pallets;
mod paths;

use extensions::{Extra, UncheckedExtrinsic};

/// The runtime, as a type.
#[derive(TypeInfo)]
pub struct Runtime;

/// Versions that can be asked for.
pub const VERSIONS: [u32; 2] = [14, 15];

/// Metadata of `version`, prefixed, or `None` where it is not offered.
pub fn encoded(version: u32) -> Option<&'static [u8]> {
    static V14: OnceLock<Vec<u8>> = OnceLock::new();
    static V15: OnceLock<Vec<u8>> = OnceLock::new();
    match version {
        14 => Some(V14.get_or_init(|| RuntimeMetadataPrefixed::from(v14()).encode())),
        15 => Some(V15.get_or_init(|| RuntimeMetadataPrefixed::from(v15()).encode())),
        _ => None,
    }
}

/// Version 15.
pub fn v15() -> v15::RuntimeMetadataV15 {
    let extrinsic = v15::ExtrinsicMetadata {
        version: 4,
        address_ty: meta_type::<MultiAddress>(),
        call_ty: meta_type::<RuntimeCall>(),
        signature_ty: meta_type::<MultiSignature>(),
        extra_ty: meta_type::<Extra>(),
        signed_extensions: extensions::all()
            .into_iter()
            .map(
                |(identifier, ty, additional_signed)| v15::SignedExtensionMetadata {
                    identifier,
                    ty,
                    additional_signed,
                },
            )
            .collect(),
    };
    let outer = v15::OuterEnums {
        call_enum_ty: meta_type::<RuntimeCall>(),
        event_enum_ty: meta_type::<RuntimeEvent>(),
        error_enum_ty: meta_type::<RuntimeError>(),
    };
    let custom = v15::CustomMetadata {
        map: std::collections::BTreeMap::default(),
    };
    let runtime = meta_type::<Runtime>();
    let mut metadata =
        v15::RuntimeMetadataV15::new(pallets::all(), extrinsic, runtime, apis::all(), outer, custom);
    paths::rename(&mut metadata.types);
    metadata
}

/// Version 14: the same pallets, without APIs and outer enums.
pub fn v14() -> v14::RuntimeMetadataV14 {
    let extrinsic = v14::ExtrinsicMetadata {
        ty: meta_type::<UncheckedExtrinsic>(),
        version: 4,
        signed_extensions: extensions::all()
            .into_iter()
            .map(
                |(identifier, ty, additional_signed)| v14::SignedExtensionMetadata {
                    identifier,
                    ty,
                    additional_signed,
                },
            )
            .collect(),
    };
    let pallets = pallets::all()
        .into_iter()
        .map(|pallet| v14::PalletMetadata {
            name: pallet.name,
            storage: pallet.storage,
            calls: pallet.calls,
            event: pallet.event,
            constants: pallet.constants,
            error: pallet.error,
            index: pallet.index,
        })
        .collect();
    let mut metadata = v14::RuntimeMetadataV14::new(pallets, extrinsic, meta_type::<Runtime>());
    paths::rename(&mut metadata.types);
    metadata
}

/// What a dispatch weighs and costs, as `TransactionPaymentApi.query_info` answers.
#[derive(Clone, Debug, Encode, TypeInfo)]
#[allow(missing_docs)]
pub struct RuntimeDispatchInfo {
    pub weight: Weight,
    pub class: DispatchClass,
    pub partial_fee: u128,
}

/// An account's next nonce, its key and a hash: the parameters of runtime APIs are these.
type Nonce = Compact<u32>;
type Account = AccountId32;
type BlockHash = H256;
