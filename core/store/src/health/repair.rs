//! Storing a pack again before it is lost.
//!
//! The network has no way to push a fragment of a finished file again. So what lives in a pack at
//! risk is fetched back while that is still possible, each chunk authenticated by its own tag, and
//! put into staging as the frame that it always was. From there the packer takes it as if it had
//! just been written. The old file is deleted by the upkeep, once everything that lived in it is
//! verified elsewhere.
//!
//! A segment comes back from any four of its fragments. When there are not four, each of its
//! chunks is looked for alone: in the disk cache, in a data fragment that is still there. That is
//! bounded ([`super::search`]), because others wait. A chunk that is not found keeps its place in the
//! old pack, and the pack is kept with it: its miners may come back ([`super::attempts`]). It is
//! counted in the segment's health, for everybody to see; who deletes the file that it belongs to ends
//! the matter.
//!
//! What is fetched counts against the scrubber's limit.
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use cess::codec::{DATA_FRAGMENTS, FRAGMENT_SIZE};
use meta::{Durability, Read};

use crate::checkpoint::owners;
use crate::frame::Header;
use crate::health::search::Search;
use crate::health::{Shared, record as health};
use crate::inner::Inner;
use crate::pack::index::Index;
use crate::pack::layout::Slot;
use crate::pack::record;
use crate::pack::segment;
use crate::place::build::BOUND;
use crate::place::local::unpacked;
use crate::place::waiting::{self, Waiting};
use crate::read::trace::Log;
use crate::reclaim::moved;
use crate::staging::{StagedFrame, Staging};
use crate::{ChunkId, Error, Owner, PackState, Result, locations, references, tables};

/// Longest time that a repair of a pack spends on requests that bring nothing, in those that take
/// longest.
const PATIENCE: u32 = 4;
/// Bytes that rebuilding a segment takes.
const SEGMENT: u64 = (DATA_FRAGMENTS * FRAGMENT_SIZE) as u64;

/// What a repair came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Chunks that are in staging again.
    pub moved: u64,
    /// Live chunks that could not be had.
    pub lost: u64,
}

/// A chunk on its way back into staging.
struct Returned {
    waiting: Waiting,
    staged: Option<StagedFrame>,
}

/// The slots of a segment whose chunks live there.
pub(crate) fn live<R: Read + ?Sized>(read: &R, pack: u64, number: u32) -> Result<Vec<Slot>> {
    let slots = record::contents(read, pack, number)?;
    let (Some(first), Some(last)) = (
        slots.iter().map(|slot| slot.chunk).min(),
        slots.iter().map(|slot| slot.chunk).max(),
    ) else {
        return Ok(slots);
    };
    let dead: BTreeSet<ChunkId> = record::dead(read, pack)?
        .into_iter()
        .map(|(chunk, _)| chunk)
        .filter(|chunk| (first..=last).contains(chunk))
        .collect();
    let chunks: Vec<ChunkId> = slots.iter().map(|slot| slot.chunk).collect();
    let here: BTreeSet<ChunkId> = locations::get_many(read, &chunks)?
        .into_iter()
        .filter(|(chunk, place)| place.pack == pack && place.segment == number && !dead.contains(chunk))
        .map(|(chunk, _)| chunk)
        .collect();
    Ok(slots
        .into_iter()
        .filter(|slot| here.contains(&slot.chunk))
        .collect())
}

/// Brings what lives in `pack` back into staging, and retires the pack when that is everything.
pub(crate) async fn repair(shared: &Arc<Shared>, pack: u64, reason: &str) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut highest = None;
    let Some(about) = record::get(&*shared.inner.meta.snapshot()?, pack)? else {
        return Ok(outcome);
    };
    if about.state != PackState::Verified || !about.reclaimed || about.retired {
        return Ok(outcome);
    }
    let mut search = Search::new(PATIENCE * shared.pace.get_timeout);
    let moving = shared.placing.moving().await;
    for number in 0..about.segments {
        let slots = live(&*shared.inner.meta.snapshot()?, pack, number)?;
        if slots.is_empty() {
            continue;
        }
        let moved = bring_back(shared, pack, number, &slots, &mut search).await?;
        highest = highest.max(moved.iter().max().copied());
        let left = live(&*shared.inner.meta.snapshot()?, pack, number)?.len() as u64;
        outcome.moved += moved.len() as u64;
        outcome.lost += left;
        note_lost(&shared.inner, pack, number, left).await?;
    }
    drop(moving);
    if let Some(highest) = highest {
        shared.placing.pack_again(highest);
    }
    if outcome.lost > 0 {
        tracing::error!(
            pack,
            chunks = outcome.lost,
            "chunks cannot be rebuilt now; the file is kept, `cess-gateway scrub --status` names what they belong to"
        );
        return Ok(outcome);
    }
    retire(shared, pack, reason.to_owned()).await?;
    Ok(outcome)
}

