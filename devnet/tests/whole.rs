//! Chain and miners together, through the client library a gateway uses: files placed and read
//! back, every quirk of the miners' HTTP, every fault.
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cess::chain::{Chain, ChainConfig, Declaration, FileInfo};
use cess::codec::{FRAGMENT_SIZE, SEGMENT_SIZE, SegmentHashes, encode, fid_merkle, hash_segment};
use cess::miner::MinerClient;
use cess::{AccountId, Error, Hash};
use cess_devnet::{ChainFault, Devnet, DevnetConfig, Fault};
use subxt_signer::sr25519::dev;

/// Longest wait for something that takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A segment, its fragments and their names.
struct Segment {
    bytes: Vec<u8>,
    parity: Vec<u8>,
    hashes: SegmentHashes,
}

impl Segment {
    /// `seed` in the first bytes, zeros after: fragments 2…4 are the zero fragment.
    fn sparse(seed: u64) -> Self {
        let mut bytes = vec![0; SEGMENT_SIZE];
        bytes[..8].copy_from_slice(&(seed + 1).to_le_bytes());
        let mut parity = vec![0; 8 * FRAGMENT_SIZE];
        encode(&bytes, &mut parity).unwrap();
        let hashes = hash_segment(&bytes, &parity);
        Self {
            bytes,
            parity,
            hashes,
        }
    }

    fn fragment(&self, index: usize) -> Bytes {
        let (source, at) = if index < 4 {
            (&self.bytes, index)
        } else {
            (&self.parity, index - 4)
        };
        Bytes::copy_from_slice(&source[at * FRAGMENT_SIZE..(at + 1) * FRAGMENT_SIZE])
    }

    fn fid(&self) -> Hash {
        fid_merkle(&[self.hashes.segment])
    }
}

struct World {
    devnet: Devnet,
    chain: Chain,
    client: MinerClient,
    _dir: tempfile::TempDir,
}

async fn connect(devnet: &Devnet) -> Chain {
    let config = ChainConfig {
        endpoints: vec![devnet.rpc_url()],
        signer: dev::alice(),
        miner_endpoints: BTreeMap::new(),
        rpc_timeout: Duration::from_secs(10),
    };
    Chain::connect(config).await.unwrap()
}

fn config(dir: &std::path::Path) -> DevnetConfig {
    DevnetConfig {
        miners: 13,
        report_period: Duration::from_millis(50),
        ..DevnetConfig::new(dir)
    }
}

async fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let devnet = Devnet::start(config(dir.path())).await.unwrap();
    let chain = connect(&devnet).await;
    chain.mint_territory(b"home", 2, 30).await.unwrap();
    let client = MinerClient::new(dev::bob(), Duration::from_secs(20)).unwrap();
    World {
        devnet,
        chain,
        client,
        _dir: dir,
    }
}

impl World {
    fn endpoint(&self, miner: usize) -> String {
        self.devnet.miners()[miner].endpoint.clone()
    }

    fn account(&self, miner: usize) -> AccountId {
        AccountId::from_ss58(&self.devnet.miners()[miner].account)
            .unwrap()
            .0
    }

    async fn declare(&self, segment: &Segment) {
        let file = Declaration {
            fid: segment.fid(),
            segments: vec![segment.hashes.clone()],
            owner: self.chain.account(),
            file_name: b"opaque".to_vec(),
            territory: b"home".to_vec(),
            file_size: 8,
        };
        for result in self.chain.declare(vec![file]).await {
            result.unwrap();
        }
    }

    async fn put(&self, miner: usize, segment: &Segment, index: usize) -> cess::Result<()> {
        let name = segment.hashes.fragments[index];
        self.client
            .put(
                &self.endpoint(miner),
                segment.fid(),
                name,
                segment.fragment(index),
            )
            .await
    }

    async fn get(&self, miner: usize, segment: &Segment, index: usize) -> cess::Result<Bytes> {
        self.client
            .get(
                &self.endpoint(miner),
                segment.fid(),
                segment.hashes.fragments[index],
            )
            .await
    }

