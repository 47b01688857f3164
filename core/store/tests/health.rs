//! Scrub and repair over a whole CESS network on this machine: miners that forget, change, lie
//! later, or die after everything was verified.
#![allow(clippy::unwrap_used)] // a test
mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cess::AccountId;
use cess_devnet::Fault;
use network::{LONG, Network, all_read, make_domain, until, write};
use store::{ChunkId, FragmentState, HealthSettings, Level, Milestone, PackState, StoreConfig};
use tempfile::TempDir;

/// Chunks that fill more than three data fragments, so that no fragment is zeros.
const CHUNKS: u64 = 110;

fn settings(config: &mut StoreConfig) {
    config.pack_segments = 1;
    config.disk_cache = 0;
    config.health = HealthSettings {
        scrub_rate: 0,
        miner_patience: Duration::from_secs(4),
        ..HealthSettings::default()
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_miners_lose_after_it_was_verified_is_found_and_stored_again() {
    let dir = TempDir::new().unwrap();
    let network = Network::start(dir.path(), 20, 2).await;
    let devnet = &network.devnet;
    let (store, meta) = network.open(dir.path(), settings).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..CHUNKS).await;
    let ids: Vec<ChunkId> = chunks.iter().map(|(_, chunk)| *chunk).collect();
    store.flush(Level::Verified, LONG).await.unwrap();
    until(&store, "staging is given back", |status| {
        status.staging_bytes == 0
    })
    .await;
    assert_eq!(store.scrub().await.unwrap().whole, 1);

    let explained = store.explain(&ids, |_| true).await.unwrap();
    assert_eq!(
        (explained.count, explained.verified, explained.pack_count),
        (CHUNKS, CHUNKS, 1)
    );
    let pack = explained.packs[0].clone();
    let reached: Vec<_> = pack.life.steps.iter().map(|step| step.reached).collect();
    assert!(reached.starts_with(&[Milestone::Closed, Milestone::Hashed, Milestone::Declared]));
    assert!(reached.ends_with(&[Milestone::Placed, Milestone::Verified, Milestone::Reclaimed]));
    assert!(pack.life.declared_in.unwrap() < pack.life.completed_in.unwrap());
    let miners: Vec<AccountId> = pack.health[0]
        .fragments
        .iter()
        .map(|fragment| AccountId::from_ss58(fragment.miner.as_ref().unwrap()).unwrap().0)
        .collect();

    // One of each kind is borne: eight are good.
    for (miner, fault) in miners.iter().zip([Fault::Forget, Fault::Corrupt, Fault::Forget]) {
        devnet.fault(Some(*miner), fault).await.unwrap();
    }
    devnet.fault(Some(miners[7]), Fault::Dead).await.unwrap();
    // Miners file what they reported within a second; what is forgotten goes then.
    let deadline = tokio::time::Instant::now() + LONG;
    let report = loop {
        let report = store.scrub().await.unwrap();
        if report.segments.first().is_some_and(|segment| segment.good == 8) {
            break report;
        }
        assert!(tokio::time::Instant::now() < deadline, "{report:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let states: BTreeMap<u8, FragmentState> = report.segments[0]
        .fragments
        .iter()
        .map(|fragment| (fragment.index, fragment.state.unwrap()))
        .collect();
    assert_eq!(report.at_risk, 0, "{states:?}");
    assert_eq!(states[&0], FragmentState::Missing);
    assert_eq!(states[&1], FragmentState::Corrupt);
    assert_eq!(states[&7], FragmentState::OutOfReach);

    // A fifth is too much, once patience with the dead one is used up.
    devnet.fault(Some(miners[8]), Fault::Forget).await.unwrap();
    store.scrub().await.unwrap();
    until(&store, "the pack is stored again", |status| {
        let again =
            matches!(status.packs.as_slice(), [new] if new.id != pack.id && new.state == PackState::Verified);
        again && status.staging_bytes == 0
    })
    .await;
    let status = store.status().unwrap();
    let new: BTreeSet<&String> = status.packs[0].miners.iter().collect();
    for bad in [0, 1, 2, 7, 8] {
        let bad = pack.health[0].fragments[bad].miner.as_ref().unwrap();
        assert!(!new.contains(bad), "{bad} was avoided");
    }
    assert_eq!(store.scrub().await.unwrap().whole, 1);
    all_read(&store, &chunks).await;
    store.shutdown().await;
    drop(meta);
    network.devnet.shutdown().await;
}
