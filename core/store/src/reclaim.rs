//! Getting territory back from packs in which little lives.
//!
//! A pack costs 96 MiB of territory per segment, whatever lives in it. Packs that were closed early
//! hold little from the start; others, whose chunks were released one by one, come to it.
//!
//! - [`tally`] counts what lives in each pack, in the transactions that change it.
//! - [`plan`] decides by cost which packs go: pure arithmetic, shown before it acts.
//! - [`mover`] brings the live chunks of a pack back to staging ([`restage`]), where they are packed
//!   again together with new ones. The old file is deleted when all of them are verified elsewhere;
//!   until then they keep its level ([`moved`]).
//! - [`worker`] does so by itself, as long as it pays.
pub(crate) mod moved;
pub(crate) mod mover;
pub(crate) mod plan;
pub(crate) mod restage;
pub(crate) mod tally;
pub(crate) mod worker;

use std::time::Duration;

pub use self::plan::{ReclaimPack, ReclaimPlan};

/// When packs are reclaimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReclaimConfig {
    /// Reclaim whenever it pays. Packs in which nothing lives are deleted in any case.
    pub automatic: bool,
    /// A byte of territory freed is worth leasing it for this long: how long data stays.
    pub horizon: Duration,
    /// A byte moved, down or up, costs as much as leasing it for this long.
    pub transfer: Duration,
    /// A pack that lost a chunk within this time is left alone: it may lose all.
    pub quiet: Duration,
}

impl Default for ReclaimConfig {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            automatic: true,
            horizon: 30 * DAY,
            transfer: 10 * DAY,
            quiet: Duration::from_secs(600),
        }
    }
}
