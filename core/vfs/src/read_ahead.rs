//! Reading ahead of sequential readers.
//!
//! Each inode remembers where its last few readers are. A read that begins where one of them
//! stopped, or close by (a kernel sends the requests of one reader out of order), moves that reader
//! on; any other read begins a new one, which nothing is fetched for: a single read costs what it
//! reads. From its second read on a reader has a *window*, the bytes fetched ahead of it. It doubles
//! whenever half of it is used up, so a reader that goes on soon has requests of megabytes in
//! flight, and one that stops has cost little.
//!
//! All readers share the memory that the store has for what is fetched ahead; those that were
//! active in the last moments divide it among themselves.
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// First window.
const FIRST: u64 = 512 << 10;
/// First window of a reader that said how far it will go.
const STEADY: u64 = 2 << 20;
/// Largest window: two of the largest requests to a miner.
const LARGEST: u64 = 8 << 20;
/// A share of the memory is never smaller: one chunk.
const LEAST: u64 = store::CHUNK_MAX as u64;
/// A read is a reader's own up to this many of its lengths from where the reader is, forwards or
/// back, and no farther than [`NEAR_MOST`].
const NEAR: u64 = 8;
const NEAR_MOST: u64 = 1 << 20;
/// Readers remembered per inode.
const PER_INODE: usize = 4;
/// A reader that asked for nothing this long takes no share.
const ACTIVE: Duration = Duration::from_secs(2);

/// All readers that are active.
pub(crate) struct Readers {
    memory: u64,
    next: AtomicU64,
    active: Mutex<HashMap<u64, Instant>>,
}

impl Readers {
    /// Together they may have `memory` bytes fetched ahead.
    pub(crate) fn new(memory: u64) -> Self {
        Self {
            memory,
            next: AtomicU64::new(0),
            active: Mutex::default(),
        }
    }

    /// A reader has ended: its share is the others'.
    pub(crate) fn left(&self, reader: &Reader) {
        self.active.lock().remove(&reader.number);
    }

    /// What a reader may have fetched ahead now. It counts as active from here on.
    fn share(&self, reader: u64) -> u64 {
        let now = Instant::now();
        let mut active = self.active.lock();
        active.insert(reader, now);
        active.retain(|_, asked| now.saturating_duration_since(*asked) < ACTIVE);
        (self.memory / active.len().max(1) as u64).max(LEAST)
    }
}

/// One reader of one inode.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    number: u64,
    /// End of what it has read.
    at: u64,
    /// End of what was fetched for it.
    fetched: u64,
    /// 0: it has made one read only.
    window: u64,
    /// Its share of the memory, when it last asked.
    share: u64,
    /// Nothing is asked for before it is here: there was no room.
    pauses_to: u64,
}

impl Reader {
    /// One that is known to go on from `at`.
    pub(crate) fn steady(readers: &Readers, at: u64) -> Self {
        Self {
            window: STEADY,
            ..Self::new(readers, at)
        }
    }

    fn new(readers: &Readers, at: u64) -> Self {
        Self {
            number: readers.next.fetch_add(1, Ordering::Relaxed),
            at,
            fetched: at,
            window: 0,
            share: u64::MAX,
            pauses_to: 0,
        }
    }

    /// It has read up to `at`. Answers what should be fetched for it now, and takes that for fetched.
    pub(crate) fn advance(&mut self, readers: &Readers, at: u64) -> Option<Range<u64>> {
        self.at = self.at.max(at);
        self.fetched = self.fetched.max(self.at);
        // Half a window at a time, or every request would be for what was read just now.
        if self.at < self.pauses_to || self.fetched - self.at > self.window.min(self.share) / 2 {
            return None;
        }
        self.share = readers.share(self.number);
        let window = self.window.min(self.share);
        let from = self.fetched;
        self.fetched = from.max(self.at.saturating_add(window));
        self.window = (2 * self.window).clamp(FIRST, LARGEST);
        (self.fetched > from).then_some(from..self.fetched)
    }

    /// Less was fetched than it wanted: only up to `end`.
    pub(crate) fn fell_short(&mut self, end: u64) {
        self.fetched = self.fetched.min(end.max(self.at));
        self.pauses_to = self.at.saturating_add(FIRST);
    }

    fn owns(&self, read: &Range<u64>) -> bool {
        let near = ((read.end - read.start) * NEAR).min(NEAR_MOST);
        read.start.abs_diff(self.at) <= near
    }
}

/// The last readers of one inode, the latest last.
#[derive(Debug, Default)]
pub(crate) struct InodeReaders(Vec<Reader>);

