//! When a pack that could not be repaired is tried again.
//!
//! Its miners may come back, so it is never given up; but each attempt costs minutes in which no
//! other segment is looked at. So attempts that left something behind are made with growing pauses,
//! unless a look has found more good fragments than there were at the last one. What is counted here
//! lives as long as the process: after a restart, everything is tried once at its next look.
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Doublings of the pause: beyond, nothing grows but the number.
const DOUBLINGS: u32 = 16;

/// The last attempt at a pack.
#[derive(Clone, Copy)]
struct Attempt {
    /// Attempts so far.
    made: u32,
    /// When the next one is due.
    next: Instant,
    /// Good fragments in all of its segments, as of the last look.
    good: usize,
}

/// Packs in which something was left behind.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<HashMap<u64, Attempt>>);

impl Attempts {
    /// Whether it is time for an attempt at `pack`, of which `good` fragments are good.
    pub(crate) fn is_due(&self, pack: u64, good: usize, now: Instant) -> bool {
        let known = self.0.lock().get(&pack).copied();
        known.is_none_or(|last| now >= last.next || good > last.good)
    }

    /// An attempt ended at `now` and left something behind: the next pause is `first`, twice as long
    /// after each further attempt, and `longest` at most.
    pub(crate) fn left(&self, pack: u64, good: usize, first: Duration, longest: Duration, now: Instant) {
        let mut attempts = self.0.lock();
        let made = attempts.get(&pack).map_or(0, |last| last.made);
        let pause = first
            .saturating_mul(1 << made.min(DOUBLINGS))
            .min(longest.max(first));
        let attempt = Attempt {
            made: made.saturating_add(1),
            next: now + pause,
            good,
        };
        attempts.insert(pack, attempt);
    }

    /// Nothing was left behind in `pack`.
    pub(crate) fn done(&self, pack: u64) {
        self.0.lock().remove(&pack);
    }

    /// Forgets packs that are not in `known`.
    pub(crate) fn retain(&self, known: &BTreeSet<u64>) {
        self.0.lock().retain(|pack, _| known.contains(pack));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew_after_a_success() {
        let attempts = Attempts::default();
        let mut now = Instant::now();
        assert!(attempts.is_due(1, 3, now));
        for minutes in [1, 2, 4, 8, 10, 10] {
            attempts.left(1, 3, MINUTE, 10 * MINUTE, now);
            assert!(!attempts.is_due(1, 3, now + minutes * MINUTE / 2));
            now += minutes * MINUTE;
            assert!(attempts.is_due(1, 3, now), "after {minutes} minutes");
        }
        assert!(attempts.is_due(2, 0, now), "another pack");
        attempts.done(1);
        attempts.left(1, 3, MINUTE, 10 * MINUTE, now);
        assert!(attempts.is_due(1, 3, now + MINUTE));
        // A longest pause that is shorter than the first is no reason to try without any.
        attempts.left(2, 3, MINUTE, Duration::ZERO, now);
        assert!(!attempts.is_due(2, 3, now));
        attempts.retain(&BTreeSet::from([1]));
        assert!(attempts.is_due(2, 3, now));
    }

    #[test]
    fn a_fragment_that_came_back_is_reason_enough() {
        let attempts = Attempts::default();
        let now = Instant::now();
        attempts.left(1, 3, MINUTE, MINUTE, now);
        assert!(!attempts.is_due(1, 2, now) && attempts.is_due(1, 4, now));
    }
}
