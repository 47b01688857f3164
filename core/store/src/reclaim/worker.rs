//! Reclaiming by itself, as long as it pays.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::pack::record;
use crate::place::{Shared, StepError, declare};
use crate::reclaim::plan::{self, Means, Prices};
use crate::reclaim::tally::{self, Tally};
use crate::reclaim::{ReclaimPlan, mover};
use crate::{Error, PackState, Result, clock};

/// How long a pack is left alone out of which something could not be moved: its frames are damaged,
/// or too few of its miners answer, and trying costs what it costs each time.
const LEFT_ALONE: Duration = Duration::from_secs(3600);

/// Since when packs have lost nothing.
#[derive(Default)]
struct Quiet(HashMap<u64, (u64, Instant)>);

/// Packs out of which something could not be moved, and when that was tried.
#[derive(Default)]
pub(crate) struct Stuck(Mutex<HashMap<u64, Instant>>);

impl Stuck {
    fn note(&self, pack: u64, now: Instant) {
        let mut stuck = self.0.lock();
        stuck.retain(|_, since| now.saturating_duration_since(*since) < LEFT_ALONE);
        stuck.insert(pack, now);
    }

    fn is(&self, pack: u64, now: Instant) -> bool {
        let since = self.0.lock().get(&pack).copied();
        since.is_some_and(|since| now.saturating_duration_since(since) < LEFT_ALONE)
    }
}

impl Quiet {
    fn look(&mut self, tallies: &[(u64, Tally)], now: Instant) {
        let before = std::mem::take(&mut self.0);
        self.0 = tallies
            .iter()
            .map(|(pack, tally)| {
                let seen = before
                    .get(pack)
                    .filter(|(dead, _)| *dead == tally.dead_chunks)
                    .copied();
                (*pack, seen.unwrap_or((tally.dead_chunks, now)))
            })
            .collect();
    }

    fn is(&self, pack: u64, quiet: Duration, now: Instant) -> bool {
        self.0
            .get(&pack)
            .is_some_and(|(_, since)| now.saturating_duration_since(*since) >= quiet)
    }
}

/// Looks now and then until everything stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut quiet = Quiet::default();
    let worker = &shared.workers.reclaimer;
    shared.settings.role.keeper.opened().await;
    loop {
        worker.turn().await;
        if let Err(error) = pass(&shared, &mut quiet).await {
            worker.failed(&error);
            match error {
                // Staging is busy with what is there, or the network is away: later.
                Error::StagingFull { .. } | Error::Network(_) => {
                    tracing::debug!(%error, "nothing is reclaimed now");
                }
                _ => tracing::warn!(%error, "reclaiming failed"),
            }
        }
        worker.waits(shared.settings.pace.upkeep);
        tokio::time::sleep(shared.settings.pace.upkeep).await;
    }
}

async fn pass(shared: &Arc<Shared>, quiet: &mut Quiet) -> Result<()> {
    let _alone = shared.reclaiming.lock().await;
    let tallies = finish_begun(shared).await?;
    let now = clock::monotonic();
    quiet.look(&tallies, now);
    let settings = &shared.settings.reclaim;
    let stuck = &shared.stuck;
    let eligible = |pack: u64, _: &Tally| quiet.is(pack, settings.quiet, now) && !stuck.is(pack, now);
    let wasteful = tallies
        .iter()
        .any(|(pack, tally)| plan::is_wasteful(tally) && tally.settled && eligible(*pack, tally));
    // The chain is asked for its price only when there is something to weigh.
    if !settings.automatic || !wasteful {
        return Ok(());
    }
    let plan = decide(shared, &tallies, eligible).await?;
    act(shared, &plan).await
}

/// What reclaim would do now.
pub(crate) async fn plan_now(shared: &Arc<Shared>) -> Result<ReclaimPlan> {
    let tallies = tally::all(&*shared.meta.snapshot()?)?;
    decide(shared, &tallies, |_, _| true).await
}

/// Reclaims what pays now, without waiting for packs to be quiet or for others to fill up with.
pub(crate) async fn run_now(shared: &Arc<Shared>) -> Result<ReclaimPlan> {
    shared.settings.role.keeper.require("reclaim")?;
    let _alone = shared.reclaiming.lock().await;
    let tallies = finish_begun(shared).await?;
    let plan = decide(shared, &tallies, |_, _| true).await?;
    let acted = act(shared, &plan).await;
    // Also what came back before something went wrong takes room until it is packed again.
    shared.close_all()?;
    shared.wake_upkeep();
    acted?;
    Ok(plan)
}

/// Moves that a stop or an error cut off: packs, and bytes of frames that are left in each. Those of
/// packs that are left alone for a while are not among them.
fn begun(shared: &Shared, tallies: &[(u64, Tally)]) -> Result<Vec<(u64, u64)>> {
    let now = clock::monotonic();
    let snapshot = shared.meta.snapshot()?;
    tallies
        .iter()
        .filter(|(_, tally)| tally.moving && !tally.retired && !tally.is_dead())
        .filter(|(pack, _)| !shared.stuck.is(*pack, now))
        .map(|(pack, tally)| Ok((*pack, mover::left_bytes(&*snapshot, *pack, tally.segments)?)))
        .collect()
}

