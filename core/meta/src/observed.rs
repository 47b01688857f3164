//! An engine that is watched: what is asked of it is counted, and written down if somebody wants.
//!
//! Time says little on a shared machine. What an operation costs is how many rows it reads and
//! writes and how often it syncs; tests hold promises by these counts. And what was written down can
//! be done again straight at fjall ([`crate::BareFjall`]), to see what is added above it.
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::changes::{Changes, Subscribers};
use crate::{Engine, Error, KeyValue, Read, Result, Transaction};

/// What was asked of an engine. Each number only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Views that were closed.
    pub views: u64,
    /// Values looked up by key.
    pub gets: u64,
    /// Ranges begun.
    pub ranges: u64,
    /// Rows that ranges gave.
    pub rows: u64,
    /// Rows written or deleted in transactions that committed.
    pub writes: u64,
    /// Transactions that committed.
    pub commits: u64,
    /// Transactions that conflicted.
    pub conflicts: u64,
    /// Syncs.
    pub syncs: u64,
}

impl Counts {
    /// What came since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            views: self.views - before.views,
            gets: self.gets - before.gets,
            ranges: self.ranges - before.ranges,
            rows: self.rows - before.rows,
            writes: self.writes - before.writes,
            commits: self.commits - before.commits,
            conflicts: self.conflicts - before.conflicts,
            syncs: self.syncs - before.syncs,
        }
    }

    /// Rows read, one by one or in ranges.
    pub fn reads(&self) -> u64 {
        self.gets + self.rows
    }
}

/// One thing that was asked of a view or a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Get(Vec<u8>),
    Range {
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        reverse: bool,
        /// Rows that were taken so far.
        taken: Arc<AtomicU64>,
    },
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
}

impl Step {
    /// Rows that a range gave.
    pub(crate) fn taken(&self) -> u64 {
        match self {
            Self::Range { taken, .. } => taken.load(Ordering::SeqCst),
            _ => 0,
        }
    }
}

/// What was asked of one view, or of one transaction that committed, in order.
#[derive(Clone, Debug)]
pub struct Work {
    pub(crate) steps: Vec<Step>,
    pub(crate) commits: bool,
}

impl Work {
    /// Rows written or deleted.
    pub fn writes(&self) -> usize {
        let writes = |step: &&Step| matches!(step, Step::Put(..) | Step::Delete(_));
        self.steps.iter().filter(writes).count()
    }
}

#[derive(Default)]
struct Book {
    views: AtomicU64,
    gets: AtomicU64,
    ranges: AtomicU64,
    rows: AtomicU64,
    writes: AtomicU64,
    commits: AtomicU64,
    conflicts: AtomicU64,
    syncs: AtomicU64,
    writes_down: AtomicBool,
    work: Mutex<Vec<Work>>,
}

/// Sees what is asked of an [`Observed`] engine. Cheap to clone.
#[derive(Clone, Default)]
pub struct Observer {
    book: Arc<Book>,
}

impl Observer {
    /// Everything so far.
    pub fn counts(&self) -> Counts {
        let read = |number: &AtomicU64| number.load(Ordering::SeqCst);
        Counts {
            views: read(&self.book.views),
            gets: read(&self.book.gets),
            ranges: read(&self.book.ranges),
            rows: read(&self.book.rows),
            writes: read(&self.book.writes),
            commits: read(&self.book.commits),
            conflicts: read(&self.book.conflicts),
            syncs: read(&self.book.syncs),
        }
    }

    /// Writes down everything that begins from now on, keys and values included, in memory.
    pub fn write_down(&self) {
        self.book.writes_down.store(true, Ordering::SeqCst);
    }

    /// Stops that, and answers what was written down.
    pub fn written_down(&self) -> Vec<Work> {
        self.book.writes_down.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.book.work.lock())
    }

    fn notes(&self) -> Option<Mutex<Vec<Step>>> {
        self.book.writes_down.load(Ordering::SeqCst).then(Mutex::default)
    }

    fn count(number: &AtomicU64, by: u64) {
        number.fetch_add(by, Ordering::SeqCst);
    }
}

/// An engine and who watches it.
pub struct Observed<E> {
    engine: E,
    observer: Observer,
}

impl<E: Engine> Observed<E> {
    /// `engine`, watched by `observer`.
    pub fn new(engine: E, observer: Observer) -> Self {
        Self { engine, observer }
    }
}

impl<E: Engine> Engine for Observed<E> {
    fn snapshot(&self) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(View {
            view: self.engine.snapshot()?,
            steps: self.observer.notes(),
            observer: self.observer.clone(),
        }))
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>> {
        Ok(Box::new(Write {
            tx: self.engine.begin()?,
            steps: self.observer.notes(),
            writes: 0,
            observer: self.observer.clone(),
        }))
    }

    fn sync(&self) -> Result<()> {
        Observer::count(&self.observer.book.syncs, 1);
        self.engine.sync()
    }

    fn scour(&self) -> Result<()> {
        self.engine.scour()
    }

    fn is_quick(&self) -> bool {
        self.engine.is_quick()
    }

    fn cannot_scour(&self) -> Option<&'static str> {
        self.engine.cannot_scour()
    }

    fn recovers(&self) -> bool {
        self.engine.recovers()
    }

    fn recover(&self) -> Result<()> {
        self.engine.recover()
    }

    fn subscribe(&self) -> Result<Changes> {
        self.engine.subscribe()
    }

    fn hand_over(&self) -> Subscribers {
        self.engine.hand_over()
    }

    fn take_over(&self, subscribers: Subscribers) {
        self.engine.take_over(subscribers);
    }

    fn tells_before_subscribing(&self) -> bool {
        self.engine.tells_before_subscribing()
    }

    fn guarded(&self) -> bool {
        self.engine.guarded()
    }

    fn heard(&self) -> Option<Instant> {
        self.engine.heard()
    }

    fn others(&self) -> Result<u64> {
        self.engine.others()
    }

    fn start(&self) -> Option<u64> {
        self.engine.start()
    }

    fn end(&self, start: u64) -> Result<()> {
        self.engine.end(start)
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.engine.disk_bytes()
    }
}

