//! Moving what lives in a pack out of it.
//!
//! Segment by segment the live frames are brought back to staging ([`super::restage`]) and handed to
//! the packer. The pack keeps its place in the location table, and its file on the chain, until the
//! chunks are verified elsewhere: so they lose neither their level nor their readers. A tally that
//! says `moving` brings a move that a crash cut off back to be finished; once nothing is left, the
//! pack is `retired`, and [`crate::place::upkeep`] deletes it when it can.
use std::sync::Arc;

use meta::{Durability, Read};

use crate::pack::layout::Slot;
use crate::pack::record;
use crate::place::Shared;
use crate::place::local::unpacked;
use crate::reclaim::{moved, tally};
use crate::{ChunkId, Error, PackState, Result, locations};

/// Whether `chunk` lives in `pack` and nowhere else.
fn is_left<R: Read + ?Sized>(read: &R, pack: u64, chunk: ChunkId) -> Result<bool> {
    Ok(!unpacked::contains(read, chunk)?
        && locations::get(read, chunk)?.is_some_and(|place| place.pack == pack)
        && read.get(&record::dead_key(pack, chunk))?.is_none())
}

/// Slots of a segment whose chunks are left in `pack`.
fn left<R: Read + ?Sized>(read: &R, pack: u64, number: u32) -> Result<Vec<Slot>> {
    record::contents(read, pack, number)?
        .into_iter()
        .filter_map(|slot| match is_left(read, pack, slot.chunk) {
            Ok(true) => Some(Ok(slot)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        })
        .collect()
}

/// Bytes of the frames that are left in `pack` of `segments` segments.
pub(crate) fn left_bytes<R: Read + ?Sized>(read: &R, pack: u64, segments: u32) -> Result<u64> {
    let mut bytes = 0;
    for number in 0..segments {
        bytes += bytes_of(&left(read, pack, number)?);
    }
    Ok(bytes)
}

fn bytes_of(slots: &[Slot]) -> u64 {
    slots.iter().map(|slot| u64::from(slot.len)).sum()
}

/// Moves the live chunks out of `pack`; nothing happens to a pack that
/// is not at rest.
///
/// [`Error::StagingFull`] before a segment that staging has no room for: who writes goes first. What
/// was moved by then stays moved, and the rest is moved at the next call.
pub(crate) async fn move_out(shared: &Arc<Shared>, pack: u64) -> Result<()> {
    let begun = shared
        .meta
        .write(Durability::Buffered, move |tx| -> Result<Option<u32>> {
            let Some(record) = record::get(tx, pack)? else {
                return Ok(None);
            };
            if record.state != PackState::Verified || !record.reclaimed || record.retired {
                return Ok(None);
            }
            tally::moving(tx, pack)?;
            Ok(Some(record.segments))
        })
        .await?;
    let Some(segments) = begun else {
        return Ok(());
    };
    let worker = &shared.workers.reclaimer;
    let _work = worker.working(format!("moving what lives out of pack {pack}"));
    for number in 0..segments {
        let slots = left(&*shared.meta.snapshot()?, pack, number)?;
        if slots.is_empty() {
            continue;
        }
        let bytes = bytes_of(&slots);
        worker.take(bytes).await;
        if shared.local.spare() < bytes {
            return Err(Error::StagingFull {
                retry_after: shared.settings.pace.upkeep,
            });
        }
        let _memory = shared.memory().await;
        let restaged = Arc::new(shared.local.restage(pack, number, &slots).await?);
        let naming = restaged.clone();
        shared
            .meta
            .write(Durability::Buffered, move |tx| -> Result<()> {
                for one in naming.iter() {
                    let chunk = one.waiting.chunk;
                    // It may have died, or moved, since it was looked at.
                    if is_left(tx, pack, chunk)? && one.name(tx)? {
                        unpacked::put(tx, one.waiting)?;
                        moved::put(tx, chunk, pack)?;
                    }
                }
                Ok(())
            })
            .await?;
        worker.count("bytes moved", bytes);
    }
    retire(shared, pack, segments).await
}

/// Nothing lives in `pack` any more that does not wait elsewhere: it is on its way out.
async fn retire(shared: &Arc<Shared>, pack: u64, segments: u32) -> Result<()> {
    let retired = shared
        .meta
        .write(Durability::Buffered, move |tx| -> Result<bool> {
            for number in 0..segments {
                if !left(tx, pack, number)?.is_empty() {
                    return Ok(false);
                }
            }
            record::update(tx, pack, |record| record.retired = true)?;
            Ok(true)
        })
        .await?;
    if !retired {
        return Err(Error::Disk(
            "staging is still giving back the space of moved chunks".into(),
        ));
    }
    shared.workers.reclaimer.count("packs emptied", 1);
    shared.wake_upkeep();
    Ok(())
}
