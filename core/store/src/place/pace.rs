//! How fast placing looks, retries and gives up.
use std::time::Duration;

/// Times of the network half of the store. The defaults fit a chain with blocks of 6 s and
/// miners across the internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How often the packer looks whether a pack is due.
    pub tick: Duration,
    /// First pause between two looks at a deal; doubled up to [`Self::poll_max`].
    pub poll: Duration,
    /// Longest pause between two looks at a deal (a block).
    pub poll_max: Duration,
    /// A miner that has a group for this long without reporting it loses it to another.
    pub report_timeout: Duration,
    /// Longest time for one fragment to be pushed.
    pub put_timeout: Duration,
    /// First pause after a failed step; doubled up to [`Self::retry_max`], with jitter.
    pub retry: Duration,
    /// Longest pause after a failed step.
    pub retry_max: Duration,
    /// How long declarations are gathered into one batch.
    pub declare_gather: Duration,
    /// Times that a fragment is read back before it counts as not verified.
    pub verify_tries: u32,
    /// How long a miner may be out of reach before its fragments are stored elsewhere.
    pub verify_patience: Duration,
    /// A read from a miner whose latency is not measured yet is hedged with other fragments after
    /// this time; it is also the pause before a hedge when many were made lately.
    pub hedge: Duration,
    /// Longest time for one read from a miner.
    pub get_timeout: Duration,
    /// A miner that fails is asked beside others once in this time, whether it is back.
    pub probe: Duration,
    /// How often dead and superseded packs are looked for.
    pub upkeep: Duration,
    /// How long the chain's list of miners is believed.
    pub miners_fresh: Duration,
    /// A chain without a new block for this long counts as stalled.
    pub stalled: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            poll: Duration::from_secs(1),
            poll_max: Duration::from_secs(6),
            report_timeout: Duration::from_mins(3),
            put_timeout: Duration::from_mins(1),
            retry: Duration::from_secs(1),
            retry_max: Duration::from_mins(1),
            declare_gather: Duration::from_millis(200),
            verify_tries: 3,
            verify_patience: Duration::from_mins(10),
            hedge: Duration::from_millis(500),
            get_timeout: Duration::from_secs(30),
            probe: Duration::from_secs(5),
            upkeep: Duration::from_secs(30),
            miners_fresh: Duration::from_secs(30),
            stalled: Duration::from_mins(2),
        }
    }
}

/// Growing pauses with jitter.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// From `first`, doubled up to `max`.
    pub(crate) const fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            next: first,
        }
    }

    /// After a success.
    pub(crate) const fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next pause: between half and all of the current step.
    pub(crate) fn pause(&mut self, random: u64) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.max);
        step.mul_f64(0.5 + (random % 1024) as f64 / 2048.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_stay_bounded_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(50));
        for (most, random) in [(10, 0), (20, 1023), (40, 7), (50, 1), (50, 1023)] {
            let pause = backoff.pause(random);
            assert!(pause <= Duration::from_millis(most), "{pause:?}");
            assert!(pause >= Duration::from_millis(most) / 2, "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause(1023) <= Duration::from_millis(10));
    }
}
