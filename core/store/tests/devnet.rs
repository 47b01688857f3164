//! The store over a whole CESS network on this machine: plaintext in, twelve miners, plaintext
//! back from four.
#![allow(clippy::unwrap_used)] // a test
mod network;

use std::collections::BTreeSet;
use std::time::Duration;

use cess::AccountId;
use cess_devnet::{ChainFault, Fault};
use network::{LONG, Network, TERRITORY, all_read, make_domain, until, write};
use store::{ChunkId, Error, Level, PackState};
use tempfile::TempDir;

fn account(text: &str) -> AccountId {
    AccountId::from_ss58(text).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_the_whole_way_and_come_back_from_any_four_miners() {
    let dir = TempDir::new().unwrap();
    let network = Network::start(dir.path(), 15, 2).await;
    let (devnet, chain) = (&network.devnet, &network.chain);
    let (store, meta) = network.open(dir.path(), |_| {}).await;
    make_domain(&store, &meta).await;

    // Two segments, the second one short.
    let mut chunks = write(&store, &meta, 0..140).await;
    store.flush(Level::Placed, LONG).await.unwrap();
    store.flush(Level::Verified, LONG).await.unwrap();
    until(&store, "staging is given back", |status| {
        status.staging_bytes == 0
    })
    .await;
    let status = store.status().unwrap();
    assert_eq!(status.packs.len(), 1, "{status:#?}");
    let pack = &status.packs[0];
    assert_eq!((pack.state, pack.segments), (PackState::Verified, 2));
    let file = chain
        .file(pack.fid.as_ref().unwrap().parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    let miners: BTreeSet<_> = file.segments[0].1.iter().map(|fragment| fragment.miner).collect();
    assert_eq!(miners.len(), 12);
    assert_eq!(
        pack.miners
            .iter()
            .map(|text| account(text))
            .collect::<BTreeSet<_>>(),
        miners
    );

    store.drop_caches().await.unwrap();
    // A cold read of 4 KiB is one ranged request to one miner.
    let before = devnet.fragments_served();
    store.read(chunks[3].1, 100_000..104_096).await.unwrap();
    assert_eq!(devnet.fragments_served() - before, 1);
    all_read(&store, &chunks).await;
    for miner in &pack.miners[..8] {
        devnet.fault(Some(account(miner)), Fault::Dead).await.unwrap();
    }
    all_read(&store, &chunks).await;

    // Twelve are needed for the next pack: two of those that come back only pretend.
    for miner in &pack.miners[..8] {
        devnet.fault(Some(account(miner)), Fault::Heal).await.unwrap();
    }
    let liars = [account(&pack.miners[0]), account(&pack.miners[9])];
    for liar in liars {
        devnet.fault(Some(liar), Fault::Lie).await.unwrap();
    }
    chunks.extend(write(&store, &meta, 200..210).await);
    let new: Vec<ChunkId> = chunks[140..].iter().map(|(_, chunk)| *chunk).collect();
    store.wait_level(&new, Level::Placed, LONG).await.unwrap();

    // The workers are cut off where they are; the next ones find what is there.
    store.shutdown().await;
    drop((store, meta));
    let (store, meta) = network.open(dir.path(), |_| {}).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    until(&store, "the pack with the liars is gone", |status| {
        status.packs.len() == 2 && status.staging_bytes == 0
    })
    .await;
    let status = store.status().unwrap();
    assert!(
        status.packs[1]
            .miners
            .iter()
            .all(|miner| !liars.contains(&account(miner))),
        "{:#?}",
        status.packs[1]
    );
    let territory = chain
        .territory(chain.account(), TERRITORY)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (territory.locked_space, territory.used_space),
        (0, 3 * (96 << 20))
    );
    for liar in liars {
        devnet.fault(Some(liar), Fault::Heal).await.unwrap();
    }
    all_read(&store, &chunks).await;
    store.shutdown().await;
    drop(meta);
    network.devnet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_the_pool_of_a_stalled_chain_is_not_sent_again_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let network = Network::start(dir.path(), 12, 1).await;
    let (devnet, chain) = (&network.devnet, &network.chain);
    let (store, meta) = network.open(dir.path(), |_| {}).await;
    make_domain(&store, &meta).await;

    devnet.chain_fault(ChainFault::Stall).unwrap();
    let chunks = write(&store, &meta, 0..3).await;
    let early = store.flush(Level::Placed, Duration::from_millis(100)).await;
    assert!(matches!(early, Err(Error::NotYet(Level::Placed))), "{early:?}");
    let deadline = tokio::time::Instant::now() + LONG;
    while devnet.node().pending() == 0 {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", store.status());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.shutdown().await;
    drop((store, meta));

    let (store, meta) = network.open(dir.path(), |_| {}).await;
    until(&store, "waits for what was sent before", |status| {
        status.packs[0]
            .last_error
            .as_ref()
            .is_some_and(|error| error.contains("the declaration sent before can be included"))
    })
    .await;
    assert_eq!(devnet.node().pending(), 1);
    devnet.chain_fault(ChainFault::Heal).unwrap();
    store.flush(Level::Verified, LONG).await.unwrap();
    let territory = chain
        .territory(chain.account(), TERRITORY)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((territory.locked_space, territory.used_space), (0, 96 << 20));
    all_read(&store, &chunks).await;
    store.shutdown().await;
    drop(meta);
    network.devnet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganised_chain_only_delays() {
    let dir = TempDir::new().unwrap();
    let network = Network::start(dir.path(), 12, 1).await;
    let (devnet, chain) = (&network.devnet, &network.chain);
    let (store, meta) = network.open(dir.path(), |_| {}).await;
    make_domain(&store, &meta).await;

    devnet.chain_fault(ChainFault::StallFinality).unwrap();
    let before = devnet.node().best().1;
    let chunks = write(&store, &meta, 0..3).await;
    store.flush(Level::Placed, LONG).await.unwrap();
    let early = store.flush(Level::Verified, Duration::from_millis(500)).await;
    assert!(matches!(early, Err(Error::NotYet(Level::Verified))), "{early:?}");
    // Everything since the order goes, and comes again in other blocks.
    let depth = devnet.node().best().1 - before;
    devnet.chain_fault(ChainFault::Reorganise(depth)).unwrap();
    devnet.chain_fault(ChainFault::Heal).unwrap();
    store.flush(Level::Verified, LONG).await.unwrap();
    let territory = chain
        .territory(chain.account(), TERRITORY)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((territory.locked_space, territory.used_space), (0, 96 << 20));
    all_read(&store, &chunks).await;
    store.shutdown().await;
    drop(meta);
    network.devnet.shutdown().await;
}
