//! Checkpoints of a whole store over the fake network.
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use meta::observed::{Observed, Observer};
use meta::{Durability, FjallEngine, Meta};
use tempfile::TempDir;

use crate::checkpoint::{image, rows};
use crate::place::network::fake::Fake;
use crate::place::tests::rot::rot;
use crate::place::tests::store::{make_domain, open_over, open_with, write};
use crate::place::tests::world::LONG;
use crate::{Error, Level, Store, testing};

pub(crate) async fn open(dir: &std::path::Path, fake: &Arc<Fake>) -> (Store, Meta) {
    open_with(dir, fake, |config| {
        config.checkpoint_interval = Some(Duration::from_secs(3600));
    })
    .await
}

/// A row of the namespace.
pub(crate) async fn put(meta: &Meta, key: &[u8], value: &[u8]) {
    let (key, value) = ([&[0x05], key].concat(), value.to_vec());
    meta.write::<(), Error, _>(Durability::Synced, move |tx| Ok(tx.put(&key, &value)?))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_waited_for_is_in_a_checkpoint_that_is_placed() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..3, 100_000).await;
    put(&meta, b"name", b"value").await;
    store.wait_level(&chunks, Level::Verified, LONG).await.unwrap();
    let first = store.status().unwrap().checkpoint.unwrap();
    assert_eq!(first.level, Some(Level::Verified));
    assert!(first.number > 0 && first.rows >= 3 && first.restorable.is_some());

    // Nothing changed: no other checkpoint, however often one is asked for, and no other pack.
    let packs = store.status().unwrap().packs.len();
    for _ in 0..3 {
        store.flush(Level::Verified, LONG).await.unwrap();
    }
    let same = store.status().unwrap();
    assert_eq!(same.checkpoint.as_ref().unwrap().number, first.number);
    assert_eq!(same.packs.len(), packs);

    put(&meta, b"name", b"other").await;
    store.flush(Level::Placed, LONG).await.unwrap();
    let second = store.status().unwrap().checkpoint.unwrap();
    assert!(second.number > first.number && second.level >= Some(Level::Placed));
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_checkpoints_go_when_two_newer_ones_are_verified() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (store, meta) = open(dir.path(), &fake).await;
    for round in 0..4u8 {
        put(&meta, b"name", &[round]).await;
        store.flush(Level::Verified, LONG).await.unwrap();
    }
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        let kept = rows::kept(&*meta.snapshot().unwrap()).unwrap();
        let numbers: Vec<u32> = kept.iter().map(|one| one.manifest.number).collect();
        if numbers.len() == 2 {
            assert!(numbers[1] >= 4, "{numbers:?}");
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{numbers:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_deleted_when_a_checkpoint_that_does_not_need_it_is_placed() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..2, 100_000).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    let (releasing, gone) = (store.clone(), chunks.clone());
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        gone.iter().try_for_each(|chunk| releasing.release(tx, *chunk))
    })
    .await
    .unwrap();
    // Until two other checkpoints are verified the first one needs its pack itself.
    for round in 0..2u8 {
        put(&meta, b"name", &[round]).await;
        store.flush(Level::Verified, LONG).await.unwrap();
    }
    let deadline = tokio::time::Instant::now() + LONG;
    while !store.inner.coverage.is_wanted() {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", store.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        fake.deleted(),
        0,
        "no checkpoint has begun since nothing needs the file"
    );
    store.flush(Level::Placed, LONG).await.unwrap();
    while fake.deleted() == 0 {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", store.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    store.shutdown().await;
}