/// Ends moves that were begun, as far as the territory can pay for what they bring back; answers the
/// tallies as they are then.
async fn finish_begun(shared: &Arc<Shared>) -> Result<Vec<(u64, Tally)>> {
    let tallies = tally::all(&*shared.meta.snapshot()?)?;
    let begun = begun(shared, &tallies)?;
    if begun.is_empty() {
        return Ok(tallies);
    }
    let means = means(shared).await?;
    let _hold = shared.hold();
    let mut live = 0;
    for (pack, left) in begun {
        live += left;
        if let Some(why) = means.unpayable(live) {
            tracing::debug!(pack, why, "a move that was begun waits");
            shared.workers.reclaimer.failed(&why);
            break;
        }
        move_out(shared, pack).await?;
    }
    tally::all(&*shared.meta.snapshot()?)
}

async fn decide(
    shared: &Arc<Shared>,
    tallies: &[(u64, Tally)],
    eligible: impl Fn(u64, &Tally) -> bool,
) -> Result<ReclaimPlan> {
    let settings = &shared.settings.reclaim;
    let prices = Prices {
        unit: shared.network.unit_price().await?,
        horizon: settings.horizon,
        transfer: settings.transfer,
    };
    let mut means = means(shared).await?;
    let begun = begun(shared, tallies)?;
    means.waiting += begun.iter().map(|(_, left)| left).sum::<u64>();
    let mut plan = plan::plan(tallies, eligible, &means, &prices);
    if plan.held_back.is_none() && !begun.is_empty() {
        plan.held_back = means.unpayable(0);
    }
    Ok(plan)
}

/// What there is to move with now. [`Error::Network`] when the chain cannot be asked.
async fn means(shared: &Shared) -> Result<Means> {
    let (room, unpaid) = match declare::room(shared).await {
        Ok(room) => (room, None),
        Err(StepError::Store(error)) => return Err(error),
        Err(StepError::Network(error)) => return Err(error.into()),
        Err(other) => (0, Some(other.to_string())),
    };
    // The chain wants more than what is needed, not as much.
    let payable = room.saturating_sub(1) / declare::CHARGE;
    // Packs that were closed and not ordered yet take theirs first.
    let ordered: u64 = record::all(&*shared.meta.snapshot()?)?
        .iter()
        .filter(|(_, record)| record.state < PackState::Declared && !record.retired)
        .map(|(_, record)| u64::from(record.segments))
        .sum();
    Ok(Means {
        waiting: shared.waiting(),
        segments: u64::try_from(payable).unwrap_or(u64::MAX).saturating_sub(ordered),
        unpaid,
        spare: shared.local.spare(),
    })
}

async fn act(shared: &Arc<Shared>, plan: &ReclaimPlan) -> Result<()> {
    let moves: Vec<_> = plan.packs.iter().filter(|pack| pack.live_bytes > 0).collect();
    if moves.is_empty() {
        return Ok(());
    }
    tracing::info!(
        packs = moves.len(),
        moved = plan.download_bytes,
        freed = plan.freed_bytes,
        "packs are reclaimed"
    );
    let _hold = shared.hold();
    for pack in moves {
        move_out(shared, pack.pack).await?;
    }
    Ok(())
}

/// Moves what lives out of a pack. One that cannot be read is left alone for a while, so that it
/// does not keep others from being moved.
async fn move_out(shared: &Arc<Shared>, pack: u64) -> Result<()> {
    match mover::move_out(shared, pack).await {
        Err(error @ (Error::Damaged(_) | Error::Key(_) | Error::Unavailable { .. })) => {
            tracing::warn!(pack, %error, "what lives in a pack cannot be moved out of it now");
            shared.workers.reclaimer.failed(&error);
            shared.stuck.note(pack, clock::monotonic());
            Ok(())
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_pack_is_left_alone_for_a_while() {
        let (stuck, start) = (Stuck::default(), Instant::now());
        stuck.note(3, start);
        assert!(stuck.is(3, start) && !stuck.is(4, start));
        assert!(!stuck.is(3, start + LEFT_ALONE));
        stuck.note(4, start + LEFT_ALONE);
        assert_eq!(stuck.0.lock().len(), 1, "the first is forgotten");
    }

    #[test]
    fn a_pack_is_quiet_when_nothing_died_in_it_for_long_enough() {
        let minute = Duration::from_secs(60);
        let start = Instant::now();
        let mut quiet = Quiet::default();
        let mut tally = Tally::default();
        quiet.look(&[(1, tally)], start);
        assert!(!quiet.is(1, minute, start));
        quiet.look(&[(1, tally)], start + minute);
        assert!(quiet.is(1, minute, start + minute));
        tally.dead_chunks = 1;
        quiet.look(&[(1, tally)], start + minute);
        assert!(!quiet.is(1, minute, start + minute));
        quiet.look(&[], start + minute);
        assert!(
            !quiet.is(1, minute, start + 9 * minute),
            "forgotten with its pack"
        );
    }
}
