//! Giving an object's bytes out.
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use meta::Read;
use parking_lot::Mutex;
use store::CHUNK_MAX;

use super::key::{Key, find};
use super::place;
use crate::buffer::{Guard, Layer, Piece};
use crate::extent::{self, Extent};
use crate::read_ahead::Reader;
use crate::snapshot::number::Place;
use crate::snapshot::{self, Located, Sight};
use crate::vfs::{self, Core};
use crate::{Error, InodeNo, Level, ObjectInfo, Result, VersionId, Vfs, bucket, inode, schema};

/// Chunks that are opened, or waited for, at a time: 2 MiB.
const PARALLEL_CHUNKS: usize = 8;
/// Extents looked up at a time: 8 GiB of an object in whole chunks, under 1 MiB of memory. A snapshot
/// slows commits down while it is held, so only an object with more extents than this keeps one
/// while its bytes flow.
const BATCH: usize = 32 << 10;

/// What a hole reads as.
static ZEROES: [u8; CHUNK_MAX] = [0; CHUNK_MAX];

/// A point-in-time view of an object: later writes do not show in it.
pub struct ObjectReader {
    core: Arc<Core>,
    guard: Guard,
    /// Its inode in `snapshot`.
    ino: InodeNo,
    info: ObjectInfo,
    snapshot: Arc<Mutex<Box<dyn Read + Send>>>,
    /// What could not be stored when it was opened, the lower layer first.
    layers: Vec<Arc<Layer>>,
    /// Why it could not.
    unstored: Option<Error>,
}

impl Vfs {
    /// HEAD.
    pub async fn head_object(&self, bucket: &str, key: &[u8]) -> Result<ObjectInfo> {
        Ok(self.get_object(bucket, key).await?.info)
    }

    /// Opens an object to read.
    pub async fn get_object(&self, bucket: &str, key: &[u8]) -> Result<ObjectReader> {
        let key = Key::new(key)?;
        for _ in 0..vfs::LOOKS {
            let look = || {
                let snapshot = self.core.snapshot()?;
                let bucket = bucket::find(&*snapshot, bucket)?;
                let known = self.core.known.at(&*snapshot)?;
                let located = snapshot::locate(&*snapshot, &known, bucket, key.bytes())?;
                match located {
                    Located::Live => Ok(find(&*snapshot, bucket, &key)?.ok_or(Error::NotFound)?.ino),
                    Located::Listing(_) => Err(Error::NotFound),
                    Located::Inside {
                        snapshot: at, rest, ..
                    } => {
                        // One view at a time: a database gives out few.
                        drop(snapshot);
                        let sight = self.core.sight_into(self.core.meta.snapshot()?, &at)?;
                        let ino = if at.record.directory {
                            let found = find(&*sight.read, sight.ino, &Key::new(&rest).map_err(no_key)?)?;
                            found.ok_or(Error::NotFound)?.ino
                        } else {
                            sight.ino
                        };
                        sight.show(ino)
                    }
                }
            };
            let ino = self.core.unfolding(look).await?;
            // When it is purged in between, the key may have a new inode: look again.
            let Ok(guard) = self.core.enter(ino) else {
                continue;
            };
            if let Some(reader) = self.core.read_inode(guard, ino, key.bytes()).await? {
                return Ok(reader);
            }
        }
        Err(schema::damaged("a name without an inode"))
    }
}

/// What lies in a snapshot has a key below that of the snapshot.
fn no_key(_: Error) -> Error {
    Error::NotFound
}

impl Core {
    /// A reader of everything acknowledged so far, or of what is in a snapshot; `None` when the inode
    /// is gone.
    pub(crate) async fn read_inode(
        self: &Arc<Self>,
        guard: Guard,
        shown: InodeNo,
        key: &[u8],
    ) -> Result<Option<ObjectReader>> {
        let unstored = match self.flush_inode(shown).await {
            Ok(()) => None,
            // What is buffered reads all the same.
            Err(error @ (Error::SlowDown { .. } | Error::Unavailable(_))) => Some(error),
            Err(error) => return Err(error),
        };
        // Layers and rows are looked at in one step, as when a mount reads.
        let state = guard.node.state.lock();
        let Sight { read, ino, .. } = self.sight(shown)?;
        let Some(mut record) = inode::load(&*read, ino)? else {
            return Ok(None);
        };
        let mut layers = Vec::new();
        if unstored.is_some() {
            state.overlay(&mut record);
            layers.extend(state.layers().cloned());
        }
        drop(state);
        if !place::is_object(&record) {
            return Err(Error::NotFound);
        }
        let mut info = place::info(&*read, ino, key, &record)?;
        info.ino = shown;
        if Self::writable(shown).is_err() {
            // Snapshots hold no versions: the id of today leads to what is there today.
            info.version = info.version.map(|_| VersionId::NULL);
        }
        Ok(Some(ObjectReader {
            core: self.clone(),
            guard,
            ino,
            info,
            snapshot: Arc::new(Mutex::new(read)),
            layers,
            unstored,
        }))
    }
}

