//! How often readers may ask twice.
//!
//! A hedged read asks up to four more miners. Where everything is slow, because the line is full,
//! hedging would make it slower still. So each read that is not hedged earns a part of a hedge,
//! and who finds nothing earned waits longer before he hedges all the same.
use std::sync::atomic::{AtomicU32, Ordering};

/// Parts of a hedge.
const HEDGE: u32 = 10;
/// Earned by a read.
const EARNED: u32 = 1;
/// Most that can be saved up: the hedges of a burst.
const SAVED: u32 = 20 * HEDGE;

/// Counts what is earned.
pub(crate) struct Allowance(AtomicU32);

impl Default for Allowance {
    fn default() -> Self {
        Self(AtomicU32::new(SAVED))
    }
}

impl Allowance {
    /// A read was asked for.
    pub(crate) fn earn(&self) {
        self.change(|saved| Some((saved + EARNED).min(SAVED)));
    }

    /// Takes a hedge, if one is earned.
    pub(crate) fn spend(&self) -> bool {
        self.change(|saved| saved.checked_sub(HEDGE))
    }

    fn change(&self, change: impl FnMut(u32) -> Option<u32>) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_read_in_ten_may_be_hedged_after_the_first_burst() {
        let allowance = Allowance::default();
        let burst = (0..1000).filter(|_| allowance.spend()).count();
        assert_eq!(burst as u32, SAVED / HEDGE);
        let hedged = (0..1000).filter(|_| {
            allowance.earn();
            allowance.spend()
        });
        assert_eq!(hedged.count(), 100);
        for _ in 0..100_000 {
            allowance.earn();
        }
        assert_eq!(
            (0..1000).filter(|_| allowance.spend()).count() as u32,
            SAVED / HEDGE
        );
    }
}
