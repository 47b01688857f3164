//! One rotten record in staging must not hold up its pack.
//!
//! A step that cannot get a chunk's bytes from staging fails with [`Error::Damaged`], and would do so
//! for ever. Instead:
//! - when the network has the pack already, the frame is fetched from there, authenticated, and staged
//!   anew; the step is repeated;
//! - otherwise the pack is taken apart: its good chunks wait for a new one. The rotten chunk leaves
//!   staging when nothing refers to it. When something does, it is *damaged*: a row remembers it, it
//!   is reported by name, who waits for it is told at once, and whatever is left of its record stays.
//!   It is looked at again at every start, because disks have been known to come back.
use std::collections::BTreeSet;
use std::sync::Arc;

use meta::{Durability, Read, Transaction};

use crate::pack::record;
use crate::place::Shared;
use crate::place::local::unpacked;
use crate::place::waiting::Waiting;
use crate::tables::{self, DAMAGED};
use crate::{ChunkId, DamagedChunk, Error, PackState, Result, locations};

/// Whether `chunk` is remembered as damaged.
pub(crate) fn is_damaged<R: Read + ?Sized>(read: &R, chunk: ChunkId) -> Result<bool> {
    Ok(read.get(&tables::chunk_key(DAMAGED, chunk))?.is_some())
}

/// Damaged chunks in rising order.
pub(crate) fn all<R: Read + ?Sized>(read: &R) -> Result<Vec<ChunkId>> {
    tables::rows_from(read, DAMAGED, ChunkId(0))?
        .map(|row| tables::chunk_of(&row?.0))
        .collect()
}

/// Forgets that `chunk` is damaged; false when it was not.
pub(crate) fn forget(tx: &mut dyn Transaction, chunk: ChunkId) -> Result<bool> {
    let key = tables::chunk_key(DAMAGED, chunk);
    let there = tx.get(&key)?.is_some();
    if there {
        tx.delete(&key)?;
    }
    Ok(there)
}

/// Damaged chunks, as an operator sees them.
pub(crate) fn status(
    read: &(dyn Read + Send),
    staged: impl Fn(ChunkId) -> Result<crate::Owner>,
) -> Result<Vec<DamagedChunk>> {
    all(read)?
        .into_iter()
        .map(|chunk| {
            let owner = staged(chunk)?;
            Ok(DamagedChunk {
                chunk: chunk.0,
                inode: owner.inode,
                offset: owner.offset,
            })
        })
        .collect()
}

/// Deals with `chunk` of `pack`, which staging cannot give back. True when the pack has something to
/// go on with.
pub(crate) async fn isolate(shared: &Arc<Shared>, pack: u64, chunk: ChunkId) -> Result<bool> {
    if shared.local.heal(chunk).await? {
        tracing::warn!(
            pack,
            chunk = chunk.0,
            "a rotten staged chunk was fetched from the network"
        );
        return Ok(true);
    }
    take_apart(shared, pack, chunk).await
}

fn waiting(chunk: ChunkId, len: u32) -> Waiting {
    Waiting {
        chunk,
        len,
        stream: 0,
    }
}

/// Lets the other chunks of an unplaced pack go into a new one.
async fn take_apart(shared: &Arc<Shared>, pack: u64, rotten: ChunkId) -> Result<bool> {
    let taken = shared
        .meta
        .write(
            Durability::Buffered,
            move |tx| -> Result<Option<(ChunkId, bool)>> {
                let Some(mut record) = record::get(tx, pack)? else {
                    return Ok(None);
                };
                if record.retired || record.state >= PackState::Placed {
                    return Ok(None);
                }
                let dead: BTreeSet<_> = record::dead(tx, pack)?
                    .into_iter()
                    .map(|(chunk, _)| chunk)
                    .collect();
                let mut chunks = Vec::new();
                for number in 0..record.segments {
                    for slot in record::contents(tx, pack, number)? {
                        if dead.contains(&slot.chunk) {
                            tx.delete(&record::dead_key(pack, slot.chunk))?;
                        } else if slot.chunk == rotten {
                            tx.put(&tables::chunk_key(DAMAGED, rotten), &slot.len.to_be_bytes())?;
                        } else {
                            unpacked::put(tx, waiting(slot.chunk, slot.len))?;
                        }
                        chunks.push(slot.chunk);
                    }
                }
                let Some(highest) = chunks.iter().max().copied() else {
                    return Ok(None);
                };
                locations::remove(tx, pack, chunks)?;
                record.retired = true;
                record.last_error = Some(format!("chunk {} has rotted in staging", rotten.0));
                record::put(tx, pack, &record)?;
                Ok(Some((highest, !dead.contains(&rotten))))
            },
        )
        .await?;
    let Some((highest, lives)) = taken else {
        return Ok(false);
    };
    if lives {
        let owner = shared.local.owner(rotten)?;
        tracing::error!(
            pack,
            chunk = rotten.0,
            inode = owner.inode,
            offset = owner.offset,
            "a staged chunk has rotted: these bytes are damaged; the rest of the pack is packed again"
        );
    }
    shared.close_through(highest);
    shared.progressed();
    shared.upkeep.notify_one();
    Ok(true)
}

/// Packs the damaged chunks whose bytes are readable again.
pub(crate) async fn look_again(shared: Arc<Shared>) {
    if let Err(error) = try_again(&shared).await {
        tracing::warn!(%error, "damaged chunks cannot be looked at");
    }
}

async fn try_again(shared: &Arc<Shared>) -> Result<()> {
    for chunk in all(&*shared.meta.snapshot()?)? {
        let local = shared.local.clone();
        let read = shared.blocking(move || local.frame(chunk)).await;
        match read {
            Ok(_) => {
                shared
                    .meta
                    .write(Durability::Buffered, move |tx| -> Result<()> {
                        let key = tables::chunk_key(DAMAGED, chunk);
                        if let Some(row) = tx.get(&key)? {
                            tx.delete(&key)?;
                            unpacked::put(tx, waiting(chunk, tables::u32_from(&row)?))?;
                        }
                        Ok(())
                    })
                    .await?;
                tracing::warn!(chunk = chunk.0, "a damaged chunk is readable again");
            }
            Err(Error::Damaged(_) | Error::UnknownChunk(_)) => {
                tracing::error!(chunk = chunk.0, "a staged chunk is still damaged");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
