//! What every engine must do, as functions over a way to open one. An engine's test file calls
//! [`all`]; nothing here knows which engine it is.
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use meta::{Engine, Error, Read, Transaction};

/// Opens or creates an engine in a directory.
pub type Open<'a> = &'a dyn Fn(&Path) -> Arc<dyn Engine>;

/// Every check, each on a store of its own.
pub fn all(open: Open<'_>) {
    let fresh: [fn(&dyn Engine); 11] = [
        reads_its_own_writes,
        ranges_in_both_directions,
        crossing_bounds_give_nothing,
        snapshot_does_not_move,
        rollback_leaves_nothing,
        lost_update_is_refused,
        write_skew_is_refused,
        phantom_in_a_range_is_refused,
        phantom_delete_is_refused,
        blind_writes_do_not_conflict,
        bad_keys_are_errors,
    ];
    for check in fresh {
        let dir = tempfile::tempdir().unwrap();
        check(open(dir.path()).as_ref());
    }
    transfers_keep_the_sum(open);
    reopen_keeps_everything(open);
    image_taken_while_running_is_a_prefix(open);
    scouring_leaves_nothing_of_deleted_rows(open);
}

fn set(engine: &dyn Engine, rows: &[(&str, &str)]) {
    let mut tx = engine.begin().unwrap();
    for (key, value) in rows {
        tx.put(key.as_bytes(), value.as_bytes()).unwrap();
    }
    tx.commit().unwrap();
}

fn get(view: &(impl Read + ?Sized), key: &str) -> Option<String> {
    view.get(key.as_bytes())
        .unwrap()
        .map(|value| String::from_utf8(value).unwrap())
}

fn keys(view: &(impl Read + ?Sized), from: &str, to: &str, reverse: bool) -> Vec<String> {
    view.range(Included(from.as_bytes()), Excluded(to.as_bytes()), reverse)
        .unwrap()
        .map(|row| String::from_utf8(row.unwrap().0).unwrap())
        .collect()
}

fn reads_its_own_writes(engine: &dyn Engine) {
    set(engine, &[("a", "1"), ("b", "1"), ("c", "1")]);
    let mut tx = engine.begin().unwrap();
    tx.put(b"b", b"2").unwrap();
    tx.put(b"bb", b"2").unwrap();
    tx.delete(b"c").unwrap();
    tx.delete(b"never there").unwrap();
    assert_eq!(get(tx.as_ref(), "b").as_deref(), Some("2"));
    assert_eq!(get(tx.as_ref(), "c"), None);
    assert_eq!(keys(tx.as_ref(), "a", "z", false), ["a", "b", "bb"]);
    assert_eq!(keys(tx.as_ref(), "a", "z", true), ["bb", "b", "a"]);
    tx.put(b"c", b"3").unwrap();
    assert_eq!(get(tx.as_ref(), "c").as_deref(), Some("3"));
    assert_eq!(
        get(engine.snapshot().unwrap().as_ref(), "b").as_deref(),
        Some("1")
    );
    tx.commit().unwrap();
    let view = engine.snapshot().unwrap();
    assert_eq!(keys(view.as_ref(), "a", "z", false), ["a", "b", "bb", "c"]);
    assert_eq!(get(view.as_ref(), "c").as_deref(), Some("3"));
}

fn ranges_in_both_directions(engine: &dyn Engine) {
    let mut tx = engine.begin().unwrap();
    for n in 0..1000u32 {
        tx.put(&[&[7][..], &n.to_be_bytes()].concat(), &n.to_le_bytes())
            .unwrap();
    }
    tx.put(&[6, 0xff], b"before").unwrap();
    tx.put(&[8], b"after").unwrap();
    tx.commit().unwrap();
    let view = engine.snapshot().unwrap();
    let key = |n: u32| [&[7][..], &n.to_be_bytes()].concat();
    let collect = |from, to, reverse| -> Vec<u32> {
        view.range(from, to, reverse)
            .unwrap()
            .map(|row| u32::from_le_bytes(row.unwrap().1.try_into().unwrap()))
            .collect()
    };
    assert_eq!(
        collect(Included(&[7][..]), Excluded(&[8][..]), false),
        (0..1000).collect::<Vec<_>>()
    );
    assert_eq!(
        collect(Included(&[7][..]), Excluded(&[8][..]), true),
        (0..1000).rev().collect::<Vec<_>>()
    );
    let (from, to) = (key(10), key(20));
    assert_eq!(
        collect(Excluded(&from), Included(&to), false),
        (11..=20).collect::<Vec<_>>()
    );
    assert_eq!(
        collect(Included(&from), Excluded(&to), true),
        (10..20).rev().collect::<Vec<_>>()
    );
    assert_eq!(collect(Included(&from), Included(&from), false), [10]);
    let all = view
        .range(Unbounded, Unbounded, false)
        .unwrap()
        .map(|row| row.unwrap().0);
    let user: Vec<_> = all.filter(|key| key[0] != 0).collect();
    assert_eq!(user.len(), 1002);
    assert!(user.is_sorted());
    // Taking one row of a reverse range gives the greatest key.
    assert_eq!(
        view.range(Unbounded, Unbounded, true)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .0,
        [8]
    );
}

