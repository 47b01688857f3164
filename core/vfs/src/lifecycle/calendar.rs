//! When something of a certain age is due.
use std::time::Duration;

use crate::Timestamp;

/// A day of the calendar.
const DAY: Duration = Duration::from_hours(24);
/// Passes in a day that is shorter than one of the calendar.
const PASSES: u32 = 8;
/// Longest pause between two looks at whether there is something to do.
const TICK_MAX: Duration = Duration::from_secs(30);
/// Shortest.
const TICK_MIN: Duration = Duration::from_millis(100);

/// How long a day is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calendar {
    day: Duration,
}

impl Calendar {
    /// With days of this length, at least a millisecond.
    pub(super) fn new(day: Duration) -> Self {
        Self {
            day: day.max(Duration::from_millis(1)),
        }
    }

    /// That of everybody.
    pub(super) const REAL: Self = Self { day: DAY };

    /// The moment that is `days` days after another: of real days the next midnight (UTC) from then.
    pub(super) fn after(self, moment: Timestamp, days: u32) -> Timestamp {
        let day = self.nanos();
        let end = moment.0.saturating_add(day.saturating_mul(i64::from(days)));
        if self.day != DAY {
            return Timestamp(end);
        }
        let past = end.rem_euclid(day);
        Timestamp(if past == 0 {
            end
        } else {
            end.saturating_add(day - past)
        })
    }

    /// Number of the pass that a moment calls for.
    pub(super) fn pass(self, now: Timestamp) -> i64 {
        let period = if self.day == DAY {
            self.nanos()
        } else {
            (self.nanos() / i64::from(PASSES)).max(1)
        };
        now.0.div_euclid(period)
    }

    /// Pause between two looks at whether there is something to do.
    pub(super) fn tick(self) -> Duration {
        (self.day / PASSES).clamp(TICK_MIN, TICK_MAX)
    }

    fn nanos(self) -> i64 {
        i64::try_from(self.day.as_nanos()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    #[test]
    fn real_days_end_at_midnight() {
        let real = Calendar::REAL;
        assert_eq!(real.after(Timestamp(HOUR), 1), Timestamp(48 * HOUR));
        assert_eq!(real.after(Timestamp(23 * HOUR), 1), Timestamp(48 * HOUR));
        assert_eq!(real.after(Timestamp(24 * HOUR), 1), Timestamp(48 * HOUR));
        assert_eq!(real.after(Timestamp(-HOUR), 1), Timestamp(24 * HOUR));
        assert_eq!(real.after(Timestamp(HOUR), 0), Timestamp(24 * HOUR));
        assert_eq!(real.after(Timestamp(i64::MAX), u32::MAX).0, i64::MAX);
        assert_eq!(real.pass(Timestamp(24 * HOUR - 1)), 0);
        assert_eq!(real.pass(Timestamp(24 * HOUR)), 1);
        assert_eq!(real.tick(), TICK_MAX);
    }

    #[test]
    fn short_days_are_not_rounded() {
        let short = Calendar::new(Duration::from_secs(10));
        assert_eq!(short.after(Timestamp(3), 2), Timestamp(20_000_000_003));
        assert_eq!(short.pass(Timestamp(10_000_000_000)), 8);
        assert_eq!(short.tick(), Duration::from_millis(1250));
        let none = Calendar::new(Duration::ZERO);
        assert_eq!(none.after(Timestamp(0), 1), Timestamp(1_000_000));
        assert_eq!(none.tick(), TICK_MIN);
    }
}
