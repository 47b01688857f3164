//! How far chunks have come, and waiting for it.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use meta::{Meta, Read};

use crate::checkpoint::rows;
use crate::health;
use crate::health::seen::Seen;
use crate::locations::Location;
use crate::pack::record;
use crate::place::local::unpacked;
use crate::place::{Placing, isolate, level_of};
use crate::reclaim::moved;
use crate::{ChunkId, Error, Level, PackState, PackStatus, Result, locations};

/// The lowest level of `chunks`. A chunk that no pack holds is staged.
pub(crate) fn level<R: Read + ?Sized>(read: &R, chunks: &[ChunkId]) -> Result<Level> {
    let seen = Seen::new(read)?;
    let places: HashMap<ChunkId, Location> = locations::get_many(read, chunks)?.into_iter().collect();
    let mut levels: BTreeMap<(u64, u32), Level> = BTreeMap::new();
    let mut lowest = Level::Verified;
    for &chunk in chunks {
        let place = places
            .get(&chunk)
            .map(|place| (place, (place.pack, place.segment)));
        let level = match place.map(|(place, segment)| (place, segment, levels.get(&segment))) {
            // In no pack now; one that it moved out of may have brought it further.
            None => Level::Staged,
            Some((_, _, Some(level))) => *level,
            Some((place, segment, None)) => {
                let state = record::get(read, place.pack)?.map(|record| record.state);
                let level = seen.level(read, place, state.unwrap_or(PackState::Closed))?;
                levels.insert(segment, level);
                level
            }
        };
        lowest = lowest.min(moved::level(read, seen, chunk, level)?);
        if lowest == Level::Staged {
            break;
        }
    }
    Ok(lowest)
}

/// Those of `chunks` that are recorded and have not reached `level`; the highest of those that no
/// pack holds beside them.
fn behind<R: Read + ?Sized>(
    read: &R,
    chunks: &[ChunkId],
    level: Level,
) -> Result<(Vec<ChunkId>, Option<ChunkId>)> {
    let seen = Seen::new(read)?;
    let places: HashMap<ChunkId, Location> = locations::get_many(read, chunks)?.into_iter().collect();
    // `None` of a pack that is forgotten: nobody misses what was in it.
    let mut levels: HashMap<(u64, u32), Option<Level>> = HashMap::new();
    let mut left = Vec::new();
    let mut highest = None;
    for chunk in chunks {
        match places.get(chunk) {
            Some(place) => {
                let segment = (place.pack, place.segment);
                let reached = match levels.get(&segment) {
                    Some(reached) => *reached,
                    None => {
                        let reached = record::get(read, place.pack)?
                            .map(|record| seen.level(read, place, record.state))
                            .transpose()?;
                        levels.insert(segment, reached);
                        reached
                    }
                };
                if let Some(reached) = reached
                    && moved::level(read, seen, *chunk, reached)? < level
                {
                    left.push(*chunk);
                }
            }
            None if moved::level(read, seen, *chunk, Level::Staged)? >= level => {}
            None if unpacked::contains(read, *chunk)? => {
                highest = highest.max(Some(*chunk));
                left.push(*chunk);
            }
            None if isolate::is_damaged(read, *chunk)? => return Err(Error::Damaged(*chunk)),
            // Released meanwhile: nobody misses it.
            None => {}
        }
    }
    Ok((left, highest))
}

/// The highest chunk recorded so far that matters to a flush.
fn horizon<R: Read + ?Sized>(read: &R) -> Result<Option<ChunkId>> {
    let packed = record::all(read)?
        .into_iter()
        .map(|(_, record)| ChunkId(record.last))
        .max();
    Ok(unpacked::last(read)?.max(packed))
}

/// Whether everything up to `horizon` reached `level`; the highest chunk that no pack holds.
fn flushed<R: Read + ?Sized>(read: &R, horizon: ChunkId, level: Level) -> Result<(bool, Option<ChunkId>)> {
    if let Some(row) = unpacked::from(read, ChunkId(0))?.next()
        && row?.chunk <= horizon
    {
        return Ok((false, Some(horizon)));
    }
    let seen = Seen::new(read)?;
    for (pack, record) in record::all(read)? {
        let concerned = !record.retired && record.first <= horizon.0;
        if concerned && !settled(read, seen, pack, &record, level)? {
            return Ok((false, None));
        }
    }
    Ok((true, None))
}

/// Whether a pack has reached `level` as a flush means it: nothing is verified that still takes
/// space in staging, so that who flushes and drops the caches finds the disk empty.
fn settled<R: Read + ?Sized>(
    read: &R,
    seen: Seen,
    pack: u64,
    record: &record::Record,
    level: Level,
) -> Result<bool> {
    if level_of(record.state) < level {
        return Ok(false);
    }
    Ok(level < Level::Verified || (record.reclaimed && seen.unseen(read, pack, record.segments)? == 0))
}

