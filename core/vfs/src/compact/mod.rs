//! The compactor: keeps extents few.
//!
//! Whoever syncs small writes gets a chunk and an extent for each; a block that was overwritten in
//! places consists of what is left of the old chunk and of many small new ones. Each costs rows here
//! and in the store, and a chunk of which little lives still takes its whole space. So every flush
//! that leaves such a file notes it in the RAGGED table, and this worker goes over those files now
//! and then:
//! - neighbours that are neighbours in one chunk, too, become one extent. That moves no bytes;
//! - a run of many small extents without a hole, within one aligned block of [`CHUNK_MAX`] bytes, is
//!   read, stored as one new chunk, and swapped for it ([`plan`] says when that pays). Bytes that
//!   anybody else has, too, are not among them: another extent, a snapshot, a clone ([`sharing`]).
//!
//! The swap is a transaction that looks whether the extents are what was read; if anybody wrote there
//! meanwhile, it leaves them. The content does not change, so neither do times, size, ETag and what
//! is buffered over it. Readers that hold the old extents keep their chunks as after any overwrite
//! ([`crate::release`]).
//!
//! **Levels.** A new chunk is `staged`, whatever the old ones were. So a file that asks for more
//! than that (by itself, its bucket, a door, or the gateway) is left alone, and bytes that reached more
//! without being asked are rewritten only where much is gained. What a file asks for is looked at
//! again in the transaction that swaps: it may have changed while the bytes were read.
//!
//! **Several gateways.** A new chunk lies with the gateway that made it until the network has it, and so
//! does what becomes of chunks that others staged, or that all of them can read in the metadata. So
//! where there may be other gateways, only what the network has already is rewritten; the rest keeps
//! its note, and is looked at again.
mod plan;
mod sharing;

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use meta::Durability;
use serde::{Deserialize, Serialize};
use store::workers::Worker;
use store::{CHUNK_MAX, DomainId, Level, Owner};

use self::plan::{Step, plan};
use self::sharing::Sharing;
use crate::extent::{self, Extent};
use crate::schema::{self, ExtentRecord, RAGGED};
use crate::vfs::Core;
use crate::{Error, InodeNo, Result, Vfs, ack, inode};

/// Pause between two passes. What is written again and again is rewritten at most so often.
const PAUSE: Duration = Duration::from_secs(30);
/// Extents looked at at a time.
const PAGE: usize = 4096;
/// Noted files taken up at a time.
const FILES: usize = 256;
/// Chunks read at a time to make one.
const PARALLEL_READS: usize = 8;

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// Files looked at.
    pub files: u64,
    /// Extents that are gone, those that replace them deducted.
    pub extents: u64,
    /// Bytes that were rewritten.
    pub bytes: u64,
}

impl Vfs {
    /// Goes over all files that small writes left in pieces, now. See the worker `compactor`.
    pub async fn compact(&self) -> Result<Compacted> {
        let worker = self.core.store.workers().register_mover(WORKER);
        pass(&self.core, &worker).await
    }
}

/// Name of the worker.
const WORKER: &str = "compactor";

