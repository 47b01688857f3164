//! The budget of the staging disk.
//!
//! Writers are slowed down before it is full and turned away when it is. From four fifths on, each
//! chunk waits for a moment that grows with the square of the fill, up to [`SLOWEST`] for a whole
//! chunk at the limit: writers come down to the pace of the network gradually, instead of running
//! into a wall. At the limit a chunk waits for space, for a while, and is then refused with an estimate
//! of when space will be there, from how fast it came free of late and how much is waited for.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{CHUNK_MAX, Error, Result};

/// Part of the limit, in percent, from which on writers are slowed down.
const SLOW_FROM: u64 = 80;
/// Pause of a whole chunk just below the limit: a writer still gets 1 MiB/s. Smaller ones wait in
/// proportion.
const SLOWEST: Duration = Duration::from_millis(250);
/// A drain rate is measured over about this long.
const WINDOW: Duration = Duration::from_secs(60);
/// Estimate when nothing has come free of late.
const UNKNOWN: Duration = Duration::from_secs(30);
/// Shortest and longest estimate, in seconds.
const ESTIMATES: (f64, f64) = (1.0, 300.0);

/// Bytes freed since the window began.
struct Drain {
    since: Instant,
    freed: u64,
}

/// Counts bytes in staging.
pub(crate) struct Budget {
    limit: u64,
    patience: Duration,
    used: AtomicU64,
    /// Bytes that are waited for.
    wanted: AtomicU64,
    freed: Notify,
    drain: Mutex<Drain>,
}

/// Somebody waits for bytes.
struct Wanted<'a> {
    budget: &'a Budget,
    len: u64,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.budget.wanted.fetch_sub(self.len, Ordering::SeqCst);
    }
}

impl Budget {
    /// At most `limit` bytes; a chunk waits at most `patience` for space.
    pub(crate) fn new(limit: u64, patience: Duration) -> Self {
        Self {
            limit,
            patience,
            used: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            freed: Notify::new(),
            drain: Mutex::new(Drain {
                since: Instant::now(),
                freed: 0,
            }),
        }
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }

