//! What an operator sees of the store.
use serde::{Deserialize, Serialize};

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
    /// Why the last step did not succeed, if it did not.
    pub last_error: Option<String>,
}

/// The whole store.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StoreStatus {
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
    /// Packs, newest last.
    pub packs: Vec<PackStatus>,
    /// Bytes in the memory cache / its budget.
    pub memory_cache: (u64, u64),
    /// Memory used for reading from miners beside the caches / its budget.
    #[serde(default)]
    pub read_memory: (u64, u64),
    /// Bytes in the disk cache / its budget.
    pub disk_cache: (u64, u64),
    /// Background work, by name.
    pub workers: Vec<WorkerStatus>,
}
