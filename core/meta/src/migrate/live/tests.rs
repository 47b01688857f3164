use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{MARK_KEY, UNFINISHED};
use super::*;
use crate::image::rows;
use crate::{Durability, EngineKind, Meta, MetaConfig};

fn place(path: &Path, engine: EngineKind) -> Place {
    Place::Directory(MetaConfig {
        engine,
        path: path.to_owned(),
        cache_bytes: 8 << 20,
    })
}

fn places(dir: &Path) -> (Place, Place) {
    let at = dir.join("meta");
    (place(&at, EngineKind::Fjall), place(&at, EngineKind::Sled))
}

async fn put(meta: &Meta, key: u64, value: u64) -> Result<()> {
    let durability = [Durability::Buffered, Durability::Synced][usize::from(value.is_multiple_of(8))];
    meta.write_short(durability, move |tx| {
        let key = [&[1][..], &key.to_be_bytes()].concat();
        if value.is_multiple_of(7) {
            tx.delete(&key)
        } else {
            tx.put(&key, &value.to_be_bytes())
        }
    })
    .await
}

fn found(meta: &Meta) -> BTreeMap<u64, u64> {
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
    let view = meta.snapshot().unwrap();
    rows(view.as_ref())
        .unwrap()
        .map(|row| row.map(|(key, value)| (number(&key[1..]), number(&value))))
        .collect::<Result<_>>()
        .unwrap()
}

fn refusal(opened: Result<Meta>) -> String {
    opened.map(|_| ()).unwrap_err().to_string()
}

/// Writers each have keys of their own, spread over all of them, and know what they were answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_moves_under_its_writers() {
    const KEYS: u64 = 12_000;
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = places(dir.path());
    let meta = Meta::at(&from).unwrap();
    for key in 0..KEYS {
        put(&meta, key, 1).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4u64)
        .map(|writer| {
            let (meta, stop) = (meta.clone(), stop.clone());
            tokio::spawn(async move {
                let mut known = BTreeMap::new();
                let mut turn = 1u64;
                while !stop.load(Ordering::SeqCst) {
                    turn += 1;
                    let key = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS / 4 * 4 + writer;
                    put(&meta, key, turn).await.unwrap();
                    known.insert(key, turn);
                }
                known
            })
        })
        .collect();
    let mut changes = meta.subscribe().unwrap();
    let moved = meta.move_to(to.clone(), |_| Ok(())).await.unwrap();
    assert!(
        moved.rows > KEYS / 2 && moved.bytes == 17 * moved.rows,
        "{moved:?}"
    );
    // It goes on there.
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.store(true, Ordering::SeqCst);
    let mut expected: BTreeMap<u64, u64> = (0..KEYS).map(|key| (key, 1)).collect();
    for writer in writers {
        expected.append(&mut writer.await.unwrap());
    }
    expected.retain(|_, value| *value % 7 != 0);
    assert!(found(&meta) == expected, "rows differ after the move");
    // Who listened goes on hearing.
    put(&meta, 5, 1).await.unwrap();
    let mut last = None;
    while let Some(change) = changes.try_next() {
        last = Some(change);
    }
    assert!(matches!(last, Some(Change::Commit { keys, .. }) if keys[0][1..] == 5u64.to_be_bytes()));
    expected.insert(5, 1);
    meta.sync().await.unwrap();
    drop((meta, changes));
    let refused = refusal(Meta::at(&from));
    assert!(refused.contains(&to.name()), "{refused}");
    assert!(
        found(&Meta::at(&to).unwrap()) == expected,
        "rows differ after a restart"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_at_any_mark_one_place_is_left_to_use() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = places(dir.path());
    let meta = Meta::at(&from).unwrap();
    put(&meta, 1, 1).await.unwrap();
    drop(meta);
    let expected = BTreeMap::from([(1, 1)]);
    let ready = [&[READY], from.name().as_bytes()].concat();
    let open = || Meta::at_among(&to, std::slice::from_ref(&from));
    let mark_new = |value: &[u8]| set_mark(to.open().unwrap().as_ref(), Some(value)).unwrap();
    // Unfinished, or complete but not the one: the old place it is, and a move begins anew.
    for mark in [&[UNFINISHED][..], &ready[..]] {
        mark_new(mark);
        assert!(refusal(open()).contains("meta migrate"));
        assert_eq!(found(&Meta::at(&from).unwrap()), expected);
    }
    let meta = Meta::at(&from).unwrap();
    meta.move_to(to.clone(), |_| Ok(())).await.unwrap();
    drop(meta);
    // The old place was left, and the new one does not know.
    mark_new(&ready);
    assert!(refusal(Meta::at(&from)).contains(&to.name()));
    assert!(refusal(Meta::at(&to)).contains(&from.name()));
    assert_eq!(found(&open().unwrap()), expected);
    let view = to.open().unwrap().snapshot().unwrap();
    assert_eq!(view.get(MARK_KEY).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_stopped_leaves_the_old_place_as_it_was_and_can_be_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = places(dir.path());
    let meta = Meta::at(&from).unwrap();
    for key in 1..7 {
        put(&meta, key, 1).await.unwrap();
    }
    for steps in 0..2u64 {
        let mut left = steps;
        let stopped = meta.move_to(to.clone(), move |_| {
            if left == 0 {
                return Err(Error::Engine("stopped".into()));
            }
            left -= 1;
            Ok(())
        });
        assert!(stopped.await.unwrap_err().to_string().contains("stopped"));
        put(&meta, 9, steps + 1).await.unwrap();
        assert!(refusal(Meta::at(&to)).contains("meta migrate"));
    }
    meta.move_to(to.clone(), |_| Ok(())).await.unwrap();
    assert_eq!(found(&meta)[&9], 2);
    drop(meta);
    assert_eq!(found(&Meta::at(&to).unwrap()).len(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_refused_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = places(dir.path());
    {
        let other = Meta::at(&to).unwrap();
        put(&other, 9, 9).await.unwrap();
    }
    let meta = Meta::at(&from).unwrap();
    put(&meta, 1, 1).await.unwrap();
    let refused = meta
        .move_to(to.clone(), |_| Ok(()))
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("holds metadata already"), "{refused}");
    // To where it is.
    assert!(meta.move_to(from.clone(), |_| Ok(())).await.is_err());
    put(&meta, 2, 2).await.unwrap();
    assert_eq!(found(&meta), BTreeMap::from([(1, 1), (2, 2)]));
    drop(meta);
    assert_eq!(found(&Meta::at(&to).unwrap()), BTreeMap::from([(9, 9)]));
}
