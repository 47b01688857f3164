//! Images that are taken while others write.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use meta::{Error, Read, Transaction, image};

use super::{Subject, run};

/// The group.
pub fn all<S: Subject>() {
    run::<S>(&[("an image is one moment", an_image_is_one_moment)]);
}

const PAIRS: u64 = 3000;

fn row(side: u8, n: u64) -> Vec<u8> {
    [&[1, side][..], &n.to_be_bytes()].concat()
}

fn sum(read: &dyn Read, side: u8) -> u64 {
    let numbers = (0..PAIRS).filter_map(|n| read.get(&row(side, n)).unwrap());
    numbers
        .map(|row| u64::from_be_bytes(row[..8].try_into().unwrap()))
        .sum()
}

/// Writers raise a number on one side and lower one on the other, at the far end of the store: an image
/// whose sides do not balance is of more than one moment.
fn an_image_is_one_moment<S: Subject>(store: &S) {
    const START: u64 = 1 << 32;
    let engine = store.open();
    let padded = |number: u64| [&number.to_be_bytes()[..], &[7; 100]].concat();
    let mut tx = engine.begin().unwrap();
    for n in 0..PAIRS {
        tx.put(&row(b'a', n), &padded(START)).unwrap();
        tx.put(&row(b'z', n), &padded(START)).unwrap();
    }
    tx.commit().unwrap();
    let (done, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut bytes = Vec::new();
    let written = std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n = (n + 7) % PAIRS;
                let mut tx = engine.begin().unwrap();
                let change = |tx: &mut dyn Transaction, side: u8, n: u64, up: bool| -> Result<(), Error> {
                    let found = tx.get(&row(side, n))?.unwrap();
                    let number = u64::from_be_bytes(found[..8].try_into().unwrap());
                    tx.put(&row(side, n), &padded(if up { number + 1 } else { number - 1 }))
                };
                let changed = change(tx.as_mut(), b'a', n, true)
                    .and_then(|()| change(tx.as_mut(), b'z', PAIRS - 1 - n, false));
                match changed.and_then(|()| tx.commit()) {
                    Ok(()) => commits.fetch_add(1, Ordering::Relaxed),
                    Err(Error::Conflict) => 0,
                    Err(error) => panic!("{error}"),
                };
            }
        });
        while commits.load(Ordering::Relaxed) < 20 {
            std::thread::yield_now();
        }
        let view = engine.snapshot().unwrap();
        let written = image::write(view.as_ref(), &mut bytes, &mut |_| {});
        done.store(true, Ordering::Relaxed);
        written.unwrap()
    });
    assert_eq!(written.rows, 2 * PAIRS);
    let Some(other) = S::new() else { return };
    let restored = other.open();
    assert_eq!(
        image::restore(&mut &bytes[..], restored.as_ref()).unwrap(),
        written
    );
    let view = restored.snapshot().unwrap();
    let (raised, lowered) = (sum(view.as_ref(), b'a'), sum(view.as_ref(), b'z'));
    assert!(raised > PAIRS * START);
    assert_eq!(raised + lowered, 2 * PAIRS * START);
}
