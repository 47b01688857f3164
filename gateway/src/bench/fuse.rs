//! The mount: sequential and random transfer, create and stat.
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::{Rng as _, SeedableRng as _};

use super::{Line, Samples, Target, noise, repeat};

/// Bytes of the file that transfers work on.
const FILE: u64 = 256 << 20;
const BLOCK: usize = 1 << 20;
const SECTOR: usize = 4 << 10;

/// Measures the mount.
pub async fn measure(target: &Target, report: &impl Fn(Line)) -> Result<()> {
    let bucket = target.ready.mount.join("bench-fuse");
    let time = target.time;
    let lines = tokio::task::spawn_blocking(move || measure_blocking(&bucket, time)).await??;
    for line in lines {
        report(line);
    }
    Ok(())
}

fn measure_blocking(bucket: &Path, time: Duration) -> Result<Vec<Line>> {
    std::fs::create_dir(bucket)?;
    let path = bucket.join("large");
    let mut lines = Vec::new();

    let body = noise(1, BLOCK);
    let mut file = File::create(&path)?;
    let mut samples = Samples::default();
    let start = Instant::now();
    for _ in 0..FILE / BLOCK as u64 {
        let before = Instant::now();
        file.write_all(&body)?;
        samples.add(before.elapsed());
    }
    file.sync_all()?;
    lines.push(samples.line(
        "FUSE sequential write 1 MiB, then fsync".into(),
        start.elapsed(),
        BLOCK as u64,
    ));

    let mut file = File::open(&path)?;
    let mut buffer = vec![0; BLOCK];
    let mut samples = Samples::default();
    let start = Instant::now();
    loop {
        let before = Instant::now();
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        samples.add(before.elapsed());
    }
    lines.push(samples.line("FUSE sequential read 1 MiB".into(), start.elapsed(), BLOCK as u64));

    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let mut random = rand::rngs::SmallRng::seed_from_u64(2);
    let mut offset = || random.random_range(0..FILE / SECTOR as u64) * SECTOR as u64;
    let mut sector = vec![0; SECTOR];
    let (samples, elapsed) = repeat(time, |_| Ok(file.read_exact_at(&mut sector, offset())?))?;
    lines.push(samples.line("FUSE random read 4 KiB".into(), elapsed, SECTOR as u64));
    let (samples, elapsed) = repeat(time, |_| Ok(file.write_all_at(&sector, offset())?))?;
    lines.push(samples.line("FUSE random write 4 KiB".into(), elapsed, SECTOR as u64));
    let (samples, elapsed) = repeat(time, |_| {
        file.write_all_at(&sector, offset())?;
        Ok(file.sync_data()?)
    })?;
    lines.push(samples.line(
        "FUSE random write 4 KiB, fdatasync each".into(),
        elapsed,
        SECTOR as u64,
    ));

    let small = bucket.join("small");
    std::fs::create_dir(&small)?;
    let mut made = 0;
    let (samples, elapsed) = repeat(time, |number| {
        made = number + 1;
        Ok(File::create(small.join(number.to_string())).map(drop)?)
    })?;
    lines.push(samples.line("FUSE create".into(), elapsed, 0));
    let (samples, elapsed) = repeat(time, |number| {
        Ok(std::fs::metadata(small.join((number % made).to_string())).map(drop)?)
    })?;
    lines.push(samples.line("FUSE stat".into(), elapsed, 0));
    Ok(lines)
}
