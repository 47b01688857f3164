//! Sealed frames on disk, for reading again what the network gave once.
//!
//! The bytes are ciphertext and carry their own authentication; the cache is believed no more than
//! a miner is. It survives a restart. Nothing in it is needed: an error here is a miss, and writes
//! that come faster than the disk takes them are left out.
//!
//! foyer keeps the entries in block files of fixed size and evicts whole blocks, oldest first. The
//! block files lie in a directory named after their number and size, because foyer cannot take
//! over files that were laid out for another budget; directories of other budgets are deleted.
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Code, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy,
};
use tokio::sync::RwLock;

use crate::cache::clean_block;
use crate::frame::FRAME_MAX;
use crate::{ChunkId, Error, Result};

/// Below this the cache is off: foyer needs a few blocks to turn over.
const MIN: u64 = 16 << 20;
/// Blocks that the budget is divided into: each is an open file.
const BLOCKS: u64 = 128;
/// Smallest and largest block.
const BLOCK_MIN: u64 = 4 << 20;
const BLOCK_MAX: u64 = 1 << 30;
/// Frames that were just written or read, in memory.
const IN_MEMORY: usize = 2 << 20;

/// A sealed frame as foyer stores it: length u32 LE, bytes.
#[derive(Clone, Debug)]
struct Stored(Bytes);

impl Code for Stored {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        writer
            .write_all(&(self.0.len() as u32).to_le_bytes())
            .map_err(foyer::Error::io_error)?;
        writer.write_all(&self.0).map_err(foyer::Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        let mut len = [0; 4];
        reader.read_exact(&mut len).map_err(foyer::Error::io_error)?;
        let len = u32::from_le_bytes(len) as usize;
        if len > FRAME_MAX {
            return Err(foyer::Error::io_error(std::io::ErrorKind::InvalidData.into()));
        }
        let mut frame = vec![0; len];
        reader.read_exact(&mut frame).map_err(foyer::Error::io_error)?;
        Ok(Self(frame.into()))
    }

    fn estimated_size(&self) -> usize {
        4 + self.0.len()
    }
}

type Cache = HybridCache<u64, Stored>;

/// The disk cache.
pub(crate) struct DiskCache {
    directory: PathBuf,
    budget: u64,
    /// `None`: the budget is too small, or the disk does not bear it.
    cache: RwLock<Option<Cache>>,
}

impl DiskCache {
    /// Opens the cache in `directory` with at most `budget` bytes. A cache that cannot be opened is
    /// begun anew; if that fails, too, it is off.
    pub(crate) async fn open(directory: &Path, budget: u64) -> Self {
        let cache = match open(directory, budget).await {
            Ok(cache) => cache,
            Err(error) => {
                tracing::warn!(%error, "disk cache cannot be opened; it is begun anew");
                let fresh = match delete(directory).await {
                    Ok(()) => open(directory, budget).await,
                    Err(error) => Err(error),
                };
                fresh.unwrap_or_else(|error| {
                    tracing::error!(%error, "there is no disk cache");
                    None
                })
            }
        };
        Self {
            directory: directory.to_owned(),
            budget,
            cache: RwLock::new(cache),
        }
    }

    /// Whether there is one.
    pub(crate) async fn is_on(&self) -> bool {
        self.cache.read().await.is_some()
    }

    /// The frame of `chunk`, if it is here. Not authenticated.
    pub(crate) async fn get(&self, chunk: ChunkId) -> Option<Bytes> {
        let cache = self.cache.read().await;
        match cache.as_ref()?.get(&chunk.0).await {
            Ok(entry) => entry.map(|entry| entry.value().0.clone()),
            Err(error) => {
                tracing::debug!(chunk = chunk.0, %error, "disk cache cannot be read");
                None
            }
        }
    }

    /// Whether the frame of `chunk` is probably here.
    pub(crate) async fn contains(&self, chunk: ChunkId) -> bool {
        self.cache
            .read()
            .await
            .as_ref()
            .is_some_and(|cache| cache.contains(&chunk.0))
    }

    /// Keeps `frame`, unless more comes than the disk takes.
    pub(crate) async fn insert(&self, chunk: ChunkId, frame: Bytes) {
        if let Some(cache) = self.cache.read().await.as_ref() {
            cache.insert(chunk.0, Stored(frame));
        }
    }

    /// Forgets one frame.
    pub(crate) async fn remove(&self, chunk: ChunkId) {
        if let Some(cache) = self.cache.read().await.as_ref() {
            cache.remove(&chunk.0);
        }
    }

    /// Forgets everything and deletes the files.
    pub(crate) async fn clear(&self) -> Result<()> {
        let mut cache = self.cache.write().await;
        close(cache.take()).await;
        delete(&self.directory).await?;
        *cache = open(&self.directory, self.budget).await?;
        Ok(())
    }

    /// Writes out what is under way and closes the files.
    pub(crate) async fn close(&self) {
        close(self.cache.write().await.take()).await;
    }

    /// Bytes on disk, and how many may be.
    pub(crate) fn usage(&self) -> (u64, u64) {
        (allocated(&self.directory), self.budget)
    }
}