/// Brings chunks of one segment back into staging; answers which. They are handed to the packer
/// all at once, in one transaction.
async fn bring_back(
    shared: &Shared,
    pack: u64,
    number: u32,
    slots: &[Slot],
    search: &mut Search,
) -> Result<Vec<ChunkId>> {
    let inner = &shared.inner;
    let whole = whole(shared, pack, number, slots, search).await;
    let index = whole.as_ref().and_then(|bytes| index_of(inner, bytes));
    let entries = index.map(|index| index.entries).unwrap_or_default();
    let mut owners: HashMap<ChunkId, Owner> = entries
        .into_iter()
        .map(|entry| (entry.chunk, entry.owner))
        .collect();
    owners::complete(
        &*inner.meta.snapshot()?,
        &mut owners,
        slots.iter().map(|slot| slot.chunk),
    )?;
    search.next_segment();
    let listed = health::get(&*inner.meta.snapshot()?, pack, number)?.is_none_or(|known| known.unlisted == 0);
    let held = whole.is_some() && listed;
    let mut back = Vec::new();
    for slot in slots {
        back.extend(returned(shared, *slot, whole.as_ref(), &owners, search).await?);
    }
    hand_over(inner, pack, held, back).await
}

/// The whole segment, if four of its fragments can be had.
async fn whole(
    shared: &Shared,
    pack: u64,
    number: u32,
    slots: &[Slot],
    search: &mut Search,
) -> Option<Bytes> {
    let (remote, first) = (shared.inner.remote.as_ref()?, slots.first()?);
    if !search.goes_on() {
        return None;
    }
    shared.worker.take(SEGMENT).await;
    let log = Log::new(false);
    let fetching = remote.whole_segment(first.chunk, pack, number, &log);
    let whole = search.ask(fetching, Result::is_err).await?.ok()?;
    shared.worker.count("bytes read", SEGMENT);
    Some(whole)
}

/// The index of a segment, which says who asked for its chunks.
fn index_of(inner: &Arc<Inner>, bytes: &Bytes) -> Option<Index> {
    let header = segment::Header::parse(bytes).ok()?;
    let sealed = bytes.get(header.index_range())?;
    let plain = inner.keys.open_index(bytes.get(..BOUND)?, sealed)?;
    Index::decode(&plain)
}

/// Stages the frame of a chunk, from wherever an authentic one is; `None` when there is none.
async fn returned(
    shared: &Shared,
    slot: Slot,
    whole: Option<&Bytes>,
    owners: &HashMap<ChunkId, Owner>,
    search: &mut Search,
) -> Result<Option<Returned>> {
    let (inner, chunk) = (&shared.inner, slot.chunk);
    let returned = |staged| Returned {
        waiting: Waiting {
            chunk,
            len: slot.len,
            stream: waiting::MOVED,
        },
        staged,
    };
    if inner.staging.holds(chunk)? {
        return Ok(Some(returned(None)));
    }
    let Some(frame) = frame(shared, slot, whole, search).await? else {
        return Ok(None);
    };
    let plain_len = Header::parse(&frame)
        .map_err(|_| Error::Damaged(chunk))?
        .plain_len;
    // Where nobody knows any more who asked for it, inode 0 is nobody.
    let owner = owners
        .get(&chunk)
        .copied()
        .unwrap_or(Owner { inode: 0, offset: 0 });
    let admission = inner.staging.admit(plain_len as usize).await?;
    let staging = inner.clone();
    let staged = inner
        .tasks
        .spawn_blocking(move || {
            staging
                .staging
                .put(admission, chunk, owner, plain_len, frame.into())
        })
        .await
        .map_err(|_| Error::ShuttingDown)??;
    Ok(Some(returned(Some(staged))))
}

