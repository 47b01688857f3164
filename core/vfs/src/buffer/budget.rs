//! How much may be dirty over all inodes.
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts dirty bytes. Writers reserve before they write; flushes give back.
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
    freed: Notify,
}

/// Bytes set aside for a write that has not happened yet; given back when dropped.
pub(crate) struct Reservation<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    /// A budget of `limit` bytes, at least one block of a file.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit: limit.max(store::CHUNK_MAX as u64),
            used: AtomicU64::new(0),
            freed: Notify::new(),
        }
    }

    /// Dirty and reserved bytes.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether flushing should begin although nothing is old.
    pub(crate) fn is_pressed(&self) -> bool {
        self.used() > self.limit / 2
    }

    /// Sets bytes aside if there is room. A write larger than the whole budget passes when it is alone.
    pub(crate) fn try_reserve(&self, bytes: u64) -> Option<Reservation<'_>> {
        let fits = |used: u64| used == 0 || used + bytes <= self.limit;
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                fits(used).then(|| used + bytes)
            })
            .ok()
            .map(|_| Reservation { budget: self, bytes })
    }

    /// Waits until something is given back.
    pub(crate) fn freed(&self) -> impl Future<Output = ()> + '_ {
        self.freed.notified()
    }

    /// Gives back `bytes`.
    pub(crate) fn release(&self, bytes: u64) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            self.freed.notify_waiters();
        }
    }
}

impl Reservation<'_> {
    /// The write happened and holds `bytes` more (or fewer) than before.
    pub(crate) fn settle(mut self, grown: i64) {
        let keep = u64::try_from(grown).unwrap_or(0);
        if grown < 0 {
            self.budget.release(grown.unsigned_abs());
        }
        if keep > self.bytes {
            self.budget.used.fetch_add(keep - self.bytes, Ordering::Relaxed);
            self.bytes = 0;
        } else {
            self.bytes -= keep;
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_settle_to_what_is_held() {
        let budget = Budget::new(1 << 20);
        budget.try_reserve(1000).unwrap().settle(400);
        assert_eq!(budget.used(), 400);
        drop(budget.try_reserve(5000).unwrap());
        assert_eq!(budget.used(), 400);
        budget.try_reserve(0).unwrap().settle(-100);
        assert_eq!(budget.used(), 300);
        assert!(budget.try_reserve(1 << 20).is_none());
        budget.release(300);
        budget.try_reserve(2 << 20).unwrap().settle(2 << 20);
        assert!(budget.try_reserve(1).is_none());
        assert!(budget.is_pressed());
    }
}
