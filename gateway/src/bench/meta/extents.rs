//! What random writes of 4 KiB to a volume leave behind in the metadata, and what the compactor makes
//! of it.
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use meta::Read;

use super::{BUCKET, Line, Opened};
use crate::bench::noise;

/// Size of the volume, all of it written before.
const VOLUME: u64 = 32 << 20;
const WRITE: u64 = 4 << 10;
/// Random writes, each flushed alone.
const WRITES: u64 = 4_000;
/// Extents of files, and frames that ride in rows: `docs/FORMAT.md`.
const EXTENT: u8 = 0x04;
const INLINE: u8 = 0x8b;
/// Chunk that is written at a time to fill the volume.
const CHUNK: u64 = 256 << 10;

/// Rows by table: how many, and bytes of keys and values.
fn rows(read: &(impl Read + ?Sized)) -> Result<BTreeMap<u8, (u64, u64)>> {
    let mut tables: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
    for row in read.range(Bound::Unbounded, Bound::Unbounded, false)? {
        let (key, value) = row?;
        if let Some(&table) = key.first() {
            let sum = tables.entry(table).or_default();
            sum.0 += 1;
            sum.1 += (key.len() + value.len()) as u64;
        }
    }
    Ok(tables)
}

/// Extents there are, their bytes, and the bytes of all rows but frames.
fn sums(opened: &Opened) -> Result<(u64, u64, u64)> {
    let tables = rows(&*opened.meta.snapshot()?)?;
    let extents = tables.get(&EXTENT).copied().unwrap_or_default();
    let all = tables
        .iter()
        .filter(|(table, _)| **table != INLINE)
        .map(|(_, (_, bytes))| bytes)
        .sum();
    Ok((extents.0, extents.1, all))
}

pub(super) async fn measure(dir: &Path, report: &impl Fn(Line)) -> Result<()> {
    let opened = Opened::open(dir).await?;
    opened.bucket().await?;
    let volume = opened
        .vfs
        .create_volume(&format!("{BUCKET}/volume"), VOLUME, 4096, "")
        .await?;
    let ino = vfs::InodeNo(volume.ino);
    for block in 0..VOLUME / CHUNK {
        let data = Bytes::from(noise(block, CHUNK as usize));
        opened.vfs.write(ino, block * CHUNK, data).await?;
    }
    opened.vfs.fsync(ino, None).await?;
    let fresh = sums(&opened)?;
    let start = Instant::now();
    for number in 0..WRITES {
        let at = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (VOLUME / WRITE) * WRITE;
        let data = Bytes::from(noise(number, WRITE as usize));
        opened.vfs.write(ino, at, data).await?;
        opened.vfs.fsync(ino, None).await?;
    }
    let took = start.elapsed();
    let note = |now: (u64, u64, u64)| {
        let written = (WRITES * WRITE) as f64;
        let more = |now: u64, before: u64| (now as f64 - before as f64) / written;
        Some(format!(
            "{} extents; more rows than before, per byte written: {:.5} B of extents, {:.5} B in all",
            now.0,
            more(now.1, fresh.1),
            more(now.2, fresh.2)
        ))
    };
    report(Line {
        note: note(sums(&opened)?),
        ..Line::named(
            "volume: random 4 KiB, each flushed",
            WRITES as f64 / took.as_secs_f64(),
        )
    });
    let start = Instant::now();
    let done = opened.vfs.compact().await?;
    let took = start.elapsed().as_secs_f64();
    // What was let go of is released behind the answer.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    report(Line {
        bytes_per_second: Some(done.bytes as f64 / took),
        note: note(sums(&opened)?),
        ..Line::named("volume: compacted, extents", done.extents as f64 / took)
    });
    opened.close().await
}
