//! Many rows and many threads.
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use meta::changes::Changes;
use meta::{Durability, Engine, Error, KeyValue, Meta, Read, Result, Transaction};
use parking_lot::{Condvar, Mutex};

use super::{Subject, run};

/// The group.
pub fn all<S: Subject>() {
    run::<S>(&[
        ("transfers keep the sum", transfers_keep_the_sum),
        ("scans of 100,000 keys under writes", long_scans_under_writes),
        ("synced writers share syncs", synced_writers_share_syncs),
    ]);
}

fn account(n: u64) -> Vec<u8> {
    [b"acct/", &n.to_be_bytes()[..]].concat()
}

fn balance(view: &(impl Read + ?Sized), n: u64) -> Result<u64> {
    let row = view.get(&account(n))?;
    Ok(row.map_or(0, |row| u64::from_be_bytes(row.try_into().unwrap())))
}

fn move_one(tx: &mut dyn Transaction, from: u64, to: u64) -> Result<()> {
    let (have, other) = (balance(tx, from)?, balance(tx, to)?);
    if have > 0 && from != to {
        tx.put(&account(from), &(have - 1).to_be_bytes())?;
        tx.put(&account(to), &(other + 1).to_be_bytes())?;
    }
    Ok(())
}

fn total(view: &(impl Read + ?Sized)) -> u64 {
    view.range(Included(b"acct/"), Excluded(b"acct0"), false)
        .unwrap()
        .map(|row| u64::from_be_bytes(row.unwrap().1.try_into().unwrap()))
        .sum()
}

fn transfers_keep_the_sum<S: Subject>(store: &S) {
    const ACCOUNTS: u64 = 5;
    let engine = store.open();
    let mut tx = engine.begin().unwrap();
    for n in 0..ACCOUNTS {
        tx.put(&account(n), &100u64.to_be_bytes()).unwrap();
    }
    tx.commit().unwrap();
    let conflicts = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for seed in 1..=4u64 {
            let (engine, conflicts) = (&engine, &conflicts);
            scope.spawn(move || {
                let mut state = seed;
                for _ in 0..200 {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let (from, to) = ((state >> 33) % ACCOUNTS, (state >> 43) % ACCOUNTS);
                    loop {
                        let mut tx = engine.begin().unwrap();
                        let moved = move_one(tx.as_mut(), from, to);
                        std::thread::yield_now();
                        match moved.and_then(|()| tx.commit()) {
                            Ok(()) => break,
                            Err(Error::Conflict) => conflicts.fetch_add(1, Ordering::Relaxed),
                            Err(error) => panic!("{error}"),
                        };
                    }
                    assert_eq!(total(engine.snapshot().unwrap().as_ref()), 100 * ACCOUNTS);
                }
            });
        }
    });
    assert_eq!(total(engine.snapshot().unwrap().as_ref()), 100 * ACCOUNTS);
}

