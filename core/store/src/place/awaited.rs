//! What somebody waits for: chunks that are to be packed at once.
//!
//! One bound for all who wait: chunks with ids below it. It falls back to nothing as soon as the
//! packer has seen that no such chunk is left; otherwise chunks that come back from old packs, whose
//! ids are low, would be packed at once for ever after. Orders are counted, so that one that comes
//! in while the packer looks is not taken for served.
use parking_lot::Mutex;

use crate::ChunkId;

#[derive(Clone, Copy, Default)]
struct State {
    below: u64,
    orders: u64,
}

/// The bound.
#[derive(Default)]
pub(crate) struct Awaited(Mutex<State>);

/// The bound as it was when the packer began to look.
#[derive(Clone, Copy)]
pub(crate) struct Seen(State);

impl Awaited {
    /// Somebody waits for `chunk`, which is recorded, and those with lower ids.
    pub(crate) fn order(&self, chunk: ChunkId) {
        let mut state = self.0.lock();
        state.below = state.below.max(chunk.0.saturating_add(1));
        state.orders += 1;
    }

    /// The bound now: ask before looking at the chunks.
    pub(crate) fn look(&self) -> Seen {
        Seen(*self.0.lock())
    }

    /// Whether `oldest`, the lowest chunk that was found, is waited for. If not, what was ordered
    /// until `seen` is served.
    pub(crate) fn includes(&self, seen: Seen, oldest: Option<ChunkId>) -> bool {
        if oldest.is_some_and(|oldest| oldest.0 < seen.0.below) {
            return true;
        }
        let mut state = self.0.lock();
        if state.orders == seen.0.orders {
            state.below = 0;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_dropped_once_it_is_served_and_not_before() {
        let awaited = Awaited::default();
        let look = |oldest: u64| awaited.includes(awaited.look(), Some(ChunkId(oldest)));
        assert!(!look(0));
        awaited.order(ChunkId(9));
        assert!(look(9) && look(3));
        assert!(!look(10), "served");
        assert!(!look(3), "it came back later, and nobody waits for it");
        awaited.order(ChunkId(9));
        let seen = awaited.look();
        awaited.order(ChunkId(4));
        assert!(!awaited.includes(seen, None), "its chunk was not there yet");
        assert!(look(4), "the second order stands");
    }
}
