//! Which files may be deleted.
//!
//! A checkpoint needs no particular file, but the bytes that it calls live must be somewhere. A chunk
//! that was released an hour ago lives in the checkpoint of two hours ago: if the file goes before a
//! later checkpoint is placed, a restore would miss it. So a file waits until a checkpoint is placed
//! that was begun after nothing in the file was needed any more.
//!
//! Moments are ticks of a counter, not times: what was asked before a checkpoint began has the lower
//! tick. The wait ends in any case after [`Coverage::patience`], and at once while the territory takes
//! no new file, for then no checkpoint can be placed before something is deleted.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What is known of the checkpoints by who deletes files.
#[derive(Debug)]
pub(crate) struct Coverage {
    clock: AtomicU64,
    /// Highest tick at which a checkpoint began that is placed.
    placed: AtomicU64,
    /// Since when packs wait to be deleted, by their number.
    waiting: Mutex<HashMap<u64, (u64, Instant)>>,
    patience: Duration,
    /// Somebody wants a checkpoint.
    wanted: Notify,
}

impl Coverage {
    /// Nothing is covered yet; nobody waits for longer than `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            clock: AtomicU64::new(0),
            placed: AtomicU64::new(0),
            waiting: Mutex::default(),
            patience,
            wanted: Notify::new(),
        }
    }

    /// Now.
    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// A checkpoint that began at `tick` is placed.
    pub(crate) fn placed(&self, tick: u64) {
        self.placed.fetch_max(tick, Ordering::SeqCst);
    }

    /// Whether somebody waits for a checkpoint.
    #[cfg(test)]
    pub(crate) fn is_wanted(&self) -> bool {
        !self.waiting.lock().is_empty()
    }

    /// Returns when somebody begins to wait.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Whether the file of `pack`, which nobody needs any more, may be deleted now.
    pub(crate) fn may_delete(&self, pack: u64) -> bool {
        let mut waiting = self.waiting.lock();
        let (since, began) = *waiting.entry(pack).or_insert_with(|| {
            self.wanted.notify_one();
            (self.tick(), Instant::now())
        });
        let covered = self.placed.load(Ordering::SeqCst) > since;
        if !covered && began.elapsed() < self.patience {
            return false;
        }
        if !covered {
            tracing::warn!(
                pack,
                "a file is deleted although no checkpoint could be placed since nothing needed it"
            );
        }
        waiting.remove(&pack);
        true
    }

    /// The file of `pack` is deleted without a checkpoint.
    pub(crate) fn give_up(&self, pack: u64) {
        self.waiting.lock().remove(&pack);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_waits_for_a_checkpoint_that_began_later() {
        let coverage = Coverage::new(Duration::MAX);
        let early = coverage.tick();
        assert!(!coverage.may_delete(1) && coverage.is_wanted());
        coverage.placed(early);
        assert!(!coverage.may_delete(1), "it began before");
        let late = coverage.tick();
        assert!(!coverage.may_delete(2));
        coverage.placed(late);
        assert!(coverage.may_delete(1) && !coverage.may_delete(2));
        coverage.give_up(2);
        assert!(!coverage.is_wanted());
        assert!(Coverage::new(Duration::ZERO).may_delete(1), "patience ends");
    }
}