impl ObjectReader {
    /// What HEAD shows.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// Bytes of a range, prefetched ahead within a budget. What lies beyond the end is left out.
    pub fn stream(self, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        let core = self.core.clone();
        let end = range.end.min(self.info.size);
        let segments = Segments {
            reader: Reader::steady(&self.core.readers, range.start),
            core: self.core,
            ino: self.ino,
            _guard: self.guard,
            snapshot: Some(self.snapshot),
            layers: self.layers,
            at: range.start,
            end,
            batch: VecDeque::new(),
            failed: false,
        };
        futures::stream::iter(segments)
            .map(move |segment| {
                let core = core.clone();
                async move {
                    match segment? {
                        Segment::Hole(len) => Ok(Bytes::from_static(&ZEROES[..len])),
                        Segment::Buffered(data) => Ok(data),
                        Segment::Data(extent) => {
                            let data = core.store.read(extent.record.chunk, extent.in_chunk()).await?;
                            if data.len() == extent.record.len as usize {
                                Ok(data)
                            } else {
                                Err(Error::Damaged(format!(
                                    "chunk {} is too short",
                                    extent.record.chunk.0
                                )))
                            }
                        }
                    }
                }
            })
            .buffered(PARALLEL_CHUNKS)
            .boxed()
    }

    /// Level its bytes have reached; some that are only buffered have none.
    pub async fn level(&self) -> Result<Option<Level>> {
        if !self.layers.is_empty() {
            return Ok(None);
        }
        let (core, snapshot, ino) = (self.core.clone(), self.snapshot.clone(), self.ino);
        vfs::blocking(move || core.level_of_content(&**snapshot.lock(), ino).map(Some)).await
    }

    /// It was found as this version of its key.
    pub(crate) fn set_version(&mut self, version: VersionId) {
        self.info.version = Some(version);
    }

    /// Where all of it lies, for sharing what is stored.
    pub(super) fn place(&self) -> Result<Place> {
        if let Some(error) = &self.unstored {
            return Err(error.clone());
        }
        self.core.place_of(self.info.ino)
    }
}

enum Segment {
    Hole(usize),
    /// In memory only.
    Buffered(Bytes),
    Data(Extent),
}

/// The range, piece by piece. Keeps the guard for as long as bytes are read.
struct Segments {
    core: Arc<Core>,
    _guard: Guard,
    ino: InodeNo,
    reader: Reader,
    /// Gone when all extents of the range are in `batch`.
    snapshot: Option<Arc<Mutex<Box<dyn Read + Send>>>>,
    at: u64,
    end: u64,
    batch: VecDeque<Extent>,
    /// What lies over the extents, the lower layer first.
    layers: Vec<Arc<Layer>>,
    failed: bool,
}

impl Segments {
    fn refill(&mut self) -> Result<()> {
        let Some(snapshot) = &self.snapshot else {
            return Ok(());
        };
        let found = extent::overlapping(&**snapshot.lock(), self.ino, &(self.at..self.end), BATCH)?;
        if found.len() < BATCH {
            self.snapshot = None;
        }
        self.batch = found.into();
        Ok(())
    }

    /// Has what comes next fetched in few requests. A single chunk needs none but its own.
    fn fetch_ahead(&mut self) {
        if self.batch.len() < 2 {
            return;
        }
        let Some(wanted) = self.reader.advance(&self.core.readers, self.at) else {
            return;
        };
        let from = self.batch.partition_point(|extent| extent.end() <= wanted.start);
        let to = self.batch.partition_point(|extent| extent.offset < wanted.end);
        let next: Vec<Extent> = self.batch.range(from..to.max(from)).copied().collect();
        if let Some(end) = self.core.fetch_ahead(&next) {
            self.reader.fell_short(end);
        }
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        self.core.readers.left(&self.reader);
    }
}

impl Iterator for Segments {
    type Item = Result<Segment>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end || self.failed {
            return None;
        }
        // What is stored reads up to where a layer says something.
        let mut end = self.end;
        for layer in self.layers.iter().rev() {
            let Some((begins, piece)) = layer.next_in(self.at, end.min(self.at + CHUNK_MAX as u64)) else {
                continue;
            };
            if begins > self.at {
                end = begins;
                continue;
            }
            self.at += piece.len();
            return Some(Ok(match piece {
                Piece::Data(data) => Segment::Buffered(data.into()),
                Piece::Zero(len) => Segment::Hole(len as usize),
            }));
        }
        // Those that layers covered.
        while self
            .batch
            .pop_front_if(|extent| extent.end() <= self.at)
            .is_some()
        {}
        if self.batch.is_empty()
            && let Err(error) = self.refill()
        {
            self.failed = true;
            return Some(Err(error));
        }
        self.fetch_ahead();
        let next = self
            .batch
            .front()
            .map_or(end, |extent| extent.offset.clamp(self.at, end));
        if next > self.at {
            let len = (next - self.at).min(CHUNK_MAX as u64);
            self.at += len;
            return Some(Ok(Segment::Hole(len as usize)));
        }
        let extent = self.batch.front()?.cut(&(self.at..end));
        self.at = extent.end();
        Some(Ok(Segment::Data(extent)))
    }
}
