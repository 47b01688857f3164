//! Forgetting packs.
//!
//! A pack goes when nothing in it lives any more, or when it was stored again (`retired` by
//! [`super::verify`] or [`crate::reclaim`]) and everything that lived in it is verified elsewhere. The file is deleted
//! on chain first, once no checkpoint needs it ([`crate::checkpoint::coverage`]), and the chain
//! asked whether it is really gone (its event proves nothing); the rows are forgotten last, so that a
//! crash in between only repeats.
//!
//! An open deal cannot be cancelled: a pack that dies while it is being placed is placed to the
//! end and deleted then.
use std::collections::HashSet;
use std::sync::Arc;

use meta::{Durability, Read};

use crate::health::seen::Seen;
use crate::pack::record::{self, Record};
use crate::place::local::unpacked;
use crate::place::{Shared, StepError, isolate, orders};
use crate::reclaim::{moved, tally};
use crate::{ChainState, ChunkId, Error, Level, PackState, Result, locations, steps};

/// Forgets packs until everything stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let keeper = shared.settings.role.keeper.clone();
    let mut made_up = false;
    let worker = &shared.workers.upkeep;
    loop {
        worker.turn().await;
        // Whoever packed them, and whether it lives or not: one gateway forgets packs.
        if keeper.is_open() {
            if !made_up && let Err(error) = make_up(&shared).await {
                tracing::warn!(%error, "packs of an earlier version are not looked after");
            }
            made_up = true;
            let work = worker.working("looking for packs to forget");
            if let Err(error) = pass(&shared).await {
                tracing::warn!(%error, "upkeep of packs failed");
                worker.failed(&error);
            }
            drop(work);
        }
        shared.kept.trim();
        shared.buffers.trim();
        worker.waits(shared.settings.pace.upkeep);
        tokio::select! {
            () = shared.upkeep.notified() => {
                // Packs finish in groups; look once for all of them.
                tokio::time::sleep(shared.settings.pace.poll).await;
            }
            () = tokio::time::sleep(shared.settings.pace.upkeep) => {}
        }
    }
}

/// Counts packs that an earlier version closed and did not count.
async fn make_up(shared: &Shared) -> Result<()> {
    let uncounted: Vec<u64> = {
        let snapshot = shared.meta.snapshot()?;
        let counted: HashSet<u64> = tally::all(&*snapshot)?
            .into_iter()
            .map(|(pack, _)| pack)
            .collect();
        record::all(&*snapshot)?
            .into_iter()
            .map(|(pack, _)| pack)
            .filter(|pack| !counted.contains(pack))
            .collect()
    };
    for pack in uncounted {
        shared
            .meta
            .write(Durability::Buffered, move |tx| tally::make_up(tx, pack))
            .await?;
    }
    Ok(())
}

