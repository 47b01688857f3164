//! What the chain client takes and gives: plain data, free of any encoding.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use crate::codec::SegmentHashes;
use crate::{AccountId, Hash};

/// How to reach the chain and who signs.
#[derive(Clone)]
pub struct ChainConfig {
    /// WebSocket endpoints, tried in order, health-checked.
    pub endpoints: Vec<String>,
    /// Key that pays and signs extrinsics.
    pub signer: subxt_signer::sr25519::Keypair,
    /// Endpoints by miner account that override, or stand in for, what the chain says.
    pub miner_endpoints: BTreeMap<AccountId, String>,
    /// Longest wait for one RPC answer. The wait for an extrinsic to be included is ten times this.
    pub rpc_timeout: Duration,
}

impl fmt::Debug for ChainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainConfig")
            .field("endpoints", &self.endpoints)
            .field("signer", &AccountId::from(&self.signer))
            .field("miner_endpoints", &self.miner_endpoints)
            .field("rpc_timeout", &self.rpc_timeout)
            .finish()
    }
}

/// State of a territory (`StorageHandler.Territory`). Sizes in bytes, times in blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Territory {
    /// Name, unique for its owner. Any bytes.
    pub name: Vec<u8>,
    /// Number of the territory on the whole chain.
    pub token: [u8; 32],
    /// Bytes leased.
    pub total_space: u128,
    /// Bytes taken by completed files.
    pub used_space: u128,
    /// Bytes taken by open deals.
    pub locked_space: u128,
    /// Bytes left. A declaration needs strictly more than it takes.
    pub remaining_space: u128,
    /// Block at which the lease began.
    pub start: u32,
    /// Block at which it ends.
    pub deadline: u32,
    /// Whether it can be used.
    pub state: TerritoryState,
}

/// `TerritoryState` of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerritoryState {
    /// Takes new files.
    Active,
    /// Past its deadline: reads and deletes work, declarations do not.
    Frozen,
    /// Seven days past its deadline: the files are being purged.
    Expired,
    /// Offered for sale.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Included {
    /// Hash of the block.
    pub block_hash: [u8; 32],
    /// Number of the block.
    pub block_number: u32,
}

/// How far the chain is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// Number of the best block.
    pub best: u32,
    /// Number of the last finalised block.
    pub finalised: u32,
}

/// Until when a signed extrinsic can be included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Who signed it.
    pub signer: AccountId,
    /// The signer's nonce in it: when the account's has passed it, it was included or never will be.
    pub nonce: u64,
    /// Number of the first block that cannot contain it.
    pub dies: u64,
}

/// What became of a declaration that was sent, by the last finalised block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It can still be included, or its block be retracted.
    Pending {
        /// Number of the last finalised block.
        finalised: u64,
    },
    /// It cannot be included any more, unless it was. This is what the chain has under the FID, for
    /// good.
    Settled {
        /// The open deal.
        deal: Option<Deal>,
        /// The completed file.
        file: Option<FileInfo>,
    },
}

/// Told what was signed before it is sent, so that whoever stops in between knows what may be on
/// its way. Its error is the reason why nothing was sent.
pub type BeforeSending<'a> = dyn Fn(Vec<Hash>, Validity) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>
    + Send
    + Sync
    + 'a;

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
