//! Reclaiming by itself, as long as it pays.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::place::Shared;
use crate::reclaim::plan::{self, Prices};
use crate::reclaim::tally::{self, Tally};
use crate::reclaim::{ReclaimPlan, mover};
use crate::{Error, Result, clock};

/// Live bytes moved in one go at most: what staging holds of them, and what a restart repeats of
/// the decision.
const ROUND: u64 = 1 << 30;

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
    let _alone = shared.reclaiming.lock().await;
    let tallies = finish_begun(shared).await?;
    let plan = decide(shared, &tallies, |_, _| true).await?;
    act(shared, &plan).await?;
    shared.close_all()?;
    shared.wake_upkeep();
    Ok(plan)
}

/// Ends moves that a stop or an error cut off; answers the tallies as they are then.
async fn finish_begun(shared: &Arc<Shared>) -> Result<Vec<(u64, Tally)>> {
    let tallies = tally::all(&*shared.meta.snapshot()?)?;
    let now = clock::monotonic();
    let begun: Vec<u64> = tallies
        .iter()
        .filter(|(_, tally)| tally.moving && !tally.retired && !tally.is_dead())
        .map(|(pack, _)| *pack)
        .filter(|pack| !shared.stuck.is(*pack, now))
        .collect();
    if begun.is_empty() {
        return Ok(tallies);
    }
    let _hold = shared.hold();
    for pack in begun {
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
    let limit = ROUND.min(shared.local.spare());
    Ok(plan::plan(tallies, eligible, shared.waiting(), limit, &prices))
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
