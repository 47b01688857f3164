//! What the findings about a segment amount to.
//!
//! A fragment is *lost* when its miner says that it does not have it, gives back something else,
//! leaves the network, or could not be reached during the whole of its patience; and when the
//! chain lists it as lost. A miner that is out of reach for a shorter time is *in doubt*. A
//! segment is at risk
//! - when fewer than `repair_below` fragments are not lost;
//! - when the chain does not list the file any more, at three looks in a row with time between them
//!   ([`counts`]);
//! - when fewer than six fragments are neither lost nor missed twice in a row: then there is no
//!   time left for patience.
//!
//! Patience is counted in looks as well as in time. Looks are paced by a clock that does not jump,
//! so a wall clock that does cannot use patience up.
use std::time::Duration;

use cess::codec::FRAGMENTS;

use crate::health::record::{FragmentState, Record, Slot};
use crate::health::settings::HealthSettings;

/// Looks at a miner that is out of reach before its patience can be used up.
pub(crate) const LOOKS: u32 = 8;
/// Looks in a row that must not find a file before it counts as gone: a node may lag behind.
const UNLISTED: u32 = 3;
/// With fewer fragments that surely answer, nothing is waited for.
const URGENT: usize = 6;

/// What a segment's fragments amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Fragments that are good.
    pub good: usize,
    /// Fragments whose miners are out of reach, and may come back.
    pub doubtful: usize,
    /// Fragments that are lost.
    pub lost: usize,
    /// Whether the segment should be stored again.
    pub at_risk: bool,
}

/// Milliseconds of a time.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn lost(slot: &Slot, settings: &HealthSettings, now: u64) -> bool {
    match slot.state {
        FragmentState::Good => false,
        FragmentState::OutOfReach => {
            slot.misses >= LOOKS && now.saturating_sub(slot.since) >= millis(settings.miner_patience)
        }
        FragmentState::Missing | FragmentState::Corrupt | FragmentState::Left | FragmentState::Withdrawn => {
            true
        }
    }
}

/// Judges a segment at `now`, in milliseconds since 1970-01-01 UTC.
pub(crate) fn judge(record: &Record, settings: &HealthSettings, now: u64) -> Standing {
    let good = record.good();
    let gone = record
        .slots
        .iter()
        .filter(|slot| lost(slot, settings, now))
        .count();
    let sure = record
        .slots
        .iter()
        .filter(|slot| !lost(slot, settings, now) && slot.misses < 2)
        .count();
    Standing {
        good,
        doubtful: FRAGMENTS - good - gone,
        lost: gone,
        at_risk: FRAGMENTS - gone < settings.repair_below || record.unlisted >= UNLISTED || sure < URGENT,
    }
}

/// How long after a look at a segment the next one is due.
pub(crate) fn spacing(record: &Record, settings: &HealthSettings) -> Duration {
    let calm = record.unlisted == 0
        && record.lost == 0
        && record
            .slots
            .iter()
            .all(|slot| slot.state != FragmentState::OutOfReach)
        && !judge(record, settings, 0).at_risk;
    if calm {
        settings.scrub_interval
    } else {
        (settings.miner_patience / LOOKS).min(settings.scrub_interval)
    }
}

/// Whether a look at `now` that does not find the file on the chain counts: looks that follow each other
/// at once all ask the same node, and say no more than the first. `since` is how long ago this process
/// saw the last one that counted; it does not know of those before its start.
pub(crate) fn counts(record: &Record, since: Option<Duration>, settings: &HealthSettings, now: u64) -> bool {
    let spacing = spacing(record, settings);
    record.unlisted == 0
        || match since {
            Some(since) => since >= spacing,
            None => record.looked <= now && now - record.looked >= millis(spacing),
        }
}

