//! A CESS network on this machine, and a store over it.
#![allow(dead_code)] // Every test file uses its own part.
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cess::chain::{Chain, ChainConfig};
use cess::miner::MinerClient;
use cess_devnet::{Devnet, DevnetConfig};
use meta::{Durability, EngineKind, Meta, MetaConfig};
use store::{ChunkId, DomainId, Error, Owner, Pace, PassphraseCost, Store, StoreConfig, StoreStatus};
use subxt_signer::sr25519::dev;

pub const DOMAIN: DomainId = DomainId(1);
pub const TERRITORY: &[u8] = b"store-test";
/// Patience of the tests: long enough for two busy cores.
pub const LONG: Duration = Duration::from_secs(120);
/// Length of every chunk, in bytes.
pub const LEN: usize = 250_000;
/// Time between blocks. A chain that makes blocks only when there is something to put in would leave
/// an order that it lost without the blocks that settle its fate.
const BLOCK: Duration = Duration::from_millis(200);

pub struct Network {
    pub devnet: Devnet,
    pub chain: Chain,
    miners: MinerClient,
}

impl Network {
    /// A network of `miners` miners in `dir`, and a territory of `gib` GiB.
    pub async fn start(dir: &Path, miners: usize, gib: u32) -> Self {
        let config = DevnetConfig {
            miners,
            block_period: BLOCK,
            ..DevnetConfig::new(dir.join("net"))
        };
        let devnet = Devnet::start(config).await.unwrap();
        let config = ChainConfig {
            endpoints: vec![devnet.rpc_url()],
            signer: dev::alice(),
            miner_endpoints: BTreeMap::new(),
            rpc_timeout: Duration::from_secs(10),
        };
        let chain = Chain::connect(config).await.unwrap();
        chain.mint_territory(TERRITORY, gib, 30).await.unwrap();
        Self {
            devnet,
            chain,
            miners: MinerClient::new(dev::bob(), Duration::from_secs(30)).unwrap(),
        }
    }

    /// A store in `dir`, set up as `change` wants it.
    pub async fn open(&self, dir: &Path, change: impl FnOnce(&mut StoreConfig)) -> (Store, Meta) {
        let meta = Meta::open(&MetaConfig {
            engine: EngineKind::Fjall,
            path: dir.join("meta"),
            cache_bytes: 16 << 20,
        })
        .unwrap();
        let mut config = StoreConfig {
            pack_segments: 2,
            passphrase_cost: PassphraseCost::LIGHT,
            territory: TERRITORY.to_vec(),
            pace: pace(),
            ..StoreConfig::new(dir.join("store"))
        };
        change(&mut config);
        let passphrase = zeroize::Zeroizing::new(b"correct horse".to_vec());
        let link = (self.chain.clone(), self.miners.clone());
        let store = Store::open(config, meta.clone(), passphrase, Some(link))
            .await
            .unwrap();
        (store, meta)
    }
}

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

pub async fn make_domain(store: &Store, meta: &Meta) {
    let store = store.clone();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| store.create_domain(tx, DOMAIN))
        .await
        .unwrap();
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

/// Stages and records chunks with the contents of these numbers.
pub async fn write(store: &Store, meta: &Meta, numbers: std::ops::Range<u64>) -> Vec<(u64, ChunkId)> {
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

/// Every chunk reads back, from whatever is left when the caches are empty.
pub async fn all_read(store: &Store, chunks: &[(u64, ChunkId)]) {
    store.drop_caches().await.unwrap();
    for (number, chunk) in chunks {
        let bytes = store.read(*chunk, 0..LEN as u32).await.unwrap();
        assert!(bytes == content(*number), "chunk {number}");
    }
}

/// Waits until `seen` is true of the store's status.
pub async fn until(store: &Store, what: &str, seen: impl Fn(&StoreStatus) -> bool) {
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
