//! Records that rot in staging while their pack is on its way.
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meta::Durability;
use tempfile::TempDir;

use super::store::{all_read, make_domain, open, reclaimed, write};
use super::wait::until;
use super::world::LONG;
use crate::place::network::fake::{Fake, Fault};
use crate::staging::Staging;
use crate::staging::row::Place;
use crate::{ChunkId, Error, Level, PackState, Store};

const LEN: usize = 60_000;

/// Flips a bit in the staged frame of `chunk`.
pub(crate) fn rot(dir: &Path, store: &Store, chunk: ChunkId) {
    let snapshot = store.inner.meta.snapshot().unwrap();
    let row = Staging::row(&*snapshot, chunk).unwrap().unwrap();
    let Place::File { file, offset } = row.place else {
        panic!("it rides in a row")
    };
    let path = dir.join(format!("store/staging/{file:016x}.stg"));
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset + 1000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset + 1000).unwrap();
}

async fn release(store: &Store, chunk: ChunkId) {
    let releasing = store.clone();
    store
        .inner
        .meta
        .write(Durability::Synced, move |tx| releasing.release(tx, chunk))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_chunk_is_named_and_the_rest_of_its_pack_is_placed() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..10, LEN).await;
    rot(dir.path(), &store, chunks[4]);
    let good: Vec<_> = chunks
        .iter()
        .copied()
        .filter(|chunk| *chunk != chunks[4])
        .collect();
    store.wait_level(&good, Level::Verified, LONG).await.unwrap();
    // Nobody is told that the rotten one is anywhere, and who waits for it does not wait long.
    for asked in [vec![chunks[4]], chunks.clone()] {
        assert_eq!(store.level(&asked).unwrap(), Level::Staged);
        assert!(matches!(
            store.wait_level(&asked, Level::Placed, LONG).await,
            Err(Error::Damaged(chunk)) if chunk == chunks[4]
        ));
    }
    assert!(matches!(
        store.flush(Level::Placed, LONG).await,
        Err(Error::Damaged(chunk)) if chunk == chunks[4]
    ));
    let status = store.status().unwrap();
    assert_eq!(status.damaged.len(), 1);
    assert_eq!(
        (status.damaged[0].chunk, status.damaged[0].inode),
        (chunks[4].0, 4)
    );
    store.drop_caches().await.unwrap();
    assert!(matches!(
        store.read(chunks[4], 0..1).await,
        Err(Error::Damaged(_))
    ));
    for chunk in good {
        store.read(chunk, 0..LEN as u32).await.unwrap();
    }
    // Once nothing refers to it, all is well.
    release(&store, chunks[4]).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    reclaimed(&store).await;
    assert!(store.status().unwrap().damaged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_chunk_that_nothing_refers_to_is_nobodys_business() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..6, LEN).await;
    // Its pack is closed, and does not go on, before it dies.
    rot(dir.path(), &store, chunks[0]);
    store.workers().pause("placer").unwrap();
    let late = store.flush(Level::Placed, Duration::from_millis(500)).await;
    assert!(matches!(late, Err(Error::NotYet(_))));
    assert_eq!(store.status().unwrap().packs.len(), 1);
    release(&store, chunks[0]).await;
    store.workers().resume("placer").unwrap();
    store.flush(Level::Verified, LONG).await.unwrap();
    assert_eq!(store.level(&chunks[1..]).unwrap(), Level::Verified);
    reclaimed(&store).await;
    assert!(store.status().unwrap().damaged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rots_after_it_was_placed_is_fetched_from_the_network() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..6, LEN).await;
    store.workers().pause("verifier").unwrap();
    store.flush(Level::Placed, LONG).await.unwrap();
    rot(dir.path(), &store, chunks[2]);
    assert!(matches!(
        store.inner.staging.frame(chunks[2]),
        Err(Error::Damaged(_))
    ));
    store.workers().resume("verifier").unwrap();
    store.flush(Level::Verified, LONG).await.unwrap();
    reclaimed(&store).await;
    let status = store.status().unwrap();
    assert!(status.damaged.is_empty());
    assert!(status.packs.iter().all(|pack| pack.state == PackState::Verified));
    store.drop_caches().await.unwrap();
    fake.fault([0, 1, 2], Fault::Dead);
    all_read(&store, &chunks, LEN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_comes_back_brings_its_chunk_back() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..3, LEN).await;
    rot(dir.path(), &store, chunks[1]);
    assert!(matches!(
        store.flush(Level::Placed, LONG).await,
        Err(Error::Damaged(_))
    ));
    store.shutdown().await;
    rot(dir.path(), &store, chunks[1]);
    drop((store, meta));
    let (store, _meta) = open(dir.path(), &fake).await;
    until(|| store.status().unwrap().damaged.is_empty(), || store.status()).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    assert_eq!(store.level(&chunks).unwrap(), Level::Verified);
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, LEN).await;
}
