//! One pack's way through the states.
//!
//! A task per unfinished pack repeats: read the record, do the step that its state asks for, write
//! the next state. What a step learns beside the record (which fragments went where, what is
//! verified) lives in [`Memory`] and may be lost: it only saves work.
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cess::codec::FRAGMENT_SIZE;
use cess::{AccountId, Hash};
use meta::Durability;

use crate::pack::record::{self, Record};
use crate::place::memory::{Held, SEGMENT_MEMORY};
use crate::place::pace::Backoff;
use crate::place::upload::Plan;
use crate::place::{
    PlaceWorkers, Shared, StepError, build, declare, finality, isolate, orders, rules, upload, verify,
};
use crate::workers::Worker;
use crate::{ChunkId, Error, PackState, random, steps};

/// What to do after a step.
pub(crate) enum Step {
    /// The next step, at once.
    Next,
    /// The same step after a pause: the network is at work.
    Poll,
    /// Nothing is left to do.
    Done,
}

/// What a task remembers between steps.
#[derive(Default)]
pub(crate) struct Memory {
    /// Which miner has what of an open deal.
    pub plan: Option<Plan>,
    /// Looks in a row that found neither deal nor file.
    pub vanished: u32,
    /// Fragments (segment, index) read back so far, and from whom: another holder that the chain names
    /// later has to be asked itself.
    pub verified: HashSet<(u32, usize, AccountId)>,
    /// Since when read-back fails.
    pub unverified_since: Option<Instant>,
    /// The chunk that the disk did not give back last, and how often in a row.
    pub unreadable: Option<(ChunkId, u32)>,
}

impl Memory {
    /// The chunk that cannot be had from staging because of `error`, once that is certain: at once
    /// when it has rotted, after some tries when the disk does not read it.
    fn beyond_reading(&mut self, error: &StepError) -> Option<ChunkId> {
        match error {
            StepError::Store(Error::Damaged(chunk)) => Some(*chunk),
            StepError::Unreadable { chunk, .. } => {
                let before = self.unreadable.filter(|(last, _)| last == chunk);
                let tries = before.map_or(1, |(_, tries)| tries + 1);
                self.unreadable = Some((*chunk, tries));
                (tries >= UNREADABLE_TRIES).then_some(*chunk)
            }
            _ => None,
        }
    }
}

/// Times that a chunk is read from a disk that answers with errors before its pack goes on without
/// it: about a minute of them.
const UNREADABLE_TRIES: u32 = 6;

/// Whether a pack needs a task.
pub(crate) const fn unfinished(record: &Record) -> bool {
    !(record.retired || matches!(record.state, PackState::Verified) && record.reclaimed)
}

impl Shared {
    /// Room for one segment, once there is.
    pub(crate) async fn memory(&self) -> Held {
        self.kept.room(&self.memory, SEGMENT_MEMORY).await
    }

    /// Room for one fragment that is read back whole, once there is.
    pub(crate) async fn fragment_memory(&self) -> Held {
        self.kept.room(&self.memory, FRAGMENT_SIZE as u64).await
    }
}

