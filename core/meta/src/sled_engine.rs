//! sled 0.34, with what it lacks put around it.
//!
//! * sled has no snapshots, and its transactions know no ranges. It holds the present state; what
//!   older views still need of the past is kept in memory ([`history`]). One commit goes through at a time: it is
//!   refused if anything that the transaction read (keys and whole ranges) was written since it began, and then
//!   it is one batch of sled, whole or not there.
//! * sled writes its log in order and reads it up to the first gap, so a crash leaves a prefix of the
//!   commits. Its flush asks the kernel to start writing and not the disk to have written; [`durable`]
//!   makes it do so, everywhere, for sled also relies on it when it uses parts of its file again.
//! * Values longer than a few kilobytes are cut into pieces ([`piece`]): sled would put what is too long for its log
//!   into files of its own, which it does not sync.
//!
//! What it costs: memory for every version that a view which is still open could see; sled's own
//! memory, which is not counted against the cache; several times the bytes written. After a write or
//! sync that failed nothing is written, synced or read any more ([`State::failed`]): only a restart
//! helps.
mod durable;
mod history;
mod piece;

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use self::history::History;
use crate::bounds::{check_key, check_value, half_open, is_empty_range, successor};
use crate::changes::{Changes, Publisher, Subscribers};
use crate::overlay::{self, Writes};
use crate::{Engine, Error, KeyValue, Read, Result, Transaction, directory};

/// Parts in which sled uses its file. A message of its log is at most a quarter of it; the longest is a node
/// of the tree with some 256 of the longest keys.
const SEGMENT_BYTES: usize = 4 << 20;
/// What a scour is answered.
const CANNOT_SCOUR: &str = "sled cannot be made to forget deleted rows: move the metadata to another engine, and remove the directory";
/// How often sled writes out by itself what was committed, and looks for parts to use again.
const FLUSH_MILLIS: u64 = 500;
/// How long the lock of a database that was closed may outlast it.
const LOCK_GRACE: Duration = Duration::from_secs(5);
const LOCK_LOOK: Duration = Duration::from_millis(10);
/// Rows that are read under one lock.
const PAGE_ROWS: usize = 256;
/// Bytes after which a page ends early.
const PAGE_BYTES: usize = 1 << 20;

/// sled in a directory of its own.
pub struct SledEngine {
    inner: Arc<Inner>,
}

struct Inner {
    db: sled::Db,
    /// Held alone by a commit, shared by whoever reads: sled's rows and the history change together.
    state: RwLock<State>,
    /// What open views and transactions see.
    seen: Mutex<history::Seen>,
}

struct State {
    /// Number of the last commit since this was opened.
    sequence: u64,
    history: History,
    publisher: Publisher,
    /// Number of the next value that is cut into pieces.
    next_value: u64,
    /// Why nothing goes on. A batch that failed may be there in part, in memory, and what a sync that
    /// failed was to cover may be on no disk: neither may be shown, built on, or acknowledged later.
    failed: Option<String>,
}

impl State {
    /// From now on nothing goes on.
    fn fail(&mut self, error: &Error) {
        self.failed.get_or_insert_with(|| error.to_string());
    }

    /// Fails once something has.
    fn check(&self) -> Result<()> {
        match &self.failed {
            Some(reason) => Err(Error::Engine(format!(
                "sled failed, and has to be opened anew: {reason}"
            ))),
            None => Ok(()),
        }
    }
}

impl SledEngine {
    /// Opens or creates the database in `path` with a cache of about `cache_bytes`.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self> {
        let db = open(path, cache_bytes)?;
        // sled syncs its files, but not their names.
        directory::sync_tree(path).map_err(|error| Error::Engine(format!("{}: {error}", path.display())))?;
        durable::prove(&db)?;
        let next_value = piece::next_value(&db)?;
        let state = State {
            sequence: 0,
            history: History::default(),
            publisher: Publisher::default(),
            next_value,
            failed: None,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                db,
                state: RwLock::new(state),
                seen: Mutex::default(),
            }),
        })
    }

    fn view(&self) -> View {
        let state = self.inner.state.read();
        self.inner.seen.lock().add(state.sequence);
        View {
            inner: Arc::clone(&self.inner),
            sequence: state.sequence,
        }
    }
}

