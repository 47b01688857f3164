//! Health: whether the network still has what it took, and what is done when it has not.
//!
//! ```text
//!             scrub: looks at segments in turn                fewer than 8 of 12 not lost
//! verified ──────────────────────────────────▶ health record ─────────────────────────────▶ repair
//!    ▲              (look, columns, listing)      (record)              (judge)               │
//!    └───────────── packed, placed and verified like new ◀── staging ◀── any four fragments ──┘
//! ```
//! - [`life`]: when each pack came how far, and in which blocks.
//! - [`record`]: what is known of each segment's twelve fragments; [`judge`] says what it means.
//! - [`scrub`]: the worker. [`look`] asks the miners, [`columns`] holds their answers against each
//!   other, [`listing`] asks the chain.
//! - [`repair`]: stores a pack at risk again while that is still possible; [`search`] bounds the time
//!   that it spends on what is not to be had, [`attempts`] how often it is tried again.
//! - [`seen`]: what a restore brought back counts as verified once it was looked at.
//! - [`report`], [`explain`]: what an operator sees.
//!
//! Miners that turn out to have lost or changed what they reported are marked in
//! [`crate::place::miners`]; placing avoids them.
mod api;
mod asked;
pub(crate) mod attempts;
pub(crate) mod columns;
pub(crate) mod explain;
pub(crate) mod judge;
pub(crate) mod life;
pub(crate) mod listing;
pub(crate) mod look;
pub(crate) mod record;
pub(crate) mod repair;
pub(crate) mod report;
pub(crate) mod scrub;
pub(crate) mod search;
pub(crate) mod seen;
pub(crate) mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use cess::AccountId;
use meta::Read;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::health::report::ScrubReport;
use crate::health::scrub::{Rounds, Scope};
use crate::health::settings::HealthSettings;
use crate::inner::Inner;
use crate::pack::record::Record as Pack;
use crate::place::Placing;
use crate::place::miners::Miners;
use crate::place::network::Network;
use crate::place::pace::Pace;
use crate::workers::{Worker, Workers};
use crate::{PackState, Result, clock};

/// Name of the worker that looks at segments.
const SCRUBBER: &str = "scrubber";

/// What the care for the network's copies works with.
pub(crate) struct Shared {
    inner: Arc<Inner>,
    placing: Arc<Placing>,
    network: Arc<dyn Network>,
    miners: Arc<Miners>,
    owner: AccountId,
    settings: HealthSettings,
    pace: Pace,
    worker: Worker,
    rounds: Rounds,
}

/// The running scrubber. Dropping it stops it; [`Health::stop`] also waits.
pub(crate) struct Health {
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Health {
    /// Starts to look after what is on the network. `owner` is whose files are ours.
    pub(crate) fn start(
        inner: Arc<Inner>,
        placing: Arc<Placing>,
        network: Arc<dyn Network>,
        miners: Arc<Miners>,
        owner: AccountId,
        workers: &Workers,
    ) -> Self {
        let worker = workers.register_mover(SCRUBBER);
        // It is registered as one that moves bytes, so it takes a limit.
        let _ = workers.limit(SCRUBBER, Some(inner.config.health.scrub_rate));
        let shared = Arc::new(Shared {
            settings: inner.config.health.clone(),
            pace: inner.config.pace.clone(),
            inner,
            placing,
            network,
            miners,
            owner,
            worker,
            rounds: Rounds::default(),
        });
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(stop.clone().run_until_cancelled_owned(scrub::run(shared.clone())));
        tasks.spawn(stop.clone().run_until_cancelled_owned(asked::run(shared.clone())));
        Self { shared, stop, tasks }
    }

    /// Runs a round of the scrubber before its time.
    pub(crate) async fn scrub(&self, scope: Scope) -> Result<ScrubReport> {
        self.shared.inner.keeper.require("the scrub")?;
        tokio::select! {
            report = self.shared.rounds.ask(scope) => report,
            () = self.stop.cancelled() => Err(crate::Error::ShuttingDown),
        }
    }

    /// Has segments looked at before their time: here, or by the keeper, which is only asked.
    pub(crate) async fn look_at(&self, segments: BTreeSet<(u64, u32)>) -> Result<()> {
        let inner = &self.shared.inner;
        if inner.keeper.is_open() {
            return self.scrub(Scope::Segments(segments)).await.map(drop);
        }
        inner.members.ask_to_look(segments).await
    }

    /// Stops the scrubber between two awaits; nothing it does needs an end.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Now, in milliseconds since 1970-01-01 UTC.
pub(crate) fn now() -> u64 {
    judge::millis(clock::wall())
}

/// Good fragments of the worst segment of a pack; `None` while it is not verified.
pub(crate) fn worst<R: Read + ?Sized>(read: &R, pack: u64, about: &Pack) -> Result<Option<u8>> {
    if about.state < PackState::Verified {
        return Ok(None);
    }
    let mut worst = None;
    for segment in 0..about.segments {
        let known = record::get(read, pack, segment)?.unwrap_or_else(record::Record::unknown);
        let good = known.good() as u8;
        worst = Some(worst.map_or(good, |worst: u8| worst.min(good)));
    }
    Ok(worst)
}
