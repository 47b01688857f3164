//! The judgement of one miner, and how it fades.
//!
//! Nothing is held against a miner for ever: failures halve every minute, and an answer leaves little
//! of them at once; distrust ends; and a measured speed drifts back to that of a stranger within days,
//! so that who was slow once is tried again. Whom readers avoid is asked once in a while all the same
//! ([`Score::probe`]), or an outage would be held against it for minutes after its end.
use std::time::{Duration, Instant};

use crate::place::miners::rows::Row;

/// Half-life of a failure.
const FAILURE_FADES: Duration = Duration::from_mins(1);
/// Half-life of a measured speed's distance from [`UNKNOWN_SPEED`], in powers.
const SPEED_FADES: Duration = Duration::from_hours(24);
/// How long a miner that lied is avoided.
const DISTRUST: Duration = Duration::from_hours(1);
/// Speed assumed of a miner never met, in bytes per second.
const UNKNOWN_SPEED: f64 = 4e6;
/// Speeds beyond these, in bytes per second, are measured as these.
const SPEEDS: std::ops::RangeInclusive<f64> = 1e3..=1e10;
/// Most failures that count at once: after more, a miner needs no longer to be tried again.
const MOST_FAILURES: f64 = 64.0;
/// Failures that are left at most when a miner answers: readers come back at once. Not none, so that
/// who answers with other bytes than were stored, which shows only later, does not get away with it.
const LEFT_BY_AN_ANSWER: f64 = 1.0;
/// Weight of the newest measurement in the moving average.
const NEWEST: f64 = 0.3;

/// What is held of one miner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    speed: f64,
    measured_at: Instant,
    failures: f64,
    failed_at: Instant,
    distrusted_until: Option<Instant>,
    probed_at: Option<Instant>,
}

/// What is left of something after `age`, between 0 and 1.
fn left(age: Duration, half_life: Duration) -> f64 {
    (-age.as_secs_f64() / half_life.as_secs_f64() * std::f64::consts::LN_2).exp()
}

