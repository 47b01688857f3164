//! Cold reads: what a small one costs, and how near sequential readers come to the miners' own speed.
//!
//! Gateway, miners and readers run in this process, so that the comparison is between the same bytes
//! from the same miners by the same clients, once through the gateway and once by plain HTTP GETs
//! of whole data fragments, which nobody checks, decrypts or caches. The two take turns.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use cess::codec::{DATA_FRAGMENTS, FRAGMENT_SIZE, ZERO_FRAGMENT};
use cess::miner::MinerClient;
use cess::{AccountId, Hash};
use futures::StreamExt as _;
use subxt_signer::sr25519::Keypair;
use vfs::object::Commit;
use vfs::{Level, Vfs};

use super::s3::Client;
use super::{Line, Samples, noise};
use crate::command::dev::InABox;

const BUCKET: &str = "bench-read";
/// Readers at a time.
const READERS: usize = 16;
/// Bytes that each of them reads.
const OBJECT: usize = 16 << 20;
/// Bytes of a small read.
const SMALL: u64 = 4 << 10;
/// Small reads, each of a chunk of its own.
const SMALL_READS: usize = 200;
/// Rounds of the comparison; the middle one counts.
const ROUNDS: usize = 3;
/// Longest wait until everything lies on the miners alone.
const PLACING: Duration = Duration::from_secs(1200);

/// Measures reading through `running`.
pub async fn measure(running: &InABox, report: &impl Fn(Line)) -> Result<()> {
    let vfs = running.gateway.vfs();
    load(running).await?;

    cold(running).await?;
    let before = running.devnet.fragments_served();
    let mut samples = Samples::default();
    let start = Instant::now();
    for number in 0..SMALL_READS {
        let chunks = (OBJECT / store::CHUNK_MAX) as u64;
        // Far from the reads before, so that nothing is fetched ahead.
        let chunk = (number / READERS) as u64 * 37 % chunks;
        let offset = chunk * store::CHUNK_MAX as u64 + (number as u64 * 7919 * SMALL) % (200 << 10);
        let began = Instant::now();
        read(vfs, number % READERS, offset..offset + SMALL).await?;
        samples.add(began.elapsed());
    }
    let elapsed = start.elapsed();
    let requests = running.devnet.fragments_served() - before;
    report(Line {
        requests: Some(requests as f64 / SMALL_READS as f64),
        ..samples.line("cold read of 4 KiB, 1 reader".to_owned(), elapsed, SMALL)
    });

    let plain = Arc::new(Plain::new(running).await?);
    let s3 = Client::new(&running.s3()?, BUCKET)?;
    let (mut readers, mut gets, mut door) = (Vec::new(), Vec::new(), Vec::new());
    let mut requests = 0;
    for _ in 0..ROUNDS {
        cold(running).await?;
        let before = running.devnet.fragments_served();
        readers.push(all_readers(vfs).await?);
        requests = running.devnet.fragments_served() - before;
        gets.push(plain.get_all().await?);
        cold(running).await?;
        door.push(all_clients(&s3).await?);
    }
    let bytes = (READERS * OBJECT) as f64;
    let bare = middle(gets);
    for (name, elapsed, requests) in [
        ("16 cold sequential readers", middle(readers), Some(requests)),
        ("16 cold S3 GETs of 16 MiB", middle(door), None),
    ] {
        report(Line {
            bytes_per_second: Some(bytes / elapsed),
            ratio: Some(bare / plain.bytes() as f64 * bytes / elapsed),
            requests: requests.map(|requests| requests as f64 / READERS as f64),
            ..Line::named(name, READERS as f64 / elapsed)
        });
    }
    report(Line {
        bytes_per_second: Some(plain.bytes() as f64 / bare),
        ..Line::named(
            "  plain GETs of the same bytes, 16 clients",
            plain.fragments.len() as f64 / bare,
        )
    });
    Ok(())
}

