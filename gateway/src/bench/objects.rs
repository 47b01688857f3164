//! Many small objects: how fast they come in, what each costs on disk, and how much memory the
//! namespace and the store take with all of them there.
//!
//! No network and no door: metadata, store and namespace alone, in this process, so that its
//! resident memory is theirs. Each PUT is acknowledged durable, as through a door.
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::TryStreamExt as _;
use meta::Meta;
use store::Store;
use vfs::Vfs;
use vfs::object::Commit;

use super::alone::{self, META_CACHE};
use super::{Line, Samples, noise};

const BUCKET: &str = "bench-objects";
/// Bytes of an object.
const OBJECT: usize = 4 << 10;
/// Writers at a time; commits are grouped, so they share syncs.
const WRITERS: u64 = 64;
/// Objects read back after the restart.
const READS: u64 = 2000;

struct Opened {
    meta: Meta,
    store: Store,
    vfs: Vfs,
}

impl Opened {
    async fn open(dir: &Path) -> Result<Self> {
        let meta = Meta::open(&meta::MetaConfig {
            engine: meta::EngineKind::Fjall,
            path: dir.join("meta"),
            cache_bytes: META_CACHE,
        })?;
        let (store, vfs) = alone::open(dir, &meta).await?;
        Ok(Self { meta, store, vfs })
    }

    async fn close(self) -> Result<()> {
        self.vfs.shutdown().await?;
        self.store.shutdown().await;
        Ok(())
    }
}

/// Loads `count` objects under `dir` and measures.
pub async fn measure(dir: &Path, count: u64, report: &impl Fn(Line)) -> Result<()> {
    let opened = Opened::open(dir).await?;
    opened.vfs.create_bucket(BUCKET).await?;
    let start = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let vfs = opened.vfs.clone();
            tokio::spawn(async move {
                let mut samples = Samples::default();
                for number in (writer..count).step_by(WRITERS as usize) {
                    let began = Instant::now();
                    put(&vfs, number).await?;
                    samples.add(began.elapsed());
                }
                anyhow::Ok(samples)
            })
        })
        .collect();
    let mut samples = Samples::default();
    for writer in writers {
        samples.merge(writer.await??);
    }
    let name = format!("PUT {count} objects of 4 KiB, {WRITERS} writers");
    report(samples.line(name, start.elapsed(), OBJECT as u64));
    let staging = opened.store.status()?.staging_bytes;
    let metadata = opened.meta.disk_bytes()?;
    report(sized("  resident memory, loaded", resident("VmRSS:")?));
    report(sized(
        "  sealed bytes in staging per object",
        staging / count.max(1),
    ));
    report(sized(
        "  metadata on disk per object, small frames included",
        metadata / count.max(1),
    ));
    report(sized("  all files per object", used(dir)? / count.max(1)));
    opened.close().await?;

    let start = Instant::now();
    let opened = Opened::open(dir).await?;
    report(Line::named(
        "  open with all of them there",
        1.0 / start.elapsed().as_secs_f64(),
    ));
    let mut samples = Samples::default();
    let start = Instant::now();
    for read in 0..READS.min(count) {
        let number = read.wrapping_mul(0x9e37_79b9_7f4a_7c15) % count;
        let began = Instant::now();
        get(&opened.vfs, number).await?;
        samples.add(began.elapsed());
    }
    report(samples.line(
        "  GET at random after the restart".to_owned(),
        start.elapsed(),
        OBJECT as u64,
    ));
    report(sized(
        "  resident memory, restarted and read",
        resident("VmRSS:")?,
    ));
    report(sized("  most resident memory at any time", resident("VmHWM:")?));
    opened.close().await
}

fn key(number: u64) -> String {
    format!("{:04}/{number:09}", number % 1000)
}

async fn put(vfs: &Vfs, number: u64) -> Result<()> {
    let mut writer = vfs.object_writer(BUCKET, key(number).as_bytes()).await?;
    writer.write(noise(number, OBJECT).into()).await?;
    let commit = Commit {
        etag: format!("{number:032x}"),
        ..Commit::default()
    };
    writer.commit(commit).await?;
    Ok(())
}

async fn get(vfs: &Vfs, number: u64) -> Result<()> {
    let reader = vfs.get_object(BUCKET, key(number).as_bytes()).await?;
    let bytes: Vec<Bytes> = reader.stream(0..OBJECT as u64).try_collect().await?;
    anyhow::ensure!(
        bytes.concat() == noise(number, OBJECT),
        "object {number} is wrong"
    );
    Ok(())
}

/// A line that gives a size.
pub(super) fn sized(name: &str, bytes: u64) -> Line {
    Line {
        size: Some(bytes),
        ..Line::named(name, 0.0)
    }
}

/// A field of this process's `/proc/self/status`, in bytes.
pub(super) fn resident(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib: u64 = line
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
        .with_context(|| format!("no {field} in /proc/self/status"))?;
    Ok(kib << 10)
}

/// Bytes of disk under `dir`.
fn used(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let found = entry.metadata()?;
        bytes += if found.is_dir() {
            used(&entry.path())?
        } else {
            found.blocks() * 512
        };
    }
    Ok(bytes)
}