    /// Pushes fragment `i` to miner `i` for all twelve, and waits for the file.
    async fn place(&self, segment: &Segment) -> FileInfo {
        self.declare(segment).await;
        for index in 0..12 {
            self.put(index, segment, index).await.unwrap();
        }
        self.file(segment).await
    }

    async fn file(&self, segment: &Segment) -> FileInfo {
        eventually(async || self.chain.file(segment.fid()).await.unwrap()).await
    }

    /// The miner that the chain says holds fragment `index`.
    fn holder(&self, file: &FileInfo, index: usize) -> usize {
        let account = file.segments[0].1[index].miner;
        (0..13).find(|miner| self.account(*miner) == account).unwrap()
    }
}

async fn eventually<T>(attempt: impl AsyncFn() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_placed_on_twelve_miners_and_survives_a_restart() {
    let world = world().await;
    let segment = Segment::sparse(1);
    let file = world.place(&segment).await;
    let mut holders: Vec<_> = file.segments[0].1.iter().map(|fragment| fragment.miner).collect();
    holders.sort_unstable();
    holders.dedup();
    assert_eq!(holders.len(), 12);
    for index in 0..12 {
        let miner = world.holder(&file, index);
        assert_eq!(
            world.get(miner, &segment, index).await.unwrap(),
            segment.fragment(index)
        );
    }
    let territory = world
        .chain
        .territory(world.chain.account(), b"home")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((territory.used_space, territory.locked_space), (96 << 20, 0));

    world.devnet.chain_fault(ChainFault::Tag(segment.fid())).unwrap();
    eventually(async || {
        let file = world.chain.file(segment.fid()).await.unwrap()?;
        file.segments[0]
            .1
            .iter()
            .all(|fragment| fragment.tag.is_some())
            .then_some(())
    })
    .await;

    let World {
        devnet,
        chain,
        client,
        _dir: dir,
    } = world;
    let (before, miners) = (devnet.node().best(), devnet.miners());
    drop(chain);
    devnet.shutdown().await;
    let devnet = Devnet::start(config(dir.path())).await.unwrap();
    assert_eq!(devnet.node().hash_of(before.1), Some(before.0));
    assert_eq!(devnet.miners(), miners, "the same ports");
    let chain = connect(&devnet).await;
    assert_eq!(
        chain.file(segment.fid()).await.unwrap().unwrap().segments[0].0,
        segment.hashes.segment
    );
    let world = World {
        devnet,
        chain,
        client,
        _dir: dir,
    };
    let miner = world.holder(&file, 0);
    assert_eq!(world.get(miner, &segment, 0).await.unwrap(), segment.fragment(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_are_exclusive_and_their_total_is_mandatory() {
    let world = world().await;
    let segment = Segment::sparse(2);
    world.declare(&segment).await;
    // Readable at once, before any report.
    world.put(0, &segment, 0).await.unwrap();
    let (endpoint, name) = (world.endpoint(0), segment.hashes.fragments[0]);
    let whole = segment.fragment(0);
    let part = world
        .client
        .get_range(&endpoint, segment.fid(), name, 3..10)
        .await
        .unwrap();
    assert_eq!(part, whole[3..10]);
    for (range, status, code) in [
        ("bytes=0-4/8388608", 206, None),
        ("bytes 0-4/1", 206, None),
        ("bytes=0-99", 200, Some(416)),
        ("bytes=0-8388609/8388608", 200, Some(416)),
        ("bytes=9-4/8388608", 200, Some(416)),
    ] {
        let answer = signed(&endpoint, &segment.fid().to_string(), &name.to_string())
            .header("Range", range)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), status, "{range}");
        assert!(answer.headers().get("content-range").is_none());
        let body = answer.bytes().await.unwrap();
        match code {
            None => assert_eq!(body, whole[..4]),
            Some(code) => assert_eq!(code_of(&body).0, code, "{range}"),
        }
    }
}

/// A signed GET.
fn signed(endpoint: &str, fid: &str, fragment: &str) -> reqwest::RequestBuilder {
    headers(
        reqwest::Client::new().get(format!("http://{endpoint}/fragment")),
        fid,
        fragment,
    )
}

fn headers(request: reqwest::RequestBuilder, fid: &str, fragment: &str) -> reqwest::RequestBuilder {
    let message = "sixteen letters!";
    let signature = dev::bob().sign(format!("<Bytes>{message}</Bytes>").as_bytes());
    request
        .header("Account", AccountId(dev::bob().public_key().0).to_ss58(42))
        .header("Message", message)
        .header("Signature", format!("0x{}", hex::encode(signature.0)))
        .header("Fid", fid)
        .header("Fragment", fragment)
}

fn code_of(body: &[u8]) -> (u64, String) {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap();
    (
        json["code"].as_u64().unwrap(),
        json["msg"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_come_as_http_200_and_a_bad_signature_as_403() {
    let world = world().await;
    let segment = Segment::sparse(3);
    let endpoint = world.endpoint(0);
    let url = format!("http://{endpoint}/fragment");
    let (fid, name) = (segment.fid().to_string(), segment.hashes.fragments[0].to_string());
    let http = reqwest::Client::new();

    let answer = http
        .get(&url)
        .header("Fid", &fid)
        .header("Fragment", &name)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 403);
    assert_eq!(
        code_of(&answer.bytes().await.unwrap()),
        (403, "invalid signature".into())
    );

    for (fid, fragment, code, message) in [
        ("", name.as_str(), 400, "empty fid or fragment"),
        ("xyz", &name, 400, "invalid fid or fragment"),
        (&fid, &name, 404, "not found"),
    ] {
        let answer = signed(&endpoint, fid, fragment).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(code_of(&answer.bytes().await.unwrap()), (code, message.into()));
    }

    let put = async |bytes: Vec<u8>| {
        let part = reqwest::multipart::Part::bytes(bytes).file_name(name.clone());
        let form = reqwest::multipart::Form::new().part("file", part);
        let answer = headers(http.put(&url), &fid, &name)
            .multipart(form)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        code_of(&answer.bytes().await.unwrap())
    };
    assert_eq!(
        put(vec![1; 100]).await,
        (400, "the fragment size is wrong".into())
    );
    assert_eq!(
        put(vec![1; FRAGMENT_SIZE]).await,
        (400, "the fragment hash is wrong".into())
    );
    assert_eq!(
        put(segment.fragment(0).to_vec()).await,
        (400, "fragment does not match fid".into())
    );
    let answer = headers(http.put(&url), &fid, &name)
        .body("no form")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(code_of(&answer.bytes().await.unwrap()).0, 400);

    // The zero fragment is made without a deal, from an empty part; what waits is not read again.
    let zero = segment.hashes.fragments[1].to_string();
    let form = reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::bytes(vec![]));
    let answer = headers(http.put(&url), &fid, &zero)
        .multipart(form)
        .send()
        .await
        .unwrap();
    assert_eq!(code_of(&answer.bytes().await.unwrap()).0, 200);

    world.declare(&segment).await;
    assert_eq!(put(segment.fragment(0).to_vec()).await, (200, "ok".into()));
    assert_eq!(
        put(b"anything".to_vec()).await,
        (200, "ok".into()),
        "already there: the body is not looked at"
    );
    let status = world.client.status(&endpoint).await.unwrap();
    assert_eq!(status, world.devnet.miners()[0].account);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_deal_is_dropped() {
    let world = world().await;
    let segment = Segment::sparse(4);
    let (fid, zero) = (segment.fid(), segment.hashes.fragments[1]);
    world
        .client
        .put(&world.endpoint(0), fid, zero, Bytes::from(vec![0; FRAGMENT_SIZE]))
        .await
        .unwrap();
    eventually(async || {
        world
            .client
            .get(&world.endpoint(0), fid, zero)
            .await
            .is_err()
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrupt_and_a_forgetting_miner_are_found_by_reading() {
    let world = world().await;
    let segment = Segment::sparse(5);
    let file = world.place(&segment).await;
    let miner = world.holder(&file, 0);
    world
        .devnet
        .fault(Some(world.account(miner)), Fault::Corrupt)
        .await
        .unwrap();
    assert!(matches!(
        world.get(miner, &segment, 0).await,
        Err(Error::Corrupt(_))
    ));
    world
        .devnet
        .fault(Some(world.account(miner)), Fault::Heal)
        .await
        .unwrap();
    assert_eq!(world.get(miner, &segment, 0).await.unwrap(), segment.fragment(0));

    // Settled, that is, moved to the file area; then lost.
    eventually(async || (world.devnet.status().await["miners"][miner]["stored"] == 1).then_some(())).await;
    world
        .devnet
        .fault(Some(world.account(miner)), Fault::Forget)
        .await
        .unwrap();
    assert!(matches!(
        world.get(miner, &segment, 0).await,
        Err(Error::Miner { code: 404, .. })
    ));
    world.devnet.fault(None, Fault::Heal).await.unwrap();
    assert!(
        matches!(
            world.get(miner, &segment, 0).await,
            Err(Error::Miner { code: 404, .. })
        ),
        "lost for good"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn liars_complete_files_that_nobody_holds() {
    let world = world().await;
    world.devnet.fault(None, Fault::Lie).await.unwrap();
    let segment = Segment::sparse(6);
    let file = world.place(&segment).await;
    for index in [0, 1, 11] {
        let miner = world.holder(&file, index);
        assert!(matches!(
            world.get(miner, &segment, index).await,
            Err(Error::Miner { code: 404, .. })
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_miners_lose_what_they_report() {
    let world = world().await;
    world.devnet.fault(None, Fault::Forget).await.unwrap();
    let segment = Segment::sparse(7);
    let file = world.place(&segment).await;
    for index in [0, 11] {
        let miner = world.holder(&file, index);
        let gone = async || world.get(miner, &segment, index).await.is_err().then_some(());
        eventually(gone).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_slow_and_full_miners() {
    let world = world().await;
    let segment = Segment::sparse(8);
    world.declare(&segment).await;
    world.put(0, &segment, 0).await.unwrap();

    world
        .devnet
        .fault(Some(world.account(0)), Fault::Dead)
        .await
        .unwrap();
    assert!(matches!(
        world.get(0, &segment, 0).await,
        Err(Error::Unreachable(_))
    ));
    world
        .devnet
        .fault(Some(world.account(0)), Fault::Heal)
        .await
        .unwrap();
    assert_eq!(world.get(0, &segment, 0).await.unwrap(), segment.fragment(0));

    world
        .devnet
        .fault(Some(world.account(0)), Fault::Slow(Duration::from_secs(60)))
        .await
        .unwrap();
    let hurried = MinerClient::new(dev::bob(), Duration::from_millis(300)).unwrap();
    let answer = hurried
        .get(&world.endpoint(0), segment.fid(), segment.hashes.fragments[0])
        .await;
    assert!(matches!(answer, Err(Error::Unreachable(_))), "{answer:?}");

    world
        .devnet
        .fault(Some(world.account(1)), Fault::Full)
        .await
        .unwrap();
    assert!(matches!(
        world.put(1, &segment, 4).await,
        Err(Error::Miner { code: 500, .. })
    ));
    let idle = async || {
        world
            .chain
            .miner(world.account(1))
            .await
            .unwrap()
            .unwrap()
            .idle_space
    };
    eventually(async || (idle().await == 0).then_some(())).await;
    world.devnet.fault(None, Fault::Heal).await.unwrap();
    eventually(async || (idle().await > 0).then_some(())).await;
    world.put(1, &segment, 4).await.unwrap();
    assert!(
        world
            .devnet
            .fault(Some(AccountId([7; 32])), Fault::Dead)
            .await
            .is_err()
    );
}
