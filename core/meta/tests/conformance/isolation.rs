//! The anomalies that serializable transactions exclude, and conflicts that are none.
use std::sync::Arc;

use meta::{Durability, Error, Meta, Read, Transaction};

use super::{Subject, get, keys, run, set};

/// The group.
pub fn all<S: Subject>() {
    run::<S>(&[
        ("lost update", lost_update_is_refused),
        ("write skew", write_skew_is_refused),
        ("write skew over ranges", write_skew_over_ranges_is_refused),
        ("phantom in a range", phantom_in_a_range_is_refused),
        ("phantom delete", phantom_delete_is_refused),
        ("read skew", reads_of_one_transaction_agree),
        ("a reader's anomaly", what_a_reader_saw_stays_true),
        ("blind writes", blind_writes_do_not_conflict),
        ("retries", conflicting_increments_all_count),
        ("a long transaction", a_long_transaction_is_not_starved),
    ]);
}

fn lost_update_is_refused<S: Subject>(store: &S) {
    let engine = store.open();
    set(engine.as_ref(), &[("n", "1")]);
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

fn write_skew_is_refused<S: Subject>(store: &S) {
    let engine = store.open();
    set(engine.as_ref(), &[("x", "on"), ("y", "on")]);
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

fn phantom_in_a_range_is_refused<S: Subject>(store: &S) {
    let engine = store.open();
    set(engine.as_ref(), &[("d/a", "1")]);
    // Both see an empty range and each adds into the range the other has read.
    let (mut one, mut two) = (engine.begin().unwrap(), engine.begin().unwrap());
    assert!(keys(one.as_ref(), "e/", "e0", false).is_empty());
    assert!(keys(two.as_ref(), "e/", "e0", true).is_empty());
    one.put(b"e/one", b"1").unwrap();
    two.put(b"e/two", b"1").unwrap();
    one.commit().unwrap();
    assert!(matches!(two.commit(), Err(Error::Conflict)));
    if !S::EXACT {
        return;
    }
    // A row beside the range is no phantom.
    let mut three = engine.begin().unwrap();
    assert_eq!(keys(three.as_ref(), "d/", "d0", false), ["d/a"]);
    set(engine.as_ref(), &[("e/three", "1")]);
    three.put(b"x", b"1").unwrap();
    three.commit().unwrap();
}

fn phantom_delete_is_refused<S: Subject>(store: &S) {
    let engine = store.open();
    set(engine.as_ref(), &[("d/a", "1"), ("d/b", "1")]);
    let mut one = engine.begin().unwrap();
    assert_eq!(keys(one.as_ref(), "d/", "d0", false).len(), 2);
    let mut two = engine.begin().unwrap();
    two.delete(b"d/b").unwrap();
    two.commit().unwrap();
    one.put(b"count", b"2").unwrap();
    assert!(matches!(one.commit(), Err(Error::Conflict)));
}

/// Each counts the rows that the other adds to.
fn write_skew_over_ranges_is_refused<S: Subject>(store: &S) {
    let engine = store.open();
    set(engine.as_ref(), &[("a/1", "x"), ("b/1", "x")]);
    let (mut one, mut two) = (engine.begin().unwrap(), engine.begin().unwrap());
    assert_eq!(keys(one.as_ref(), "a/", "a0", false).len(), 1);
    assert_eq!(keys(two.as_ref(), "b/", "b0", true).len(), 1);
    one.put(b"b/2", b"x").unwrap();
    two.put(b"a/2", b"x").unwrap();
    one.commit().unwrap();
    assert!(matches!(two.commit(), Err(Error::Conflict)));
}

/// A transaction that reads two rows between which another changed both sees neither change, or ends.
fn reads_of_one_transaction_agree<S: Subject>(store: &S) {
    let engine = store.open();
    set(engine.as_ref(), &[("x", "1"), ("y", "1")]);
    let tx = engine.begin().unwrap();
    let x = get(tx.as_ref(), "x");
    set(engine.as_ref(), &[("x", "2"), ("y", "2")]);
    match tx.get(b"y") {
        Ok(y) => assert_eq!(y.map(|y| String::from_utf8(y).unwrap()), x),
        Err(error) => assert!(matches!(error, Error::Conflict) && tx.doomed()),
    }
}

/// Two transactions that could follow one another, and a third that only reads and has seen the second
/// without the first: then the first cannot come before the second any more.
fn what_a_reader_saw_stays_true<S: Subject>(store: &S) {
    let engine = store.open();
    set(engine.as_ref(), &[("checking", "0"), ("saving", "0")]);
    let mut withdraws = engine.begin().unwrap();
    let seen = (
        get(withdraws.as_ref(), "checking"),
        get(withdraws.as_ref(), "saving"),
    );
    assert_eq!(seen, (Some("0".into()), Some("0".into())));
    let mut deposits = engine.begin().unwrap();
    assert_eq!(get(deposits.as_ref(), "saving").as_deref(), Some("0"));
    deposits.put(b"saving", b"20").unwrap();
    deposits.commit().unwrap();
    let reads = engine.begin().unwrap();
    let read = |key: &[u8]| reads.get(key);
    let reported = match (read(b"checking"), read(b"saving")) {
        (Ok(checking), Ok(saving)) => {
            assert_eq!((checking, saving), (Some(b"0".to_vec()), Some(b"20".to_vec())));
            reads.commit()
        }
        _ => Err(Error::Conflict),
    };
    // With a fee, for there is nothing in it: that order says that the deposit came later.
    withdraws.put(b"checking", b"-11").unwrap();
    let withdrawn = withdraws.commit();
    for outcome in [&reported, &withdrawn] {
        assert!(matches!(outcome, Ok(()) | Err(Error::Conflict)), "{outcome:?}");
    }
    assert!(reported.is_err() || withdrawn.is_err());
}

/// Neither has read anything, so there is an order for both. An engine that reports more conflicts than
/// there are keeps one of them whole.
fn blind_writes_do_not_conflict<S: Subject>(store: &S) {
    let engine = store.open();
    let (mut one, mut two) = (engine.begin().unwrap(), engine.begin().unwrap());
    one.put(b"a", b"1").unwrap();
    two.put(b"a", b"2").unwrap();
    one.commit().unwrap();
    let last = match two.commit() {
        Ok(()) => "2",
        Err(Error::Conflict) if !S::EXACT => "1",
        Err(error) => panic!("{error}"),
    };
    let view = engine.snapshot().unwrap();
    assert_eq!(get(view.as_ref(), "a").as_deref(), Some(last));
}

/// The handle over the store.
pub fn handle<S: Subject>(store: &S) -> Meta {
    Meta::over(store.open(), &store.directory().join("guard")).unwrap()
}

fn increment(tx: &mut dyn Transaction) -> Result<(), Error> {
    let count = tx
        .get(b"count")?
        .map_or(0, |row| u64::from_be_bytes(row.try_into().unwrap()));
    tx.put(b"count", &(count + 1).to_be_bytes())
}

fn count(view: &dyn Read) -> u64 {
    let row = view.get(b"count").unwrap();
    row.map_or(0, |row| u64::from_be_bytes(row.try_into().unwrap()))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn conflicting_increments_all_count<S: Subject>(store: &S) {
    let meta = handle(store);
    runtime().block_on(async {
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let meta = meta.clone();
                tokio::spawn(async move {
                    for n in 0..25 {
                        let durability = [Durability::Buffered, Durability::Synced][(task + n) % 2];
                        meta.write::<_, Error, _>(durability, increment).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(count(meta.snapshot().unwrap().as_ref()), 200);
}

/// One that reads a range loses to every short one that writes there, until it runs alone.
fn a_long_transaction_is_not_starved<S: Subject>(store: &S) {
    let meta = handle(store);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    runtime().block_on(async {
        let writer = {
            let (meta, stop) = (meta.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    meta.write::<_, Error, _>(Durability::Buffered, increment)
                        .await
                        .unwrap();
                }
            })
        };
        let ends = meta.write::<_, Error, _>(Durability::Buffered, |tx| {
            let rows = keys(tx, "a", "z", false).len();
            std::thread::sleep(std::time::Duration::from_millis(5));
            tx.put(b"rows", &rows.to_be_bytes())
        });
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), ends).await;
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        writer.await.unwrap();
        ended.expect("the long transaction ends").unwrap();
    });
}
