//! Which files may be deleted.
//!
//! A checkpoint needs no particular file, but the bytes that it calls live must be somewhere. A chunk
//! that was released an hour ago lives in the checkpoint of two hours ago: if the file goes before a
//! later checkpoint is placed, a restore would miss it. So a file waits until a checkpoint is placed
//! that was begun after nothing in the file was needed any more.
//!
//! Moments are ticks of a counter, not times: what was asked before a checkpoint began has the lower
//! tick. Nothing is deleted before it is certain that this gateway goes on with the namespace: a look
//! through all files of the account that finds no later incarnation ([`super::fence`]). Files that
//! cannot be read hold that up for [`Coverage::patience`] at most.
//!
//! The wait ends in any case after [`Coverage::patience`], and at once while the territory takes
//! no new file, for then no checkpoint can be placed before something is deleted.
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    opened: Instant,
    /// No later incarnation is among the files of the account, as far as was looked.
    alone: AtomicBool,
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
            opened: Instant::now(),
            alone: AtomicBool::new(false),
            wanted: Notify::new(),
        }
    }

    /// All files of the account were looked through, and none is of a later incarnation; `unreadable` of
    /// them could not be read.
    pub(crate) fn looked(&self, unreadable: usize) {
        if self.alone.load(Ordering::SeqCst) || (unreadable > 0 && self.opened.elapsed() < self.patience) {
            return;
        }
        if unreadable > 0 {
            tracing::warn!(
                unreadable,
                "files of the account cannot be read; it is taken for certain that none of them is of a \
                 restore elsewhere"
            );
        }
        self.alone.store(true, Ordering::SeqCst);
    }

    /// Whether it was looked whether another gateway goes on with the namespace.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::SeqCst)
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
        if !self.is_alone() {
            return false;
        }
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
        coverage.looked(0);
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
        let impatient = Coverage::new(Duration::ZERO);
        impatient.looked(0);
        assert!(impatient.may_delete(1), "patience ends");
    }

    #[test]
    fn nothing_is_deleted_before_it_is_known_that_nobody_else_goes_on() {
        for patience in [Duration::ZERO, Duration::MAX] {
            let coverage = Coverage::new(patience);
            assert!(!coverage.may_delete(1));
            let late = coverage.tick();
            coverage.placed(late);
            assert!(!coverage.may_delete(1) && !coverage.is_alone());
            coverage.looked(0);
            assert!(coverage.may_delete(1));
        }
        // A file that nobody can read does not hold it up for ever.
        let coverage = Coverage::new(Duration::MAX);
        coverage.looked(1);
        assert!(!coverage.is_alone());
        let coverage = Coverage::new(Duration::ZERO);
        coverage.looked(1);
        assert!(coverage.is_alone());
    }
}
