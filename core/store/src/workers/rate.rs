//! A limit of bytes per second as a token bucket.
//!
//! The bucket holds one second's worth at most and may be overdrawn by one piece: a piece goes as
//! soon as anything is in the bucket. So pieces larger than a second's worth pass, and the average
//! holds all the same.
use std::time::Duration;

use tokio::time::Instant;

/// The bucket.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// Bytes that may pass now; negative: overdrawn.
    tokens: f64,
    /// When `tokens` was right, and the limit then in force.
    filled: Option<(Instant, u64)>,
}

impl Rate {
    /// Lets `bytes` through (`None`), or answers how long to wait before asking again.
    pub(super) fn take(&mut self, bytes: u64, limit: Option<u64>, now: Instant) -> Option<Duration> {
        let Some(limit) = limit else {
            self.filled = None;
            return None;
        };
        let rate = limit as f64;
        self.tokens = match self.filled {
            None => rate,
            Some((at, before)) => {
                let earned = now.saturating_duration_since(at).as_secs_f64() * before as f64;
                (self.tokens + earned).min(rate)
            }
        };
        self.filled = Some((now, limit));
        if self.tokens > 0.0 {
            self.tokens -= bytes as f64;
            return None;
        }
        // A debt of years under a tiny limit is no reason to overflow a timer.
        let wait = (-self.tokens / rate).clamp(0.001, 3600.0);
        Some(Duration::from_secs_f64(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_holds_whatever_the_pieces() {
        for piece in [1, 100, 999, 1000, 5000] {
            let mut rate = Rate::default();
            let start = Instant::now();
            let mut now = start;
            let mut passed = 0;
            while now < start + Duration::from_secs(100) {
                match rate.take(piece, Some(1000), now) {
                    None => passed += piece,
                    Some(wait) => now += wait,
                }
            }
            // A second's worth at the start, a piece overdrawn at the end.
            assert!(passed <= 101_001 + piece, "{piece}: {passed}");
            assert!(passed >= 100_000, "{piece}: {passed}");
        }
    }

    #[test]
    fn without_a_limit_everything_passes_and_no_debt_is_kept() {
        let mut rate = Rate::default();
        let now = Instant::now();
        assert_eq!(rate.take(1 << 40, Some(1), now), None);
        assert!(rate.take(1, Some(1), now).is_some());
        assert_eq!(rate.take(1 << 40, None, now), None);
        assert_eq!(rate.take(1, Some(1), now), None);
    }
}