    /// Takes `len` bytes, waiting for them if need be.
    pub(crate) async fn admit(&self, len: u64) -> Result<()> {
        let pause = self.pause(len);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        if self.try_take(len) {
            return Ok(());
        }
        self.wanted.fetch_add(len, Ordering::SeqCst);
        let _wanted = Wanted { budget: self, len };
        let deadline = tokio::time::Instant::now() + self.patience;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.try_take(len) {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, freed).await.is_err() {
                return Err(Error::StagingFull {
                    retry_after: self.estimate(0),
                });
            }
        }
    }

    /// Takes `len` bytes that are there already.
    pub(crate) fn take(&self, len: u64) {
        self.used.fetch_add(len, Ordering::SeqCst);
    }

    /// Gives back what was admitted in excess.
    pub(crate) fn correct(&self, len: u64) {
        self.used.fetch_sub(len, Ordering::SeqCst);
        self.freed.notify_waiters();
    }

    /// Gives `len` bytes back that drained to the network or were released.
    pub(crate) fn free(&self, len: u64) {
        {
            let mut drain = self.drain.lock();
            let elapsed = drain.since.elapsed();
            if elapsed > 2 * WINDOW {
                *drain = Drain {
                    since: Instant::now(),
                    freed: 0,
                };
            } else if elapsed > WINDOW {
                // Half of the past, at the same rate.
                drain.freed /= 2;
                drain.since += elapsed / 2;
            }
            drain.freed += len;
        }
        self.correct(len);
    }

    /// When there will be room for `len` bytes beside what is waited for already.
    pub(crate) fn estimate(&self, len: u64) -> Duration {
        let wanted = self.wanted.load(Ordering::SeqCst).saturating_add(len);
        let drain = self.drain.lock();
        let elapsed = drain.since.elapsed();
        if drain.freed == 0 || elapsed > 2 * WINDOW {
            return UNKNOWN;
        }
        let rate = drain.freed as f64 / elapsed.as_secs_f64().max(1.0);
        Duration::from_secs_f64((wanted as f64 / rate).clamp(ESTIMATES.0, ESTIMATES.1))
    }

    /// How long a chunk of `len` bytes is held back.
    fn pause(&self, len: u64) -> Duration {
        let from = self.limit / 100 * SLOW_FROM;
        let over = self.used().min(self.limit).saturating_sub(from) as f64;
        let share = over / (self.limit - from).max(1) as f64;
        SLOWEST.mul_f64(share * share * len as f64 / CHUNK_MAX as f64)
    }

    fn try_take(&self, len: u64) -> bool {
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
                used.checked_add(len).filter(|used| *used <= self.limit)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SHORT: Duration = Duration::from_millis(30);

    #[tokio::test]
    async fn the_limit_holds_and_freed_space_is_given_to_who_waits() {
        let budget = Arc::new(Budget::new(1000, SHORT));
        budget.admit(600).await.unwrap();
        budget.admit(300).await.unwrap();
        let Err(Error::StagingFull { retry_after }) = budget.admit(200).await else {
            panic!("admitted")
        };
        assert_eq!(retry_after, UNKNOWN);
        assert_eq!(budget.used(), 900, "a refused chunk takes nothing");
        let patient = Arc::new(Budget::new(1000, Duration::from_secs(60)));
        patient.admit(900).await.unwrap();
        let waiter = tokio::spawn({
            let patient = patient.clone();
            async move { patient.admit(200).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        patient.free(300);
        waiter.await.unwrap().unwrap();
        assert_eq!(patient.used(), 800);
        assert_eq!(patient.wanted.load(Ordering::SeqCst), 0);
        budget.free(100);
        assert_eq!(budget.used(), 800);
        let Err(Error::StagingFull { retry_after }) = budget.admit(900).await else {
            panic!("admitted")
        };
        assert!(retry_after < UNKNOWN, "something drained: {retry_after:?}");
    }

    #[test]
    fn pauses_grow_with_the_fill_and_the_size() {
        let chunk = CHUNK_MAX as u64;
        let limit = 1000 * chunk;
        let budget = Budget::new(limit, SHORT);
        let mut last = Duration::ZERO;
        for (used, least, most) in [
            (0, 0, 0),
            (800, 0, 0),
            (850, 10, 20),
            (900, 55, 70),
            (950, 130, 150),
            (1000, 245, 250),
        ] {
            budget.used.store(used * chunk, Ordering::SeqCst);
            let pause = budget.pause(chunk);
            let range = Duration::from_millis(least)..=Duration::from_millis(most);
            assert!(range.contains(&pause), "{pause:?} at {used}");
            assert!(pause >= last);
            assert!(budget.pause(chunk / 64) <= pause / 60);
            last = pause;
        }
        // A limit smaller than a chunk is no reason to divide by zero.
        assert!(Budget::new(0, SHORT).pause(1) < SLOWEST);
    }

    #[tokio::test]
    async fn the_estimate_is_what_is_waited_for_by_the_rate_of_late() {
        let budget = Budget::new(1_000_000, SHORT);
        budget.take(1_000_000);
        assert_eq!(budget.estimate(1), UNKNOWN);
        budget.drain.lock().since -= Duration::from_secs(10);
        budget.free(100_000);
        let soon = budget.estimate(50_000);
        assert!((4.0..6.0).contains(&soon.as_secs_f64()), "{soon:?}");
        budget.wanted.store(100_000, Ordering::SeqCst);
        let later = budget.estimate(50_000);
        assert!((14.0..17.0).contains(&later.as_secs_f64()), "{later:?}");
        assert_eq!(budget.estimate(u64::MAX / 2).as_secs(), 300);
        budget.drain.lock().since -= Duration::from_secs(121);
        assert_eq!(budget.estimate(1), UNKNOWN, "long ago");
    }
}
