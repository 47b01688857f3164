//! The store as `vfs` and the program see it.
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meta::{Meta, Transaction};
use serde::{Deserialize, Serialize};

use crate::{Result, StoreStatus};

/// Most plaintext bytes in a chunk.
pub const CHUNK_MAX: usize = 256 << 10;

/// Names a chunk. Dense, rising, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId(pub u64);

/// Names a key domain (a bucket by default).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DomainId(pub u64);

/// How far an acknowledged byte has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// On this gateway's disk, synced.
    Staged,
    /// Twelve fragments on twelve miners; the chain lists the file.
    Placed,
    /// Read back from the miners and compared.
    Verified,
}

/// Opaque note kept in the segment's own index, so that packs explain themselves: which inode
/// asked for the chunk, and at which offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Inode number.
    pub inode: u64,
    /// Byte offset in the inode.
    pub offset: u64,
}

/// A sealed chunk in staging that no metadata names yet. Pass it to [`Store::record`]; a dropped
/// one is garbage that staging reclaims by itself.
#[must_use]
#[derive(Clone, Debug)]
pub struct StagedChunk {
    /// Its id.
    pub id: ChunkId,
    /// Plaintext length in bytes.
    pub len: u32,
}

/// Settings of the store; sizes in bytes.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Directory for staging files and the disk cache.
    pub path: PathBuf,
    /// Budget of the staging disk.
    pub staging_limit: u64,
    /// Budget of the plaintext memory cache.
    pub memory_cache: u64,
    /// Budget of the ciphertext disk cache.
    pub disk_cache: u64,
    /// A pack closes when it has this many segments' worth of chunks.
    pub pack_segments: u32,
    /// A pack closes at this age however empty it is (the emptier, the later, at most this).
    pub pack_max_age: Duration,
    /// Packs placed at a time (each holds up to 96 MiB of memory).
    pub parallel_packs: usize,
    /// Owner whose territory pays.
    pub owner: Option<cess::AccountId>,
    /// Name of that territory.
    pub territory: Vec<u8>,
}

/// Handle to the store. Cheap to clone.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens the store and starts its workers. Without a network, everything stays staged.
    pub async fn open(
        config: StoreConfig,
        meta: Meta,
        passphrase: zeroize::Zeroizing<Vec<u8>>,
        network: Option<(cess::chain::Chain, cess::miner::MinerClient)>,
    ) -> Result<Self> {
        let _ = (config, meta, passphrase, network);
        todo!()
    }

    /// Makes a key domain with a fresh wrapped key.
    pub fn create_domain(&self, tx: &mut dyn Transaction, domain: DomainId) -> Result<()> {
        let _ = (tx, domain);
        todo!()
    }
    /// Destroys a domain's key: its chunks can never be read again.
    pub fn destroy_domain(&self, tx: &mut dyn Transaction, domain: DomainId) -> Result<()> {
        let _ = (tx, domain);
        todo!()
    }

    /// Compresses, seals and appends 1..=[`CHUNK_MAX`] bytes to staging. Not durable yet.
    pub async fn stage(&self, domain: DomainId, owner: Owner, data: Bytes) -> Result<StagedChunk> {
        let _ = (domain, owner, data);
        todo!()
    }
    /// Makes everything staged before the call durable. Concurrent callers share one sync.
    pub async fn sync_staged(&self) -> Result<()> {
        todo!()
    }
    /// Names a staged chunk in the caller's transaction, with one reference.
    pub fn record(&self, tx: &mut dyn Transaction, chunk: &StagedChunk) -> Result<()> {
        let _ = (tx, chunk);
        todo!()
    }
    /// One more extent refers to the chunk.
    pub fn retain(&self, tx: &mut dyn Transaction, chunk: ChunkId) -> Result<()> {
        let _ = (tx, chunk);
        todo!()
    }
    /// One extent less refers to it; at none, its space is given back.
    pub fn release(&self, tx: &mut dyn Transaction, chunk: ChunkId) -> Result<()> {
        let _ = (tx, chunk);
        todo!()
    }

    /// Plaintext bytes `range` of a chunk: memory cache, disk cache, staging, then miners.
    pub async fn read(&self, chunk: ChunkId, range: Range<u32>) -> Result<Bytes> {
        let _ = (chunk, range);
        todo!()
    }
    /// Starts fetching chunks that will be read soon, within the cache's budget.
    pub fn prefetch(&self, chunks: &[ChunkId]) {
        let _ = chunks;
        todo!()
    }

    /// The lowest level of the chunks (of recorded, durable ones).
    pub fn level(&self, chunks: &[ChunkId]) -> Result<Level> {
        let _ = chunks;
        todo!()
    }
    /// Waits until all of `chunks` reached `level`, closing packs early to get there.
    pub async fn wait_level(&self, chunks: &[ChunkId], level: Level, timeout: Duration) -> Result<()> {
        let _ = (chunks, level, timeout);
        todo!()
    }
    /// Closes open packs and waits until everything recorded before the call reached `level`.
    pub async fn flush(&self, level: Level, timeout: Duration) -> Result<()> {
        let _ = (level, timeout);
        todo!()
    }

    /// What an operator sees.
    pub fn status(&self) -> Result<StoreStatus> {
        todo!()
    }
    /// Forgets what only speeds things up: memory cache and disk cache, files included.
    pub async fn drop_caches(&self) -> Result<()> {
        todo!()
    }
    /// Stops the workers at a safe point. Staged data stays staged.
    pub async fn shutdown(&self) {
        todo!()
    }
}

#[allow(dead_code)]
fn _assert_send_sync(store: Arc<Store>) -> impl Send + Sync + 'static {
    store
}
