//! kill -9 of a process that writes, at a moment that nobody chose.
//!
//! The process runs writers that share one counter: commit number *n* raises it to *n* and adds row *n*. Of
//! the synced ones it says so when they are acknowledged. Whoever opens the store afterwards must find
//! all rows up to the counter and none beyond, and the counter no lower than what was acknowledged.
use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::Bound::{Excluded, Included};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use meta::{Durability, Error, Meta, Read, Transaction};

use super::Subject;
use super::isolation::handle;

/// Tells the child which store it writes to.
const PLACE: &str = "CESS_TEST_META_PLACE";
/// Kills.
const ROUNDS: u64 = 8;
/// The child ends by itself after this: it may be that nobody kills it any more.
const LIFE: Duration = Duration::from_secs(20);

/// Runs as the test named `test`, which calls nothing else.
pub fn run<S: Subject>(test: &str) {
    if let Ok(place) = std::env::var(PLACE) {
        return write(&handle(&S::at(&place)));
    }
    let Some(store) = S::new() else { return };
    let mut last = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(PLACE, store.place())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = 0;
        let mut hear = |line: &str| {
            if let Some(number) = line.strip_prefix("acknowledged ") {
                acknowledged = acknowledged.max(number.parse::<u64>().unwrap());
            }
            acknowledged > 0
        };
        while !hear(&lines.next().expect("the child writes").unwrap()) {}
        // Wherever it is by then.
        std::thread::sleep(Duration::from_millis(10 + 37 * round % 200));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            hear(&line.unwrap());
        }
        last = check(&store, acknowledged.max(last));
    }
    assert!(last > ROUNDS);
}

fn write(meta: &Meta) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let end = Instant::now() + LIFE;
    runtime.block_on(async {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let meta = meta.clone();
                tokio::spawn(async move {
                    let mut turn = 0;
                    while Instant::now() < end {
                        turn += 1;
                        let durability = [Durability::Buffered, Durability::Synced][turn % 2];
                        let number = meta.write::<_, Error, _>(durability, add).await.unwrap();
                        if durability == Durability::Synced {
                            // In one piece: others print as well.
                            let line = format!("acknowledged {number}\n");
                            std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                        }
                    }
                    writer
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

fn row(number: u64) -> Vec<u8> {
    [b"row/", &number.to_be_bytes()[..]].concat()
}

fn value(number: u64) -> Vec<u8> {
    vec![number as u8; 100 + (number * 997 % 9000) as usize]
}

fn counter(read: &(impl Read + ?Sized)) -> Result<u64, Error> {
    let counter = read.get(b"counter")?;
    Ok(counter.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap())))
}

fn add(tx: &mut dyn Transaction) -> Result<u64, Error> {
    let number = counter(tx)? + 1;
    tx.put(b"counter", &number.to_be_bytes())?;
    tx.put(&row(number), &value(number))?;
    Ok(number)
}

/// Answers the number of the last commit.
fn check<S: Subject>(store: &S, acknowledged: u64) -> u64 {
    let engine = store.open();
    let view = engine.snapshot().unwrap();
    let last = counter(view.as_ref()).unwrap();
    assert!(
        last >= acknowledged,
        "{acknowledged} was acknowledged, the store ends at {last}"
    );
    let mut number = 0;
    for found in view.range(Included(b"row/"), Excluded(b"row0"), false).unwrap() {
        number += 1;
        assert_eq!(found.unwrap(), (row(number), value(number)));
    }
    assert_eq!(number, last);
    last
}
