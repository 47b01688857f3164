//! Storing what is buffered.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use meta::{Durability, Transaction};
use store::{DomainId, Owner, StagedChunk};

use crate::buffer::{Base, Change, Guard, Layer};
use crate::extent::{self, Extent};
use crate::quota::Room;
use crate::schema::{self, ExtentRecord, InodeRecord, RAGGED};
use crate::vfs::Core;
use crate::{Error, InodeNo, Kind, Result, clock, compact, inode, object_lock};

/// Chunks of one flush that are sealed at a time.
const PARALLEL_CHUNKS: usize = 4;
/// Inodes flushed in the background at a time.
const PARALLEL_INODES: usize = 4;
/// An inode with this much to store is flushed without waiting for its age, so that an fsync at the
/// end of a long sequential write finds little left to do.
const EAGER_BYTES: u64 = 16 << 20;
/// How long a writer waits for room before it is told to slow down.
const ROOM_WAIT: Duration = Duration::from_secs(60);
/// Extents that one transaction makes a hole of. A hole over more of them takes several.
const CUT: usize = 4096;
/// Pause after a background flush that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A change as a transaction writes it.
enum Stored {
    Data(u64, StagedChunk),
    Zero(std::ops::Range<u64>),
}

impl Core {
    /// Applies a change of content to the buffer. `bytes` is the data that it will hold at most; `f` gets the
    /// layer, and an error from it must leave the layer as it was.
    pub(crate) async fn change<T: Send>(
        self: &Arc<Self>,
        ino: InodeNo,
        bytes: u64,
        f: impl FnOnce(&mut Layer, &Base) -> Result<T> + Send,
    ) -> Result<T> {
        self.change_within(ino, bytes, Room::default(), f).await
    }

    /// As [`Self::change`], for a change that makes the file grow by what `room` holds at most.
    pub(crate) async fn change_within<T: Send>(
        self: &Arc<Self>,
        ino: InodeNo,
        bytes: u64,
        room: Room,
        f: impl FnOnce(&mut Layer, &Base) -> Result<T> + Send,
    ) -> Result<T> {
        if self.is_stopping() {
            return Err(Error::ShuttingDown);
        }
        Self::writable(ino)?;
        self.store.require_writer()?;
        let guard = self.nodes.enter(ino)?;
        // What only takes away must not wait for what it makes room for.
        let most = if bytes == 0 { 0 } else { Layer::most(bytes) };
        let reservation = self.reserve(most).await?;
        let _content = guard.node.content.read().await;
        let mut state = guard.node.state.lock();
        // Asked again: waiting for room can outlast the last flush, which would lose this change.
        if self.is_stopping() {
            return Err(Error::ShuttingDown);
        }
        let base = match (state.base, state.newest()) {
            (Some(base), Some(newest)) => Base {
                size: newest.size,
                ..base
            },
            _ => {
                let read = self.snapshot()?;
                let record = inode::get(&*read, ino)?;
                match record.kind {
                    Kind::File => {}
                    Kind::Directory => return Err(Error::IsDirectory),
                    _ => return Err(Error::Invalid("not a regular file")),
                }
                object_lock::refuse(&*read, ino, &record)?;
                Base {
                    size: record.size,
                    fixed_size: record.fixed_size,
                    domain: record.domain,
                }
            }
        };
        let was_clean = state.active.is_none();
        let mut layer = state
            .active
            .take()
            .unwrap_or_else(|| Arc::new(Layer::over(base.size)));
        let before = layer.bytes();
        let changed = Arc::make_mut(&mut layer);
        let result = f(changed, &base);
        if result.is_ok() {
            changed.ctime = clock::now();
            changed.mtime = changed.ctime;
            state.base = Some(base);
            state.room.merge(room);
            state.written += 1;
            if was_clean {
                state.dirty_since = Some(store::clock::monotonic());
            }
        }
        let eager = before < EAGER_BYTES && layer.bytes() >= EAGER_BYTES;
        reservation.settle(layer.bytes() as i64 - before as i64);
        if result.is_ok() || !was_clean {
            state.active = Some(layer);
        }
        drop(state);
        if eager || self.budget.is_pressed() {
            self.flush_wanted.notify_one();
        }
        result
    }

