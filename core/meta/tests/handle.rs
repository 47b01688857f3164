//! The handle over an engine whose syncs are counted, held back and made to fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use meta::changes::Changes;
use meta::{Durability, Engine, Error, FjallEngine, KeyValue, Meta, Read, Result, Transaction};
use parking_lot::{Condvar, Mutex};

/// fjall with a switch on its syncs.
struct Switched {
    inner: FjallEngine,
    syncs: AtomicU64,
    failing: AtomicBool,
    panicking: AtomicBool,
    slow: AtomicBool,
    held: Mutex<bool>,
    released: Condvar,
    conflicts: AtomicU64,
}

impl Switched {
    fn over(inner: FjallEngine) -> Arc<Self> {
        Arc::new(Self {
            inner,
            syncs: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            panicking: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            held: Mutex::new(false),
            released: Condvar::new(),
            conflicts: AtomicU64::new(0),
        })
    }

    fn hold(&self) {
        *self.held.lock() = true;
    }

    fn release(&self) {
        *self.held.lock() = false;
        self.released.notify_all();
    }
}

impl Engine for Switched {
    fn snapshot(&self) -> Result<Box<dyn Read + Send>> {
        self.inner.snapshot()
    }
    fn begin(&self) -> Result<Box<dyn Transaction + '_>> {
        Ok(Box::new(Counted {
            inner: self.inner.begin()?,
            conflicts: &self.conflicts,
        }))
    }
    fn sync(&self) -> Result<()> {
        let mut held = self.held.lock();
        while *held {
            self.released.wait(&mut held);
        }
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.slow.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(!self.panicking.load(Ordering::SeqCst), "the engine breaks");
        if self.failing.load(Ordering::SeqCst) {
            return Err(Error::Engine("no space left".into()));
        }
        self.inner.sync()
    }
    fn subscribe(&self) -> Result<Changes> {
        self.inner.subscribe()
    }
    fn scour(&self) -> Result<(), Error> {
        self.inner.scour()
    }
    fn is_quick(&self) -> bool {
        self.inner.is_quick()
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.inner.disk_bytes()
    }
}

struct Counted<'a> {
    inner: Box<dyn Transaction + 'a>,
    conflicts: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.inner.get(key)
    }
    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
        self.inner.range(from, to, reverse)
    }
}

impl Transaction for Counted<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.inner.put(key, value)
    }
    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.inner.delete(key)
    }
    fn commit(self: Box<Self>) -> Result<()> {
        let result = self.inner.commit();
        if matches!(result, Err(Error::Conflict)) {
            self.conflicts.fetch_add(1, Ordering::SeqCst);
        }
        result
    }
}

fn open(dir: &std::path::Path) -> (Arc<Switched>, Meta) {
    let engine = Switched::over(FjallEngine::open(&dir.join("fjall"), 8 << 20).unwrap());
    let meta = Meta::over(engine.clone(), &dir.join("guard")).unwrap();
    (engine, meta)
}

async fn add_one(meta: &Meta, durability: Durability) -> Result<u64> {
    meta.write(durability, |tx| {
        let count = tx
            .get(b"count")?
            .map_or(0, |row| u64::from_be_bytes(row.try_into().unwrap()))
            + 1;
        tx.put(b"count", &count.to_be_bytes())?;
        Ok(count)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_increments_all_count() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = open(dir.path());
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let meta = meta.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..10 {
                    seen.push(add_one(&meta, Durability::Buffered).await.unwrap());
                }
                seen
            })
        })
        .collect();
    let mut seen = Vec::new();
    for task in tasks {
        seen.extend(task.await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=640).collect::<Vec<_>>());
    assert_eq!(
        engine.syncs.load(Ordering::SeqCst),
        0,
        "buffered commits sync nothing"
    );
}

/// A transaction that reads a whole range loses to every short one, until it runs alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_transaction_is_not_starved() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = open(dir.path());
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let (meta, stop) = (meta.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    add_one(&meta, Durability::Buffered).await.unwrap();
                }
            })
        })
        .collect();
    let outcome = tokio::time::timeout(
        Duration::from_secs(30),
        meta.write::<_, Error, _>(Durability::Buffered, |tx| {
            let rows = tx.range(Bound::Unbounded, Bound::Unbounded, false)?.count();
            std::thread::sleep(Duration::from_millis(5));
            tx.put(b"other", &rows.to_be_bytes())
        }),
    )
    .await;
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    outcome.expect("the long transaction ends").unwrap();
    assert!(
        engine.conflicts.load(Ordering::SeqCst) > 0,
        "there was something to lose against"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn error_from_the_closure_rolls_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_engine, meta) = open(dir.path());
    let refused: Result<(), Error> = meta
        .write(Durability::Synced, |tx| {
            tx.put(b"a", b"1")?;
            Err(Error::Damaged("told so".into()))
        })
        .await;
    assert!(matches!(refused, Err(Error::Damaged(_))));
    assert_eq!(meta.snapshot().unwrap().get(b"a").unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_share_one_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = open(dir.path());
    engine.hold();
    let tasks: Vec<_> = (0..40u32)
        .map(|key| {
            let meta = meta.clone();
            tokio::spawn(async move {
                meta.write::<_, Error, _>(Durability::Synced, move |tx| tx.put(&key.to_be_bytes(), b"x"))
                    .await
            })
        })
        .collect();
    // All forty have committed; none may be answered while the disk has not.
    while meta
        .snapshot()
        .unwrap()
        .range(Bound::Included(&[0, 0]), Bound::Excluded(&[0, 1]), false)
        .unwrap()
        .count()
        < 40
    {
        tokio::task::yield_now().await;
    }
    assert!(tasks.iter().all(|task| !task.is_finished()));
    engine.release();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let syncs = engine.syncs.load(Ordering::SeqCst);
    assert!(syncs <= 3, "40 waiters took {syncs} syncs");
    // Nothing new: nothing to do.
    meta.sync().await.unwrap();
    let before = engine.syncs.load(Ordering::SeqCst);
    meta.sync().await.unwrap();
    assert_eq!(engine.syncs.load(Ordering::SeqCst), before);
}