async fn open(directory: &Path, budget: u64) -> Result<Option<Cache>> {
    if budget < MIN {
        delete(directory).await?;
        return Ok(None);
    }
    let block = (budget / BLOCKS)
        .clamp(BLOCK_MIN, BLOCK_MAX)
        .next_multiple_of(4096);
    let blocks = budget / block;
    let home = directory.join(format!("{blocks}x{block}"));
    keep_only(directory, &home)
        .and_then(|()| clean_block::ensure(&home, blocks))
        .map_err(|error| Error::Disk(format!("disk cache: {error}")))?;
    let failed = |error: foyer::Error| Error::Disk(format!("disk cache: {error}"));
    let device = FsDeviceBuilder::new(&home)
        .with_capacity((blocks * block) as usize)
        .build()
        .map_err(failed)?;
    let cache = HybridCacheBuilder::new()
        .with_name("frames")
        .with_policy(HybridCachePolicy::WriteOnInsertion)
        .with_flush_on_close(false)
        .memory(IN_MEMORY)
        .with_shards(1)
        .with_weighter(|_: &u64, frame: &Stored| frame.0.len())
        .storage()
        .with_engine_config(BlockEngineConfig::new(device).with_block_size(block as usize))
        .build()
        .await
        .map_err(failed)?;
    Ok(Some(cache))
}

async fn close(cache: Option<Cache>) {
    if let Some(cache) = cache
        && let Err(error) = cache.close().await
    {
        tracing::warn!(%error, "disk cache does not close cleanly");
    }
}

async fn delete(directory: &Path) -> Result<()> {
    match tokio::fs::remove_dir_all(directory).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Disk(format!("disk cache: {error}")))
        }
        _ => Ok(()),
    }
}

/// Makes `home` in `directory` and deletes what else is there.
fn keep_only(directory: &Path, home: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(home)?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.path() == home {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Bytes of disk under `directory`: block files are made sparse and fill up.
fn allocated(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => allocated(&entry.path()),
            Ok(found) => found.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    const BUDGET: u64 = 32 << 20;

    async fn fill(cache: &DiskCache, chunks: std::ops::Range<u64>) {
        for chunk in chunks {
            cache.insert(ChunkId(chunk), noise(100_000, chunk).into()).await;
        }
    }

    async fn hits(cache: &DiskCache, chunks: std::ops::Range<u64>) -> usize {
        let mut hits = 0;
        for chunk in chunks {
            if let Some(frame) = cache.get(ChunkId(chunk)).await {
                assert_eq!(frame, noise(100_000, chunk));
                hits += 1;
            }
        }
        hits
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keeps_frames_over_a_restart_and_forgets_them_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache");
        let cache = DiskCache::open(&path, BUDGET).await;
        assert!(cache.is_on().await);
        fill(&cache, 0..50).await;
        assert_eq!(hits(&cache, 0..50).await, 50);
        assert!(cache.get(ChunkId(99)).await.is_none());
        cache.close().await;
        assert!(
            cache.get(ChunkId(1)).await.is_none(),
            "closed is empty, not broken"
        );
        cache.insert(ChunkId(1), Bytes::from_static(b"late")).await;

        let cache = DiskCache::open(&path, BUDGET).await;
        assert_eq!(hits(&cache, 0..50).await, 50);
        assert!(
            cache.usage().0 >= 5_000_000 && cache.usage().0 <= BUDGET,
            "{:?}",
            cache.usage()
        );
        cache.remove(ChunkId(7)).await;
        assert!(cache.get(ChunkId(7)).await.is_none());

        cache.clear().await.unwrap();
        assert_eq!(hits(&cache, 0..50).await, 0);
        assert!(
            cache.usage().0 < 100_000,
            "no content on disk: {:?}",
            cache.usage()
        );
        fill(&cache, 0..10).await;
        assert_eq!(hits(&cache, 0..10).await, 10);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn another_budget_begins_anew_and_none_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache");
        let cache = DiskCache::open(&path, BUDGET).await;
        fill(&cache, 0..5).await;
        cache.close().await;
        let cache = DiskCache::open(&path, 2 * BUDGET).await;
        assert_eq!(hits(&cache, 0..5).await, 0);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
        cache.close().await;
        let off = DiskCache::open(&path, 0).await;
        assert!(!off.is_on().await && !path.exists());
        fill(&off, 0..5).await;
        assert_eq!(hits(&off, 0..5).await, 0);
        off.clear().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn stays_in_its_budget_and_survives_garbage_in_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache");
        let cache = DiskCache::open(&path, BUDGET).await;
        for round in 0..20 {
            fill(&cache, round * 50..round * 50 + 50).await;
            // Reading them lets the disk keep up.
            hits(&cache, round * 50..round * 50 + 50).await;
        }
        assert!(cache.usage().0 <= BUDGET, "{:?}", cache.usage());
        cache.close().await;
        for block in
            std::fs::read_dir(std::fs::read_dir(&path).unwrap().next().unwrap().unwrap().path()).unwrap()
        {
            let block = block.unwrap().path();
            let mut bytes = std::fs::read(&block).unwrap();
            for at in (0..bytes.len()).step_by(1000) {
                bytes[at] ^= 0x55;
            }
            std::fs::write(&block, bytes).unwrap();
        }
        let cache = DiskCache::open(&path, BUDGET).await;
        for chunk in 0..1000 {
            // Whatever it answers is the caller's to authenticate; it must answer.
            let _ = cache.get(ChunkId(chunk)).await;
        }
    }
}
