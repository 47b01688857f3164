//! The store over a whole CESS network on this machine: plaintext in, twelve miners, plaintext
//! back from four.
#![allow(clippy::unwrap_used)] // a test
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cess::AccountId;
use cess::chain::{Chain, ChainConfig};
use cess::miner::MinerClient;
use cess_devnet::{ChainFault, Devnet, DevnetConfig, Fault};
use meta::{Durability, EngineKind, Meta, MetaConfig};
use store::{
    ChunkId, DomainId, Error, Level, Owner, Pace, PackState, PassphraseCost, Store, StoreConfig, StoreStatus,
};
use subxt_signer::sr25519::dev;
use tempfile::TempDir;

const DOMAIN: DomainId = DomainId(1);
const TERRITORY: &[u8] = b"store-test";
const LONG: Duration = Duration::from_secs(90);
const LEN: usize = 250_000;
/// Time between blocks. A chain that makes blocks only when there is something to put in would leave
/// an order that it lost without the blocks that settle its fate.
const BLOCK: Duration = Duration::from_millis(200);

/// Quick, but with more patience than the miners' report loop of a second needs.
fn pace() -> Pace {
    Pace {
        poll: Duration::from_millis(100),
        poll_max: Duration::from_millis(500),
        report_timeout: Duration::from_secs(15),
        retry: Duration::from_millis(100),
        retry_max: Duration::from_millis(500),
        verify_patience: Duration::from_secs(2),
        upkeep: Duration::from_millis(200),
        miners_fresh: Duration::from_secs(1),
        ..Pace::default()
    }
}

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
        pack_segments: 2,
        passphrase_cost: PassphraseCost::LIGHT,
        territory: TERRITORY.to_vec(),
        pace: pace(),
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

async fn write(store: &Store, meta: &Meta, numbers: std::ops::Range<u64>) -> Vec<(u64, ChunkId)> {
    let mut staged = Vec::new();
    for number in numbers {
        let owner = Owner {
            inode: number,
            offset: 0,
        };
        staged.push((number, store.stage(DOMAIN, owner, content(number)).await.unwrap()));
    }
    store.sync_staged().await.unwrap();
    let chunks = staged
        .iter()
        .map(|(number, staged)| (*number, staged.id))
        .collect();
    let recording = store.clone();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        staged
            .iter()
            .try_for_each(|(_, staged)| recording.record(tx, staged))
    })
    .await
    .unwrap();
    chunks
}

async fn all_read(store: &Store, chunks: &[(u64, ChunkId)]) {
    for (number, chunk) in chunks {
        let bytes = store.read(*chunk, 0..LEN as u32).await.unwrap();
        assert!(bytes == content(*number), "chunk {number}");
    }
}

async fn until(store: &Store, what: &str, seen: impl Fn(&StoreStatus) -> bool) {
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        let status = store.status().unwrap();
        if seen(&status) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what}: {status:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn account(text: &str) -> AccountId {
    AccountId::from_ss58(text).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_the_whole_way_and_come_back_from_any_four_miners() {
    let dir = TempDir::new().unwrap();
    let config = DevnetConfig {
        miners: 15,
        block_period: BLOCK,
        ..DevnetConfig::new(dir.path().join("net"))
    };
    let devnet = Devnet::start(config).await.unwrap();
    let network = connect(&devnet).await;
    let chain = network.0.clone();
    chain.mint_territory(TERRITORY, 2, 30).await.unwrap();
    let (store, meta) = open(dir.path(), network.clone()).await;
    let making = store.clone();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| making.create_domain(tx, DOMAIN))
        .await
        .unwrap();

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
    store.drop_caches().await.unwrap();
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
    let (store, meta) = open(dir.path(), network).await;
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
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks).await;
    store.shutdown().await;
    drop(meta);
    devnet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_the_pool_of_a_stalled_chain_is_not_sent_again_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let config = DevnetConfig {
        miners: 12,
        block_period: BLOCK,
        ..DevnetConfig::new(dir.path().join("net"))
    };
    let devnet = Devnet::start(config).await.unwrap();
    let network = connect(&devnet).await;
    let chain = network.0.clone();
    chain.mint_territory(TERRITORY, 1, 30).await.unwrap();
    let (store, meta) = open(dir.path(), network.clone()).await;
    let making = store.clone();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| making.create_domain(tx, DOMAIN))
        .await
        .unwrap();

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

    let (store, meta) = open(dir.path(), network).await;
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
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks).await;
    store.shutdown().await;
    drop(meta);
    devnet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganised_chain_only_delays() {
    let dir = TempDir::new().unwrap();
    let config = DevnetConfig {
        miners: 12,
        block_period: BLOCK,
        ..DevnetConfig::new(dir.path().join("net"))
    };
    let devnet = Devnet::start(config).await.unwrap();
    let network = connect(&devnet).await;
    let chain = network.0.clone();
    chain.mint_territory(TERRITORY, 1, 30).await.unwrap();
    let (store, meta) = open(dir.path(), network).await;
    let making = store.clone();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| making.create_domain(tx, DOMAIN))
        .await
        .unwrap();

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
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks).await;
    store.shutdown().await;
    drop(meta);
    devnet.shutdown().await;
}