impl Score {
    /// Of a miner never met.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            speed: UNKNOWN_SPEED,
            measured_at: now,
            failures: 0.0,
            failed_at: now,
            distrusted_until: None,
            probed_at: None,
        }
    }

    /// Expected bytes per second.
    pub(super) fn speed(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.measured_at);
        UNKNOWN_SPEED * (self.speed / UNKNOWN_SPEED).powf(left(age, SPEED_FADES))
    }

    /// Failures that still count.
    pub(super) fn failures(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.failed_at);
        self.failures * left(age, FAILURE_FADES)
    }

    /// Whether it was caught lying lately.
    pub(super) fn distrusted(&self, now: Instant) -> bool {
        self.distrusted_until.is_some_and(|until| until > now)
    }

    /// It moved bytes at `speed`, in bytes per second.
    pub(super) fn succeeded(&mut self, speed: f64, now: Instant) {
        let before = self.speed(now);
        let speed = speed.clamp(*SPEEDS.start(), *SPEEDS.end());
        self.speed = before + NEWEST * (speed - before);
        self.measured_at = now;
        self.failures = (self.failures(now) / 2.0).min(LEFT_BY_AN_ANSWER);
        self.failed_at = now;
    }

    /// It did not answer, or answered with an error.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = (self.failures(now) + 1.0).min(MOST_FAILURES);
        self.failed_at = now;
    }

    /// Whether to ask it once although it fails: when neither was tried for `pause`. True once per
    /// `pause`.
    pub(super) fn probe(&mut self, pause: Duration, now: Instant) -> bool {
        let last = self
            .probed_at
            .map_or(self.failed_at, |probed| probed.max(self.failed_at));
        let due = now.saturating_duration_since(last) >= pause;
        if due {
            self.probed_at = Some(now);
        }
        due
    }

    /// It reported a fragment and does not have it, or has something else.
    pub(super) fn distrust(&mut self, now: Instant) {
        self.distrusted_until = Some(now + DISTRUST);
    }

    /// As it is kept; `wall` is the time of day at `now`.
    pub(super) fn to_row(self, now: Instant, wall: Duration) -> Row {
        let distrust = self
            .distrusted_until
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        Row {
            at: wall.as_secs(),
            speed: self.speed(now),
            failures: self.failures(now),
            distrust: distrust.as_secs(),
        }
    }

    /// As it was kept, faded by the time since. A clock that was turned back in between lets
    /// nothing fade, one that was turned on lets more fade; neither does harm.
    pub(super) fn from_row(row: &Row, now: Instant, wall: Duration) -> Self {
        let age = Duration::from_secs(wall.as_secs().saturating_sub(row.at));
        let sound = |value: f64, otherwise: f64| if value.is_finite() { value } else { otherwise };
        let speed = sound(row.speed, UNKNOWN_SPEED).clamp(*SPEEDS.start(), *SPEEDS.end());
        let failures = sound(row.failures, 0.0).clamp(0.0, MOST_FAILURES);
        let distrust = Duration::from_secs(row.distrust)
            .saturating_sub(age)
            .min(DISTRUST);
        Self {
            speed: UNKNOWN_SPEED * (speed / UNKNOWN_SPEED).powf(left(age, SPEED_FADES)),
            measured_at: now,
            failures: failures * left(age, FAILURE_FADES),
            failed_at: now,
            distrusted_until: (!distrust.is_zero()).then(|| now + distrust),
            probed_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) -> bool {
        (value / expected - 1.0).abs() < 0.01
    }

    #[test]
    fn everything_fades() {
        let now = Instant::now();
        let mut score = Score::new(now);
        score.failed(now);
        score.failed(now);
        score.distrust(now);
        assert!(near(score.failures(now), 2.0) && score.distrusted(now));
        assert!(near(score.failures(now + FAILURE_FADES), 1.0));
        assert!(!score.distrusted(now + DISTRUST));
        for _ in 0..100 {
            score.succeeded(4e8, now);
        }
        assert!(near(score.speed(now), 4e8));
        // A hundred times as fast, then ten times, then nearly as any.
        assert!(near(score.speed(now + SPEED_FADES), 4e7));
        assert!(near(score.speed(now + 20 * SPEED_FADES), 4e6));
    }

    #[test]
    fn an_answer_ends_an_outage_at_once_and_wrong_ones_add_up() {
        let now = Instant::now();
        let mut score = Score::new(now);
        for _ in 0..100 {
            score.failed(now);
        }
        score.succeeded(1e6, now);
        assert!(score.failures(now) <= LEFT_BY_AN_ANSWER);
        // It answers each time, and each time it turns out to be something else.
        let mut score = Score::new(now);
        for _ in 0..3 {
            score.succeeded(1e6, now);
            score.failed(now);
        }
        assert!(score.failures(now) > 1.5);
    }

    #[test]
    fn a_failing_miner_is_probed_once_per_pause() {
        let (now, pause) = (Instant::now(), Duration::from_secs(5));
        let mut score = Score::new(now);
        score.failed(now);
        assert!(!score.probe(pause, now));
        assert!(score.probe(pause, now + pause));
        assert!(!score.probe(pause, now + pause));
        assert!(score.probe(pause, now + 2 * pause));
        score.failed(now + 3 * pause);
        assert!(!score.probe(pause, now + 3 * pause));
    }

    #[test]
    fn a_row_brings_it_back_and_fades_by_the_time_between() {
        let (now, wall) = (Instant::now(), Duration::from_secs(1_800_000_000));
        let mut score = Score::new(now);
        for _ in 0..100 {
            score.succeeded(4e8, now);
        }
        for _ in 0..8 {
            score.failed(now);
        }
        score.distrust(now);
        let row = score.to_row(now, wall);
        let same = Score::from_row(&row, now, wall);
        assert!(near(same.speed(now), 4e8) && near(same.failures(now), score.failures(now)));
        assert!(same.distrusted(now));
        let later = Score::from_row(&row, now, wall + SPEED_FADES);
        assert!(near(later.speed(now), 4e7) && later.failures(now) < 1e-6);
        assert!(!later.distrusted(now));
        // The clock was turned back by years.
        let back = Score::from_row(&row, now, Duration::from_secs(1));
        assert!(near(back.speed(now), 4e8) && back.distrusted(now));
        assert!(!back.distrusted(now + DISTRUST));
    }

    #[test]
    fn a_row_of_nonsense_is_a_stranger() {
        let now = Instant::now();
        let row = Row {
            at: u64::MAX,
            speed: f64::NAN,
            failures: f64::INFINITY,
            distrust: u64::MAX,
        };
        let score = Score::from_row(&row, now, Duration::from_secs(5));
        assert!(near(score.speed(now), UNKNOWN_SPEED));
        assert!(score.failures(now) < 1.0);
        assert!(!score.distrusted(now + DISTRUST));
    }
}