/// A view of 100,000 rows is the same forwards and backwards, whatever others replace, delete and add
/// meanwhile; and so is what a transaction sees.
fn long_scans_under_writes<S: Subject>(store: &S) {
    const ROWS: u32 = 100_000;
    let engine = store.open();
    let key = |n: u32| [b"row/", &n.to_be_bytes()[..]].concat();
    let value = |n: u32| n.wrapping_mul(2_654_435_761).to_le_bytes().to_vec();
    for start in (0..ROWS).step_by(10_000) {
        let mut tx = engine.begin().unwrap();
        for n in start..start + 10_000 {
            // Between any two there is room for another.
            tx.put(&key(2 * n), &value(2 * n)).unwrap();
        }
        tx.commit().unwrap();
    }
    let view = engine.snapshot().unwrap();
    let tx = engine.begin().unwrap();
    assert_eq!(tx.get(&key(0)).unwrap(), Some(value(0)));
    let done = AtomicBool::new(false);
    let written = AtomicU64::new(0);
    std::thread::scope(|threads| {
        for seed in [1u32, 2] {
            let (engine, done, written) = (&engine, &done, &written);
            threads.spawn(move || {
                let mut state = seed;
                // Some are written before any scan is over, and the end of the scans is their end.
                while !done.load(Ordering::Relaxed) {
                    let mut tx = engine.begin().unwrap();
                    for _ in 0..20 {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        let n = state % (2 * ROWS);
                        if n.is_multiple_of(4) {
                            tx.delete(&key(n)).unwrap();
                        } else {
                            tx.put(&key(n), b"another").unwrap();
                        }
                    }
                    match tx.commit() {
                        Ok(()) => written.fetch_add(20, Ordering::Relaxed),
                        Err(Error::Conflict) => 0,
                        Err(error) => panic!("{error}"),
                    };
                }
            });
        }
        let check = |read: &dyn Read, reverse: bool| -> Result<()> {
            let mut expected: Box<dyn Iterator<Item = u32>> = if reverse {
                Box::new((0..ROWS).rev())
            } else {
                Box::new(0..ROWS)
            };
            for row in read.range(Included(b"row/"), Excluded(b"row0"), reverse)? {
                let n = 2 * expected.next().expect("no more rows than there were");
                assert_eq!(row?, (key(n), value(n)));
            }
            assert_eq!(expected.next(), None);
            Ok(())
        };
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while written.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            for reverse in [false, true] {
                check(view.as_ref(), reverse).unwrap();
            }
            match check(tx.as_ref(), true) {
                Ok(()) => {}
                Err(error) => assert!(matches!(error, Error::Conflict) && tx.doomed()),
            }
        }));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = checked {
            std::panic::resume_unwind(panic);
        }
    });
    let now = engine.snapshot().unwrap();
    let rows = now.range(Unbounded, Unbounded, false).unwrap();
    assert!(rows.map(|row| row.unwrap().0).is_sorted());
}

/// An engine whose syncs can be held back, and are counted.
struct Held {
    inner: Arc<dyn Engine>,
    syncs: AtomicU64,
    held: Mutex<bool>,
    released: Condvar,
}

impl Engine for Held {
    fn snapshot(&self) -> Result<Box<dyn Read + Send>> {
        self.inner.snapshot()
    }
    fn begin(&self) -> Result<Box<dyn Transaction + '_>> {
        self.inner.begin()
    }
    fn sync(&self) -> Result<()> {
        let mut held = self.held.lock();
        while *held {
            self.released.wait(&mut held);
        }
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.inner.sync()
    }
    fn scour(&self) -> Result<()> {
        self.inner.scour()
    }
    fn subscribe(&self) -> Result<Changes> {
        self.inner.subscribe()
    }
    fn guarded(&self) -> bool {
        self.inner.guarded()
    }
    fn disk_bytes(&self) -> Result<u64> {
        self.inner.disk_bytes()
    }
}

/// Everybody who committed while a sync was under way is answered by the next one.
fn synced_writers_share_syncs<S: Subject>(store: &S) {
    const WRITERS: u32 = 40;
    let engine = Arc::new(Held {
        inner: store.open(),
        syncs: AtomicU64::new(0),
        held: Mutex::new(true),
        released: Condvar::new(),
    });
    let meta = Meta::over(engine.clone(), &store.directory().join("guard")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let key = |n: u32| [b"w", &n.to_be_bytes()[..]].concat();
        let tasks: Vec<_> = (0..WRITERS)
            .map(|n| {
                let meta = meta.clone();
                tokio::spawn(async move {
                    let put = move |tx: &mut dyn Transaction| tx.put(&key(n), b"x");
                    meta.write::<_, Error, _>(Durability::Synced, put).await
                })
            })
            .collect();
        let committed = || -> Result<Vec<KeyValue>> {
            engine
                .snapshot()?
                .range(Included(b"w"), Excluded(b"x"), false)?
                .collect()
        };
        while committed().unwrap().len() < WRITERS as usize {
            tokio::task::yield_now().await;
        }
        assert!(tasks.iter().all(|task| !task.is_finished()));
        *engine.held.lock() = false;
        engine.released.notify_all();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    });
    let syncs = engine.syncs.load(Ordering::SeqCst);
    eprintln!("{WRITERS} synced writes took {syncs} syncs");
    // A commit can be seen a moment before its writer has asked for a sync: a few come late.
    assert!(syncs * 4 <= u64::from(WRITERS), "{syncs}");
}