fn open(path: &Path, cache_bytes: u64) -> Result<sled::Db> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .segment_size(SEGMENT_BYTES)
        .flush_every_ms(Some(FLUSH_MILLIS));
    let deadline = Instant::now() + LOCK_GRACE;
    loop {
        // It asserts some of what the disk holds: a panic there is damage.
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| config.open()))
            .map_err(|_| Error::Damaged(format!("{} cannot be recovered", path.display())))?;
        match opened {
            Ok(db) => return Ok(db),
            Err(sled::Error::Io(error)) if locked(&error) => {
                if Instant::now() >= deadline {
                    return Err(Error::InUse);
                }
                std::thread::sleep(LOCK_LOOK);
            }
            Err(error) => return Err(from_sled(error)),
        }
    }
}

/// sled says so in words alone.
fn locked(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

fn from_sled(error: sled::Error) -> Error {
    match error {
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => {
            Error::Damaged(format!("sled: {error}"))
        }
        _ => Error::Engine(format!("sled: {error}")),
    }
}

impl Engine for SledEngine {
    fn snapshot(&self) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.view()))
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>> {
        Ok(Box::new(Write {
            view: self.view(),
            reads: RefCell::default(),
            writes: Writes::new(),
        }))
    }

    fn sync(&self) -> Result<()> {
        self.inner.state.read().check()?;
        let flushed = self.inner.db.flush().map_err(from_sled).map(drop);
        let done = flushed.and_then(|()| durable::check());
        let mut state = self.inner.state.write();
        if let Err(error) = &done {
            state.fail(error);
        }
        // A commit that failed meanwhile was not covered.
        state.check()
    }

    fn scour(&self) -> Result<()> {
        Err(Error::Engine(CANNOT_SCOUR.into()))
    }

    fn cannot_scour(&self) -> Option<&'static str> {
        Some(CANNOT_SCOUR)
    }

    // A commit is told before anybody sees it.
    fn tells_before_subscribing(&self) -> bool {
        true
    }

    fn subscribe(&self) -> Result<Changes> {
        Ok(self.inner.state.write().publisher.subscribe())
    }

    fn hand_over(&self) -> Subscribers {
        self.inner.state.write().publisher.hand_over()
    }

    fn take_over(&self, subscribers: Subscribers) {
        self.inner.state.write().publisher.take_over(subscribers);
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.inner.db.size_on_disk().map_err(from_sled)
    }
}

impl Inner {
    /// The present value.
    fn present(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.db.get(piece::row_key(key)).map_err(from_sled)? {
            Some(row) => piece::read(&self.db, &row).map(Some),
            None => Ok(None),
        }
    }

    /// The present rows between bounds that do not cross.
    fn present_rows<'a>(
        &'a self,
        first: &[u8],
        behind: Option<&[u8]>,
        reverse: bool,
    ) -> Box<dyn Iterator<Item = Result<KeyValue>> + 'a> {
        let from = piece::row_key(first);
        let to = behind.map_or_else(piece::rows_end, piece::row_key);
        let row = |found: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, row) = found.map_err(from_sled)?;
            Ok((piece::key_of(&key)?, piece::read(&self.db, &row)?))
        };
        let found = self.db.range(from..to);
        if reverse {
            Box::new(found.rev().map(row))
        } else {
            Box::new(found.map(row))
        }
    }
}

/// What was committed when it began.
struct View {
    inner: Arc<Inner>,
    sequence: u64,
}

impl Drop for View {
    fn drop(&mut self) {
        self.inner.seen.lock().remove(self.sequence);
    }
}

impl View {
    fn page(&self, first: &[u8], behind: Option<&[u8]>, reverse: bool) -> Result<(VecDeque<KeyValue>, bool)> {
        let state = self.inner.state.read();
        state.check()?;
        let below = self.inner.present_rows(first, behind, reverse);
        let past = state.history.range(first, behind, self.sequence);
        let rows: Box<dyn Iterator<Item = Result<KeyValue>>> = if reverse {
            Box::new(overlay::merge_sorted(below, past.rev(), true))
        } else {
            Box::new(overlay::merge_sorted(below, past, false))
        };
        let (mut page, mut bytes) = (VecDeque::new(), 0);
        for row in rows {
            let (key, value) = row?;
            bytes += key.len() + value.len();
            page.push_back((key, value));
            if page.len() == PAGE_ROWS || bytes >= PAGE_BYTES {
                return Ok((page, false));
            }
        }
        Ok((page, true))
    }

