//! The runtime APIs that `state_call` answers.

use frame_metadata::v15::{RuntimeApiMetadata, RuntimeApiMethodMetadata, RuntimeApiMethodParamMetadata};
use scale_info::{MetaType, TypeInfo, meta_type};

use super::{Account, RuntimeDispatchInfo, UncheckedExtrinsic};
use crate::runtime::version::RuntimeVersion;

/// Metadata as opaque bytes.
#[derive(TypeInfo)]
#[allow(dead_code)]
pub struct OpaqueMetadata(Vec<u8>);

fn method(
    name: &'static str,
    inputs: Vec<(&'static str, MetaType)>,
    output: MetaType,
) -> RuntimeApiMethodMetadata {
    let inputs = inputs
        .into_iter()
        .map(|(name, ty)| RuntimeApiMethodParamMetadata { name, ty })
        .collect();
    RuntimeApiMethodMetadata {
        name,
        inputs,
        output,
        docs: vec![],
    }
}

fn api(name: &'static str, methods: Vec<RuntimeApiMethodMetadata>) -> RuntimeApiMetadata {
    RuntimeApiMetadata {
        name,
        methods,
        docs: vec![],
    }
}

/// All of them.
pub fn all() -> Vec<RuntimeApiMetadata> {
    vec![
        api(
            "Core",
            vec![method("version", vec![], meta_type::<RuntimeVersion>())],
        ),
        api(
            "Metadata",
            vec![
                method("metadata", vec![], meta_type::<OpaqueMetadata>()),
                method(
                    "metadata_at_version",
                    vec![("version", meta_type::<u32>())],
                    meta_type::<Option<OpaqueMetadata>>(),
                ),
                method("metadata_versions", vec![], meta_type::<Vec<u32>>()),
            ],
        ),
        api(
            "AccountNonceApi",
            vec![method(
                "account_nonce",
                vec![("account", meta_type::<Account>())],
                meta_type::<u32>(),
            )],
        ),
        api(
            "TransactionPaymentApi",
            vec![method(
                "query_info",
                vec![
                    ("uxt", meta_type::<UncheckedExtrinsic>()),
                    ("len", meta_type::<u32>()),
                ],
                meta_type::<RuntimeDispatchInfo>(),
            )],
        ),
    ]
}