/// Segments in which `chunks` lie that a restore brought back and nobody looked at yet.
pub(crate) fn unseen<R: Read + ?Sized>(read: &R, chunks: &[ChunkId]) -> Result<BTreeSet<(u64, u32)>> {
    let seen = Seen::new(read)?;
    let mut unseen = BTreeSet::new();
    for (_, place) in locations::get_many(read, chunks)? {
        let segment = (place.pack, place.segment);
        if !unseen.contains(&segment) && !seen.segment(read, place.pack, place.segment)? {
            unseen.insert(segment);
        }
    }
    Ok(unseen)
}

/// Waits until all of `chunks` are at `level` at one moment. Without workers nothing rises above staged.
pub(crate) async fn wait(
    meta: &Meta,
    placing: Option<&Placing>,
    chunks: &[ChunkId],
    level: Level,
    timeout: Duration,
) -> Result<()> {
    let mut left = chunks.to_vec();
    until(placing, level, timeout, |placing| {
        let snapshot = meta.snapshot()?;
        let (mut rest, mut highest) = behind(&*snapshot, &left, level)?;
        if rest.is_empty() {
            // What had come far enough may have fallen back since, when its miners turned out to lie.
            (rest, highest) = behind(&*snapshot, chunks, level)?;
        }
        if let (Some(placing), Some(highest)) = (placing, highest) {
            placing.shared.close_through(highest);
        }
        left = rest;
        Ok(left.is_empty())
    })
    .await
}

/// Closes open packs and waits until everything recorded before the call reached `level`.
pub(crate) async fn flush(
    meta: &Meta,
    placing: Option<&Placing>,
    level: Level,
    timeout: Duration,
) -> Result<()> {
    let Some(horizon) = horizon(&*meta.snapshot()?)? else {
        return require_undamaged(meta, level);
    };
    until(placing, level, timeout, |placing| {
        let (done, highest) = flushed(&*meta.snapshot()?, horizon, level)?;
        if let (Some(placing), Some(highest)) = (placing, highest) {
            placing.shared.close_through(highest);
        }
        Ok(done)
    })
    .await?;
    require_undamaged(meta, level)
}

/// Whatever else has come how far: what rotted in staging rises no more. What a restore found lost was
/// told by the restore, and is told whoever waits for a file of which it is part. Checkpoints that are
/// damaged are replaced, which is for who waits for one.
fn require_undamaged(meta: &Meta, level: Level) -> Result<()> {
    if level == Level::Staged {
        return Ok(());
    }
    let snapshot = meta.snapshot()?;
    let rotten = isolate::rotten(&*snapshot)?;
    if rotten.is_empty() {
        return Ok(());
    }
    let checkpoints: HashSet<ChunkId> = rows::kept(&*snapshot)?
        .iter()
        .flat_map(rows::Kept::chunks)
        .collect();
    match rotten.into_iter().find(|chunk| !checkpoints.contains(chunk)) {
        Some(chunk) => Err(Error::Damaged(chunk)),
        None => Ok(()),
    }
}

/// Looks after every progress until `done`.
async fn until(
    placing: Option<&Placing>,
    level: Level,
    timeout: Duration,
    mut done: impl FnMut(Option<&Placing>) -> Result<bool>,
) -> Result<()> {
    if level == Level::Staged {
        return Ok(());
    }
    let Some(running) = placing else {
        return if done(None)? {
            Ok(())
        } else {
            Err(Error::NotYet(level))
        };
    };
    let mut progress = running.shared.progress.subscribe();
    let waiting = async {
        loop {
            progress.borrow_and_update();
            if done(placing)? {
                return Ok(());
            }
            tokio::select! {
                changed = progress.changed() => {
                    if changed.is_err() {
                        return Err(Error::ShuttingDown);
                    }
                }
                () = running.shared.stop.cancelled() => return Err(Error::ShuttingDown),
            }
        }
    };
    tokio::time::timeout(timeout, waiting)
        .await
        .unwrap_or(Err(Error::NotYet(level)))
}

/// What an operator sees of the packs, oldest first.
pub(crate) fn packs<R: Read + ?Sized>(read: &R) -> Result<Vec<PackStatus>> {
    let seen = Seen::new(read)?;
    record::all(read)?
        .into_iter()
        .map(|(id, record)| {
            let unseen = if record.retired {
                0
            } else {
                seen.unseen(read, id, record.segments)?
            };
            let miners = if record.state >= PackState::Placed {
                record::names(read, id)?.map_or_else(Vec::new, |names| {
                    (0..cess::codec::FRAGMENTS)
                        .filter_map(|index| names.holder(0, index))
                        .map(|holder| cess::AccountId(holder.account).to_ss58(cess::account::SS58_PREFIX))
                        .collect()
                })
            } else {
                Vec::new()
            };
            Ok(PackStatus {
                good: health::worst(read, id, &record)?,
                id,
                state: record.state,
                fid: record.fid.map(|fid| cess::Hash(fid).to_string()),
                segments: record.segments,
                chunks: record.chunks,
                bytes: record.bytes,
                miners,
                unverified: record.unverified,
                unseen,
                last_error: record.last_error,
            })
        })
        .collect()
}
