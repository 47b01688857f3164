//! Engines whose store is a directory: copies of it, and what is left in it.
use std::ops::Bound::{Excluded, Included};
use std::path::Path;
use std::sync::atomic::Ordering;

use meta::Engine;

use super::{Subject, copy, run};

/// Engines that can be copied while they run, between two commits.
pub fn images<S: Subject>() {
    run::<S>(&[("an image is a prefix", image_taken_while_running_is_a_prefix)]);
}

/// Engines that can forget.
pub fn scouring<S: Subject>() {
    run::<S>(&[("scouring leaves nothing", scouring_leaves_nothing_of_deleted_rows)]);
}

fn image_taken_while_running_is_a_prefix<S: Subject>(store: &S) {
    let engine = store.open();
    let left = |n: u64| [b"left/", &n.to_be_bytes()[..]].concat();
    let right = |n: u64| [b"right/", &n.to_be_bytes()[..]].concat();
    for n in 0..400u64 {
        let mut tx = engine.begin().unwrap();
        tx.put(&left(n), &vec![n as u8; 3000]).unwrap();
        tx.put(&right(n), &[n as u8; 10]).unwrap();
        tx.commit().unwrap();
        if n % 100 == 50 {
            engine.sync().unwrap();
            let image = tempfile::tempdir().unwrap();
            copy(store.directory(), image.path());
            let copied = S::at(image.path().to_str().unwrap()).open();
            let view = copied.snapshot().unwrap();
            let lefts = view
                .range(Included(b"left/"), Excluded(b"left0"), false)
                .unwrap()
                .count() as u64;
            let rights = view
                .range(Included(b"right/"), Excluded(b"right0"), false)
                .unwrap()
                .count() as u64;
            assert_eq!((lefts, rights), (n + 1, n + 1));
            for n in 0..lefts {
                assert_eq!(view.get(&left(n)).unwrap().unwrap(), vec![n as u8; 3000]);
            }
        }
    }
}

fn scouring_leaves_nothing_of_deleted_rows<S: Subject>(store: &S) {
    const ROWS: u64 = 500;
    /// Bytes that neither compress nor occur twice.
    fn value(n: u64) -> Vec<u8> {
        let mut state = n + 1;
        let words = std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d)
        });
        words.skip(16).take(500).flat_map(u64::to_le_bytes).collect()
    }
    let key = |n: u64| [b"row/", &n.to_be_bytes()[..]].concat();
    let engine = store.open();
    for n in 0..ROWS {
        let mut tx = engine.begin().unwrap();
        tx.put(&key(n), &value(n)).unwrap();
        tx.commit().unwrap();
    }
    engine.sync().unwrap();
    for n in (0..ROWS).filter(|n| n % 2 == 0) {
        let mut tx = engine.begin().unwrap();
        tx.delete(&key(n)).unwrap();
        tx.commit().unwrap();
    }
    engine.sync().unwrap();
    let on_disk = |n: u64| {
        let value = value(n);
        holds(store.directory(), &value[2000..2032])
    };
    assert!(on_disk(100), "the search finds a deleted row that is still there");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut n = ROWS;
            while !done.load(Ordering::Relaxed) && n < 20 * ROWS {
                let mut tx = engine.begin().unwrap();
                tx.put(&key(n), &value(n)).unwrap();
                tx.commit().unwrap();
                n += 1;
            }
        });
        let scoured = engine.scour();
        done.store(true, Ordering::Relaxed);
        scoured.unwrap();
    });
    for n in [0, 2, 100, 250, ROWS - 2] {
        assert!(!on_disk(n), "row {n} was deleted and is still on disk");
    }
    let all_there = |engine: &dyn Engine| {
        let view = engine.snapshot().unwrap();
        for n in 0..ROWS {
            let expected = (n % 2 == 1).then(|| value(n));
            assert_eq!(view.get(&key(n)).unwrap(), expected, "row {n}");
        }
    };
    all_there(engine.as_ref());
    drop(engine);
    // The log of an engine that was opened again is another than that of a new one.
    let engine = store.open();
    all_there(engine.as_ref());
    let mut tx = engine.begin().unwrap();
    tx.delete(&key(101)).unwrap();
    tx.commit().unwrap();
    engine.scour().unwrap();
    assert!(!on_disk(101) && on_disk(103));
}

fn holds(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        // The engine may remove a file between the two calls.
        std::fs::read(path).is_ok_and(|content| memchr::memmem::find(&content, bytes).is_some())
    })
}