/// Rows that fill a block of a checkpoint, too large for its chunk to ride in a row.
async fn put_much(meta: &Meta, seed: u64) {
    for number in 0..30u64 {
        put(
            meta,
            &[b"much", &number.to_be_bytes()[..]].concat(),
            &testing::noise(4000, seed * 100 + number),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_rots_on_its_way_is_followed_by_another_and_fails_nobodys_wait() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..3, 100_000).await;
    put_much(&meta, 1).await;
    store.workers().pause("placer").unwrap();
    let late = store
        .wait_level(&chunks, Level::Placed, Duration::from_millis(500))
        .await;
    assert!(matches!(late, Err(Error::NotYet(_))), "{late:?}");
    let first = rows::kept(&*meta.snapshot().unwrap()).unwrap().remove(0);
    rot(dir.path(), &store, first.manifest.blocks[0].chunks[0]);
    store.workers().resume("placer").unwrap();
    store.wait_level(&chunks, Level::Placed, LONG).await.unwrap();
    store.flush(Level::Placed, LONG).await.unwrap();
    let kept = rows::kept(&*meta.snapshot().unwrap()).unwrap();
    let last = kept.last().unwrap();
    assert!(last.manifest.lineage > first.manifest.number, "it shares nothing");
    let status = store.status().unwrap().checkpoint.unwrap();
    assert!(status.number > first.manifest.number && status.restorable.is_some());
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_which_a_chunk_is_nowhere_is_none() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (store, meta) = open(dir.path(), &fake).await;
    put_much(&meta, 1).await;
    store.flush(Level::Placed, LONG).await.unwrap();
    let first = rows::kept(&*meta.snapshot().unwrap()).unwrap().remove(0);
    let gone = first.manifest.blocks[0].chunks[0];
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        let place = crate::locations::get(tx, gone)?.unwrap();
        crate::locations::remove(tx, place.pack, [gone])
    })
    .await
    .unwrap();
    let status = store.status().unwrap().checkpoint.unwrap();
    assert_eq!((status.level, status.restorable), (None, None));
    store.flush(Level::Placed, LONG).await.unwrap();
    let status = store.status().unwrap().checkpoint.unwrap();
    assert!(status.number > first.manifest.number && status.restorable.is_some());
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_for_somebody_who_waits_no_longer_is_finished() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (store, meta) = open(dir.path(), &fake).await;
    put_much(&meta, 1).await;
    store.workers().pause("checkpointer").unwrap();
    let late = store.flush(Level::Placed, Duration::from_millis(50)).await;
    assert!(matches!(late, Err(Error::NotYet(_))), "{late:?}");
    assert_eq!(store.status().unwrap().checkpoint.unwrap().number, 0);
    store.workers().resume("checkpointer").unwrap();
    let deadline = tokio::time::Instant::now() + LONG;
    while store.status().unwrap().checkpoint.unwrap().number == 0 {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", store.status());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    store.shutdown().await;
}

/// What a look at everything would give now: the digests of all blocks.
fn full(meta: &Meta) -> Vec<[u8; 16]> {
    let mut digests = Vec::new();
    image::blocks(&*meta.snapshot().unwrap(), &[], &mut |cut, _| {
        digests.push(*cess::Hash::of(&cut.bytes).0.first_chunk().unwrap());
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    digests
}

#[tokio::test(flavor = "multi_thread")]
async fn few_changes_of_much_are_found_by_reading_little_and_give_what_reading_all_would() {
    const MANY: u32 = 40_000;
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let observer = Observer::default();
    let engine = FjallEngine::open(&dir.path().join("meta/fjall"), 16 << 20).unwrap();
    let engine = Arc::new(Observed::new(engine, observer.clone()));
    let meta = Meta::over(engine, &dir.path().join("meta/guard")).unwrap();
    let row = |number: u32| [&[0x05, 7], &number.to_be_bytes()[..]].concat();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        (0..MANY).try_for_each(|number| Ok(tx.put(&row(2 * number), &number.to_le_bytes())?))
    })
    .await
    .unwrap();
    let store = open_over(dir.path(), &fake, meta.clone(), |config| {
        config.checkpoint_interval = Some(Duration::from_secs(3600));
    })
    .await;
    make_domain(&store, &meta).await;
    write(&store, &meta, 0..5, 1000).await;
    let look = async || {
        let before = observer.counts();
        store.flush(Level::Placed, LONG).await.unwrap();
        let rows = observer.counts().since(&before).rows;
        let kept = rows::kept(&*meta.snapshot().unwrap()).unwrap();
        let last = &kept.last().unwrap().manifest;
        let digests: Vec<_> = last.blocks.iter().map(|block| block.digest).collect();
        assert!(digests == full(&meta), "checkpoint {}", last.number);
        rows
    };
    assert!(look().await >= u64::from(MANY), "nobody knows yet what changed");
    let mut random = 1u32;
    for round in 0..7u32 {
        let chunks = write(&store, &meta, 10 + u64::from(round)..11 + u64::from(round), 1000).await;
        random = random.wrapping_mul(0x9e37_79b9).wrapping_add(round);
        let (at, releasing) = (random % MANY, store.clone());
        meta.write::<(), Error, _>(Durability::Synced, move |tx| {
            match round % 6 {
                0 => tx.put(&row(2 * at), b"changed")?,
                1 => tx.put(&row(2 * at + 1), b"inserted")?,
                2 => tx.delete(&row(2 * at))?,
                // Before the first row, behind the last one, and a whole block's worth.
                3 => tx.put(&[0x01, 1], &round.to_le_bytes())?,
                4 => tx.put(&[0x7f, 1], &round.to_le_bytes())?,
                _ => (at..(at + 2500).min(MANY)).try_for_each(|number| tx.delete(&row(2 * number)))?,
            }
            chunks.iter().try_for_each(|chunk| releasing.release(tx, *chunk))
        })
        .await
        .unwrap();
        let rows = look().await;
        assert!(rows < u64::from(MANY) / 2, "round {round} read {rows} rows");
    }
    store.shutdown().await;
}
