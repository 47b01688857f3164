//! Several gateways on one namespace and one network.
use std::time::Duration;

use meta::{Durability, Meta};

use super::pair::Pair;
use super::store::{DOMAIN, all_read, reclaimed, write};
use super::wait::until;
use super::world::LONG;
use crate::pack::record;
use crate::place::network::fake::Fault;
use crate::{ChunkId, Error, Level, PackState, Store};

const LEN: usize = 200_000;

pub(super) async fn release(store: &Store, meta: &Meta, chunks: &[ChunkId]) {
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
    let pair = Pair::open(false).await;
    let (one, two, metas) = (&pair.one, pair.two(), &pair.metas);
    let of_one = write(one, &metas[0], 0..3, LEN).await;
    let of_two = write(two, &metas[1], 0..3, LEN).await;
    let epochs = [one, two].map(|store| store.inner.keys.sealing(DOMAIN));
    let [first, second] = epochs;
    assert_ne!(first.await.unwrap().epoch, second.await.unwrap().epoch);
    // On the other's disk alone.
    let waits = two.read(of_one[0], 0..10).await.unwrap_err();
    assert!(waits.to_string().contains("gateway one"), "{waits}");
    assert!(matches!(waits, Error::Unavailable { .. }));
    let small = write(one, &metas[0], 0..2, 1000).await;
    all_read(two, &small, 1000).await;
    // Each waits for the other's chunks, which the other packs for it.
    two.wait_level(&of_one, Level::Placed, LONG).await.unwrap();
    one.wait_level(&of_two, Level::Placed, LONG).await.unwrap();
    all_read(two, &of_one, LEN).await;
    all_read(one, &of_two, LEN).await;
    assert_eq!(packers(&metas[0]), [0, 1]);
    two.flush(Level::Verified, LONG).await.unwrap();
    reclaimed(one).await;
    reclaimed(two).await;
    all_read(two, &small, 1000).await;
    let gateways = one.status().unwrap().gateways;
    let seen: Vec<_> = gateways.iter().map(|one| (&*one.name, one.keeper)).collect();
    assert_eq!(seen, [("one", true), ("two", false)]);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_releases_leaves_the_staging_of_who_staged_it() {
    let pair = Pair::open(false).await;
    let (one, two, metas) = (&pair.one, pair.two(), &pair.metas);
    for (own, own_meta, other, other_meta) in
        [(one, &metas[0], two, &metas[1]), (two, &metas[1], one, &metas[0])]
    {
        let mut chunks = write(own, own_meta, 0..2, LEN).await;
        chunks.extend(write(own, own_meta, 0..2, 1000).await);
        assert!(own.status().unwrap().staging_bytes > 0);
        assert_eq!(other.status().unwrap().staging_bytes, 0);
        release(other, other_meta, &chunks).await;
        reclaimed(own).await;
        assert_eq!(own.inner.staging.file_count(), 0);
        assert_eq!(own.status().unwrap().unpacked_bytes, 0);
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_gateway_staged_waits_for_it() {
    let mut pair = Pair::open(false).await;
    let chunks = write(pair.two(), &pair.metas[1], 0..3, LEN).await;
    pair.kill_two().await;
    let one = &pair.one;
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
    pair.restart_two().await;
    let (one, two) = (&pair.one, pair.two());
    assert_eq!(two.me().member, 1);
    one.wait_level(&chunks, Level::Verified, LONG).await.unwrap();
    all_read(one, &chunks, LEN).await;
    assert_eq!(one.status().unwrap().gateways[1].staged_bytes, 0);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_a_dead_gateway_that_miners_complete_is_taken_to_the_end() {
    let mut pair = Pair::open(false).await;
    // The miners take everything, and report it only when the gateway is gone.
    pair.fake.fault(0..14, Fault::Silent);
    let chunks = write(pair.two(), &pair.metas[1], 0..3, LEN).await;
    pair.close_packs_of_two();
    until(|| pair.fake.holders() >= 12, || ()).await;
    pair.kill_two().await;
    let one = &pair.one;
    let of_two = pair.packs_of_two().remove(0);
    assert_eq!(of_two.state, PackState::Declared);
    assert_eq!(of_two.waits_for.as_deref(), Some("two"));
    assert!(one.read(chunks[0], 0..10).await.is_err());
    pair.fake.fault(0..14, Fault::None);
    until(
        || {
            pair.fake.report_now();
            pair.fake.open_deals() == 0
        },
        || (),
    )
    .await;
    one.wait_level(&chunks, Level::Verified, LONG).await.unwrap();
    all_read(one, &chunks, LEN).await;
    until(
        || one.status().unwrap().gateways[1].staged_bytes == 0,
        || one.status(),
    )
    .await;
    assert_eq!(pair.packs_of_two()[0].waits_for, None);
    // It comes back to an empty staging.
    pair.restart_two().await;
    reclaimed(pair.two()).await;
    assert_eq!(pair.two().inner.staging.file_count(), 0);
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_gateway_placed_is_read_back_by_another_and_not_believed_before() {
    let mut pair = Pair::open(false).await;
    // Nothing becomes final, so that nothing is read back.
    pair.fake.stall(false, true);
    let chunks = write(pair.two(), &pair.metas[1], 0..3, LEN).await;
    pair.two().wait_level(&chunks, Level::Placed, LONG).await.unwrap();
    pair.kill_two().await;
    let one = &pair.one;
    // What is placed needs nobody's staging.
    all_read(one, &chunks, LEN).await;
    assert_eq!(pair.packs_of_two()[0].waits_for, None);
    pair.fake.fault(0..14, Fault::Corrupt);
    pair.fake.stall(false, false);
    let unverified = || pair.packs_of_two()[0].unverified;
    until(|| unverified() > 0, || one.status()).await;
    assert_eq!(one.level(&chunks).unwrap(), Level::Placed);
    pair.fake.fault(0..14, Fault::None);
    one.wait_level(&chunks, Level::Verified, LONG).await.unwrap();
    one.flush(Level::Verified, LONG).await.unwrap();
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_is_forgotten_when_another_destroys_its_key() {
    let pair = Pair::open(false).await;
    let (one, two, metas) = (&pair.one, pair.two(), &pair.metas);
    let chunks = write(two, &metas[1], 0..1, LEN).await;
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
    pair.stop().await;
}
