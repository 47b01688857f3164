//! Several gateways on one namespace and one network.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meta::{Durability, Meta};
use tempfile::TempDir;

use super::store::{DOMAIN, all_read, make_domain, open_over, reclaimed, write};
use super::wait::until;
use super::world::LONG;
use crate::pack::record;
use crate::place::network::fake::Fake;
use crate::{ChunkId, Error, Level, Store, testing};

const LEN: usize = 200_000;

async fn open(dir: &Path, name: &str, fake: &Arc<Fake>, meta: &Meta) -> Store {
    open_over(&dir.join(name), fake, meta.clone(), |config| {
        config.name = name.to_owned();
        config.checkpoint_interval = Some(Duration::from_secs(3600));
        // Nobody is declared dead because this machine is busy.
        config.member_patience = Duration::from_secs(600);
    })
    .await
}

async fn release(store: &Store, meta: &Meta, chunks: &[ChunkId]) {
    let (store, chunks) = (store.clone(), chunks.to_vec());
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        for chunk in &chunks {
            store.release(tx, *chunk)?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

fn packers(meta: &Meta) -> Vec<u16> {
    let snapshot = meta.snapshot().unwrap();
    let packs = record::all(&*snapshot).unwrap();
    let mut members: Vec<u16> = packs
        .iter()
        .map(|(pack, _)| record::member(&*snapshot, *pack).unwrap())
        .collect();
    members.sort_unstable();
    members.dedup();
    members
}

#[tokio::test(flavor = "multi_thread")]
async fn each_packs_what_it_staged_and_reads_what_others_placed() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let metas = testing::shared(dir.path(), 2);
    let one = open(dir.path(), "one", &fake, &metas[0]).await;
    let two = open(dir.path(), "two", &fake, &metas[1]).await;
    make_domain(&one, &metas[0]).await;
    let of_one = write(&one, &metas[0], 0..3, LEN).await;
    let of_two = write(&two, &metas[1], 0..3, LEN).await;
    let epochs = [&one, &two].map(|store| store.inner.keys.sealing(DOMAIN));
    let [first, second] = epochs;
    assert_ne!(first.await.unwrap().epoch, second.await.unwrap().epoch);
    // On the other's disk alone.
    let waits = two.read(of_one[0], 0..10).await.unwrap_err();
    assert!(waits.to_string().contains("gateway one"), "{waits}");
    assert!(matches!(waits, Error::Unavailable { .. }));
    let small = write(&one, &metas[0], 0..2, 1000).await;
    all_read(&two, &small, 1000).await;
    // Each waits for the other's chunks, which the other packs for it.
    two.wait_level(&of_one, Level::Placed, LONG).await.unwrap();
    one.wait_level(&of_two, Level::Placed, LONG).await.unwrap();
    all_read(&two, &of_one, LEN).await;
    all_read(&one, &of_two, LEN).await;
    assert_eq!(packers(&metas[0]), [0, 1]);
    two.flush(Level::Verified, LONG).await.unwrap();
    reclaimed(&one).await;
    reclaimed(&two).await;
    all_read(&two, &small, 1000).await;
    let gateways = one.status().unwrap().gateways;
    let seen: Vec<_> = gateways.iter().map(|one| (&*one.name, one.keeper)).collect();
    assert_eq!(seen, [("one", true), ("two", false)]);
    two.shutdown().await;
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_releases_leaves_the_staging_of_who_staged_it() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let metas = testing::shared(dir.path(), 2);
    let one = open(dir.path(), "one", &fake, &metas[0]).await;
    let two = open(dir.path(), "two", &fake, &metas[1]).await;
    make_domain(&one, &metas[0]).await;
    for (own, own_meta, other, other_meta) in [
        (&one, &metas[0], &two, &metas[1]),
        (&two, &metas[1], &one, &metas[0]),
    ] {
        let mut chunks = write(own, own_meta, 0..2, LEN).await;
        chunks.extend(write(own, own_meta, 0..2, 1000).await);
        assert!(own.status().unwrap().staging_bytes > 0);
        assert_eq!(other.status().unwrap().staging_bytes, 0);
        release(other, other_meta, &chunks).await;
        reclaimed(own).await;
        assert_eq!(own.inner.staging.file_count(), 0);
        assert_eq!(own.status().unwrap().unpacked_bytes, 0);
    }
    two.shutdown().await;
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_gateway_staged_waits_for_it() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let mut metas = testing::shared(dir.path(), 3);
    let one = open(dir.path(), "one", &fake, &metas[0]).await;
    let two = open(dir.path(), "two", &fake, &metas[1]).await;
    make_domain(&one, &metas[0]).await;
    let chunks = write(&two, &metas[1], 0..3, LEN).await;
    drop((two, metas.remove(1)));
    one.inner.members.declare_dead(vec![(1, 1)]).await.unwrap();
    let waits = one.read(chunks[0], 0..10).await.unwrap_err();
    assert!(waits.to_string().contains("waits for it"), "{waits}");
    let dead = one.status().unwrap().gateways.remove(1);
    assert!(!dead.alive && dead.staged_bytes > 3 * LEN as u64);
    let explained = one.explain(&chunks, |_| true).await.unwrap().chunks;
    assert!(
        explained
            .iter()
            .all(|chunk| !chunk.staging && chunk.staged_by.as_deref() == Some("two"))
    );
    let soon = Duration::from_millis(300);
    assert!(matches!(
        one.wait_level(&chunks, Level::Placed, soon).await,
        Err(Error::NotYet(Level::Placed))
    ));
    let two = open(dir.path(), "two", &fake, &metas[1]).await;
    assert_eq!(two.me().member, 1);
    one.wait_level(&chunks, Level::Verified, LONG).await.unwrap();
    all_read(&one, &chunks, LEN).await;
    assert_eq!(one.status().unwrap().gateways[1].staged_bytes, 0);
    two.shutdown().await;
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_is_forgotten_when_another_destroys_its_key() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let metas = testing::shared(dir.path(), 2);
    let one = open(dir.path(), "one", &fake, &metas[0]).await;
    let two = open(dir.path(), "two", &fake, &metas[1]).await;
    make_domain(&one, &metas[0]).await;
    let chunks = write(&two, &metas[1], 0..1, LEN).await;
    assert!(two.in_memory(chunks[0]));
    let destroying = one.clone();
    metas[0]
        .write::<(), Error, _>(Durability::Synced, move |tx| {
            destroying.destroy_domain(tx, DOMAIN)
        })
        .await
        .unwrap();
    until(|| !two.in_memory(chunks[0]), || ()).await;
    assert!(two.read(chunks[0], 0..10).await.is_err());
    two.shutdown().await;
    one.shutdown().await;
}
