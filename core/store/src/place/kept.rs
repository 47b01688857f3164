//! Segments that were built a moment ago and are wanted again soon.
//!
//! A segment is needed three times: to be named, to be pushed, to be compared with what miners hold.
//! Building it costs reading and erasure coding each time. So the last ones stay in memory, in the
//! room that they have taken already, until they are wanted again, until somebody else wants the
//! room, or until nobody has wanted them for a while.
//!
//! Who waits for room goes first: while anybody does, nothing is kept, and who begins to wait takes
//! away what is kept. Both are decided under one lock, so that no wait can miss a segment that is
//! being kept at that moment.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cess::Hash;
use parking_lot::Mutex;

use crate::clock;
use crate::place::build::Built;
use crate::place::memory::{Held, UploadMemory};

/// Longest time that a segment is kept: orders and reports take a few blocks.
const LONGEST: Duration = Duration::from_secs(90);

struct Entry {
    pack: u64,
    number: u32,
    name: Hash,
    built: Built,
    since: Instant,
}

/// The kept segments, oldest first.
#[derive(Default)]
pub(crate) struct Kept {
    segments: Mutex<VecDeque<Entry>>,
    waiting: AtomicUsize,
}

/// Somebody waits for room, until this is dropped.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Kept {
    /// Keeps segment `number` of `pack`, whose SHA-256 is `name`, unless somebody waits for its room.
    pub(crate) fn put(&self, pack: u64, number: u32, name: Hash, built: Built) {
        let mut segments = self.segments.lock();
        if self.waiting.load(Ordering::SeqCst) == 0 {
            segments.push_back(Entry {
                pack,
                number,
                name,
                built,
                since: clock::monotonic(),
            });
        }
    }

    /// Takes that segment, if it is kept and is still the same.
    pub(crate) fn take(&self, pack: u64, number: u32, name: Hash) -> Option<Built> {
        let mut segments = self.segments.lock();
        let at = segments
            .iter()
            .position(|entry| (entry.pack, entry.number, entry.name) == (pack, number, name))?;
        segments.remove(at).map(|entry| entry.built)
    }

    /// Numbers of the segments of a pack that has `count`, those that are kept first.
    pub(crate) fn first(&self, pack: u64, count: u32) -> Vec<u32> {
        let segments = self.segments.lock();
        let mut numbers: Vec<u32> = (0..count).collect();
        numbers.sort_by_key(|number| {
            !segments
                .iter()
                .any(|entry| (entry.pack, entry.number) == (pack, *number))
        });
        numbers
    }

    /// Room for `bytes`, at most a segment's, from what is kept if need be.
    pub(crate) async fn room(&self, memory: &UploadMemory, bytes: u64) -> Held {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waits = Waits(&self.waiting);
        loop {
            if let Some(held) = memory.try_take(bytes) {
                return held;
            }
            let oldest = self.segments.lock().pop_front();
            if oldest.is_none() {
                return memory.take(bytes).await;
            }
        }
    }

    /// Drops what nobody has wanted for a while.
    pub(crate) fn trim(&self) {
        let now = clock::monotonic();
        self.segments
            .lock()
            .retain(|entry| now.saturating_duration_since(entry.since) < LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt as _;

    use super::*;
    use crate::place::buffers::Buffers;
    use crate::place::memory::SEGMENT_MEMORY;

    async fn built(kept: &Kept, memory: &UploadMemory, buffers: &Arc<Buffers>) -> Built {
        let held = kept.room(memory, SEGMENT_MEMORY).await;
        Built::new(buffers.take(), held)
    }

    #[tokio::test]
    async fn a_segment_is_kept_until_somebody_wants_its_room() {
        let memory = UploadMemory::new(2 * SEGMENT_MEMORY);
        let (kept, buffers) = (Kept::default(), Arc::new(Buffers::default()));
        let (name, other) = (Hash([1; 32]), Hash([2; 32]));
        for number in 0..3 {
            let segment = built(&kept, &memory, &buffers).await;
            kept.put(7, number, name, segment);
        }
        assert_eq!(kept.first(7, 4), [1, 2, 0, 3], "the oldest made room");
        assert!(kept.take(7, 1, other).is_none(), "laid out anew since");
        let segment = kept.take(7, 1, name).unwrap();
        let second = built(&kept, &memory, &buffers).await;
        assert!(kept.take(7, 2, name).is_none(), "it made room");
        // Both are in use. Who waits gets the next that comes free, and nothing is kept meanwhile.
        let mut waiting = Box::pin(kept.room(&memory, SEGMENT_MEMORY));
        assert!(waiting.as_mut().now_or_never().is_none());
        kept.put(7, 1, name, segment);
        assert!(waiting.now_or_never().is_some());
        kept.put(7, 3, name, second);
        assert!(kept.take(7, 3, name).is_some(), "nobody waits any more");
    }
}