impl InodeReaders {
    /// A read that begins now. Answers its reader, and what should be fetched ahead for it.
    pub(crate) fn note(&mut self, readers: &Readers, read: &Range<u64>) -> (&mut Reader, Option<Range<u64>>) {
        // Of several that are near, the one that stopped closest.
        let near = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, reader)| reader.owns(read))
            .min_by_key(|(_, reader)| reader.at.abs_diff(read.start))
            .map(|(index, _)| index);
        let mut reader = match near {
            Some(index) => {
                let mut reader = self.0.remove(index);
                if reader.window == 0 {
                    reader.window = FIRST;
                }
                reader
            }
            None => Reader::new(readers, read.end),
        };
        if self.0.len() >= PER_INODE {
            self.0.remove(0);
        }
        let wanted = if reader.window == 0 {
            None
        } else {
            reader.advance(readers, read.end)
        };
        self.0.push(reader);
        let last = self.0.len() - 1;
        (&mut self.0[last], wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 128 << 10;

    fn page(number: u64) -> Range<u64> {
        number * PAGE..(number + 1) * PAGE
    }

    #[test]
    fn a_single_read_fetches_nothing_ahead() {
        let readers = Readers::new(1 << 30);
        let mut inode = InodeReaders::default();
        for start in [0, 1 << 30, 2 << 30, 5 << 30, 1 << 40, 3 << 30] {
            assert_eq!(inode.note(&readers, &(start..start + 4096)).1, None);
        }
        assert_eq!(inode.0.len(), PER_INODE);
        assert!(readers.active.lock().is_empty());
    }

    #[test]
    fn the_window_of_a_sequential_reader_doubles_and_no_byte_is_fetched_twice() {
        let readers = Readers::new(1 << 30);
        let mut inode = InodeReaders::default();
        let mut fetched: Vec<Range<u64>> = Vec::new();
        for number in 0..400 {
            if let Some(range) = inode.note(&readers, &page(number)).1 {
                assert!(
                    range.start >= page(number).end,
                    "what is being read is no concern"
                );
                fetched.push(range);
            }
        }
        for pair in fetched.windows(2) {
            assert_eq!(pair[0].end, pair[1].start, "no gap and no overlap");
        }
        let lens: Vec<u64> = fetched.iter().map(|range| range.end - range.start).collect();
        assert_eq!(lens[0], FIRST);
        assert!(lens.iter().all(|len| *len <= LARGEST));
        let (last, at) = (&fetched[fetched.len() - 1], 400 * PAGE);
        assert!(
            last.end - at > LARGEST / 4 && last.end - at <= LARGEST,
            "{last:?}"
        );
    }

    #[test]
    fn requests_stay_large_when_memory_is_short() {
        let readers = Readers::new(16 << 20);
        let mut all: Vec<Reader> = (0..16).map(|_| Reader::steady(&readers, 0)).collect();
        let chunk = store::CHUNK_MAX as u64;
        let mut fetched = Vec::new();
        for number in 0..64 {
            for reader in &mut all {
                fetched.extend(reader.advance(&readers, number * chunk));
            }
        }
        // Of 16 MiB each, in halves of a share of 1 MiB.
        assert!(fetched.len() <= 16 * 40, "{}", fetched.len());
        let last = &fetched[fetched.len() - 1];
        assert_eq!(last.end - last.start, 512 << 10);
    }

    #[test]
    fn a_seek_starts_over_and_interleaved_readers_do_not_disturb_each_other() {
        let readers = Readers::new(1 << 30);
        let mut inode = InodeReaders::default();
        let far = 1 << 33;
        for number in 0..50 {
            inode.note(&readers, &page(number));
            let other = page(number);
            inode.note(&readers, &(other.start + far..other.end + far));
        }
        assert_eq!(inode.0.len(), 2);
        assert!(inode.0.iter().all(|reader| reader.window == LARGEST));
        let seek = 1 << 35;
        assert_eq!(inode.note(&readers, &(seek..seek + 4096)).1, None);
        let after = inode.note(&readers, &(seek + 4096..seek + 8192)).1;
        assert_eq!(after, Some(seek + 8192..seek + 8192 + FIRST));
    }

    #[test]
    fn requests_out_of_order_belong_to_the_same_reader() {
        let readers = Readers::new(1 << 30);
        let mut inode = InodeReaders::default();
        for number in [1, 0, 3, 2, 5, 4, 6, 8, 7] {
            inode.note(&readers, &page(number));
        }
        assert_eq!(inode.0.len(), 1);
        assert_eq!(inode.0[0].at, page(8).end);
    }

    #[test]
    fn readers_share_the_memory_and_what_was_refused_is_asked_for_again() {
        let readers = Readers::new(4 << 20);
        let mut all: Vec<Reader> = (0..4).map(|_| Reader::steady(&readers, 0)).collect();
        for reader in &mut all {
            reader.window = LARGEST;
            reader.advance(&readers, 0);
        }
        let at = 100 << 20;
        for reader in &mut all {
            assert_eq!(reader.advance(&readers, at), Some(at..at + (1 << 20)));
        }
        all[0].fell_short(at + 300_000);
        assert_eq!(all[0].advance(&readers, at), None, "it is left alone for a while");
        let next = at + FIRST;
        assert_eq!(all[0].advance(&readers, next), Some(next..next + (1 << 20)));
        for reader in &all[1..] {
            readers.left(reader);
        }
        let later = next + (1 << 20);
        assert_eq!(
            all[0].advance(&readers, later),
            Some(later..later + (4 << 20)),
            "alone it has all"
        );
        // However many there are, each may have a chunk.
        let crowd: Vec<u64> = (100..400).map(|number| readers.share(number)).collect();
        assert_eq!(crowd[299], LEAST);
    }
}
