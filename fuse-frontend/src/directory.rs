//! Open directories: the kernel's cookies and the vfs's positions.
//!
//! The kernel names a place in a directory by a 64-bit cookie that it got with an entry, and may go
//! on from any entry it was ever given: after a partly used reply, or by `seekdir`. The vfs names a
//! place by an opaque [`DirPosition`] that stays right while entries come and go. A table per open
//! directory ties the two together, so that an entry that is there all the time is listed exactly
//! once whatever happens around it.
//!
//! A process may list a directory of any size, so the table is bounded: exact for the most recent
//! [`RECENT`] entries, and one in [`MILESTONE`] for those before. Going back further than that
//! repeats up to `MILESTONE - 1` entries and skips none.
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use vfs::DirPosition;

/// Cookie after `.`.
pub(crate) const AFTER_DOT: u64 = 1;
/// Cookie after `..`.
pub(crate) const AFTER_DOT_DOT: u64 = 2;

/// Positions kept exactly: far more than one reply holds (1 MiB, some thousands of entries), and a
/// few MiB per open directory at most.
const RECENT: usize = 32 << 10;

/// Beyond those, one in so many is kept.
const MILESTONE: u64 = 1024;

/// The cookies of one open directory, counted up from [`AFTER_DOT_DOT`].
#[derive(Debug, Default)]
pub(crate) struct Cookies {
    /// Positions of the newest cookies, without gaps, oldest first.
    recent: VecDeque<DirPosition>,
    /// Cookie of the first of `recent`, less `AFTER_DOT_DOT + 1`: positions dropped from it.
    dropped: u64,
    /// Every [`MILESTONE`]th of the dropped.
    milestones: Vec<DirPosition>,
}

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// After this entry; `None` is the beginning.
    After(Option<DirPosition>),
    /// No such cookie was given.
    Unknown,
}

impl Cookies {
    /// The cookie that [`Self::record`] will give next.
    pub(crate) fn next(&self) -> u64 {
        AFTER_DOT_DOT + 1 + self.dropped + self.recent.len() as u64
    }

    /// Ties [`Self::next`] to the place after an entry.
    pub(crate) fn record(&mut self, position: DirPosition) {
        self.recent.push_back(position);
        if self.recent.len() > RECENT
            && let Some(oldest) = self.recent.pop_front()
        {
            if self.dropped.is_multiple_of(MILESTONE) {
                self.milestones.push(oldest);
            }
            self.dropped += 1;
        }
    }

    /// The place that a cookie names.
    pub(crate) fn place(&self, cookie: u64) -> Place {
        let Some(index) = cookie.checked_sub(AFTER_DOT_DOT + 1) else {
            return Place::After(None);
        };
        if let Some(newer) = index.checked_sub(self.dropped) {
            return match self.recent.get(newer as usize) {
                Some(position) => Place::After(Some(position.clone())),
                None => Place::Unknown,
            };
        }
        // The milestone at or before it: never after, or entries would be skipped.
        Place::After(self.milestones.get((index / MILESTONE) as usize).cloned())
    }

    /// Forgets all cookies: the directory is read from its beginning, after which no older cookie
    /// needs to hold (rewinddir).
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }
}

/// The open directories by file handle.
#[derive(Debug, Default)]
pub(crate) struct Directories {
    open: Mutex<HashMap<u64, Arc<Mutex<Cookies>>>>,
    last: AtomicU64,
}

impl Directories {
    /// A fresh handle.
    pub(crate) fn open(&self) -> u64 {
        let handle = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.open.lock().insert(handle, Arc::default());
        handle
    }

    /// Cookies of a handle.
    pub(crate) fn get(&self, handle: u64) -> Option<Arc<Mutex<Cookies>>> {
        self.open.lock().get(&handle).cloned()
    }

    /// Drops a handle.
    pub(crate) fn close(&self, handle: u64) {
        self.open.lock().remove(&handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(number: u64) -> DirPosition {
        DirPosition(number.to_be_bytes().to_vec())
    }

    #[test]
    fn a_cookie_names_the_place_after_its_entry() {
        let mut cookies = Cookies::default();
        for cookie in 0..=AFTER_DOT_DOT {
            assert_eq!(cookies.place(cookie), Place::After(None));
        }
        assert_eq!(cookies.place(3), Place::Unknown);
        let given: Vec<_> = (0..10)
            .map(|number| {
                let cookie = cookies.next();
                cookies.record(position(number));
                cookie
            })
            .collect();
        assert_eq!(given, (3..13).collect::<Vec<_>>());
        for (number, &cookie) in given.iter().enumerate() {
            assert_eq!(cookies.place(cookie), Place::After(Some(position(number as u64))));
        }
        cookies.restart();
        assert_eq!(cookies.next(), 3);
    }

    #[test]
    fn old_cookies_lead_back_and_never_forward() {
        let mut cookies = Cookies::default();
        let total = RECENT as u64 + 10 * MILESTONE + 7;
        for number in 0..total {
            cookies.record(position(number));
        }
        assert!(cookies.milestones.len() <= 11 && cookies.recent.len() == RECENT);
        for number in 0..total {
            let Place::After(Some(DirPosition(bytes))) = cookies.place(number + 3) else {
                panic!("cookie {number} is lost");
            };
            let place = u64::from_be_bytes(bytes.try_into().expect("8 bytes"));
            assert!(
                place <= number && number - place < MILESTONE,
                "{number} led to {place}"
            );
            if number >= total - RECENT as u64 {
                assert_eq!(place, number);
            }
        }
        assert_eq!(cookies.place(total + 3), Place::Unknown);
    }

    #[test]
    fn handles_are_distinct_and_closed() {
        let directories = Directories::default();
        let (a, b) = (directories.open(), directories.open());
        assert_ne!(a, b);
        directories.close(a);
        assert!(directories.get(a).is_none() && directories.get(b).is_some());
    }
}