    async fn reserve(&self, bytes: u64) -> Result<crate::buffer::Reservation<'_>> {
        let deadline = tokio::time::Instant::now() + ROOM_WAIT;
        loop {
            let freed = self.budget.freed();
            if let Some(reservation) = self.budget.try_reserve(bytes) {
                return Ok(reservation);
            }
            self.flush_wanted.notify_one();
            if tokio::time::timeout_at(deadline, freed).await.is_err() {
                return Err(Error::SlowDown {
                    retry_after: RETRY_PAUSE,
                });
            }
        }
    }

    /// Stores every change made before the call and commits it; not yet durable.
    pub(crate) async fn flush_inode(self: &Arc<Self>, ino: InodeNo) -> Result<()> {
        // Nothing in memory: nothing to store.
        let Some(node) = self.nodes.peek(ino) else {
            return Ok(());
        };
        if !node.state.lock().is_dirty() {
            return Ok(());
        }
        let Ok(guard) = self.nodes.enter(ino) else {
            return Ok(());
        };
        self.flush(guard).await
    }

    /// As [`Self::flush_inode`]. Runs on although the caller goes away: a flush cut off in the middle
    /// could commit after a later one.
    pub(crate) async fn flush(self: &Arc<Self>, guard: Guard) -> Result<()> {
        let core = self.clone();
        let task = tokio::spawn(async move {
            let _gate = guard.node.gate.lock().await;
            core.flush_gated(&guard).await
        });
        task.await
            .map_err(|error| Error::Internal(format!("flush: {error}")))?
    }

    /// As [`Self::flush`], for a caller that holds the node's gate and is not cut off.
    pub(crate) async fn flush_gated(&self, guard: &Guard) -> Result<()> {
        let target = guard.node.state.lock().written;
        loop {
            let (layer, base) = {
                let mut state = guard.node.state.lock();
                if state.flushed >= target {
                    return Ok(());
                }
                if state.flushing.is_none() {
                    state.flushing = state.active.take();
                    state.flushing_room = std::mem::take(&mut state.room);
                    state.flushing_to = state.written;
                    state.dirty_since = None;
                }
                match (&state.flushing, state.base) {
                    (Some(layer), Some(base)) => (layer.clone(), base),
                    _ => return Ok(()),
                }
            };
            let result = self.store_layer(guard.ino, &layer, base).await;
            let lost = match &result {
                Ok(()) => false,
                Err(Error::NotFound) => {
                    tracing::debug!(ino = guard.ino.0, "dropped changes of an inode that is gone");
                    false
                }
                Err(Error::Damaged(reason)) => {
                    tracing::error!(
                        ino = guard.ino.0,
                        reason,
                        bytes = layer.bytes(),
                        "changes can never be stored: lost"
                    );
                    true
                }
                Err(Error::Locked) => {
                    // Another gateway's client locked it meanwhile: here nothing comes in any more then.
                    tracing::warn!(
                        ino = guard.ino.0,
                        bytes = layer.bytes(),
                        "changes of what an object lock holds by now cannot be stored: lost"
                    );
                    true
                }
                Err(error) => return Err(error.clone()),
            };
            let mut state = guard.node.state.lock();
            state.flushing = None;
            state.flushing_room = Room::default();
            state.flushed = state.flushing_to;
            if state.active.is_none() {
                state.base = None;
            }
            if lost {
                state.lost = self.nodes.opens(guard.ino).max(1);
            }
            drop(state);
            self.budget.release(layer.bytes());
        }
    }

    async fn store_layer(&self, ino: InodeNo, layer: &Arc<Layer>, base: Base) -> Result<()> {
        // Where they are; their data is copied when it is their turn.
        let changes = futures::stream::iter(layer.changes().collect::<Vec<_>>());
        let stored: Vec<Stored> = changes
            .map(|change| async move {
                match change {
                    Change::Zero(range) => Ok::<_, Error>(Stored::Zero(range)),
                    Change::Data(range) => {
                        let (inode, offset) = (ino.0, range.start);
                        let data = Bytes::from(layer.data(&range));
                        let owner = Owner { inode, offset };
                        let chunk = self.store.stage(DomainId(base.domain), owner, data).await?;
                        Ok(Stored::Data(offset, chunk))
                    }
                }
            })
            .buffered(PARALLEL_CHUNKS)
            .try_collect()
            .await?;
        self.store.sync_staged().await?;
        for change in &stored {
            if let Stored::Zero(range) = change {
                while self.cut_tail(ino, layer, range).await? {}
            }
        }
        let (store, layer) = (self.store.clone(), layer.clone());
        self.write_beyond_limits(Durability::Buffered, move |tx| {
            commit(tx, &store, ino, &layer, &stored)
        })
        .await?;
        self.release_wanted.notify_one();
        Ok(())
    }

    /// Takes the last [`CUT`] extents out of a hole to be when there are more of them; false when there
    /// are not, which is left to the transaction with everything else. The layer is laid over what is
    /// stored until that has committed, so nobody but a crash sees how far this has come: a file that
    /// is cut off is then cut off further behind.
    async fn cut_tail(&self, ino: InodeNo, layer: &Arc<Layer>, range: &std::ops::Range<u64>) -> Result<bool> {
        let (store, layer, range) = (self.store.clone(), layer.clone(), range.clone());
        let cut = self
            .write_beyond_limits(Durability::Buffered, move |tx| {
                let Some(begins) = extent::tail(&*tx, ino, &range, CUT)? else {
                    return Ok(false);
                };
                let mut record = inode::get(&*tx, ino)?;
                object_lock::refuse(&*tx, ino, &record)?;
                record.allocated -= extent::remove(tx, &store, ino, &(begins..range.end))?;
                // Half a shrunken volume would have a size that is none.
                if range.end == u64::MAX && !record.fixed_size {
                    record.size = record.size.min(begins);
                }
                touch(&mut record, &layer);
                inode::put(tx, ino, &record)?;
                Ok(true)
            })
            .await?;
        self.release_wanted.notify_one();
        Ok(cut)
    }

    /// Flushes every dirty inode; answers the first failure after trying all.
    pub(crate) async fn flush_dirty(self: &Arc<Self>) -> Result<()> {
        let results = futures::stream::iter(self.nodes.dirty())
            .map(|ino| self.flush_inode(ino))
            .buffer_unordered(PARALLEL_INODES)
            .collect::<Vec<_>>()
            .await;
        results.into_iter().collect()
    }
}

