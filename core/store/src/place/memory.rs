//! Memory that packs may take on their way: one budget in bytes for all of them.
//!
//! Hashing, pushing and reading back all need a segment with its parity in memory. Whoever builds
//! one takes its bytes from the budget first and gives them back with the segment itself: what was
//! taken travels with the bytes ([`Held`]), so that work which outlives its caller stays counted.
//! Nobody holds while waiting for more, so nobody waits in a circle, and first come is first served.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cess::codec::{FRAGMENT_SIZE, PARITY_FRAGMENTS, SEGMENT_SIZE};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one segment takes, in bytes: itself, its parity, and two fragments for what is copied out
/// of it or read beside it.
pub(crate) const SEGMENT_MEMORY: u64 =
    (SEGMENT_SIZE + PARITY_FRAGMENTS * FRAGMENT_SIZE + 2 * FRAGMENT_SIZE) as u64;

/// Unit of the count.
const UNIT: u64 = 64 << 10;

/// The budget.
pub(crate) struct UploadMemory {
    limit: u64,
    free: Arc<Semaphore>,
    taken: Arc<Taken>,
}

#[derive(Default)]
struct Taken {
    now: AtomicU64,
    most: AtomicU64,
}

/// Bytes taken from the budget, until this is dropped.
pub(crate) struct Held {
    bytes: u64,
    taken: Arc<Taken>,
    /// Freed after the count is corrected.
    _permit: Option<OwnedSemaphorePermit>,
}

impl UploadMemory {
    /// A budget of `limit` bytes; less than a segment takes is taken for that.
    pub(crate) fn new(limit: u64) -> Self {
        let limit = limit.clamp(SEGMENT_MEMORY, u64::from(u32::MAX) * UNIT);
        Self {
            limit,
            free: Arc::new(Semaphore::new((limit / UNIT) as usize)),
            taken: Arc::default(),
        }
    }

    /// Segments that can be in memory at a time.
    pub(crate) const fn segments(&self) -> usize {
        (self.limit / SEGMENT_MEMORY) as usize
    }

    /// Room for `bytes`, at most a segment's, if there is.
    pub(crate) fn try_take(&self, bytes: u64) -> Option<Held> {
        let permit = self.free.clone().try_acquire_many_owned(units(bytes)).ok()?;
        Some(self.hold(bytes, Some(permit)))
    }

    /// Room for `bytes`, at most a segment's, once there is.
    pub(crate) async fn take(&self, bytes: u64) -> Held {
        // The semaphore is never closed.
        let permit = self.free.clone().acquire_many_owned(units(bytes)).await.ok();
        self.hold(bytes, permit)
    }

    fn hold(&self, bytes: u64, permit: Option<OwnedSemaphorePermit>) -> Held {
        let now = self.taken.now.fetch_add(bytes, Ordering::AcqRel) + bytes;
        self.taken.most.fetch_max(now, Ordering::AcqRel);
        Held {
            bytes,
            taken: self.taken.clone(),
            _permit: permit,
        }
    }

    /// Bytes taken now, the most that ever were, and the limit.
    pub(crate) fn usage(&self) -> (u64, u64, u64) {
        (
            self.taken.now.load(Ordering::Acquire),
            self.taken.most.load(Ordering::Acquire),
            self.limit,
        )
    }
}

/// `bytes` in units of the count.
fn units(bytes: u64) -> u32 {
    bytes.div_ceil(UNIT) as u32
}

impl Drop for Held {
    fn drop(&mut self) {
        self.taken.now.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn segments_wait_for_room_and_the_most_is_remembered() {
        let memory = UploadMemory::new(2 * SEGMENT_MEMORY + 1);
        assert_eq!(memory.segments(), 2);
        let first = memory.take(SEGMENT_MEMORY).await;
        let second = memory.take(SEGMENT_MEMORY).await;
        assert!(memory.take(SEGMENT_MEMORY).now_or_never().is_none());
        assert_eq!(memory.usage().0, 2 * SEGMENT_MEMORY);
        drop(first);
        let third = memory.take(SEGMENT_MEMORY).now_or_never();
        assert!(third.is_some());
        drop((second, third));
        let (now, most, limit) = memory.usage();
        assert_eq!(
            (now, most, limit),
            (0, 2 * SEGMENT_MEMORY, 2 * SEGMENT_MEMORY + 1)
        );
    }

    #[tokio::test]
    async fn a_budget_too_small_is_that_of_one_segment() {
        let memory = UploadMemory::new(1);
        let _one = memory.take(SEGMENT_MEMORY).await;
        assert!(memory.take(SEGMENT_MEMORY).now_or_never().is_none());
    }
}