/// An authentic frame of a chunk, if there is one within reach of `search`.
async fn frame(
    shared: &Shared,
    slot: Slot,
    whole: Option<&Bytes>,
    search: &mut Search,
) -> Result<Option<Bytes>> {
    let (inner, chunk) = (&shared.inner, slot.chunk);
    let range = slot.offset as usize..slot.offset as usize + slot.len as usize;
    if let Some(frame) = whole.and_then(|bytes| bytes.get(range))
        && inner.open_frame(chunk, frame).is_ok()
    {
        return Ok(Some(Bytes::copy_from_slice(frame)));
    }
    if let Some(frame) = inner.disk.get(chunk).await
        && inner.open_frame(chunk, &frame).is_ok()
    {
        return Ok(Some(frame));
    }
    if !search.is_worth(&slot) {
        return Ok(None);
    }
    let len = u64::from(slot.len);
    shared.worker.take(len).await;
    let log = Log::new(false);
    let out_of_reach = |answer: &Result<_>| matches!(answer, Err(Error::Unavailable { .. }));
    let answer = search.ask(inner.fetch(chunk, &log), out_of_reach).await;
    search.note(&slot, answer.is_some());
    match answer {
        Some(Ok((frame, _))) => {
            shared.worker.count("bytes read", len);
            Ok(Some(frame))
        }
        Some(Err(error @ (Error::Meta(_) | Error::ShuttingDown))) => Err(error),
        // Nowhere, or nobody may open it any more.
        Some(Err(_)) | None => Ok(None),
    }
}

/// Moves chunks from `pack` to those that no pack holds, in one transaction; answers which moved.
/// They keep the level of `pack` when the network still has them in it (`held`).
async fn hand_over(inner: &Arc<Inner>, pack: u64, held: bool, back: Vec<Returned>) -> Result<Vec<ChunkId>> {
    if back.is_empty() {
        return Ok(Vec::new());
    }
    // No row may name bytes that are not on the disk.
    inner.staging.sync().await?;
    let member = inner.members.me().member;
    inner
        .meta
        .write(Durability::Synced, move |tx| -> Result<Vec<ChunkId>> {
            let mut moved = Vec::new();
            for returned in &back {
                let chunk = returned.waiting.chunk;
                let lives = tx.get(&record::dead_key(pack, chunk))?.is_none()
                    && locations::get(tx, chunk)?.is_some_and(|place| place.pack == pack);
                let staged = Staging::row(tx, chunk)?.is_some();
                let freed = tables::member_key(tables::FREED, member, chunk);
                let leaving = tx.get(&freed)?.is_some();
                match &returned.staged {
                    _ if !lives => continue,
                    // It is on its way out of staging; the next repair brings it.
                    _ if leaving => continue,
                    None if !staged => continue,
                    Some(frame) if !staged => Staging::name(tx, chunk, frame)?,
                    _ => {}
                }
                unpacked::put(tx, returned.waiting)?;
                if held {
                    moved::put(tx, chunk, pack)?;
                }
                // What is left in the old pack is nothing that anybody needs.
                references::die(tx, pack, chunk, returned.waiting.len)?;
                moved.push(chunk);
            }
            locations::remove(tx, pack, moved.iter().copied())?;
            Ok(moved)
        })
        .await
}

/// Notes how many live chunks of a segment could not be had.
async fn note_lost(inner: &Arc<Inner>, pack: u64, number: u32, lost: u64) -> Result<()> {
    inner
        .meta
        .write(Durability::Buffered, move |tx| -> Result<()> {
            if let Some(mut known) = health::get(tx, pack, number)?
                && known.lost != lost
            {
                known.lost = lost;
                health::put(tx, pack, number, &known)?;
            }
            Ok(())
        })
        .await
}

/// Retires a pack in which nothing lives any more because all of it was moved.
async fn retire(shared: &Shared, pack: u64, reason: String) -> Result<()> {
    let retired = shared
        .inner
        .meta
        .write(Durability::Buffered, move |tx| -> Result<bool> {
            let Some(mut about) = record::get(tx, pack)? else {
                return Ok(false);
            };
            for number in 0..about.segments {
                if about.retired || !live(tx, pack, number)?.is_empty() {
                    return Ok(false);
                }
            }
            about.retired = true;
            about.last_error = Some(reason.clone());
            record::put(tx, pack, &about)?;
            Ok(true)
        })
        .await?;
    if retired {
        shared.placing.retired();
    }
    Ok(())
}
