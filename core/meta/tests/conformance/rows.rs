//! Rows, ranges and bounds.
use std::ops::Bound::{Excluded, Included, Unbounded};

use super::{Subject, get, keys, run, set};

/// The group.
pub fn all<S: Subject>() {
    run::<S>(&[
        ("reads its own writes", reads_its_own_writes),
        ("ranges in both directions", ranges_in_both_directions),
        ("crossing bounds give nothing", crossing_bounds_give_nothing),
        ("a snapshot does not move", snapshot_does_not_move),
        ("a rollback leaves nothing", rollback_leaves_nothing),
        ("bad keys are errors", bad_keys_are_errors),
        ("large transactions are whole", large_transactions_are_whole),
        ("a reopened store has everything", reopen_keeps_everything),
    ]);
}

fn reads_its_own_writes<S: Subject>(store: &S) {
    let engine = store.open();
    set(engine.as_ref(), &[("a", "1"), ("b", "1"), ("c", "1")]);
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

fn ranges_in_both_directions<S: Subject>(store: &S) {
    let engine = store.open();
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

fn crossing_bounds_give_nothing<S: Subject>(store: &S) {
    let engine = store.open();
    set(engine.as_ref(), &[("a", "1"), ("b", "1")]);
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
    set(engine.as_ref(), &[("a", "2")]);
    tx.commit().unwrap();
}

fn snapshot_does_not_move<S: Subject>(store: &S) {
    let engine = store.open();
    set(engine.as_ref(), &[("a", "1"), ("b", "1")]);
    let view = engine.snapshot().unwrap();
    set(engine.as_ref(), &[("a", "2"), ("c", "2")]);
    assert_eq!(get(view.as_ref(), "a").as_deref(), Some("1"));
    assert_eq!(keys(view.as_ref(), "a", "z", false), ["a", "b"]);
    let elsewhere = std::thread::scope(|scope| scope.spawn(move || get(view.as_ref(), "a")).join().unwrap());
    assert_eq!(elsewhere.as_deref(), Some("1"));
}

fn rollback_leaves_nothing<S: Subject>(store: &S) {
    let engine = store.open();
    let mut tx = engine.begin().unwrap();
    tx.put(b"a", b"1").unwrap();
    drop(tx);
    assert_eq!(get(engine.snapshot().unwrap().as_ref(), "a"), None);
}

fn bad_keys_are_errors<S: Subject>(store: &S) {
    let engine = store.open();
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

/// Thousands of rows and megabytes of them in one commit, read back by the transaction itself and
/// after it, and deleted in one commit.
fn large_transactions_are_whole<S: Subject>(store: &S) {
    const ROWS: u32 = 6000;
    let engine = store.open();
    let value = |n: u32| vec![n as u8; if n.is_multiple_of(1000) { 1 << 20 } else { 200 }];
    let mut tx = engine.begin().unwrap();
    for n in 0..ROWS {
        tx.put(&n.to_be_bytes(), &value(n)).unwrap();
    }
    assert_eq!(tx.get(&1000u32.to_be_bytes()).unwrap(), Some(value(1000)));
    assert_eq!(
        tx.range(Unbounded, Unbounded, true).unwrap().count(),
        ROWS as usize
    );
    tx.commit().unwrap();
    let view = engine.snapshot().unwrap();
    for (n, row) in view.range(Unbounded, Unbounded, false).unwrap().enumerate() {
        let n = n as u32;
        assert_eq!(row.unwrap(), (n.to_be_bytes().to_vec(), value(n)));
    }
    let mut tx = engine.begin().unwrap();
    for n in 0..ROWS {
        tx.delete(&n.to_be_bytes()).unwrap();
    }
    tx.commit().unwrap();
    let after = engine.snapshot().unwrap();
    assert_eq!(after.range(Unbounded, Unbounded, false).unwrap().count(), 0);
    assert_eq!(
        view.range(Unbounded, Unbounded, true).unwrap().count(),
        ROWS as usize
    );
}

fn reopen_keeps_everything<S: Subject>(store: &S) {
    let key = |round: u8| vec![b'r', round];
    for round in 0..4u8 {
        let engine = store.open();
        for earlier in 0..round {
            let value = engine.snapshot().unwrap().get(&key(earlier)).unwrap();
            assert_eq!(value, Some(vec![earlier; 5000]));
        }
        let mut tx = engine.begin().unwrap();
        tx.put(b"round", &[round]).unwrap();
        tx.put(&key(round), &[round; 5000]).unwrap();
        tx.commit().unwrap();
        engine.sync().unwrap();
        assert!(engine.disk_bytes().unwrap() > 0);
    }
    let view = store.open().snapshot().unwrap();
    assert_eq!(view.get(b"round").unwrap(), Some(vec![3]));
}