async fn pass(shared: &Arc<Shared>) -> Result<(), StepError> {
    let tallies = tally::all(&*shared.meta.snapshot()?)?;
    let mut failed = None;
    for (pack, tally) in tallies {
        let outcome = if tally.retired {
            match record::get(&*shared.meta.snapshot()?, pack)? {
                Some(record) => finish(shared, pack, &record).await,
                None => Ok(()),
            }
        } else if tally.is_dead() {
            bury(shared, pack).await
        } else {
            Ok(())
        };
        if let Err(error) = outcome {
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Marks a pack in which nothing lives, unless a deal holds it.
async fn bury(shared: &Arc<Shared>, pack: u64) -> Result<(), StepError> {
    let marked = shared
        .meta
        .write(Durability::Buffered, move |tx| -> Result<Option<Record>> {
            let Some(mut record) = record::get(tx, pack)? else {
                return Ok(None);
            };
            let held = record.declaring || record.state == PackState::Declared;
            let dead = tally::get(tx, pack)?.is_some_and(|tally| tally.is_dead());
            if held || !dead {
                return Ok(None);
            }
            record.retired = true;
            record::put(tx, pack, &record)?;
            Ok(Some(record))
        })
        .await?;
    match marked {
        Some(record) => finish(shared, pack, &record).await,
        None => Ok(()),
    }
}

/// What became of a chunk of a retired pack.
enum Fate {
    /// Nothing refers to it.
    Dead,
    /// Another pack holds it and is verified.
    Safe,
    /// It is on its way into another pack.
    Waiting,
    /// Staging cannot give it back; whatever is left of it stays there.
    Damaged,
}

fn fate<R: Read + ?Sized>(read: &R, pack: u64, chunk: ChunkId) -> Result<Fate> {
    if unpacked::contains(read, chunk)? {
        return Ok(Fate::Waiting);
    }
    if isolate::is_damaged(read, chunk)? {
        // What it came from may be the only copy that is left.
        let is_needed = moved::from(read, chunk)? == Some(pack);
        return Ok(if is_needed { Fate::Waiting } else { Fate::Damaged });
    }
    match locations::get(read, chunk)? {
        None => Ok(Fate::Dead),
        Some(place) if place.pack == pack => {
            let dead = read.get(&record::dead_key(pack, chunk))?.is_some();
            Ok(if dead { Fate::Dead } else { Fate::Waiting })
        }
        Some(place) if read.get(&record::dead_key(place.pack, chunk))?.is_some() => Ok(Fate::Dead),
        Some(place) => {
            let safe = match record::get(read, place.pack)? {
                Some(record) => Seen::new(read)?.level(read, &place, record.state)? == Level::Verified,
                None => true,
            };
            Ok(if safe { Fate::Safe } else { Fate::Waiting })
        }
    }
}

/// Whether no checkpoint that a restore would use needs the file of `pack`.
fn may_delete(shared: &Shared, pack: u64) -> bool {
    let Some(coverage) = &shared.settings.coverage else {
        return true;
    };
    if coverage.is_alone() && shared.outlook.lock().state == ChainState::Unpaid {
        // What would be placed first needs the space that is freed here.
        coverage.give_up(pack);
        return true;
    }
    coverage.may_delete(pack)
}

/// Deletes and forgets a retired pack, if nothing waits for it any more.
async fn finish(shared: &Arc<Shared>, pack: u64, record: &Record) -> Result<(), StepError> {
    let dead = {
        let snapshot = shared.meta.snapshot()?;
        let mut dead = Vec::new();
        for chunk in record::chunks(&*snapshot, pack, record.segments)? {
            match fate(&*snapshot, pack, chunk)? {
                Fate::Waiting => return Ok(()),
                Fate::Dead => dead.push(chunk),
                Fate::Safe | Fate::Damaged => {}
            }
        }
        dead
    };
    shared.local.reclaim(&dead).await?;
    // What `fate` saw may not be durable yet, and a crash must not bring back what needs the file.
    shared.meta.sync().await.map_err(Error::from)?;
    if let Some(fid) = record.fid
        // An order that was given up may have been completed since.
        && record.state >= PackState::Declared
    {
        let fid = cess::Hash(fid);
        if let Some(file) = shared.network.file(fid).await?
            && file.owners.contains(&shared.settings.owner)
        {
            shared.settings.fence.check()?;
            if !may_delete(shared, pack) {
                return Ok(());
            }
            steps::reach_async(steps::FORGET_DELETE).await?;
            shared.network.delete_file(shared.settings.owner, fid).await?;
            if let Some(file) = shared.network.file(fid).await?
                && file.owners.contains(&shared.settings.owner)
            {
                return Err(StepError::Deal(format!("the chain did not delete {fid}")));
            }
            steps::reach_async(steps::FORGET_DELETED).await?;
        }
    }
    let segments = record.segments;
    shared
        .meta
        .write(Durability::Buffered, move |tx| -> Result<()> {
            if record::get(tx, pack)?.is_none() {
                return Ok(());
            }
            let chunks = record::chunks(tx, pack, segments)?;
            for (chunk, _) in record::dead(tx, pack)? {
                tx.delete(&record::dead_key(pack, chunk))?;
            }
            for chunk in &chunks {
                moved::delete(tx, *chunk, pack)?;
            }
            locations::remove(tx, pack, chunks)?;
            orders::forget(tx, pack)?;
            record::delete(tx, pack, segments)
        })
        .await?;
    steps::reach_async(steps::FORGOTTEN).await?;
    tracing::info!(pack, "pack forgotten");
    shared.workers.upkeep.count("packs forgotten", 1);
    shared.progressed();
    Ok(())
}