/// Whether a look is due at `now`. A look in the future was noted by a clock that was ahead: it says
/// nothing, so the segment is due.
pub(crate) fn due(record: &Record, settings: &HealthSettings, now: u64) -> bool {
    record.looked > now || now - record.looked >= millis(spacing(record, settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn record(states: &[(usize, FragmentState)]) -> Record {
        let mut record = Record::verified(1000 * HOUR);
        let mut index = 0;
        for (count, state) in states {
            for _ in 0..*count {
                record.slots[index] = record.slots[index].after(*state, 1001 * HOUR, true);
                index += 1;
            }
        }
        record
    }

    fn standing(states: &[(usize, FragmentState)]) -> (usize, usize, usize, bool) {
        let found = judge(&record(states), &HealthSettings::default(), 1001 * HOUR);
        (found.good, found.doubtful, found.lost, found.at_risk)
    }

    #[test]
    fn fewer_than_eight_that_are_not_lost_are_a_risk() {
        use FragmentState as S;
        assert_eq!(standing(&[]), (12, 0, 0, false));
        assert_eq!(standing(&[(4, S::Missing)]), (8, 0, 4, false));
        assert_eq!(standing(&[(5, S::Missing)]), (7, 0, 5, true));
        let each = [(1, S::Missing), (1, S::Corrupt), (2, S::Left), (1, S::Withdrawn)];
        assert_eq!(standing(&each), (7, 0, 5, true));
        assert_eq!(standing(&[(4, S::Missing), (4, S::OutOfReach)]), (4, 4, 4, false));
        assert_eq!(standing(&[(12, S::OutOfReach)]), (0, 12, 0, false));
    }

    #[test]
    fn a_miner_out_of_reach_is_lost_only_after_time_and_looks() {
        let settings = HealthSettings::default();
        let mut record = record(&[(5, FragmentState::OutOfReach)]);
        // Years later by a clock that jumped: one look alone proves nothing.
        assert!(!judge(&record, &settings, 90_000 * HOUR).at_risk);
        for slot in &mut record.slots[..5] {
            slot.misses = LOOKS;
        }
        assert!(!judge(&record, &settings, 1001 * HOUR + 5 * HOUR).at_risk);
        assert!(judge(&record, &settings, 1001 * HOUR + 6 * HOUR).at_risk);
    }

    #[test]
    fn there_is_no_patience_when_hardly_any_are_left() {
        let settings = HealthSettings::default();
        let mut record = record(&[(4, FragmentState::Missing), (3, FragmentState::OutOfReach)]);
        assert!(!judge(&record, &settings, 1001 * HOUR).at_risk);
        for slot in &mut record.slots[4..7] {
            slot.misses = 2;
        }
        assert!(judge(&record, &settings, 1001 * HOUR).at_risk, "five are sure");
    }

    #[test]
    fn a_file_that_the_chain_forgot_is_a_risk_at_the_third_look() {
        let mut record = Record::verified(1);
        for (looks, risk) in [(0, false), (2, false), (3, true)] {
            record.unlisted = looks;
            assert_eq!(judge(&record, &HealthSettings::default(), 5).at_risk, risk);
        }
    }

    #[test]
    fn looks_count_as_not_finding_a_file_when_time_has_passed_between_them() {
        let settings = HealthSettings::default();
        let spacing = settings.miner_patience / LOOKS;
        let at = 1000 * HOUR;
        let mut record = Record::verified(at);
        assert!(
            counts(&record, Some(Duration::ZERO), &settings, at),
            "the first one does"
        );
        record.unlisted = 1;
        assert!(!counts(&record, Some(spacing / 2), &settings, at + 99 * HOUR));
        assert!(counts(&record, Some(spacing), &settings, at));
        // After a restart there is the wall clock alone.
        assert!(!counts(&record, None, &settings, at + HOUR / 2));
        assert!(counts(&record, None, &settings, at + HOUR));
        assert!(!counts(&record, None, &settings, at - HOUR), "it was set back");
    }

    #[test]
    fn looks_come_round_and_clocks_that_jump_neither_stop_nor_flood_them() {
        let settings = HealthSettings::default();
        let at = 1000 * HOUR;
        let healthy = Record::verified(at);
        assert!(!due(&healthy, &settings, at));
        assert!(!due(&healthy, &settings, at + 6 * 24 * HOUR));
        assert!(due(&healthy, &settings, at + 7 * 24 * HOUR));
        assert!(due(&healthy, &settings, at - HOUR), "the clock was set back");
        let looked_again = Record {
            looked: at - HOUR,
            ..healthy
        };
        assert!(!due(&looked_again, &settings, at - HOUR + 1));
        let doubtful = Record {
            looked: 1001 * HOUR,
            ..record(&[(1, FragmentState::OutOfReach)])
        };
        assert!(!due(&doubtful, &settings, 1001 * HOUR + HOUR / 2));
        assert!(due(&doubtful, &settings, 1001 * HOUR + HOUR * 3 / 4));
    }
}
