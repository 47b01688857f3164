//! Looking for what lives in a pack that cannot be rebuilt as a whole.
//!
//! A chunk may be had though its segment cannot: from the disk cache, from a data fragment that is
//! still there. Finding out that it cannot takes as long as its miners are waited for, and a segment
//! holds hundreds of chunks; others wait for their look meanwhile. So a search gives up
//! - on a data fragment of a segment, after [`FEW`] chunks in a row that were not to be had from it:
//!   the next ones lie with the same miner;
//! - on everything that the network would have to give, once a [`Search`] has spent its patience on
//!   requests that brought nothing. Time that brought something does not count, nor does waiting for
//!   the scrubber's limit.
use std::ops::RangeInclusive;
use std::time::Duration;

use cess::codec::{DATA_FRAGMENTS, FRAGMENT_SIZE};
use tokio::time::Instant;

use crate::pack::layout::Slot;

/// Chunks in a row that could not be had from one data fragment before the others in it are left.
const FEW: u32 = 2;

/// What is left of the patience with one pack, and what was learned about the segment at hand.
pub(crate) struct Search {
    patience: Duration,
    /// Chunks in a row that could not be had, by data fragment.
    misses: [u32; DATA_FRAGMENTS],
}

impl Search {
    /// Spends at most `patience` in vain.
    pub(crate) const fn new(patience: Duration) -> Self {
        Self {
            patience,
            misses: [0; DATA_FRAGMENTS],
        }
    }

    /// Goes on with another segment, whose fragments may be there.
    pub(crate) const fn next_segment(&mut self) {
        self.misses = [0; DATA_FRAGMENTS];
    }

    /// Whether there is any patience left.
    pub(crate) const fn goes_on(&self) -> bool {
        !self.patience.is_zero()
    }

    /// Whether it is worth asking the network for the chunk in `slot`.
    pub(crate) fn is_worth(&self, slot: &Slot) -> bool {
        self.goes_on()
            && fragments(slot).all(|index| self.misses.get(index).is_none_or(|misses| *misses < FEW))
    }

    /// What `asking` brings; `None` when it brings nothing (which is for `vain` to say) or patience ends.
    pub(crate) async fn ask<T>(
        &mut self,
        asking: impl Future<Output = T>,
        vain: impl FnOnce(&T) -> bool,
    ) -> Option<T> {
        let began = Instant::now();
        let answer = tokio::time::timeout(self.patience, asking).await.ok();
        let answer = answer.filter(|answer| !vain(answer));
        if answer.is_none() {
            self.patience = self.patience.saturating_sub(began.elapsed());
        }
        answer
    }

    /// Notes whether the chunk in `slot` could be had.
    pub(crate) fn note(&mut self, slot: &Slot, had: bool) {
        let lies_in = fragments(slot);
        // One that straddles two says nothing about which of them is not there.
        if had || lies_in.start() == lies_in.end() {
            for index in lies_in {
                if let Some(misses) = self.misses.get_mut(index) {
                    *misses = if had { 0 } else { *misses + 1 };
                }
            }
        }
    }
}

/// Data fragments that a frame lies in.
fn fragments(slot: &Slot) -> RangeInclusive<usize> {
    let first = slot.offset as usize;
    let last = first + (slot.len as usize).saturating_sub(1);
    first / FRAGMENT_SIZE..=last / FRAGMENT_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChunkId;

    const LEN: u32 = 250_000;

    fn at(offset: u32) -> Slot {
        Slot {
            chunk: ChunkId(1),
            offset,
            len: LEN,
        }
    }

    #[test]
    fn a_fragment_that_gives_nothing_is_left_and_others_are_not() {
        let size = FRAGMENT_SIZE as u32;
        let mut search = Search::new(Duration::from_secs(1));
        let straddling = at(size - 5);
        for _ in 0..10 {
            search.note(&straddling, false);
        }
        assert!(search.is_worth(&at(64)) && search.is_worth(&at(size)));
        search.note(&at(size), false);
        search.note(&at(size), true);
        search.note(&at(size), false);
        assert!(search.is_worth(&at(size)), "not two in a row");
        search.note(&at(size), false);
        assert!(!search.is_worth(&at(size)) && !search.is_worth(&straddling));
        assert!(search.is_worth(&at(64)) && search.is_worth(&at(2 * size)));
        search.next_segment();
        assert!(search.is_worth(&at(size)));
    }

    #[tokio::test]
    async fn only_time_spent_in_vain_uses_patience_up() {
        let mut search = Search::new(Duration::from_millis(500));
        let after = async |millis: u64, answer: bool| {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            answer
        };
        for _ in 0..12 {
            assert_eq!(search.ask(after(50, true), |found| !found).await, Some(true));
        }
        assert!(search.goes_on());
        let before = search.patience;
        assert_eq!(search.ask(after(50, false), |found| !found).await, None);
        assert!(search.patience < before);
        // What never comes ends with the patience, and so does everything after it.
        assert_eq!(search.ask(std::future::pending::<()>(), |()| false).await, None);
        assert!(!search.goes_on() && !search.is_worth(&at(64)));
    }
}
