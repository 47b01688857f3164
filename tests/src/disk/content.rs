//! The bytes of one file, as programs see them and as the disk holds them for certain.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::Rng as _;
use rand::rngs::SmallRng;

/// What the kernel writes back at a time.
pub const PAGE: usize = 4096;
/// What a disk writes in one go: a page can be torn between two of them.
pub const SECTOR: usize = 512;

type Page = Arc<[u8; PAGE]>;

/// One state of a file. Pages that are not there read as zeroes.
#[derive(Clone, Default)]
struct State {
    size: u64,
    pages: BTreeMap<u64, Page>,
}

/// A file.
#[derive(Clone, Default)]
pub struct Content {
    now: State,
    safe: State,
    /// Pages in which the two may differ and which the next sync writes.
    dirty: BTreeSet<u64>,
}

/// How much of what was not synced a cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Nothing.
    Nothing,
    /// Each page with this many chances in ten.
    Some(u32),
    /// All of it: the length and every page.
    Everything,
}

impl Content {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.now.size
    }

    /// Bytes that its pages take.
    pub fn space(&self) -> u64 {
        (self.now.pages.len() * PAGE) as u64
    }

    /// Whether a sync would change anything.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || self.now.size != self.safe.size
    }

    /// At most `len` bytes from `offset` on; fewer at the end.
    pub fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let end = self.now.size.min(offset.saturating_add(len as u64));
        let mut out = vec![0; end.saturating_sub(offset) as usize];
        let mut done = 0;
        while done < out.len() {
            let at = offset + done as u64;
            let (page, from) = (at / PAGE as u64, at as usize % PAGE);
            let part = (PAGE - from).min(out.len() - done);
            if let Some(bytes) = self.now.pages.get(&page) {
                out[done..done + part].copy_from_slice(&bytes[from..from + part]);
            }
            done += part;
        }
        out
    }

    /// Writes, and makes the file longer if need be.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        self.fill(offset, data.len() as u64, |page, done| {
            page.copy_from_slice(&data[done..done + page.len()]);
        });
        self.now.size = self.now.size.max(offset + data.len() as u64);
    }

    /// Zeroes a range without changing the length.
    pub fn punch(&mut self, offset: u64, len: u64) {
        let end = (offset + len).min(self.now.size.next_multiple_of(PAGE as u64));
        if offset >= end {
            return;
        }
        let first_whole = offset.div_ceil(PAGE as u64);
        let after_whole = end / PAGE as u64;
        let whole: Vec<u64> = self
            .now
            .pages
            .range(first_whole..after_whole.max(first_whole))
            .map(|(page, _)| *page)
            .collect();
        for page in whole {
            self.now.pages.remove(&page);
            self.dirty.insert(page);
        }
        let edge = |page: u64| self.now.pages.contains_key(&page);
        let (head, tail) = (offset / PAGE as u64, end / PAGE as u64);
        let (has_head, has_tail) = (edge(head), edge(tail));
        if !offset.is_multiple_of(PAGE as u64) && has_head {
            let until = end.min((head + 1) * PAGE as u64);
            self.fill(offset, until - offset, |page, _| page.fill(0));
        }
        if !end.is_multiple_of(PAGE as u64) && has_tail && tail >= first_whole {
            self.fill(tail * PAGE as u64, end % PAGE as u64, |page, _| page.fill(0));
        }
    }

    /// Cuts off, or adds zeroes.
    pub fn resize(&mut self, size: u64) {
        if size < self.now.size {
            let beyond = self.now.pages.split_off(&size.div_ceil(PAGE as u64));
            self.dirty.extend(beyond.into_keys());
            let rest = size % PAGE as u64;
            if rest != 0 && self.now.pages.contains_key(&(size / PAGE as u64)) {
                self.fill(size, PAGE as u64 - rest, |page, _| page.fill(0));
            }
        }
        self.now.size = size;
    }

    fn fill(&mut self, offset: u64, len: u64, mut fill: impl FnMut(&mut [u8], usize)) {
        let mut done = 0;
        while done < len {
            let at = offset + done;
            let (page, from) = (at / PAGE as u64, at as usize % PAGE);
            let part = ((PAGE - from) as u64).min(len - done) as usize;
            let bytes = self.now.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE]));
            fill(&mut Arc::make_mut(bytes)[from..from + part], done as usize);
            self.dirty.insert(page);
            done += part as u64;
        }
    }

    /// Everything is safe.
    pub fn sync(&mut self) {
        for page in std::mem::take(&mut self.dirty) {
            self.keep(page);
        }
        self.safe.size = self.now.size;
    }

    /// A sync that failed: what was dirty is clean, and was not written.
    pub fn forget_dirt(&mut self) {
        self.dirty.clear();
        // The length is not written either, and no later sync does it. (A longer file would write
        // a new length; then the pages in between are holes.)
    }

    /// The kernel writes one dirty page back, whichever it likes.
    pub fn write_back_one(&mut self, random: &mut SmallRng) {
        if self.dirty.is_empty() {
            return;
        }
        let chosen = random.random_range(0..self.dirty.len().min(64));
        // It stays dirty: when it changes again, both states may be found.
        if let Some(page) = self.dirty.iter().nth(chosen).copied() {
            self.keep(page);
        }
    }

    fn keep(&mut self, page: u64) {
        match self.now.pages.get(&page) {
            Some(bytes) => {
                self.safe.pages.insert(page, bytes.clone());
            }
            None => {
                self.safe.pages.remove(&page);
            }
        }
    }

    /// What a cut leaves of it: all that is safe, and of the rest what `mood` says.
    pub fn after_cut(&self, mood: Mood, random: &mut SmallRng) -> Self {
        let mut left = self.safe.clone();
        for page in &self.dirty {
            let stays = match mood {
                Mood::Nothing => false,
                Mood::Some(chances) => random.random_range(0..10) < chances,
                Mood::Everything => true,
            };
            if !stays {
                continue;
            }
            let torn = matches!(mood, Mood::Some(_)) && random.random_range(0..8) == 0;
            match self.now.pages.get(page) {
                Some(new) if torn => {
                    let mut bytes = left.pages.get(page).map_or([0; PAGE], |old| **old);
                    for sector in (0..PAGE).step_by(SECTOR) {
                        if random.random() {
                            bytes[sector..sector + SECTOR].copy_from_slice(&new[sector..sector + SECTOR]);
                        }
                    }
                    left.pages.insert(*page, Arc::new(bytes));
                }
                Some(new) => {
                    left.pages.insert(*page, new.clone());
                }
                None => {
                    left.pages.remove(page);
                }
            }
        }
        left.size = self.size_after_cut(mood, random);
        left.pages.split_off(&left.size.div_ceil(PAGE as u64));
        let rest = left.size as usize % PAGE;
        if rest != 0
            && let Some(last) = left.pages.get_mut(&(left.size / PAGE as u64))
        {
            Arc::make_mut(last)[rest..].fill(0);
        }
        Self {
            now: left.clone(),
            safe: left,
            dirty: BTreeSet::new(),
        }
    }

    fn size_after_cut(&self, mood: Mood, random: &mut SmallRng) -> u64 {
        let (safe, now) = (self.safe.size, self.now.size);
        // A failed sync left nothing to write.
        if safe == now || self.dirty.is_empty() && now > safe {
            return safe;
        }
        match mood {
            Mood::Nothing => safe,
            Mood::Everything => now,
            Mood::Some(_) => match random.random_range(0..3) {
                0 => safe,
                1 => now,
                // A length on the way: writes were appended one after the other.
                _ => random.random_range(safe.min(now)..=safe.max(now)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn random() -> SmallRng {
        SmallRng::seed_from_u64(5)
    }

    #[test]
    fn it_reads_as_an_array_of_bytes_does() {
        let mut random = random();
        let (mut content, mut model) = (Content::default(), Vec::<u8>::new());
        for step in 0..3_000 {
            let at = random.random_range(0..40_000_u64);
            let len = random.random_range(0..9_000_usize);
            match random.random_range(0..5) {
                0..=1 => {
                    let data = vec![step as u8; len];
                    let end = at as usize + len;
                    model.resize(model.len().max(end), 0);
                    model[at as usize..end].copy_from_slice(&data);
                    content.write(at, &data);
                }
                2 => {
                    let end = (at as usize + len).min(model.len());
                    if (at as usize) < end {
                        model[at as usize..end].fill(0);
                    }
                    content.punch(at, len as u64);
                }
                3 => {
                    model.resize(at as usize, 0);
                    content.resize(at);
                }
                _ => {
                    let from = (at as usize).min(model.len());
                    let end = (at as usize + len).min(model.len());
                    assert_eq!(content.read(at, len), model[from..end.max(from)], "step {step}");
                }
            }
            assert_eq!(content.size(), model.len() as u64);
        }
        content.sync();
        let left = content.after_cut(Mood::Nothing, &mut random);
        assert_eq!(left.read(0, model.len()), model);
    }

    #[test]
    fn what_was_synced_stays_and_the_rest_is_any_mixture() {
        let mut random = random();
        let mut content = Content::default();
        content.write(0, &vec![1; 40 * PAGE]);
        content.sync();
        content.write(10 * PAGE as u64, &vec![2; 40 * PAGE]);
        let mut seen = BTreeSet::new();
        for round in 0..200 {
            let mood = [Mood::Nothing, Mood::Some(5), Mood::Everything][round % 3];
            let left = content.after_cut(mood, &mut random);
            let bytes = left.read(0, 100 * PAGE);
            assert!(bytes.len() >= 40 * PAGE && bytes.len() <= 50 * PAGE);
            assert!(bytes[..10 * PAGE].iter().all(|byte| *byte == 1), "it was synced");
            for sector in bytes[10 * PAGE..40 * PAGE].chunks(SECTOR) {
                let first = sector[0];
                assert!(sector.iter().all(|byte| *byte == first), "a torn sector");
                seen.insert(first);
            }
            match mood {
                Mood::Nothing => assert!(bytes.iter().all(|byte| *byte == 1)),
                Mood::Everything => assert_eq!(bytes, content.read(0, 100 * PAGE)),
                Mood::Some(_) => {}
            }
        }
        assert_eq!(seen, BTreeSet::from([1, 2]));
    }

    #[test]
    fn after_a_failed_sync_nothing_is_written_any_more() {
        let mut content = Content::default();
        content.write(0, &[1; PAGE]);
        content.sync();
        content.write(0, &[2; PAGE]);
        content.forget_dirt();
        content.sync();
        assert_eq!(content.read(0, PAGE), [2; PAGE], "programs still see it");
        let left = content.after_cut(Mood::Everything, &mut random());
        assert_eq!(left.read(0, PAGE), [1; PAGE], "the disk does not have it");
    }
}
