//! The budget of the staging disk.
//!
//! Writers are slowed down before it is full and turned away when it is: above nine tenths each
//! chunk waits a moment, at the limit it waits for space, for a while, and is then refused with an
//! estimate of when space will be there, from how fast it came free of late.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{Error, Result};

/// Pause of a chunk above the first threshold.
const SLOW: Duration = Duration::from_millis(10);
/// A drain rate is measured over about this long.
const WINDOW: Duration = Duration::from_secs(60);
/// Estimate when nothing has come free of late.
const UNKNOWN: Duration = Duration::from_secs(30);

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
    freed: Notify,
    drain: Mutex<Drain>,
}

impl Budget {
    /// At most `limit` bytes; a chunk waits at most `patience` for space.
    pub(crate) fn new(limit: u64, patience: Duration) -> Self {
        Self {
            limit,
            patience,
            used: AtomicU64::new(0),
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
        if self.used() > self.limit / 10 * 9 {
            tokio::time::sleep(SLOW).await;
        }
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
                    retry_after: self.estimate(len),
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

    fn try_take(&self, len: u64) -> bool {
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
                used.checked_add(len).filter(|used| *used <= self.limit)
            })
            .is_ok()
    }

    fn estimate(&self, len: u64) -> Duration {
        let drain = self.drain.lock();
        let elapsed = drain.since.elapsed();
        if drain.freed == 0 || elapsed > 2 * WINDOW {
            return UNKNOWN;
        }
        let rate = drain.freed as f64 / elapsed.as_secs_f64().max(1.0);
        Duration::from_secs_f64((len as f64 / rate).clamp(1.0, 300.0))
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
        budget.free(100);
        assert_eq!(budget.used(), 800);
        let Err(Error::StagingFull { retry_after }) = budget.admit(900).await else {
            panic!("admitted")
        };
        assert!(retry_after < UNKNOWN, "something drained: {retry_after:?}");
    }

    #[tokio::test]
    async fn writers_are_slowed_down_before_the_end() {
        let budget = Budget::new(1000, SHORT);
        budget.admit(950).await.unwrap();
        let start = Instant::now();
        budget.admit(10).await.unwrap();
        assert!(start.elapsed() >= SLOW);
    }
}