    fn rows(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, reverse: bool) -> Pages<'_> {
        let (first, behind) = half_open(from, to);
        let nothing = is_empty_range(from, to) || behind.as_ref().is_some_and(|behind| *behind <= first);
        Pages {
            view: self,
            first,
            behind,
            reverse,
            page: VecDeque::new(),
            done: nothing,
        }
    }
}

/// A range, page by page: the lock is held for one of them at a time.
struct Pages<'a> {
    view: &'a View,
    first: Vec<u8>,
    behind: Option<Vec<u8>>,
    reverse: bool,
    page: VecDeque<KeyValue>,
    done: bool,
}

impl Iterator for Pages<'_> {
    type Item = Result<KeyValue>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && !self.done {
            match self.view.page(&self.first, self.behind.as_deref(), self.reverse) {
                Ok((page, done)) => (self.page, self.done) = (page, done),
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
            if let Some((last, _)) = self.page.back() {
                if self.reverse {
                    self.done |= *last <= self.first;
                    self.behind = Some(last.clone());
                } else {
                    self.first = successor(last);
                    self.done |= self.behind.as_ref().is_some_and(|behind| *behind <= self.first);
                }
            }
        }
        self.page.pop_front().map(Ok)
    }
}

impl Read for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let state = self.inner.state.read();
        state.check()?;
        match state.history.at(key, self.sequence) {
            Some(past) => Ok(past.clone()),
            None => self.inner.present(key),
        }
    }

    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
        Ok(Box::new(self.rows(from, to, reverse)))
    }
}

/// What a transaction has read.
#[derive(Default)]
struct Reads {
    keys: BTreeSet<Vec<u8>>,
    ranges: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

struct Write {
    view: View,
    reads: RefCell<Reads>,
    writes: Writes,
}

impl Read for Write {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(written) = self.writes.get(key) {
            return Ok(written.clone());
        }
        self.reads.borrow_mut().keys.insert(key.to_vec());
        self.view.get(key)
    }

    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
        if !is_empty_range(from, to) {
            self.reads.borrow_mut().ranges.push(half_open(from, to));
        }
        let below = self.view.rows(from, to, reverse);
        Ok(overlay::merge(below, &self.writes, from, to, reverse))
    }
}

impl Transaction for Write {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        check_key(key)?;
        check_value(value)?;
        self.writes.insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        check_key(key)?;
        self.writes.insert(key.to_vec(), None);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let Self { view, reads, writes } = *self;
        if writes.is_empty() {
            // What it read is one state, and it changes nothing.
            return Ok(());
        }
        let reads = reads.into_inner();
        let inner = Arc::clone(&view.inner);
        let mut state = inner.state.write();
        state.check()?;
        let since = view.sequence;
        let history = &state.history;
        if reads.keys.iter().any(|key| history.changed(key, since))
            || reads
                .ranges
                .iter()
                .any(|(first, behind)| history.changed_within(first, behind.as_deref(), since))
        {
            return Err(Error::Conflict);
        }
        drop(view);
        let oldest = inner.seen.lock().oldest();
        let mut batch = sled::Batch::default();
        let mut past = Vec::new();
        let (mut keys, mut next_value) = (Vec::with_capacity(writes.len()), state.next_value);
        for (key, value) in writes {
            let before = inner.db.get(piece::row_key(&key)).map_err(from_sled)?;
            if oldest.is_some() {
                let value = before
                    .as_ref()
                    .map(|row| piece::read(&inner.db, row))
                    .transpose()?;
                past.push((key.clone(), value));
            }
            if let Some(row) = &before {
                piece::remove(row, &mut batch)?;
            }
            match value {
                Some(value) => piece::write(&key, &value, &mut next_value, &mut batch),
                None => batch.remove(piece::row_key(&key)),
            }
            keys.push(key);
        }
        if let Err(error) = inner.db.apply_batch(batch).map_err(from_sled) {
            state.fail(&error);
            return Err(error);
        }
        state.next_value = next_value;
        state.sequence += 1;
        let sequence = state.sequence;
        state.history.add(sequence, past);
        state.history.forget(oldest.unwrap_or(sequence));
        state.publisher.publish(sequence, keys);
        Ok(())
    }
}
