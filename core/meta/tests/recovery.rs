//! The handle over an engine whose sync fails once in a while: it comes back by itself.

#![allow(clippy::unwrap_used, clippy::panic)]
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meta::changes::Changes;
use meta::{Durability, Engine, Error, FjallEngine, Meta, Read, Result, Transaction};

/// fjall on a disk that fails.
struct Flaky {
    inner: FjallEngine,
    failing: AtomicBool,
}

impl Engine for Flaky {
    fn snapshot(&self) -> Result<Box<dyn Read + Send>> {
        self.inner.snapshot()
    }
    fn begin(&self) -> Result<Box<dyn Transaction + '_>> {
        self.inner.begin()
    }
    fn sync(&self) -> Result<()> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(Error::Engine("input/output error".into()));
        }
        self.inner.sync()
    }
    fn recovers(&self) -> bool {
        true
    }
    fn recover(&self) -> Result<()> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(Error::Engine("still broken".into()));
        }
        self.inner.recover()
    }
    fn subscribe(&self) -> Result<Changes> {
        self.inner.subscribe()
    }
    fn scour(&self) -> Result<()> {
        self.inner.scour()
    }
    fn disk_bytes(&self) -> Result<u64> {
        self.inner.disk_bytes()
    }
}

fn open(dir: &Path) -> (Arc<Flaky>, Meta) {
    let engine = Arc::new(Flaky {
        inner: FjallEngine::open(&dir.join("fjall"), 8 << 20).unwrap(),
        failing: AtomicBool::new(false),
    });
    let meta = Meta::over(engine.clone(), &dir.join("guard")).unwrap();
    (engine, meta)
}

async fn put(meta: &Meta, key: u32, durability: Durability) -> Result<()> {
    meta.write(durability, move |tx| tx.put(&key.to_be_bytes(), b"row"))
        .await
}

fn has(meta: &Meta, key: u32) -> bool {
    meta.snapshot()
        .unwrap()
        .get(&key.to_be_bytes())
        .unwrap()
        .is_some()
}

/// Waits until a synced write succeeds again.
async fn until_back(meta: &Meta, key: u32) {
    for _ in 0..2000 {
        match put(meta, key, Durability::Synced).await {
            Ok(()) => return,
            Err(Error::Recovering(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the engine does not come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_acknowledges_nothing_and_writes_come_back_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = open(dir.path());
    put(&meta, 1, Durability::Synced).await.unwrap();
    for round in 0..3 {
        let first = 100 * (round + 1);
        // Visible, not durable: it must outlive the failure all the same.
        put(&meta, first, Durability::Buffered).await.unwrap();
        engine.failing.store(true, Ordering::SeqCst);
        assert!(matches!(
            put(&meta, first + 1, Durability::Synced).await,
            Err(Error::Recovering(_))
        ));
        for durability in [Durability::Buffered, Durability::Synced] {
            let refused = put(&meta, first + 2, durability).await;
            assert!(matches!(refused, Err(Error::Recovering(_))));
        }
        assert!(meta.sync().await.is_err() && meta.trouble().is_some());
        assert!(has(&meta, 1) && has(&meta, first) && has(&meta, first + 1));
        assert!(!has(&meta, first + 2));
        engine.failing.store(false, Ordering::SeqCst);
        until_back(&meta, first + 3).await;
        assert!(meta.trouble().is_none());
        assert!(has(&meta, 1) && has(&meta, first) && has(&meta, first + 1) && has(&meta, first + 3));
    }
    drop(meta);
    drop(engine);
    let (_engine, meta) = open(dir.path());
    assert!((1..=3).all(|round| has(&meta, 100 * round) && has(&meta, 100 * round + 3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_that_goes_away_while_the_engine_is_broken_waits_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, meta) = open(dir.path());
    engine.failing.store(true, Ordering::SeqCst);
    assert!(put(&meta, 1, Durability::Synced).await.is_err());
    let gone = tokio::task::spawn_blocking(move || drop(meta));
    tokio::time::timeout(Duration::from_secs(20), gone)
        .await
        .unwrap()
        .unwrap();
}
