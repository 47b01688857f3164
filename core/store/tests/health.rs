//! Scrub and repair over a whole CESS network on this machine: miners that forget, change, lie
//! later, or die after everything was verified.
#![allow(clippy::unwrap_used)] // a test
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cess::AccountId;
use cess::chain::{Chain, ChainConfig};
use cess::miner::MinerClient;
use cess_devnet::{Devnet, DevnetConfig, Fault};
use meta::{Durability, EngineKind, Meta, MetaConfig};
use store::{
    ChunkId, DomainId, Error, FragmentState, HealthSettings, Level, Milestone, Owner, Pace, PackState,
    PassphraseCost, Store, StoreConfig,
};
use subxt_signer::sr25519::dev;
use tempfile::TempDir;

const DOMAIN: DomainId = DomainId(1);
const TERRITORY: &[u8] = b"health-test";
const LONG: Duration = Duration::from_secs(120);
const LEN: usize = 250_000;
/// Chunks that fill more than three data fragments, so that no fragment is zeros.
const CHUNKS: u64 = 110;

async fn connect(devnet: &Devnet) -> (Chain, MinerClient) {
    let config = ChainConfig {
        endpoints: vec![devnet.rpc_url()],
        signer: dev::alice(),
        miner_endpoints: BTreeMap::new(),
        rpc_timeout: Duration::from_secs(10),
    };
    let chain = Chain::connect(config).await.unwrap();
    (
        chain,
        MinerClient::new(dev::bob(), Duration::from_secs(30)).unwrap(),
    )
}

async fn open(dir: &Path, network: (Chain, MinerClient)) -> (Store, Meta) {
    let meta = Meta::open(&MetaConfig {
        engine: EngineKind::Fjall,
        path: dir.join("meta"),
        cache_bytes: 16 << 20,
    })
    .unwrap();
    let config = StoreConfig {
        pack_segments: 1,
        disk_cache: 0,
        passphrase_cost: PassphraseCost::LIGHT,
        territory: TERRITORY.to_vec(),
        health: HealthSettings {
            scrub_rate: 0,
            miner_patience: Duration::from_secs(4),
            ..HealthSettings::default()
        },
        pace: Pace {
            poll: Duration::from_millis(100),
            poll_max: Duration::from_millis(500),
            report_timeout: Duration::from_secs(15),
            retry: Duration::from_millis(50),
            retry_max: Duration::from_millis(200),
            upkeep: Duration::from_millis(200),
            miners_fresh: Duration::from_secs(1),
            ..Pace::default()
        },
        ..StoreConfig::new(dir.join("store"))
    };
    let passphrase = zeroize::Zeroizing::new(b"correct horse".to_vec());
    let store = Store::open(config, meta.clone(), passphrase, Some(network))
        .await
        .unwrap();
    (store, meta)
}

fn content(number: u64) -> Bytes {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes: Vec<u8> = (0..LEN)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect();
    bytes.into()
}

async fn write(store: &Store, meta: &Meta) -> Vec<ChunkId> {
    let making = store.clone();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| making.create_domain(tx, DOMAIN))
        .await
        .unwrap();
    let mut staged = Vec::new();
    for number in 0..CHUNKS {
        let owner = Owner {
            inode: number,
            offset: 0,
        };
        staged.push(store.stage(DOMAIN, owner, content(number)).await.unwrap());
    }
    store.sync_staged().await.unwrap();
    let chunks = staged.iter().map(|staged| staged.id).collect();
    let recording = store.clone();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        staged.iter().try_for_each(|staged| recording.record(tx, staged))
    })
    .await
    .unwrap();
    chunks
}

async fn all_read(store: &Store, chunks: &[ChunkId]) {
    store.drop_caches().await.unwrap();
    for (number, chunk) in (0..).zip(chunks) {
        let bytes = store.read(*chunk, 0..LEN as u32).await.unwrap();
        assert!(bytes == content(number), "chunk {number}");
    }
}

async fn reclaimed(store: &Store) {
    let deadline = tokio::time::Instant::now() + LONG;
    while store.status().unwrap().staging_bytes > 0 {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", store.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_miners_lose_after_it_was_verified_is_found_and_stored_again() {
    let dir = TempDir::new().unwrap();
    let config = DevnetConfig {
        miners: 20,
        // As a real chain does, it goes on without anything to put in.
        block_period: Duration::from_millis(200),
        ..DevnetConfig::new(dir.path().join("net"))
    };
    let devnet = Devnet::start(config).await.unwrap();
    let network = connect(&devnet).await;
    network.0.mint_territory(TERRITORY, 2, 30).await.unwrap();
    let (store, meta) = open(dir.path(), network).await;
    let chunks = write(&store, &meta).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    reclaimed(&store).await;
    assert_eq!(store.scrub().await.unwrap().whole, 1);

    let explained = store.explain(&chunks, |_| true).await.unwrap();
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
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        let status = store.status().unwrap();
        let again =
            matches!(status.packs.as_slice(), [new] if new.id != pack.id && new.state == PackState::Verified);
        if again && status.staging_bytes == 0 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
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
    devnet.shutdown().await;
}