struct View {
    view: Box<dyn Read + Send>,
    steps: Option<Mutex<Vec<Step>>>,
    observer: Observer,
}

impl Drop for View {
    fn drop(&mut self) {
        Observer::count(&self.observer.book.views, 1);
        if let Some(steps) = self.steps.take() {
            let (steps, commits) = (steps.into_inner(), false);
            self.observer.book.work.lock().push(Work { steps, commits });
        }
    }
}

impl Read for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        get(&*self.view, &self.observer, self.steps.as_ref(), key)
    }

    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
        range(
            &*self.view,
            &self.observer,
            self.steps.as_ref(),
            from,
            to,
            reverse,
        )
    }
}

struct Write<'e> {
    tx: Box<dyn Transaction + 'e>,
    steps: Option<Mutex<Vec<Step>>>,
    writes: u64,
    observer: Observer,
}

impl Read for Write<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        get(&*self.tx, &self.observer, self.steps.as_ref(), key)
    }

    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
        range(&*self.tx, &self.observer, self.steps.as_ref(), from, to, reverse)
    }
}

impl Transaction for Write<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.writes += 1;
        if let Some(steps) = &self.steps {
            steps.lock().push(Step::Put(key.to_vec(), value.to_vec()));
        }
        self.tx.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.writes += 1;
        if let Some(steps) = &self.steps {
            steps.lock().push(Step::Delete(key.to_vec()));
        }
        self.tx.delete(key)
    }

    fn doomed(&self) -> bool {
        self.tx.doomed()
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let book = &self.observer.book;
        match self.tx.commit() {
            Ok(()) => {
                Observer::count(&book.writes, self.writes);
                Observer::count(&book.commits, 1);
                if let Some(steps) = self.steps {
                    let (steps, commits) = (steps.into_inner(), true);
                    book.work.lock().push(Work { steps, commits });
                }
                Ok(())
            }
            Err(error) => {
                if matches!(error, Error::Conflict) {
                    Observer::count(&book.conflicts, 1);
                }
                Err(error)
            }
        }
    }
}

fn get(
    read: &(impl Read + ?Sized),
    observer: &Observer,
    steps: Option<&Mutex<Vec<Step>>>,
    key: &[u8],
) -> Result<Option<Vec<u8>>> {
    Observer::count(&observer.book.gets, 1);
    if let Some(steps) = steps {
        steps.lock().push(Step::Get(key.to_vec()));
    }
    read.get(key)
}

fn range<'a>(
    read: &'a (impl Read + ?Sized),
    observer: &'a Observer,
    steps: Option<&Mutex<Vec<Step>>>,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    reverse: bool,
) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
    Observer::count(&observer.book.ranges, 1);
    let taken = Arc::new(AtomicU64::new(0));
    if let Some(steps) = steps {
        let own = |bound: Bound<&[u8]>| bound.map(<[u8]>::to_vec);
        steps.lock().push(Step::Range {
            from: own(from),
            to: own(to),
            reverse,
            taken: taken.clone(),
        });
    }
    Ok(Box::new(read.range(from, to, reverse)?.inspect(move |_| {
        Observer::count(&observer.book.rows, 1);
        Observer::count(&taken, 1);
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FjallEngine;

    #[test]
    fn what_is_asked_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let observer = Observer::default();
        let engine = FjallEngine::open(&dir.path().join("watched"), 1 << 20).unwrap();
        let engine = Observed::new(engine, observer.clone());
        let mut tx = engine.begin().unwrap();
        for key in [b"a", b"b", b"c"] {
            tx.put(key, b"1").unwrap();
        }
        tx.commit().unwrap();
        // Given up: read, not written.
        let mut given_up = engine.begin().unwrap();
        given_up.put(b"d", b"2").unwrap();
        drop(given_up);
        let mut tx = engine.begin().unwrap();
        assert!(tx.get(b"a").unwrap().is_some());
        tx.delete(b"a").unwrap();
        let mut found = tx.range(Bound::Unbounded, Bound::Unbounded, true).unwrap();
        assert_eq!(found.next().unwrap().unwrap().0, b"c");
        drop(found);
        tx.commit().unwrap();
        drop(engine.snapshot().unwrap());
        engine.sync().unwrap();
        assert_eq!(
            observer.counts(),
            Counts {
                views: 1,
                gets: 1,
                ranges: 1,
                rows: 1,
                writes: 4,
                commits: 2,
                conflicts: 0,
                syncs: 1,
            }
        );
    }
}
