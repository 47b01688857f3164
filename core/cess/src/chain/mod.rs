//! The chain client: queries and signed calls, resolved by name in the live metadata.
//!
//! - [`types`]: what goes in and comes out.
//! - [`calls`], [`items`], `shapes`, [`outcome`], [`requirements`], [`runtime`]: encoding and decoding as
//!   pure functions of a runtime's metadata, without a connection.
//! - `rpc`: a connection that moves on to the next endpoint; `submission`: nonces and inclusion.
//! - `queries`, `transactions`: the methods of [`Chain`].
//!
//! # Best block
//! Everything is read at the best block, not at the last finalised one: miners look up deals there,
//! and an account's own declaration has to be seen in the block after it. A best block can be
//! retracted; what depends on a fact for good re-reads it.
//!
//! # Runtime upgrades
//! The metadata is fetched when connecting, again whenever a call finds another version before it is
//! signed, and when a value cannot be decoded. A runtime that lacks a call or a field that is needed is
//! refused with [`Error::UnsupportedRuntime`].

pub mod calls;
pub mod items;
pub mod outcome;
mod queries;
pub mod requirements;
mod rpc;
pub mod runtime;
mod shapes;
mod submission;
mod transactions;
pub mod types;

use std::collections::BTreeMap;
use std::sync::Arc;

use parity_scale_codec::Decode;
use parking_lot::RwLock;
use subxt::Metadata;
use subxt::utils::H256;
use subxt_signer::sr25519::Keypair;
use tracing::info;

use self::rpc::{Failure, Rpc};
use self::runtime::{Runtime, Version};
use self::submission::Turns;
pub use self::types::{
    BeforeSending, ChainConfig, Deal, Declaration, Fate, FileInfo, FragmentInfo, Heads, Included, Miner,
    Territory, TerritoryState, Validity,
};
use crate::miner::endpoint;
use crate::{AccountId, Error, Result};

/// Metadata version asked for; nodes that do not offer it are asked for their oldest.
const METADATA_VERSION: u32 = 15;

/// A connected client. Cheap to clone.
#[derive(Clone)]
pub struct Chain {
    network: Arc<Network>,
    signer: Arc<Keypair>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain")
            .field("account", &self.account())
            .finish_non_exhaustive()
    }
}

/// What all clients of one connection share.
struct Network {
    rpc: Rpc,
    runtime: RwLock<Option<Arc<Runtime>>>,
    turns: Turns,
    miner_endpoints: BTreeMap<AccountId, String>,
}

impl Chain {
    /// Connects to the first endpoint that answers and checks that its metadata has what is needed.
    pub async fn connect(config: ChainConfig) -> Result<Self> {
        let chain = Self::lazy(config)?;
        chain.meet().await?;
        Ok(chain)
    }

    /// A client that connects when it is first asked something. [`Error::Invalid`] for a
    /// configuration that can never work.
    pub fn lazy(config: ChainConfig) -> Result<Self> {
        let mut miner_endpoints = BTreeMap::new();
        for (account, text) in config.miner_endpoints {
            let url = endpoint::normalise(text.as_bytes())
                .ok_or_else(|| Error::Invalid(format!("endpoint of miner {account}: {text}")))?;
            miner_endpoints.insert(account, url);
        }
        let network = Network {
            rpc: Rpc::new(config.endpoints, config.rpc_timeout)?,
            runtime: RwLock::default(),
            turns: Turns::default(),
            miner_endpoints,
        };
        Ok(Self {
            network: Arc::new(network),
            signer: Arc::new(config.signer),
        })
    }

    /// Connects, if need be, and checks that the chain's metadata has what is needed.
    pub async fn meet(&self) -> Result<()> {
        self.network.current_runtime().await.map(drop)
    }

    /// A client of another account over the same connection.
    pub fn with_signer(&self, signer: Keypair) -> Self {
        Self {
            network: Arc::clone(&self.network),
            signer: Arc::new(signer),
        }
    }

    /// The signer's account.
    pub fn account(&self) -> AccountId {
        AccountId::from(&*self.signer)
    }

    /// `specName`, `specVersion` of the runtime met last; empty and 0 before one was met.
    pub fn runtime(&self) -> (String, u32) {
        let runtime = self.network.runtime.read();
        runtime
            .as_ref()
            .map(|runtime| {
                (
                    runtime.version().spec_name.clone(),
                    runtime.version().spec_version,
                )
            })
            .unwrap_or_default()
    }
}

impl Network {
    /// The runtime as it was met last.
    async fn known_runtime(&self) -> Result<Arc<Runtime>> {
        let known = self.runtime.read().clone();
        match known {
            Some(runtime) => Ok(runtime),
            None => self.current_runtime().await,
        }
    }

    /// The runtime of the best block; its metadata is fetched if it is a new one.
    async fn current_runtime(&self) -> Result<Arc<Runtime>> {
        let best = self.best_hash().await?;
        let answer = self.call(best, "Core_version", &[]).await?;
        let version = Version::decode(&answer)?;
        if let Some(runtime) = &*self.runtime.read()
            && *runtime.version() == version
        {
            return Ok(Arc::clone(runtime));
        }
        let metadata = self.metadata(best).await?;
        let genesis = self.rpc.genesis().await?;
        info!(
            spec = version.spec_name,
            version = version.spec_version,
            "met a runtime"
        );
        let runtime = Arc::new(Runtime::new(version, genesis, metadata)?);
        *self.runtime.write() = Some(Arc::clone(&runtime));
        Ok(runtime)
    }

    async fn metadata(&self, at: H256) -> Result<Metadata> {
        let undecodable =
            |error: parity_scale_codec::Error| Error::UnsupportedRuntime(format!("metadata: {error}"));
        let wanted = METADATA_VERSION.to_le_bytes();
        let versioned = self.call(at, "Metadata_metadata_at_version", &wanted).await;
        let opaque = match versioned {
            Ok(answer) => Option::<Vec<u8>>::decode(&mut answer.as_slice()).map_err(undecodable)?,
            Err(Failure::Refused(_)) => None,
            Err(failure) => return Err(failure.into()),
        };
        let bytes = match opaque {
            Some(bytes) => bytes,
            None => {
                let answer = self.call(at, "Metadata_metadata", &[]).await?;
                Vec::<u8>::decode(&mut answer.as_slice()).map_err(undecodable)?
            }
        };
        Metadata::decode_from(&bytes).map_err(undecodable)
    }

    /// A call of the runtime at block `at`.
    async fn call(&self, at: H256, function: &str, arguments: &[u8]) -> Result<Vec<u8>, Failure> {
        self.rpc
            .ask(function, |rpc| async move {
                rpc.state_call(function, Some(arguments), Some(at)).await
            })
            .await
    }
}
