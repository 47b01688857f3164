//! How far chunks have come, and waiting for it.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use meta::{Meta, Read};

use crate::checkpoint::rows;
use crate::health;
use crate::health::seen::Seen;
use crate::locations::Location;
use crate::members;
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

/// Chunks that are to be packed at once: up to which, by who has them in staging.
pub(crate) type Wanted = BTreeMap<u16, ChunkId>;

/// Notes that `chunk` is wanted of `member`.
fn want(wanted: &mut Wanted, member: u16, chunk: ChunkId) {
    let highest = wanted.entry(member).or_insert(chunk);
    *highest = chunk.max(*highest);
}

/// Those of `chunks` that are recorded and have not reached `level`; those that no pack holds are wanted
/// beside them.
fn behind<R: Read + ?Sized>(read: &R, chunks: &[ChunkId], level: Level) -> Result<(Vec<ChunkId>, Wanted)> {
    let seen = Seen::new(read)?;
    let places: HashMap<ChunkId, Location> = locations::get_many(read, chunks)?.into_iter().collect();
    // `None` of a pack that is forgotten: nobody misses what was in it.
    let mut levels: HashMap<(u64, u32), Option<Level>> = HashMap::new();
    let mut left = Vec::new();
    let mut wanted = Wanted::new();
    for chunk in chunks {
        if let Some(place) = places.get(chunk) {
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
        } else if moved::level(read, seen, *chunk, Level::Staged)? >= level {
        } else if let Some(member) = unpacked::member(read, *chunk)? {
            want(&mut wanted, member, *chunk);
            left.push(*chunk);
        } else if isolate::is_damaged(read, *chunk)? {
            return Err(Error::Damaged(*chunk));
        }
        // Else it was released meanwhile, and nobody misses it.
    }
    Ok((left, wanted))
}

/// The highest chunks recorded so far that matter to a flush. Ids of different members are in no order.
fn horizon<R: Read + ?Sized>(read: &R, level: Level) -> Result<Wanted> {
    let mut horizon = Wanted::new();
    for member in unpacked::members(read)? {
        if let Some(last) = unpacked::last(read, member)? {
            want(&mut horizon, member, last);
        }
    }
    let seen = Seen::new(read)?;
    for (pack, record) in record::all(read)? {
        if !record.retired && !settled(read, seen, pack, &record, level)? {
            want(&mut horizon, record::member(read, pack)?, ChunkId(record.last));
        }
    }
    Ok(horizon)
}

/// Whether everything up to `horizon` reached `level`, and what no pack holds of it.
fn flushed<R: Read + ?Sized>(read: &R, horizon: &Wanted, level: Level) -> Result<(bool, Wanted)> {
    let mut wanted = Wanted::new();
    for (member, highest) in horizon {
        if let Some(row) = unpacked::from(read, *member, ChunkId(0))?.next()
            && row?.chunk <= *highest
        {
            want(&mut wanted, *member, *highest);
        }
    }
    if !wanted.is_empty() {
        return Ok((false, wanted));
    }
    let seen = Seen::new(read)?;
    for (pack, record) in record::all(read)? {
        if record.retired || settled(read, seen, pack, &record, level)? {
            continue;
        }
        let highest = horizon.get(&record::member(read, pack)?);
        if highest.is_some_and(|highest| record.first <= highest.0) {
            return Ok((false, wanted));
        }
    }
    Ok((true, wanted))
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
    until(placing, level, timeout, || {
        let snapshot = meta.snapshot()?;
        let (mut rest, mut wanted) = behind(&*snapshot, &left, level)?;
        if rest.is_empty() {
            // What had come far enough may have fallen back since, when its miners turned out to lie.
            (rest, wanted) = behind(&*snapshot, chunks, level)?;
        }
        left = rest;
        Ok((left.is_empty(), wanted))
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
    let horizon = horizon(&*meta.snapshot()?, level)?;
    if horizon.is_empty() {
        return require_undamaged(meta, level);
    }
    until(placing, level, timeout, || {
        flushed(&*meta.snapshot()?, &horizon, level)
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

/// Looks after every progress until `done`, which answers what is to be packed for it.
async fn until(
    placing: Option<&Placing>,
    level: Level,
    timeout: Duration,
    mut done: impl FnMut() -> Result<(bool, Wanted)>,
) -> Result<()> {
    if level == Level::Staged {
        return Ok(());
    }
    let Some(running) = placing else {
        return if done()?.0 {
            Ok(())
        } else {
            Err(Error::NotYet(level))
        };
    };
    let mut progress = running.shared.progress.subscribe();
    let waiting = async {
        let mut asked = Wanted::new();
        loop {
            progress.borrow_and_update();
            let (is_done, wanted) = done()?;
            if is_done {
                return Ok(());
            }
            running.shared.close(wanted, &mut asked).await?;
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

/// The gateway whose staging a pack needs to come further, if that one does not run.
fn waits_for<R: Read + ?Sized>(read: &R, pack: u64, record: &record::Record) -> Result<Option<String>> {
    if record.retired || record.state >= PackState::Placed {
        return Ok(None);
    }
    let member = record::member(read, pack)?;
    members::name_if_away(read, member)
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
                waits_for: waits_for(read, id, &record)?,
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