fn crossing_bounds_give_nothing(engine: &dyn Engine) {
    set(engine, &[("a", "1"), ("b", "1")]);
    let crossing = [
        (Included(&b"b"[..]), Included(&b"a"[..])),
        (Included(b"b"), Excluded(b"b")),
        (Excluded(b"b"), Excluded(b"b")),
        (Excluded(b"a"), Included(b"a")),
    ];
    let view = engine.snapshot().unwrap();
    let tx = engine.begin().unwrap();
    for (from, to) in crossing {
        for reverse in [false, true] {
            assert_eq!(view.range(from, to, reverse).unwrap().count(), 0);
            assert_eq!(tx.range(from, to, reverse).unwrap().count(), 0);
        }
    }
    // The conflict check must bear them too.
    let mut tx = tx;
    tx.put(b"c", b"1").unwrap();
    set(engine, &[("a", "2")]);
    tx.commit().unwrap();
}

fn snapshot_does_not_move(engine: &dyn Engine) {
    set(engine, &[("a", "1"), ("b", "1")]);
    let view = engine.snapshot().unwrap();
    set(engine, &[("a", "2"), ("c", "2")]);
    assert_eq!(get(view.as_ref(), "a").as_deref(), Some("1"));
    assert_eq!(keys(view.as_ref(), "a", "z", false), ["a", "b"]);
    let elsewhere = std::thread::scope(|scope| scope.spawn(move || get(view.as_ref(), "a")).join().unwrap());
    assert_eq!(elsewhere.as_deref(), Some("1"));
}

fn rollback_leaves_nothing(engine: &dyn Engine) {
    let mut tx = engine.begin().unwrap();
    tx.put(b"a", b"1").unwrap();
    drop(tx);
    assert_eq!(get(engine.snapshot().unwrap().as_ref(), "a"), None);
}

fn lost_update_is_refused(engine: &dyn Engine) {
    set(engine, &[("n", "1")]);
    let (mut one, mut two) = (engine.begin().unwrap(), engine.begin().unwrap());
    assert_eq!(get(one.as_ref(), "n"), get(two.as_ref(), "n"));
    one.put(b"n", b"2").unwrap();
    two.put(b"n", b"3").unwrap();
    one.commit().unwrap();
    assert!(matches!(two.commit(), Err(Error::Conflict)));
    assert_eq!(
        get(engine.snapshot().unwrap().as_ref(), "n").as_deref(),
        Some("2")
    );
}

fn write_skew_is_refused(engine: &dyn Engine) {
    set(engine, &[("x", "on"), ("y", "on")]);
    let (mut one, mut two) = (engine.begin().unwrap(), engine.begin().unwrap());
    for tx in [&one, &two] {
        assert_eq!(
            (get(tx.as_ref(), "x"), get(tx.as_ref(), "y")),
            (Some("on".into()), Some("on".into()))
        );
    }
    one.put(b"x", b"off").unwrap();
    two.put(b"y", b"off").unwrap();
    one.commit().unwrap();
    assert!(matches!(two.commit(), Err(Error::Conflict)));
}

fn phantom_in_a_range_is_refused(engine: &dyn Engine) {
    set(engine, &[("d/a", "1")]);
    // Both see an empty range and each adds into the range the other has read.
    let (mut one, mut two) = (engine.begin().unwrap(), engine.begin().unwrap());
    assert!(keys(one.as_ref(), "e/", "e0", false).is_empty());
    assert!(keys(two.as_ref(), "e/", "e0", true).is_empty());
    one.put(b"e/one", b"1").unwrap();
    two.put(b"e/two", b"1").unwrap();
    one.commit().unwrap();
    assert!(matches!(two.commit(), Err(Error::Conflict)));
    // A row beside the range is no phantom.
    let mut three = engine.begin().unwrap();
    assert_eq!(keys(three.as_ref(), "d/", "d0", false), ["d/a"]);
    set(engine, &[("e/three", "1")]);
    three.put(b"x", b"1").unwrap();
    three.commit().unwrap();
}

fn phantom_delete_is_refused(engine: &dyn Engine) {
    set(engine, &[("d/a", "1"), ("d/b", "1")]);
    let mut one = engine.begin().unwrap();
    assert_eq!(keys(one.as_ref(), "d/", "d0", false).len(), 2);
    let mut two = engine.begin().unwrap();
    two.delete(b"d/b").unwrap();
    two.commit().unwrap();
    one.put(b"count", b"2").unwrap();
    assert!(matches!(one.commit(), Err(Error::Conflict)));
}

