//! What an operator sees of the store.
use serde::{Deserialize, Serialize};

use crate::checkpoint::CheckpointStatus;
use crate::health::report::HealthStatus;
use crate::members::MemberStatus;

use crate::workers::WorkerStatus;

/// Where a pack is on its way out. Each step is idempotent and resumes after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackState {
    /// Contents chosen and frozen.
    Closed,
    /// Segments laid out and hashed: the FID is known.
    Hashed,
    /// The chain has the deal.
    Declared,
    /// All twelve reports are in: the chain lists the file.
    Placed,
    /// Every fragment was read back and compared.
    Verified,
}

/// One pack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PackStatus {
    /// Number of the pack.
    pub id: u64,
    /// State reached.
    pub state: PackState,
    /// FID, once hashed (64 hex digits).
    pub fid: Option<String>,
    /// Segments of 32 MiB.
    pub segments: u32,
    /// Chunks in it.
    pub chunks: u64,
    /// Sealed bytes in it, without index and padding.
    pub bytes: u64,
    /// Miner accounts (SS58) by fragment index, once placed.
    pub miners: Vec<String>,
    /// Good fragments (0 to 12) of the worst of its segments, once verified.
    pub good: Option<u8>,
    /// Fragments that the last read-back could not verify.
    pub unverified: u32,
    /// Segments that a restore brought back and nobody has looked at since: until then they count as
    /// placed.
    #[serde(default)]
    pub unseen: u32,
    /// Why the last step did not succeed, if it did not.
    pub last_error: Option<String>,
    /// The gateway that has its bytes, if that one does not run and nobody else can take the pack further.
    #[serde(default)]
    pub waits_for: Option<String>,
}

/// How the chain looks from here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChainState {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// It makes blocks, and the territory can pay.
    Serves,
    /// No endpoint answers, or none that can be used.
    Unreachable,
    /// It answers and makes no blocks.
    Stalled,
    /// It makes blocks, and none becomes final.
    Unfinal,
    /// The territory takes no new file: there is none, it is not active, or it is full.
    Unpaid,
}

impl std::fmt::Display for ChainState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "not asked yet",
            Self::Serves => "serves",
            Self::Unreachable => "unreachable",
            Self::Stalled => "stalled",
            Self::Unfinal => "not final",
            Self::Unpaid => "not paid",
        })
    }
}

/// What placing last saw of the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainOutlook {
    /// How it looks.
    pub state: ChainState,
    /// Since when, in seconds since 1970-01-01 UTC.
    pub since: u64,
    /// Number of the best block, once one was seen.
    pub best: Option<u32>,
    /// Number of the last final block, once one was seen.
    pub finalised: Option<u32>,
    /// What is wrong and what ends it, unless it serves.
    pub reason: Option<String>,
}

/// A chunk whose bytes are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedChunk {
    /// Its id.
    pub chunk: u64,
    /// Inode that asked for it.
    pub inode: u64,
    /// Byte offset in that inode.
    pub offset: u64,
}

/// The restore that the namespace began anew with. Times in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredStatus {
    /// How often the namespace was restored.
    pub incarnation: u32,
    /// When the last time was.
    pub at: u64,
    /// Number of the checkpoint that was used; `None`: files were made of what packs say.
    pub checkpoint: Option<u32>,
    /// When its image was taken.
    pub taken: Option<u64>,
    /// Chunks that had not reached the network: reading them is an error.
    pub lost_chunks: u64,
    /// Those of them that somebody still refers to.
    pub missing_chunks: u64,
    /// Packs that could not be read and were given up.
    pub unreadable_packs: u64,
    /// Segments that it brought back and nobody has looked at since: they count as placed.
    pub unseen_segments: u64,
}

/// The whole store.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StoreStatus {
    /// The gateways on this namespace, by number.
    #[serde(default)]
    pub gateways: Vec<MemberStatus>,
    /// Sealed bytes in staging that no pack holds yet.
    pub unpacked_bytes: u64,
    /// All bytes on the staging disk.
    pub staging_bytes: u64,
    /// Budget for those.
    pub staging_limit: u64,
    /// Territory that packs take, in bytes: 96 MiB per segment.
    #[serde(default)]
    pub leased_bytes: u64,
    /// Bytes of sealed chunks in packs that somebody refers to. Three times as much is what they
    /// need of territory at least.
    #[serde(default)]
    pub live_bytes: u64,
    /// Why nothing is taken in at the moment; `None` when all is well.
    pub trouble: Option<String>,
    /// Chunks that staging could not give back before the network had them, and those that a restore did
    /// not find (inode 0).
    pub damaged: Vec<DamagedChunk>,
    /// Packs, newest last.
    pub packs: Vec<PackStatus>,
    /// How well the network keeps what is verified.
    pub health: HealthStatus,
    /// Bytes in the memory cache / its budget.
    pub memory_cache: (u64, u64),
    /// Memory used for reading from miners beside the caches / its budget.
    #[serde(default)]
    pub read_memory: (u64, u64),
    /// Bytes in the disk cache / its budget.
    pub disk_cache: (u64, u64),
    /// Memory of segments on their way to the network: bytes taken, the most ever taken, the
    /// limit; none without a network.
    pub upload_memory: Option<(u64, u64, u64)>,
    /// The chain, as placing sees it; none without a network.
    pub chain: Option<ChainOutlook>,
    /// The restore that the namespace began anew with; none: it was never restored.
    #[serde(default)]
    pub restored: Option<RestoredStatus>,
    /// Checkpoints of the metadata; none when they are off, or without a network.
    #[serde(default)]
    pub checkpoint: Option<CheckpointStatus>,
    /// Background work, by name.
    pub workers: Vec<WorkerStatus>,
}
