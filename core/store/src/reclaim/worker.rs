//! Reclaiming by itself, as long as it pays.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::place::Shared;
use crate::reclaim::plan::{self, Prices};
use crate::reclaim::tally::{self, Tally};
use crate::reclaim::{ReclaimPlan, mover};
use crate::{Error, Result, clock};

/// Live bytes moved in one go at most: what staging holds of them, and what a restart repeats of
/// the decision.
const ROUND: u64 = 1 << 30;

/// Since when packs have lost nothing.
#[derive(Default)]
struct Quiet(HashMap<u64, (u64, Instant)>);

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
                Error::StagingFull { .. } | Error::Network(_) | Error::Unavailable { .. } => {
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
    let eligible = |pack: u64, _: &Tally| quiet.is(pack, settings.quiet, now);
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
    let begun: Vec<u64> = tallies
        .iter()
        .filter(|(_, tally)| tally.moving && !tally.retired && !tally.is_dead())
        .map(|(pack, _)| *pack)
        .collect();
    if begun.is_empty() {
        return Ok(tallies);
    }
    let _hold = shared.hold();
    for pack in begun {
        mover::move_out(shared, pack).await?;
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
        mover::move_out(shared, pack.pack).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
