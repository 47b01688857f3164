//! The chain client: queries and signed calls, resolved by name in the live metadata.
use std::collections::BTreeMap;
use std::time::Duration;

use crate::codec::SegmentHashes;
use crate::{AccountId, Hash, Result};

/// How to reach the chain and who signs.
#[derive(Clone)]
pub struct ChainConfig {
    /// WebSocket endpoints, tried in order, health-checked.
    pub endpoints: Vec<String>,
    /// Key that pays and signs extrinsics.
    pub signer: subxt_signer::sr25519::Keypair,
    /// Endpoints by miner account that override, or stand in for, what the chain says.
    pub miner_endpoints: BTreeMap<AccountId, String>,
    /// Longest wait for one RPC answer.
    pub rpc_timeout: Duration,
}

/// State of a territory (`StorageHandler.Territory`). Sizes in bytes, times in blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Territory {
    pub name: Vec<u8>,
    pub token: [u8; 32],
    pub total_space: u128,
    pub used_space: u128,
    pub locked_space: u128,
    pub remaining_space: u128,
    pub start: u32,
    pub deadline: u32,
    pub state: TerritoryState,
}

/// `TerritoryState` of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TerritoryState {
    Active,
    Frozen,
    Expired,
    OnConsignment,
}

/// A storage miner (`Sminer.MinerItems`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miner {
    /// Account of the miner.
    pub account: AccountId,
    /// Base URL for `/fragment`, normalised (`http://host:port`), if one is known.
    pub endpoint: Option<String>,
    /// `positive`, `frozen`, `lock`, `exit`, `offline`, `not ready`.
    pub state: String,
    /// Bytes the miner can still take.
    pub idle_space: u128,
    /// Bytes it serves.
    pub service_space: u128,
}

impl Miner {
    /// Whether the chain accepts reports of this miner.
    pub fn is_positive(&self) -> bool {
        self.state == "positive"
    }
}

/// An open storage order (`FileBank.DealMap`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deal {
    /// Declared length in bytes.
    pub file_size: u128,
    /// Declared segments.
    pub segments: Vec<SegmentHashes>,
    /// Owner account.
    pub owner: AccountId,
    /// Index (1..=12) → miner that reported it.
    pub complete: BTreeMap<u8, AccountId>,
}

/// One fragment of a completed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentInfo {
    /// Name of the fragment.
    pub hash: Hash,
    /// False while a restoral order is open.
    pub available: bool,
    /// Block at which the miner's proof was tagged.
    pub tag: Option<u32>,
    /// Miner that holds it.
    pub miner: AccountId,
}

/// A completed file (`FileBank.File`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Segment hash and its twelve fragments, in order.
    pub segments: Vec<(Hash, Vec<FragmentInfo>)>,
    /// Owners.
    pub owners: Vec<AccountId>,
    /// Declared length in bytes.
    pub file_size: u128,
    /// Block of completion.
    pub completion: u32,
}

/// What a call did: where it was included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// Hash of the block.
    pub block_hash: [u8; 32],
    /// Number of the block.
    pub block_number: u32,
}

/// A declaration of one file.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// FID.
    pub fid: Hash,
    /// Segments in order.
    pub segments: Vec<SegmentHashes>,
    /// Owner (the signer, or an account that authorised it).
    pub owner: AccountId,
    /// 3..=63 opaque bytes.
    pub file_name: Vec<u8>,
    /// Territory that pays.
    pub territory: Vec<u8>,
    /// Length in bytes.
    pub file_size: u128,
}

/// A connected client. Cheap to clone.
#[derive(Clone)]
pub struct Chain {}

#[allow(clippy::missing_const_for_fn)]
impl Chain {
    /// Connects to the first endpoint that answers and checks that its metadata has what is needed.
    pub async fn connect(config: ChainConfig) -> Result<Self> {
        let _ = config;
        todo!()
    }
    /// The signer's account.
    pub fn account(&self) -> AccountId {
        todo!()
    }
    /// `specName`, `specVersion` of the node met.
    pub fn runtime(&self) -> (String, u32) {
        todo!()
    }
    /// Number of the best block.
    pub async fn block_number(&self) -> Result<u32> {
        todo!()
    }
    /// Free balance in planck (10^-18 TCESS).
    pub async fn balance(&self, account: AccountId) -> Result<u128> {
        let _ = account;
        todo!()
    }
    /// Price of one GiB for one day in planck.
    pub async fn unit_price(&self) -> Result<u128> {
        todo!()
    }
    /// A territory of `owner`.
    pub async fn territory(&self, owner: AccountId, name: &[u8]) -> Result<Option<Territory>> {
        let _ = (owner, name);
        todo!()
    }
    /// All territories of `owner`.
    pub async fn territories(&self, owner: AccountId) -> Result<Vec<Territory>> {
        let _ = owner;
        todo!()
    }
    /// `Oss.AuthorityList` of `owner`.
    pub async fn authorities(&self, owner: AccountId) -> Result<Vec<AccountId>> {
        let _ = owner;
        todo!()
    }
    /// All registered miners.
    pub async fn miners(&self) -> Result<Vec<Miner>> {
        todo!()
    }
    /// One miner.
    pub async fn miner(&self, account: AccountId) -> Result<Option<Miner>> {
        let _ = account;
        todo!()
    }
    /// The open deal of `fid`, at the best block.
    pub async fn deal(&self, fid: Hash) -> Result<Option<Deal>> {
        let _ = fid;
        todo!()
    }
    /// The completed file `fid`, at the best block.
    pub async fn file(&self, fid: Hash) -> Result<Option<FileInfo>> {
        let _ = fid;
        todo!()
    }
    /// `UserHoldFileList` of `owner`: a hint (protocol page §2.4).
    pub async fn hold_list(&self, owner: AccountId) -> Result<Vec<Hash>> {
        let _ = owner;
        todo!()
    }

    /// Buys `gib` GiB for `days` (≥ 30).
    pub async fn mint_territory(&self, name: &[u8], gib: u32, days: u32) -> Result<Included> {
        let _ = (name, gib, days);
        todo!()
    }
    /// Adds `gib` GiB.
    pub async fn expand_territory(&self, name: &[u8], gib: u32) -> Result<Included> {
        let _ = (name, gib);
        todo!()
    }
    /// Adds `days`.
    pub async fn renew_territory(&self, name: &[u8], days: u32) -> Result<Included> {
        let _ = (name, days);
        todo!()
    }
    /// Lets `operator` act for the signer.
    pub async fn authorize(&self, operator: AccountId) -> Result<Included> {
        let _ = operator;
        todo!()
    }
    /// Takes that back.
    pub async fn cancel_authorize(&self, operator: AccountId) -> Result<Included> {
        let _ = operator;
        todo!()
    }
    /// Declares several files, batched into as few extrinsics as fit; answers one result per file.
    pub async fn declare(&self, files: Vec<Declaration>) -> Vec<Result<Included>> {
        let _ = files;
        todo!()
    }
    /// Deletes a completed file of `owner`. The event is no proof: re-read [`Self::file`].
    pub async fn delete_file(&self, owner: AccountId, fid: Hash) -> Result<Included> {
        let _ = (owner, fid);
        todo!()
    }
    /// Moves free balance, keeping the sender alive.
    pub async fn transfer(&self, to: AccountId, planck: u128) -> Result<Included> {
        let _ = (to, planck);
        todo!()
    }
}
