//! Records that the disk does not read back, and copies that are left elsewhere.
use std::sync::Arc;

use tempfile::TempDir;

use super::reclaim;
use super::rot::rot;
use super::store::{all_read, content, make_domain, open, reclaimed, write};
use super::wait::until;
use super::world::LONG;
use crate::place::network::fake::{Fake, Fault};
use crate::{Error, Level};

const LEN: usize = 60_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_the_disk_does_not_read_holds_up_nobody_and_comes_back_by_itself() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..10, LEN).await;
    let bad = chunks[4];
    store.inner.staging.break_reads(&[bad]);
    let good: Vec<_> = chunks.iter().copied().filter(|chunk| *chunk != bad).collect();
    store.wait_level(&good, Level::Verified, LONG).await.unwrap();
    assert_eq!(store.level(&chunks).unwrap(), Level::Staged);
    assert!(matches!(
        store.wait_level(&chunks, Level::Placed, LONG).await,
        Err(Error::Damaged(chunk)) if chunk == bad
    ));
    assert_eq!(store.status().unwrap().damaged[0].chunk, bad.0);
    store.drop_caches().await.unwrap();
    assert!(matches!(store.read(bad, 0..1).await, Err(Error::Disk(_))));
    // The disk recovers: what is read is there at once, and packed like the rest.
    store.inner.staging.break_reads(&[]);
    assert!(store.read(bad, 0..LEN as u32).await.unwrap() == content(4, LEN));
    until(|| store.status().unwrap().damaged.is_empty(), || store.status()).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    assert_eq!(store.level(&chunks).unwrap(), Level::Verified);
    reclaimed(&store).await;
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, LEN).await;
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_rots_while_it_moves_is_taken_from_the_pack_that_it_left() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = reclaim::packs(&store, &meta, 3, 4).await;
    let last = store.status().unwrap().packs[2].id;
    store.workers().pause("placer").unwrap();
    store.reclaim().await.unwrap();
    until(|| store.status().unwrap().packs.len() == 4, || store.status()).await;
    rot(dir.path(), &store, chunks[5]);
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, reclaim::LEN).await;
    // Nor can the old copy be had for a while: the others go on, and it stays where it is.
    fake.fault(0..14, Fault::Dead);
    store.workers().resume("placer").unwrap();
    until(|| !store.status().unwrap().damaged.is_empty(), || store.status()).await;
    fake.fault(0..14, Fault::None);
    until(|| store.status().unwrap().damaged.is_empty(), || store.status()).await;
    assert_eq!(store.level(&chunks).unwrap(), Level::Verified);
    store.flush(Level::Verified, LONG).await.unwrap();
    // The old packs go now, and not before.
    let done = || {
        let packs = store.status().unwrap().packs;
        packs.iter().all(|pack| pack.id > last) && packs.len() == fake.files().len()
    };
    until(done, || store.status()).await;
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, reclaim::LEN).await;
    store.shutdown().await;
}