/// Moves `pack` on until it is done or everything stops.
pub(crate) async fn run(shared: Arc<Shared>, pack: u64) {
    let pace = &shared.settings.pace;
    let mut retry = Backoff::new(pace.retry, pace.retry_max);
    let mut poll = Backoff::new(pace.poll, pace.poll_max);
    let mut memory = Memory::default();
    loop {
        let (worker, outcome) = step(&shared, pack, &mut memory).await;
        let pause = match outcome {
            Ok(Step::Done) => break,
            Ok(Step::Next) => {
                retry.reset();
                poll.reset();
                Duration::ZERO
            }
            Ok(Step::Poll) => poll.pause(random::u64()),
            // Nothing in it lives any more, and what it was made from went while it was worked on.
            Err(error) if retired(&shared, pack) => {
                tracing::debug!(pack, %error, "a pack died while it was worked on");
                Duration::ZERO
            }
            // Stopping is no reason to be found beside the pack at the next start.
            Err(error) if shared.stop.is_cancelled() => {
                tracing::debug!(pack, %error, "a step ended with everything");
                break;
            }
            Err(error) => {
                tracing::warn!(pack, %error, "pack step failed");
                worker.failed(&format_args!("pack {pack}: {error}"));
                note_error(&shared, pack, &error).await;
                if let Some(chunk) = memory.beyond_reading(&error) {
                    match isolate::isolate(&shared, pack, chunk, &error).await {
                        // A disk that spoils what it is given keeps the network busy, but not for all
                        // that the network gives; and many bad records do not add up to hours.
                        Ok(true) => pace.retry,
                        Ok(false) => retry.pause(random::u64()),
                        Err(error) => {
                            tracing::warn!(pack, %error, "a damaged chunk cannot be isolated");
                            retry.pause(random::u64())
                        }
                    }
                } else {
                    retry.pause(random::u64())
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.chain_back.notified() => {}
        }
    }
    shared.driven.lock().remove(&pack);
    shared.progressed();
}

/// Whether `pack` is on its way out, or gone.
fn retired(shared: &Shared, pack: u64) -> bool {
    let record = shared
        .meta
        .snapshot()
        .map_err(Error::from)
        .and_then(|snapshot| record::get(&*snapshot, pack));
    record.is_ok_and(|record| record.is_none_or(|record| record.retired))
}

/// Keeps the reason where an operator sees it. Best effort: the step is repeated anyway.
pub(crate) async fn note_error(shared: &Shared, pack: u64, error: &StepError) {
    let text = error.to_string();
    let known = shared
        .meta
        .snapshot()
        .map_err(Error::from)
        .and_then(|snapshot| Ok(record::get(&*snapshot, pack)?.and_then(|record| record.last_error)));
    if matches!(&known, Ok(Some(known)) if *known == text) {
        return;
    }
    let noted = shared
        .update(pack, Durability::Buffered, move |record| {
            record.last_error = Some(text.clone());
        })
        .await;
    if let Err(error) = noted {
        tracing::warn!(pack, %error, "cannot note why a step failed");
    }
}

/// One step, and the worker in whose name it was done.
async fn step<'a>(
    shared: &'a Arc<Shared>,
    pack: u64,
    memory: &mut Memory,
) -> (&'a Worker, Result<Step, StepError>) {
    let PlaceWorkers { placer, verifier, .. } = &shared.workers;
    let known = shared
        .meta
        .snapshot()
        .map_err(Error::from)
        .and_then(|snapshot| record::get(&*snapshot, pack));
    let record = match known {
        Ok(Some(record)) => record,
        Ok(None) => return (placer, Ok(Step::Done)),
        Err(error) => return (placer, Err(error.into())),
    };
    let (worker, doing) = match record.state {
        PackState::Closed => (placer, "hashing"),
        PackState::Hashed => (placer, "ordering space"),
        PackState::Declared => (placer, "pushing fragments and awaiting reports"),
        PackState::Placed => (verifier, "reading back"),
        PackState::Verified => (verifier, "giving staging space back"),
    };
    worker.turn().await;
    let _work = worker.working(format!("pack {pack}: {doing}"));
    (worker, step_from(shared, pack, &record, memory).await)
}

async fn step_from(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
    memory: &mut Memory,
) -> Result<Step, StepError> {
    if record.retired {
        shared.upkeep.notify_one();
        return Ok(Step::Done);
    }
    match record.state {
        PackState::Closed => build::hash(shared, pack, record).await,
        PackState::Hashed => declare::declare(shared, pack, record, memory).await,
        PackState::Declared => upload::place(shared, pack, record, memory).await,
        PackState::Placed => {
            if let Some(step) = finality::awaited(shared, pack, record).await? {
                return Ok(step);
            }
            if let Some(step) = rules::check_holders(shared, pack, record).await? {
                return Ok(step);
            }
            verify::verify(shared, pack, record, memory).await
        }
        PackState::Verified => reclaim(shared, pack, record).await,
    }
}

/// Verified: staging gives the space back.
pub(crate) async fn reclaim(shared: &Arc<Shared>, pack: u64, record: &Record) -> Result<Step, StepError> {
    if !record.reclaimed {
        let chunks = record::chunks(&*shared.meta.snapshot()?, pack, record.segments)?;
        steps::reach_async(steps::RECLAIM).await?;
        shared.local.reclaim(&chunks).await?;
        steps::reach_async(steps::RECLAIM_NOTE).await?;
        let segments = record.segments;
        shared
            .meta
            .write(Durability::Buffered, move |tx| -> crate::Result<()> {
                record::delete_sealed_indexes(tx, pack, segments)?;
                orders::forget(tx, pack)?;
                record::update(tx, pack, |record| record.reclaimed = true)?;
                Ok(())
            })
            .await?;
        steps::reach_async(steps::RECLAIMED).await?;
    }
    // Others may have waited for these chunks to be safe elsewhere.
    shared.upkeep.notify_one();
    Ok(Step::Done)
}

/// The FID of a pack that is hashed.
pub(crate) fn fid(record: &Record) -> Result<Hash, StepError> {
    let fid = record.fid.ok_or_else(|| {
        Error::from(meta::Error::Damaged(
            "pack table: a hashed pack has no FID".into(),
        ))
    })?;
    Ok(Hash(fid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fails_is_asked_again_and_a_rotten_record_is_not() {
        let unreadable = |chunk| StepError::Unreadable {
            chunk: ChunkId(chunk),
            reason: "Input/output error".into(),
        };
        let mut memory = Memory::default();
        for _ in 1..UNREADABLE_TRIES {
            assert_eq!(memory.beyond_reading(&unreadable(7)), None);
        }
        // Another chunk: it is the disk, and not the one record.
        assert_eq!(memory.beyond_reading(&unreadable(8)), None);
        for _ in 1..UNREADABLE_TRIES {
            assert_eq!(memory.beyond_reading(&unreadable(7)), None);
        }
        assert_eq!(memory.beyond_reading(&unreadable(7)), Some(ChunkId(7)));
        let rotten = StepError::Store(Error::Damaged(ChunkId(9)));
        assert_eq!(memory.beyond_reading(&rotten), Some(ChunkId(9)));
        assert_eq!(memory.beyond_reading(&StepError::Deal("other".into())), None);
    }
}
