//! Which runtime this is.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The runtime whose calls, types and storage are offered.
pub const SPEC_VERSION: u32 = 137;
/// Version of the extrinsic's shape.
pub const TRANSACTION_VERSION: u32 = 1;
/// `specName` and `implName`.
pub const SPEC_NAME: &str = "cess-node";

/// `sp_version::RuntimeVersion`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(missing_docs)]
pub struct RuntimeVersion {
    pub spec_name: String,
    pub impl_name: String,
    pub authoring_version: u32,
    pub spec_version: u32,
    pub impl_version: u32,
    pub apis: Vec<([u8; 8], u32)>,
    pub transaction_version: u32,
    pub system_version: u8,
}

/// The version, with the ids of the runtime APIs that `state_call` answers.
pub fn version() -> RuntimeVersion {
    RuntimeVersion {
        spec_name: SPEC_NAME.into(),
        impl_name: SPEC_NAME.into(),
        authoring_version: 1,
        spec_version: SPEC_VERSION,
        impl_version: 1,
        apis: [
            ("df6acb689907609b", 5), // Core
            ("37e397fc7c91f5e4", 2), // Metadata
            ("d2bc9897eed08f15", 3), // TaggedTransactionQueue
            ("bc9d89904f5b923f", 1), // AccountNonceApi
            ("37c8bb1350a9a2a8", 4), // TransactionPaymentApi
        ]
        .into_iter()
        .map(|(id, version)| {
            let mut bytes = [0; 8];
            hex::decode_to_slice(id, &mut bytes).expect("constant hex");
            (bytes, version)
        })
        .collect(),
        transaction_version: TRANSACTION_VERSION,
        system_version: 1,
    }
}

/// The version as JSON-RPC shows it.
pub fn version_json() -> serde_json::Value {
    let version = version();
    let apis: Vec<_> = version
        .apis
        .iter()
        .map(|(id, version)| serde_json::json!([format!("0x{}", hex::encode(id)), version]))
        .collect();
    serde_json::json!({
        "specName": version.spec_name,
        "implName": version.impl_name,
        "authoringVersion": version.authoring_version,
        "specVersion": version.spec_version,
        "implVersion": version.impl_version,
        "apis": apis,
        "transactionVersion": version.transaction_version,
        "systemVersion": version.system_version,
        "stateVersion": version.system_version,
    })
}