fn commit(
    tx: &mut dyn Transaction,
    store: &store::Store,
    ino: InodeNo,
    layer: &Layer,
    stored: &[Stored],
) -> Result<()> {
    let mut record = inode::get(&*tx, ino)?;
    object_lock::refuse(&*tx, ino, &record)?;
    let before = record.size;
    for change in stored {
        match change {
            Stored::Zero(range) => record.allocated -= extent::remove(tx, store, ino, range)?,
            Stored::Data(offset, chunk) => {
                let offset = layer.offset_over(before, *offset);
                let range = offset..offset + u64::from(chunk.len);
                record.allocated -= extent::remove(tx, store, ino, &range)?;
                store.record(tx, chunk)?;
                let record_of_chunk = ExtentRecord {
                    chunk: chunk.id,
                    start: 0,
                    len: chunk.len,
                };
                extent::insert(
                    tx,
                    ino,
                    &Extent {
                        offset,
                        record: record_of_chunk,
                    },
                )?;
                record.allocated += u64::from(chunk.len);
            }
        }
    }
    // A volume's size is set, never grown into; one that another gateway made smaller stays so.
    let size = if record.fixed_size && !layer.is_sized() {
        record.size
    } else {
        layer.size_over(record.size)
    };
    if record.size.max(layer.size) > size {
        // Nothing lies beyond the end, whoever put it there since the changes came.
        record.allocated -= extent::remove(tx, store, ino, &(size..u64::MAX))?;
    }
    let ragged = stored.iter().any(|change| match change {
        Stored::Data(offset, chunk) => {
            compact::is_ragged(layer.offset_over(before, *offset), chunk.len, size)
        }
        Stored::Zero(_) => false,
    });
    if ragged {
        // Without reading: the value only has to differ from the one before.
        let noted = schema::encode(&(record.generation + 1))?;
        tx.put(&schema::inode_key(RAGGED, ino), &noted)?;
    }
    record.size = size;
    touch(&mut record, layer);
    inode::put(tx, ino, &record)
}

/// What changes in a record with any of its content.
fn touch(record: &mut InodeRecord, layer: &Layer) {
    record.mtime = layer.mtime;
    record.ctime = record.ctime.max(layer.ctime);
    record.modified = layer.ctime;
    record.mtime_is_posix = true;
    record.generation += 1;
    record.etag = None;
    record.parts = None;
    record.upload = None;
}

/// The background worker: flushes what is old, large, or in the way of writers, oldest first.
pub(crate) async fn run(core: Arc<Core>) {
    let tick = (core.config.write_back_age / 4).clamp(Duration::from_millis(20), Duration::from_secs(1));
    let mut failed: HashMap<InodeNo, Instant> = HashMap::new();
    loop {
        tokio::select! {
            () = core.stopped() => return,
            () = core.flush_wanted.notified() => {}
            () = tokio::time::sleep(tick) => {}
        }
        let now = store::clock::monotonic();
        failed.retain(|_, until| *until > now);
        let mut due = due(&core, now);
        due.retain(|ino| !failed.contains_key(ino));
        let results = futures::stream::iter(due)
            .map(|ino| {
                let core = &core;
                async move { (ino, core.flush_inode(ino).await) }
            })
            .buffer_unordered(PARALLEL_INODES)
            .collect::<Vec<_>>()
            .await;
        for (ino, result) in results {
            if let Err(error) = result {
                tracing::warn!(ino = ino.0, %error, "background flush failed; it will be tried again");
                failed.insert(ino, store::clock::monotonic() + RETRY_PAUSE);
            }
        }
    }
}

/// Inodes to flush now, oldest changes first.
fn due(core: &Core, now: Instant) -> Vec<InodeNo> {
    let mut dirty: Vec<(Option<Instant>, u64, InodeNo)> = Vec::new();
    for ino in core.nodes.dirty() {
        if let Some(node) = core.nodes.peek(ino) {
            let state = node.state.lock();
            // A layer left over from a failed flush is the oldest there is.
            let since = if state.flushing.is_some() {
                None
            } else {
                state.dirty_since
            };
            dirty.push((since, state.bytes(), ino));
        }
    }
    dirty.sort_unstable();
    let mut excess = if core.budget.is_pressed() {
        core.budget.used() / 2
    } else {
        0
    };
    let age = core.config.write_back_age;
    let mut due = Vec::new();
    for (since, bytes, ino) in dirty {
        let old = since.is_none_or(|since| now.saturating_duration_since(since) >= age);
        if old || excess > 0 || bytes >= EAGER_BYTES {
            excess = excess.saturating_sub(bytes.max(1));
            due.push(ino);
        }
    }
    due
}