/// Runs a short transaction that counts one up; answers the thread that it committed on.
async fn short(meta: &Meta, durability: Durability) -> Result<std::thread::ThreadId> {
    meta.write_short(durability, |tx| {
        let count = tx.get(b"short")?.map_or(0, |row| row[0]);
        tx.put(b"short", &[count + 1])?;
        Ok(std::thread::current().id())
    })
    .await
}

#[tokio::test]
async fn a_short_transaction_stays_on_its_thread_unless_it_would_have_to_wait() {
    let here = std::thread::current().id();
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = open(dir.path());
    assert_eq!(short(&meta, Durability::Buffered).await.unwrap(), here);
    assert_eq!(short(&meta, Durability::Synced).await.unwrap(), here);
    assert_eq!(engine.syncs.load(Ordering::SeqCst), 1);
    // A sync is under way: whoever cannot wait goes elsewhere.
    engine.hold();
    let waits = tokio::spawn({
        let meta = meta.clone();
        async move { short(&meta, Durability::Synced).await }
    });
    let elsewhere = loop {
        let thread = short(&meta, Durability::Buffered).await.unwrap();
        if thread != here {
            break thread;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_ne!(elsewhere, here);
    assert!(!waits.is_finished());
    engine.release();
    waits.await.unwrap().unwrap();
    // An error rolls back, and what conflicts runs again.
    let refused: Result<()> = meta
        .write_short(Durability::Buffered, |tx| {
            tx.put(b"short", &[0])?;
            Err(Error::Damaged("told so".into()))
        })
        .await;
    assert!(matches!(refused, Err(Error::Damaged(_))));
    let before = meta.snapshot().unwrap().get(b"short").unwrap().unwrap()[0];
    let (other, mut runs) = (engine.clone(), 0);
    meta.write_short::<_, Error, _>(Durability::Buffered, move |tx| {
        let count = tx.get(b"short")?.map_or(0, |row| row[0]);
        runs += 1;
        if runs == 1 {
            let mut others = other.inner.begin()?;
            others.put(b"short", &[count + 1])?;
            others.commit()?;
        }
        tx.put(b"short", &[count + 1])
    })
    .await
    .unwrap();
    assert_eq!(engine.conflicts.load(Ordering::SeqCst), 1);
    let after = meta.snapshot().unwrap().get(b"short").unwrap().unwrap()[0];
    assert_eq!(after, before + 2);
}

/// Sixteen writers that come back as soon as they are answered: a sync that began with the first of them
/// would leave the others for the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_come_back_together_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = open(dir.path());
    engine.slow.store(true, Ordering::SeqCst);
    let writers: Vec<_> = (0..16u8)
        .map(|writer| {
            let meta = meta.clone();
            tokio::spawn(async move {
                for turn in 0..20u8 {
                    meta.write_short::<_, Error, _>(Durability::Synced, move |tx| {
                        tx.put(&[1, writer, turn], b"x")
                    })
                    .await?;
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let syncs = engine.syncs.load(Ordering::SeqCst);
    assert!(syncs <= 16 * 20 / 3, "320 writes took {syncs} syncs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_sync_poisons_later_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = open(dir.path());
    add_one(&meta, Durability::Synced).await.unwrap();
    engine.failing.store(true, Ordering::SeqCst);
    assert!(add_one(&meta, Durability::Synced).await.is_err());
    // A disk that says it is well again proves nothing about the pages it dropped.
    engine.failing.store(false, Ordering::SeqCst);
    assert!(add_one(&meta, Durability::Synced).await.is_err());
    assert!(add_one(&meta, Durability::Buffered).await.is_err());
    assert!(meta.sync().await.is_err());
    // Reads go on, and a restart finds what was acknowledged.
    assert!(meta.snapshot().unwrap().get(b"count").unwrap().is_some());
    drop(meta);
    drop(engine);
    let (_engine, meta) = open(dir.path());
    assert!(add_one(&meta, Durability::Synced).await.unwrap() >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_the_engine_fails_writes_and_leaves_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = open(dir.path());
    engine.panicking.store(true, Ordering::SeqCst);
    assert!(add_one(&meta, Durability::Synced).await.is_err());
    let later = tokio::time::timeout(Duration::from_secs(30), meta.sync()).await;
    assert!(later.expect("an answer").is_err());
    assert!(add_one(&meta, Durability::Buffered).await.is_err());
}
