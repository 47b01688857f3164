//! How the chain is: reachable, making blocks, making them final, and paid.
//!
//! A watcher asks the chain at the pace of the upkeep and keeps what it saw, for operators. Nothing
//! is decided by it; every step finds out for itself what it can do. But when something that was
//! wrong is over, whoever pauses after a failure is woken, so that all catches up at once. At the
//! same pace it keeps what was learned about miners.
use std::sync::Arc;
use std::time::{Duration, Instant};

use cess::chain::Heads;

use crate::place::{Shared, StepError, declare};
use crate::{ChainOutlook, ChainState, clock};

/// When heads last moved.
struct Moved {
    heads: Heads,
    best_at: Instant,
    finalised_at: Instant,
}

/// Looks until everything stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let worker = &shared.workers.watcher;
    let mut moved = None;
    loop {
        worker.turn().await;
        let work = worker.working("asking the chain how it is");
        let (state, reason) = match look(&shared, &mut moved).await {
            Ok(seen) => seen,
            Err(error) => (ChainState::Unreachable, Some(error.to_string())),
        };
        drop(work);
        note(&shared, state, reason, moved.as_ref());
        if let Err(error) = shared.miners.save(&shared.meta).await {
            tracing::warn!(%error, "cannot keep the scores of miners");
            worker.failed(&error);
        }
        worker.waits(shared.settings.pace.upkeep);
        tokio::time::sleep(shared.settings.pace.upkeep).await;
    }
}

/// State, and what is wrong.
async fn look(shared: &Shared, moved: &mut Option<Moved>) -> Result<(ChainState, Option<String>), StepError> {
    let heads = shared.network.heads().await?;
    let now = clock::monotonic();
    let before = moved.get_or_insert(Moved {
        heads,
        best_at: now,
        finalised_at: now,
    });
    if before.heads.best != heads.best {
        before.best_at = now;
    }
    if before.heads.finalised != heads.finalised {
        before.finalised_at = now;
    }
    before.heads = heads;
    let patience = shared.settings.pace.stalled;
    let since = |at: Instant| now.saturating_duration_since(at);
    if since(before.best_at) >= patience {
        let text = format!(
            "no block after {} for {}; nothing can be ordered until there are new ones",
            heads.best,
            rounded(since(before.best_at))
        );
        return Ok((ChainState::Stalled, Some(text)));
    }
    if since(before.finalised_at) >= patience && heads.finalised < heads.best {
        let text = format!(
            "no block after {} became final for {}",
            heads.finalised,
            rounded(since(before.finalised_at))
        );
        return Ok((ChainState::Unfinal, Some(text)));
    }
    Ok(match declare::room(shared).await {
        Ok(remaining) if remaining > declare::CHARGE => (ChainState::Serves, None),
        Ok(remaining) => {
            let text = format!(
                "territory: {} MiB remain, a segment takes {}; expand it or delete data",
                remaining >> 20,
                declare::CHARGE >> 20
            );
            (ChainState::Unpaid, Some(text))
        }
        Err(error @ StepError::Territory(_)) => (ChainState::Unpaid, Some(error.to_string())),
        Err(error) => return Err(error),
    })
}

fn rounded(time: Duration) -> String {
    match time.as_secs() {
        0..120 => format!("{} s", time.as_secs()),
        seconds => format!("{} min", seconds / 60),
    }
}

fn note(shared: &Shared, state: ChainState, reason: Option<String>, moved: Option<&Moved>) {
    let mut outlook = shared.outlook.lock();
    let before = outlook.state;
    let since = if before == state && outlook.since > 0 {
        outlook.since
    } else {
        clock::wall().as_secs()
    };
    *outlook = ChainOutlook {
        state,
        since,
        best: moved.map(|moved| moved.heads.best),
        finalised: moved.map(|moved| moved.heads.finalised),
        reason: reason.clone(),
    };
    drop(outlook);
    if before == state {
        return;
    }
    match reason {
        Some(reason) => {
            tracing::warn!(%state, reason, "the chain");
            shared.workers.watcher.failed(&reason);
        }
        None if before != ChainState::Unknown => tracing::info!("the chain serves again"),
        None => {}
    }
    if state == ChainState::Serves {
        shared.chain_back.notify_waiters();
    }
}