/// The background worker.
pub(crate) async fn run(core: Arc<Core>) {
    let worker = core.store.workers().register_mover(WORKER);
    loop {
        worker.waits(PAUSE);
        tokio::select! {
            () = core.stopped() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        tokio::select! {
            () = core.stopped() => return,
            () = worker.turn() => {}
        }
        if let Err(error) = pass(&core, &worker).await {
            worker.failed(&error);
            tracing::warn!(%error, "compacting extents failed; it will be tried again");
        }
    }
}

async fn pass(core: &Arc<Core>, worker: &Worker) -> Result<Compacted> {
    let mut done = Compacted::default();
    let mut from = vec![RAGGED];
    loop {
        let rows: Vec<_> =
            schema::scan_from(&*core.snapshot()?, &[RAGGED], Bound::Included(from.as_slice()))?
                .take(FILES)
                .collect::<meta::Result<_>>()?;
        let Some((last, _)) = rows.last() else {
            return Ok(done);
        };
        let mut next = last.clone();
        next.push(0);
        for (row, noted) in rows {
            if core.is_stopping() || !core.turn(worker).await {
                return Ok(done);
            }
            let ino = InodeNo(schema::number_at(&row, 1)?);
            let _work = worker.working(format!("inode {}", ino.0));
            // What cannot be read now is looked at again in the next pass, and others get their turn.
            let later = match file(core, worker, ino, &mut done).await {
                Ok(later) => later,
                Err(error) => {
                    worker.failed(&error);
                    tracing::warn!(ino = ino.0, %error, "a file cannot be compacted now");
                    continue;
                }
            };
            done.files += 1;
            if later {
                continue;
            }
            // What was written meanwhile noted it again.
            core.write(Durability::Buffered, move |tx| {
                if tx.get(&row)?.as_ref() == Some(&noted) {
                    tx.delete(&row)?;
                }
                Ok(())
            })
            .await?;
        }
        from = next;
    }
}

/// Goes over one file. Answers whether some of it is left for later.
async fn file(core: &Arc<Core>, worker: &Worker, ino: InodeNo, done: &mut Compacted) -> Result<bool> {
    // Keeps the chunks that are seen below readable.
    let Ok(_guard) = core.nodes.enter(ino) else {
        return Ok(false);
    };
    let mut later = false;
    let domain = {
        let snapshot = core.snapshot()?;
        let Some(record) = inode::load_timeless(&*snapshot, ino)? else {
            return Ok(false);
        };
        let asked = core.config.ack.max(core.config.ack_doors);
        if ack::in_force(&*snapshot, ino)?.max(asked) > Level::Staged {
            return Ok(false);
        }
        DomainId(record.domain)
    };
    let mut at = 0;
    loop {
        let mut page = extent::overlapping(&*core.snapshot()?, ino, &(at..u64::MAX), PAGE)?;
        let more = page.len() == PAGE;
        let Some(last) = page.last() else {
            return Ok(later);
        };
        let last_block = last.offset / CHUNK_MAX as u64;
        if more && last_block * CHUNK_MAX as u64 > at {
            // The last block may go on behind the page.
            page.retain(|extent| extent.offset / (CHUNK_MAX as u64) < last_block);
            at = last_block * CHUNK_MAX as u64;
        } else {
            at = (last_block + 1) * CHUNK_MAX as u64;
        }
        for block in page.chunk_by(|a, b| a.offset / CHUNK_MAX as u64 == b.offset / CHUNK_MAX as u64) {
            let look = |chunk| Ok((core.level_of(&[chunk])?, core.store.references(chunk)?));
            let shared = shared(core, ino, block)?;
            let steps = plan(block, look, |extent| Ok(shared.contains(&extent.offset)))?;
            for step in steps {
                let bytes = match step {
                    Step::Join(seen) => join(core, ino, seen, done).await?,
                    Step::Rewrite(seen) if core.store.is_shared() && is_staged(core, &seen)? => {
                        later = true;
                        0
                    }
                    Step::Rewrite(seen) => rewrite(core, worker, ino, domain, seen, done).await?,
                };
                worker.count("bytes rewritten", bytes);
                done.bytes += bytes;
            }
            // No pause here: the file is held, and what it drops cannot be released meanwhile.
            if core.is_stopping() {
                return Ok(true);
            }
        }
        if !more {
            return Ok(later);
        }
    }
}

/// Whether the network does not have all of it.
fn is_staged(core: &Core, seen: &[Extent]) -> Result<bool> {
    let chunks: Vec<_> = seen.iter().map(|extent| extent.record.chunk).collect();
    Ok(core.level_of(&chunks)? == Level::Staged)
}

/// Offsets of the extents of a block that somebody else has, too. Before anything else is asked: a
/// database gives out few views.
fn shared(core: &Core, ino: InodeNo, block: &[Extent]) -> Result<HashSet<u64>> {
    let rows = core.meta.snapshot()?;
    let sharing = Sharing::of(&*rows, &core.known, ino)?;
    let mut shared = HashSet::new();
    for extent in block {
        if sharing.has(extent)? {
            shared.insert(extent.offset);
        }
    }
    Ok(shared)
}

/// Makes one extent of some that lie one behind the other in one chunk.
async fn join(core: &Core, ino: InodeNo, seen: Vec<Extent>, done: &mut Compacted) -> Result<u64> {
    let store = core.store.clone();
    let joined = core
        .write(Durability::Buffered, move |tx| {
            if ack::in_force(&*tx, ino)? > Level::Staged {
                return Ok(0);
            }
            let Some(range) = unchanged(tx, ino, &seen)? else {
                return Ok(0);
            };
            let whole = Extent {
                offset: range.start,
                record: ExtentRecord {
                    len: (range.end - range.start) as u32,
                    ..seen[0].record
                },
            };
            // Held while the others are let go of: the chunk must not lose its last reference.
            store.retain(tx, whole.record.chunk)?;
            extent::remove(tx, &store, ino, &range)?;
            extent::insert(tx, ino, &whole)?;
            Ok(seen.len() as u64 - 1)
        })
        .await?;
    core.release_wanted.notify_one();
    done.extents += joined;
    Ok(0)
}

/// Stores the bytes of a run as one chunk and swaps the extents. Answers the bytes stored.
async fn rewrite(
    core: &Core,
    worker: &Worker,
    ino: InodeNo,
    domain: DomainId,
    seen: Vec<Extent>,
    done: &mut Compacted,
) -> Result<u64> {
    let offset = seen[0].offset;
    let len = seen
        .iter()
        .map(|extent| u64::from(extent.record.len))
        .sum::<u64>();
    let data = read(core, &seen).await?;
    let owner = Owner { inode: ino.0, offset };
    let chunk = core.store.stage(domain, owner, data).await?;
    core.store.sync_staged().await?;
    let (store, known) = (core.store.clone(), core.known.clone());
    let gone = core
        .write(Durability::Buffered, move |tx| {
            if ack::in_force(&*tx, ino)? > Level::Staged {
                return Ok(0);
            }
            let Some(range) = unchanged(tx, ino, &seen)? else {
                return Ok(0);
            };
            let sharing = Sharing::of(&*tx, &known, ino)?;
            for extent in &seen {
                // A snapshot or a clone was made meanwhile.
                if sharing.has(extent)? {
                    return Ok(0);
                }
            }
            extent::remove(tx, &store, ino, &range)?;
            store.record(tx, &chunk)?;
            let record = ExtentRecord {
                chunk: chunk.id,
                start: 0,
                len: chunk.len,
            };
            extent::insert(tx, ino, &Extent { offset, record })?;
            Ok(seen.len() as u64 - 1)
        })
        .await?;
    core.release_wanted.notify_one();
    done.extents += gone;
    if gone == 0 {
        worker.count("runs written to meanwhile", 1);
    }
    tokio::select! {
        () = core.stopped() => {}
        () = worker.take(len) => {}
    }
    Ok(len)
}

async fn read(core: &Core, seen: &[Extent]) -> Result<Bytes> {
    let pieces: Vec<Bytes> = futures::stream::iter(seen.to_vec())
        .map(|extent| async move {
            let piece = core.store.read(extent.record.chunk, extent.in_chunk()).await?;
            if piece.len() == extent.record.len as usize {
                Ok(piece)
            } else {
                Err(Error::Damaged(format!(
                    "chunk {} is too short",
                    extent.record.chunk.0
                )))
            }
        })
        .buffered(PARALLEL_READS)
        .try_collect()
        .await?;
    let mut data = BytesMut::new();
    for piece in pieces {
        data.extend_from_slice(&piece);
    }
    Ok(data.freeze())
}

/// The range that the extents cover, if they are still all there is in it.
fn unchanged(
    tx: &mut dyn meta::Transaction,
    ino: InodeNo,
    seen: &[Extent],
) -> Result<Option<std::ops::Range<u64>>> {
    let range = match (seen.first(), seen.last()) {
        (Some(first), Some(last)) => first.offset..last.end(),
        _ => return Ok(None),
    };
    let now = extent::overlapping(&*tx, ino, &range, seen.len() + 1)?;
    Ok((now == seen).then_some(range))
}

/// Whether storing `len` bytes at `offset` of a file that is then `size` bytes long leaves it in
/// pieces: a chunk that neither fills a block nor is all there is at the end of one.
pub(crate) fn is_ragged(offset: u64, len: u32, size: u64) -> bool {
    let begins = offset.is_multiple_of(CHUNK_MAX as u64);
    let ends = offset + u64::from(len) >= size;
    len < CHUNK_MAX as u32 && !(begins && ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_files_and_whole_blocks_are_not_ragged() {
        let block = CHUNK_MAX as u32;
        assert!(!is_ragged(0, 10, 10));
        assert!(!is_ragged(0, block, u64::MAX));
        assert!(!is_ragged(u64::from(block), 10, u64::from(block) + 10));
        assert!(is_ragged(0, 10, 11));
        assert!(is_ragged(10, 10, 20));
        assert!(is_ragged(4096, 4096, 1 << 30));
    }
}
