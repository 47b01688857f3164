//! One bad record in staging must not hold up its pack.
//!
//! A step that cannot get a chunk's bytes from staging fails: with [`Error::Damaged`] when they have
//! rotted, with [`StepError::Unreadable`] when the disk answers with an error, and would do so for
//! ever. Instead, at once in the first case and after some tries in the second:
//! - when the network has the chunk already, in this pack or in the one that it comes from, the frame
//!   is fetched from there, authenticated, and staged anew; the step is repeated;
//! - otherwise the pack is taken apart: its good chunks wait for a new one. The bad chunk leaves
//!   staging when nothing refers to it. When something does, it is *damaged*: a row remembers it, it
//!   is reported by name, who waits for it is told at once, and whatever is left of its record stays.
//!   It is looked at again at every start and every few minutes, because disks have been known to
//!   come back: then it is packed like any other. Readers never ask whether it is damaged.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use meta::{Durability, Read, Transaction};

use crate::pack::record;
use crate::place::local::unpacked;
use crate::place::waiting::Waiting;
use crate::place::{Shared, StepError};
use crate::staging::Staging;
use crate::tables::{self, DAMAGED};
use crate::{ChunkId, DamagedChunk, Error, PackState, Result, locations};

/// Damaged chunks are looked at once in this many rounds of the upkeep.
const ROUNDS: u32 = 10;

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

/// Those of the damaged chunks that this gateway had and lost to its disk. The others never reached the
/// network before a restore, which notes them with no length: nobody was promised those here.
pub(crate) fn rotten<R: Read + ?Sized>(read: &R) -> Result<Vec<ChunkId>> {
    let mut rotten = Vec::new();
    for row in tables::rows_from(read, DAMAGED, ChunkId(0))? {
        let (key, len) = row?;
        if tables::u32_from(&len)? > 0 {
            rotten.push(tables::chunk_of(&key)?);
        }
    }
    Ok(rotten)
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
            let owner = match staged(chunk) {
                // It was lost with the machine that a restore replaced.
                Err(Error::UnknownChunk(_)) => crate::Owner { inode: 0, offset: 0 },
                owner => owner?,
            };
            Ok(DamagedChunk {
                chunk: chunk.0,
                inode: owner.inode,
                offset: owner.offset,
            })
        })
        .collect()
}

/// Deals with `chunk` of `pack`, which staging cannot give back because of `reason`. True when the
/// pack has something to go on with.
pub(crate) async fn isolate(
    shared: &Arc<Shared>,
    pack: u64,
    chunk: ChunkId,
    reason: &StepError,
) -> Result<bool> {
    match shared.local.heal(chunk).await {
        Ok(true) => {
            tracing::warn!(
                pack,
                chunk = chunk.0,
                %reason,
                "a staged chunk was fetched from the network again"
            );
            return Ok(true);
        }
        Ok(false) => {}
        // The copy in the pack that it comes from; that stays, and is tried again later.
        Err(error @ (Error::Unavailable { .. } | Error::UnknownChunk(_) | Error::Damaged(_))) => {
            tracing::warn!(pack, chunk = chunk.0, %error, "the network does not give a staged chunk back now");
        }
        Err(error) => return Err(error),
    }
    take_apart(shared, pack, chunk, reason.to_string()).await
}

fn waiting(chunk: ChunkId, len: u32) -> Waiting {
    Waiting {
        chunk,
        len,
        stream: 0,
    }
}

/// Lets the other chunks of an unplaced pack go into a new one.
async fn take_apart(shared: &Arc<Shared>, pack: u64, bad: ChunkId, reason: String) -> Result<bool> {
    let noted = reason.clone();
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
                        } else if slot.chunk == bad {
                            tx.put(&tables::chunk_key(DAMAGED, bad), &slot.len.to_be_bytes())?;
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
                record.last_error = Some(noted.clone());
                record::put(tx, pack, &record)?;
                Ok(Some((highest, !dead.contains(&bad))))
            },
        )
        .await?;
    let Some((highest, lives)) = taken else {
        return Ok(false);
    };
    if lives {
        let owner = shared.local.owner(bad)?;
        tracing::error!(
            pack,
            chunk = bad.0,
            inode = owner.inode,
            offset = owner.offset,
            reason,
            "a staged chunk cannot be read: these bytes are damaged; the rest of the pack is packed again"
        );
    }
    shared.close_through(highest);
    shared.progressed();
    shared.upkeep.notify_one();
    Ok(true)
}

/// Packs damaged chunks whose bytes are readable again, until everything stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut known = BTreeSet::new();
    loop {
        if let Err(error) = look_again(&shared, &mut known).await {
            tracing::warn!(%error, "damaged chunks cannot be looked at");
        }
        tokio::time::sleep(shared.settings.pace.upkeep * ROUNDS).await;
    }
}

/// Looks at each damaged chunk; `known` are those that were found damaged before.
async fn look_again(shared: &Arc<Shared>, known: &mut BTreeSet<ChunkId>) -> Result<()> {
    let damaged = own(shared, &*shared.meta.snapshot()?)?;
    known.retain(|chunk| damaged.contains(chunk));
    for chunk in damaged {
        if !is_back(shared, chunk).await? {
            if known.insert(chunk) {
                tracing::error!(chunk = chunk.0, "a staged chunk is still damaged");
            }
            continue;
        }
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
        // It has a lower id than others that the packer saw.
        shared.rescan.store(true, Ordering::Release);
        shared.packer.notify_one();
        shared.progressed();
    }
    Ok(())
}

/// Damaged chunks that lie in this gateway's staging; those that lie in none are the keeper's.
fn own(shared: &Shared, read: &(dyn Read + Send)) -> Result<Vec<ChunkId>> {
    let role = &shared.settings.role;
    let mut own = Vec::new();
    for chunk in rotten(read)? {
        let is_own = match Staging::holder(read, chunk)? {
            Some(member) => member == role.member,
            None => role.keeper.is_open(),
        };
        if is_own {
            own.push(chunk);
        }
    }
    Ok(own)
}

/// Whether staging gives a damaged chunk back, if need be with the network's help.
async fn is_back(shared: &Arc<Shared>, chunk: ChunkId) -> Result<bool> {
    let local = shared.local.clone();
    match shared.blocking(move || local.frame(chunk)).await {
        Ok(_) => return Ok(true),
        Err(Error::Damaged(_) | Error::UnknownChunk(_) | Error::Disk(_)) => {}
        Err(error) => return Err(error),
    }
    match shared.local.heal(chunk).await {
        Ok(healed) => Ok(healed),
        Err(error @ (Error::Meta(_) | Error::ShuttingDown)) => Err(error),
        Err(error) => {
            tracing::debug!(chunk = chunk.0, %error, "the network does not give a damaged chunk back now");
            Ok(false)
        }
    }
}
