//! The change feed.
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meta::Error;
use meta::changes::{Change, Changes};

use super::{Subject, run, set};

/// The group.
pub fn all<S: Subject>() {
    run::<S>(&[
        (
            "commits are told, and nothing else",
            commits_are_told_and_nothing_else,
        ),
        (
            "dependent commits come in their order",
            dependent_commits_come_in_their_order,
        ),
        ("who is too slow loses track", who_is_too_slow_loses_track),
        ("the feed ends with the engine", the_feed_ends_with_the_engine),
    ]);
}

/// What is told already. Commits of this process are told before they return.
fn told(changes: &mut Changes) -> Vec<(u64, Vec<Vec<u8>>)> {
    std::iter::from_fn(|| changes.try_next())
        .map(|change| match change {
            Change::Commit { sequence, keys } => (sequence, keys.to_vec()),
            Change::Lost => panic!("lost track"),
        })
        .collect()
}

fn commits_are_told_and_nothing_else<S: Subject>(store: &S) {
    let engine = store.open();
    set(engine.as_ref(), &[("before", "1")]);
    let mut changes = engine.subscribe().unwrap();
    let mut tx = engine.begin().unwrap();
    tx.put(b"b", b"1").unwrap();
    tx.delete(b"before").unwrap();
    tx.put(b"a", b"1").unwrap();
    tx.put(b"b", b"2").unwrap();
    assert_eq!(told(&mut changes), []);
    tx.commit().unwrap();
    let first = told(&mut changes);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].1, [b"a".to_vec(), b"b".to_vec(), b"before".to_vec()]);
    // Neither what is rolled back, nor what conflicts, nor what only reads.
    drop({
        let mut tx = engine.begin().unwrap();
        tx.put(b"c", b"1").unwrap();
        tx
    });
    let mut loses = engine.begin().unwrap();
    loses.get(b"a").unwrap();
    loses.put(b"d", b"1").unwrap();
    set(engine.as_ref(), &[("a", "2")]);
    assert!(matches!(loses.commit(), Ok(()) | Err(Error::Conflict)));
    let reads = engine.begin().unwrap();
    reads.get(b"a").unwrap();
    reads.commit().unwrap();
    set(engine.as_ref(), &[("e", "1")]);
    let rest = told(&mut changes);
    let keys: Vec<_> = rest
        .iter()
        .flat_map(|(_, keys)| keys)
        .filter(|key| *key != b"d")
        .collect();
    assert_eq!(keys, [b"a", b"e"]);
    let sequences = first.iter().chain(&rest).map(|(sequence, _)| *sequence);
    assert!(sequences.is_sorted_by(|one, two| one < two));
}

/// Threads take numbers from a counter; each number is committed by whoever saw the one before.
fn dependent_commits_come_in_their_order<S: Subject>(store: &S) {
    const NUMBERS: u64 = 150;
    let engine = store.open();
    let mut changes = engine.subscribe().unwrap();
    let taken = AtomicU64::new(0);
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                while taken.load(Ordering::Relaxed) < NUMBERS {
                    let mut tx = engine.begin().unwrap();
                    let Ok(last) = tx.get(b"counter") else { continue };
                    let next = last.map_or(0, |last| u64::from_be_bytes(last.try_into().unwrap())) + 1;
                    tx.put(b"counter", &next.to_be_bytes()).unwrap();
                    tx.put(&[b"number/", &next.to_be_bytes()[..]].concat(), b"")
                        .unwrap();
                    match tx.commit() {
                        Ok(()) => taken.fetch_max(next, Ordering::Relaxed),
                        Err(Error::Conflict) => continue,
                        Err(error) => panic!("{error}"),
                    };
                }
            });
        }
    });
    let numbers: Vec<u64> = told(&mut changes)
        .into_iter()
        .map(|(_, keys)| u64::from_be_bytes(keys[1][7..].try_into().unwrap()))
        .collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(numbers.len() as u64 >= NUMBERS);
}

fn who_is_too_slow_loses_track<S: Subject>(store: &S) {
    let engine = store.open();
    let mut changes = engine.subscribe().unwrap();
    let key = |n: u32| [&[b'k'; 2000][..], &n.to_be_bytes()].concat();
    for start in (0..4000).step_by(100) {
        let mut tx = engine.begin().unwrap();
        for n in start..start + 100 {
            tx.put(&key(n), b"").unwrap();
        }
        tx.commit().unwrap();
    }
    assert_eq!(changes.try_next(), Some(Change::Lost));
    // Everything after that is there: the last commits, without a gap.
    let heard: BTreeSet<_> = told(&mut changes)
        .into_iter()
        .flat_map(|(_, keys)| keys)
        .collect();
    let last: BTreeSet<_> = (4000 - heard.len() as u32..4000).map(key).collect();
    assert_eq!(heard, last);
    set(engine.as_ref(), &[("after", "1")]);
    assert_eq!(told(&mut changes)[0].1, [b"after".to_vec()]);
}

fn the_feed_ends_with_the_engine<S: Subject>(store: &S) {
    let engine = store.open();
    let mut changes = engine.subscribe().unwrap();
    set(engine.as_ref(), &[("a", "1")]);
    drop(engine);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ended = tokio::time::timeout(Duration::from_secs(30), async {
            assert!(matches!(changes.next().await, Some(Change::Commit { .. })));
            changes.next().await
        });
        assert_eq!(ended.await.expect("an end"), None);
    });
}