fn middle(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// Writes the objects and waits until the miners have all of them.
async fn load(running: &InABox) -> Result<()> {
    let vfs = running.gateway.vfs();
    vfs.create_bucket(BUCKET).await?;
    for number in 0..READERS {
        let mut writer = vfs.object_writer(BUCKET, key(number).as_bytes()).await?;
        writer.write(noise(number as u64, OBJECT).into()).await?;
        let commit = Commit {
            etag: format!("{number:032x}"),
            ..Commit::default()
        };
        writer.commit(commit).await?;
    }
    vfs.flush_all(Level::Verified, PLACING).await?;
    let deadline = Instant::now() + PLACING;
    while running.gateway.store().status()?.staging_bytes > 0 {
        ensure!(Instant::now() < deadline, "staging is not given back");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

fn key(number: usize) -> String {
    format!("sequential/{number}")
}

/// Nothing is in a cache from here on.
async fn cold(running: &InABox) -> Result<()> {
    running.gateway.vfs().drop_caches().await?;
    Ok(())
}

async fn read(vfs: &Vfs, number: usize, range: std::ops::Range<u64>) -> Result<()> {
    let mut stream = vfs
        .get_object(BUCKET, key(number).as_bytes())
        .await?
        .stream(range.clone());
    let mut left = range.end - range.start;
    while let Some(bytes) = stream.next().await {
        left -= bytes?.len() as u64;
    }
    ensure!(left == 0, "{left} bytes are missing");
    Ok(())
}

/// Runs `READERS` tasks; answers how long all of them took.
async fn together<F>(task: impl Fn(usize) -> F) -> Result<Duration>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let start = Instant::now();
    let tasks: Vec<_> = (0..READERS).map(|number| tokio::spawn(task(number))).collect();
    for task in tasks {
        task.await??;
    }
    Ok(start.elapsed())
}

async fn all_readers(vfs: &Vfs) -> Result<Duration> {
    together(|number| {
        let vfs = vfs.clone();
        async move { read(&vfs, number, 0..OBJECT as u64).await }
    })
    .await
}

async fn all_clients(s3: &Client) -> Result<Duration> {
    together(|number| {
        let s3 = s3.clone();
        async move { s3.get(&key(number), OBJECT).await }
    })
    .await
}

/// The data fragments that the objects lie in, and who has them.
struct Plain {
    client: MinerClient,
    fragments: Vec<(String, Hash, Hash)>,
}

impl Plain {
    async fn new(running: &InABox) -> Result<Self> {
        let miners = running.devnet.miners();
        let endpoint = |account: AccountId| {
            let text = account.to_ss58(cess::account::SS58_PREFIX);
            let miner = miners.iter().find(|miner| miner.account == text);
            miner.map(|miner| format!("http://{}", miner.endpoint))
        };
        let mut fragments = Vec::new();
        for pack in running.gateway.store().status()?.packs {
            let fid: Hash = pack.fid.context("a pack without FID")?.parse()?;
            let file = running
                .gateway
                .chain
                .file(fid)
                .await?
                .context("a pack without file")?;
            for fragment in file.segments.iter().flat_map(|(_, all)| &all[..DATA_FRAGMENTS]) {
                if fragment.hash != ZERO_FRAGMENT {
                    let endpoint = endpoint(fragment.miner).context("a miner without endpoint")?;
                    fragments.push((endpoint, fid, fragment.hash));
                }
            }
        }
        let key = Keypair::from_secret_key(crate::random::bytes()?).context("cannot make a miner key")?;
        Ok(Self {
            client: MinerClient::new(key, Duration::from_secs(60))?,
            fragments,
        })
    }

    fn bytes(&self) -> usize {
        self.fragments.len() * FRAGMENT_SIZE
    }

    async fn get_all(self: &Arc<Self>) -> Result<Duration> {
        let next = Arc::new(AtomicUsize::new(0));
        together(|_| {
            let (plain, next) = (self.clone(), next.clone());
            async move {
                while let Some((endpoint, fid, fragment)) =
                    plain.fragments.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let whole = 0..FRAGMENT_SIZE as u32;
                    let bytes: Bytes = plain.client.get_range(endpoint, *fid, *fragment, whole).await?;
                    ensure!(bytes.len() == FRAGMENT_SIZE);
                }
                Ok(())
            }
        })
        .await
    }
}
