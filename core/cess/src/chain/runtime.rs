//! One runtime version of the chain: its metadata, and signing under it.

use std::sync::Arc;

use parity_scale_codec::Decode;
use subxt::Metadata;
use subxt::client::{OfflineClient, OfflineClientAtBlock};
use subxt::config::DefaultExtrinsicParamsBuilder;
use subxt::config::substrate::{SpecVersionForRange, SubstrateConfig};
use subxt::utils::{AccountId32, H256, MultiSignature};
use subxt_signer::sr25519::Keypair;

use super::calls::Call;
use super::requirements;
use crate::{AccountId, Error, Result};

/// For how many blocks a signed extrinsic can be included. After that it is certain that it never
/// will be, so that nothing is done twice.
pub const MORTALITY: u64 = 64;

/// What a node says about the runtime of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `specName`.
    pub spec_name: String,
    /// `specVersion`.
    pub spec_version: u32,
    /// `transactionVersion`.
    pub transaction_version: u32,
}

impl Version {
    /// Reads the answer of the runtime call `Core_version`.
    pub fn decode(mut bytes: &[u8]) -> Result<Self> {
        #[derive(Decode)]
        struct CoreVersion {
            spec_name: String,
            _impl_name: String,
            _authoring_version: u32,
            spec_version: u32,
            _impl_version: u32,
            _apis: Vec<([u8; 8], u32)>,
            transaction_version: u32,
        }
        let version = CoreVersion::decode(&mut bytes)
            .map_err(|error| Error::UnsupportedRuntime(format!("Core_version: {error}")))?;
        Ok(Self {
            spec_name: version.spec_name,
            spec_version: version.spec_version,
            transaction_version: version.transaction_version,
        })
    }
}

/// A runtime that has everything this client needs.
#[derive(Clone)]
pub struct Runtime {
    version: Version,
    at: OfflineClientAtBlock<SubstrateConfig>,
}

impl Runtime {
    /// Checks the metadata; an error says what is missing.
    pub fn new(version: Version, genesis: H256, metadata: Metadata) -> Result<Self> {
        requirements::check(&metadata)?;
        let config = SubstrateConfig::builder()
            .set_genesis_hash(genesis)
            .set_metadata_for_spec_versions([(version.spec_version, Arc::new(metadata))])
            .set_spec_version_for_block_ranges([SpecVersionForRange {
                block_range: 0..u64::MAX,
                spec_version: version.spec_version,
                transaction_version: version.transaction_version,
            }])
            .build();
        let at = OfflineClient::new_with_config(config)
            .at_block(0_u64)
            .map_err(|error| Error::UnsupportedRuntime(error.to_string()))?;
        Ok(Self { version, at })
    }

    /// What the node called it.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The metadata.
    pub fn metadata(&self) -> &Metadata {
        self.at.metadata_ref()
    }

    /// Events of a block, undecoded.
    pub(super) fn events(&self, bytes: Vec<u8>) -> subxt::events::Events<SubstrateConfig> {
        self.at.events().from_bytes(bytes)
    }

    /// The bytes of a signed extrinsic that can be included during the [`MORTALITY`] blocks from
    /// block `birth` (number and hash) on.
    pub fn sign(&self, call: &Call, key: &Keypair, nonce: u64, birth: (u64, H256)) -> Result<Vec<u8>> {
        let unsupported = |error: subxt::error::ExtrinsicError| {
            Error::UnsupportedRuntime(format!("signing {}: {error}", call.name()))
        };
        let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
            .nonce(nonce)
            .mortal_from_unchecked(MORTALITY, birth.0, birth.1)
            .build();
        let mut signable = self
            .at
            .transactions()
            .create_v4_signable_offline(call, params)
            .map_err(unsupported)?;
        let payload = signable.signer_payload().map_err(unsupported)?;
        let signature = MultiSignature::Sr25519(key.sign(&payload).0);
        let account = AccountId32::from(AccountId::from(key));
        let signed = signable
            .sign_with_account_and_signature(&account, &signature)
            .map_err(unsupported)?;
        Ok(signed.into_encoded())
    }
}