fn blind_writes_do_not_conflict(engine: &dyn Engine) {
    let (mut one, mut two) = (engine.begin().unwrap(), engine.begin().unwrap());
    one.put(b"a", b"1").unwrap();
    two.put(b"a", b"2").unwrap();
    one.commit().unwrap();
    two.commit().unwrap();
    assert_eq!(
        get(engine.snapshot().unwrap().as_ref(), "a").as_deref(),
        Some("2")
    );
}

fn bad_keys_are_errors(engine: &dyn Engine) {
    let mut tx = engine.begin().unwrap();
    assert!(tx.put(b"", b"x").is_err());
    assert!(tx.delete(b"").is_err());
    assert!(tx.put(&vec![1; meta::KEY_MAX + 1], b"x").is_err());
    tx.put(&vec![1; meta::KEY_MAX], b"x").unwrap();
    tx.put(b"big", &vec![7; 1 << 20]).unwrap();
    assert_eq!(tx.get(b"").unwrap(), None);
    tx.commit().unwrap();
    let view = engine.snapshot().unwrap();
    assert_eq!(
        view.get(&vec![1; meta::KEY_MAX]).unwrap().as_deref(),
        Some(&b"x"[..])
    );
    assert_eq!(view.get(b"big").unwrap().unwrap().len(), 1 << 20);
    assert_eq!(view.get(b"").unwrap(), None);
}

fn account(n: u64) -> Vec<u8> {
    [b"acct/", &n.to_be_bytes()[..]].concat()
}

fn balance(view: &(impl Read + ?Sized), n: u64) -> u64 {
    view.get(&account(n))
        .unwrap()
        .map_or(0, |row| u64::from_be_bytes(row.try_into().unwrap()))
}

fn move_one(tx: &mut dyn Transaction, from: u64, to: u64) {
    let (have, other) = (balance(tx, from), balance(tx, to));
    if have > 0 && from != to {
        tx.put(&account(from), &(have - 1).to_be_bytes()).unwrap();
        tx.put(&account(to), &(other + 1).to_be_bytes()).unwrap();
    }
}

fn total(view: &(impl Read + ?Sized)) -> u64 {
    view.range(Included(b"acct/"), Excluded(b"acct0"), false)
        .unwrap()
        .map(|row| u64::from_be_bytes(row.unwrap().1.try_into().unwrap()))
        .sum()
}

/// Many threads move units between few accounts; every snapshot on the way has the same sum.
fn transfers_keep_the_sum(open: Open<'_>) {
    const ACCOUNTS: u64 = 5;
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
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
                for _ in 0..300 {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let (from, to) = ((state >> 33) % ACCOUNTS, (state >> 43) % ACCOUNTS);
                    loop {
                        let mut tx = engine.begin().unwrap();
                        move_one(tx.as_mut(), from, to);
                        std::thread::yield_now();
                        match tx.commit() {
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

fn reopen_keeps_everything(open: Open<'_>) {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4u64 {
        let engine = open(dir.path());
        assert_eq!(balance(engine.snapshot().unwrap().as_ref(), 0), round);
        let mut tx = engine.begin().unwrap();
        tx.put(&account(0), &(round + 1).to_be_bytes()).unwrap();
        tx.put(&account(round + 10), &vec![round as u8; 5000]).unwrap();
        tx.commit().unwrap();
        engine.sync().unwrap();
        assert!(engine.disk_bytes().unwrap() > 0);
    }
    let engine = open(dir.path());
    let view = engine.snapshot().unwrap();
    for round in 0..4u64 {
        assert_eq!(
            view.get(&account(round + 10)).unwrap().unwrap(),
            vec![round as u8; 5000]
        );
    }
}

/// A copy of the directory, taken between commits, holds all that was synced and nothing torn:
/// pairs of rows written together are both there or both absent, and no later pair without all
/// earlier ones.
fn image_taken_while_running_is_a_prefix(open: Open<'_>) {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
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
            copy(dir.path(), image.path());
            let copied = open(image.path());
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

/// Deleted rows are still in the files before, in none of them after, also when others write
/// meanwhile; what was not deleted is all there, now and when opened again.
fn scouring_leaves_nothing_of_deleted_rows(open: Open<'_>) {
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
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
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
        holds(dir.path(), &value[2000..2032])
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
    let engine = open(dir.path());
    all_there(engine.as_ref());
    let mut tx = engine.begin().unwrap();
    tx.delete(&key(101)).unwrap();
    tx.commit().unwrap();
    engine.scour().unwrap();
    assert!(!on_disk(101) && on_disk(103));
}

/// Whether a file below `dir` contains `bytes`.
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

/// Copies a directory with everything in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
