//! Settings of the care for what is on the network.
use std::time::Duration;

/// How often is looked, how fast, and when a segment counts as at risk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// Every segment is looked at once in this time.
    pub scrub_interval: Duration,
    /// Most bytes per second that the scrubber reads from miners; 0: no limit. A look at a segment
    /// takes about 10 MiB.
    pub scrub_rate: u64,
    /// A segment with fewer fragments (of 12) that are not lost is stored again. At least 4: below,
    /// nothing can be rebuilt.
    pub repair_below: usize,
    /// A fragment whose miner cannot be reached for this long counts as lost.
    pub miner_patience: Duration,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            scrub_interval: Duration::from_hours(7 * 24),
            scrub_rate: 4 << 20,
            repair_below: 8,
            miner_patience: Duration::from_hours(6),
        }
    }
}
