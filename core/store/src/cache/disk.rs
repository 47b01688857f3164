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
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Code, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy,
};
use futures::FutureExt;
use nix::fcntl::OFlag;
use parking_lot::Mutex;
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
/// Bytes that must stay free on the file system: staging and metadata may be on the same one, and
/// foyer does not survive a write that fails.
const RESERVE: u64 = 64 << 20;
/// How often the free space is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Longest wait for what is under way when the cache is closed.
const CLOSING: Duration = Duration::from_secs(10);
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
    /// Bytes that must be free on the file system, or nothing is cached.
    reserve: u64,
    /// `None`: the budget is too small, or the disk does not bear it.
    cache: RwLock<Option<Cache>>,
    /// foyer panicked: what it holds is not touched any more.
    broken: AtomicBool,
    /// When the free space was looked at last, and whether there was enough.
    room: Mutex<Option<(Instant, bool)>>,
}

impl DiskCache {
    /// Opens the cache in `directory` with at most `budget` bytes. A cache that cannot be opened is
    /// begun anew; if that fails, too, it is off.
    pub(crate) async fn open(directory: &Path, budget: u64) -> Self {
        Self::open_with_reserve(directory, budget, RESERVE).await
    }

    async fn open_with_reserve(directory: &Path, budget: u64, reserve: u64) -> Self {
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
            reserve,
            cache: RwLock::new(cache),
            broken: AtomicBool::new(false),
            room: Mutex::default(),
        }
    }

    /// Whether there is one.
    pub(crate) async fn is_on(&self) -> bool {
        !self.broken.load(Ordering::Relaxed) && self.cache.read().await.is_some()
    }

    /// The frame of `chunk`, if it is here. Not authenticated.
    pub(crate) async fn get(&self, chunk: ChunkId) -> Option<Bytes> {
        let found = self.with(|cache| cache.get(&chunk.0)).await?;
        let found = AssertUnwindSafe(found).catch_unwind().await;
        match found.map_err(|_| self.breaks()).ok()? {
            Ok(entry) => entry.map(|entry| entry.value().0.clone()),
            Err(error) => {
                tracing::debug!(chunk = chunk.0, %error, "disk cache cannot be read");
                None
            }
        }
    }

    /// Whether the frame of `chunk` is probably here.
    pub(crate) async fn contains(&self, chunk: ChunkId) -> bool {
        self.with(|cache| cache.contains(&chunk.0)).await.unwrap_or(false)
    }

    /// Keeps `frame`, unless more comes than the disk takes, or it is almost full.
    pub(crate) async fn insert(&self, chunk: ChunkId, frame: Bytes) {
        if self.is_on().await && self.has_room() {
            self.with(|cache| {
                cache.insert(chunk.0, Stored(frame));
            })
            .await;
        }
    }

    /// Forgets one frame.
    pub(crate) async fn remove(&self, chunk: ChunkId) {
        self.with(|cache| cache.remove(&chunk.0)).await;
    }

    /// Forgets everything and deletes the files.
    pub(crate) async fn clear(&self) -> Result<()> {
        let mut cache = self.cache.write().await;
        close(cache.take()).await;
        delete(&self.directory).await?;
        *cache = open(&self.directory, self.budget).await?;
        self.broken.store(false, Ordering::Relaxed);
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

    /// Asks foyer, which panics when the disk failed it before; `None` then, or when there is no
    /// cache.
    async fn with<T>(&self, ask: impl FnOnce(&Cache) -> T) -> Option<T> {
        if self.broken.load(Ordering::Relaxed) {
            return None;
        }
        let cache = self.cache.read().await;
        let cache = cache.as_ref()?;
        let answer = catch_unwind(AssertUnwindSafe(|| ask(cache)));
        answer.map_err(|_| self.breaks()).ok()
    }

    fn breaks(&self) {
        if !self.broken.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "the disk under the disk cache failed; there is no disk cache until it is dropped or the gateway restarted"
            );
        }
    }

    /// Whether the file system has more than the reserve; looked at now and then.
    fn has_room(&self) -> bool {
        let mut room = self.room.lock();
        if let Some((at, enough)) = *room
            && at.elapsed() < LOOK
        {
            return enough;
        }
        let enough = nix::sys::statvfs::statvfs(&self.directory)
            .is_ok_and(|found| found.blocks_available() * found.fragment_size() > self.reserve);
        if !enough && room.is_none_or(|(_, before)| before) {
            tracing::warn!("the disk is almost full; nothing is cached on it until there is room");
        }
        *room = Some((Instant::now(), enough));
        enough
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
        .with_direct(bears_direct(&home))
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

/// Whether files in `home` can be read and written past the page cache. What is cached there was read a
/// moment ago and lies in memory as plaintext: a second copy of it in the page cache costs a third of
/// the processor time of a cold read, and pushes out what is of use.
fn bears_direct(home: &Path) -> bool {
    let probe = home.with_extension("direct");
    let opened = std::fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .custom_flags((OFlag::O_DIRECT | OFlag::O_NOATIME).bits())
        .open(&probe)
        .is_ok();
    let _ = std::fs::remove_file(&probe);
    opened
}

async fn close(cache: Option<Cache>) {
    let Some(cache) = cache else { return };
    let closing = AssertUnwindSafe(async move { cache.close().await }).catch_unwind();
    match tokio::time::timeout(CLOSING, closing).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(%error, "disk cache does not close cleanly"),
        Ok(Err(_)) | Err(_) => tracing::warn!("disk cache does not close cleanly"),
    }
}

/// Deletes what is in the directory, and the directory unless something is mounted there.
async fn delete(directory: &Path) -> Result<()> {
    let directory = directory.to_owned();
    let deleting = move || -> std::io::Result<()> {
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            remove(&entry?)?;
        }
        let _ = std::fs::remove_dir(&directory);
        Ok(())
    };
    tokio::task::spawn_blocking(deleting)
        .await
        .map_err(|_| Error::ShuttingDown)?
        .map_err(|error| Error::Disk(format!("disk cache: {error}")))
}

fn remove(entry: &std::fs::DirEntry) -> std::io::Result<()> {
    if entry.file_type()?.is_dir() {
        std::fs::remove_dir_all(entry.path())
    } else {
        std::fs::remove_file(entry.path())
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
        remove(&entry)?;
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
mod tests;
