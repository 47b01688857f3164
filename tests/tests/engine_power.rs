//! Power cuts under the metadata engines of this process alone: whatever the disk kept of what was not
//! synced, the engine opens, and holds a prefix of the commits with everything that was acknowledged.
use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::Bound;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use meta::{Durability, EngineKind, Meta, MetaConfig, Read, Transaction};
use product_tests::disk::{Disk, Names, Volume};

/// Tells the child where its store is.
const PLACE: &str = "CESS_TEST_ENGINE_ON_A_DISK";
/// Cuts in a row; each finds what the one before left.
const CUTS: u64 = 8;
/// The child ends by itself after this: it may be that nobody kills it any more.
const LIFE: Duration = Duration::from_secs(30);
/// Rows that are overwritten again and again, so that the engine uses its files again.
const ROWS: u64 = 300;

fn open(kind: EngineKind, path: &Path) -> Result<Meta, meta::Error> {
    Meta::open(&MetaConfig {
        engine: kind,
        path: path.to_owned(),
        cache_bytes: 8 << 20,
    })
}

fn row(number: u64) -> Vec<u8> {
    [&[1][..], &(number % ROWS).to_be_bytes()].concat()
}

fn value(number: u64) -> Vec<u8> {
    let length = 200 + number * 7919 % 20_000;
    let mut value = vec![number as u8; length as usize];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value
}

fn counter(read: &(impl Read + ?Sized)) -> Result<u64, meta::Error> {
    let row = read.get(&[2])?;
    Ok(row
        .and_then(|row| row.try_into().ok())
        .map_or(0, u64::from_be_bytes))
}

/// Commit *n* raises the counter to *n* and overwrites one row.
fn add(tx: &mut dyn Transaction) -> Result<u64, meta::Error> {
    let number = counter(tx)? + 1;
    tx.put(&[2], &number.to_be_bytes())?;
    tx.put(&row(number), &value(number))?;
    Ok(number)
}

/// The child: writes until it is killed, and says what was acknowledged.
fn write(kind: EngineKind, path: &Path) -> Result<()> {
    let end = Instant::now() + LIFE;
    let meta = open(kind, path)?;
    println!("\nopen");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let writers: Vec<_> = (0..3)
            .map(|_| {
                let meta = meta.clone();
                tokio::spawn(async move {
                    let mut turn = 0;
                    while Instant::now() < end {
                        turn += 1;
                        let durability = [Durability::Buffered, Durability::Synced][turn % 2];
                        let number = meta.write::<_, meta::Error, _>(durability, add).await?;
                        if durability == Durability::Synced {
                            let line = format!("acknowledged {number}\n");
                            std::io::stdout().lock().write_all(line.as_bytes())?;
                        }
                    }
                    Ok::<_, anyhow::Error>(())
                })
            })
            .collect();
        for writer in writers {
            // The disk fails under it sooner or later.
            let _ = writer.await;
        }
    });
    Ok(())
}

/// Answers the number of the last commit.
fn check(kind: EngineKind, path: &Path, acknowledged: u64) -> Result<u64> {
    let meta = open(kind, path).context("the engine does not open")?;
    let view = meta.snapshot()?;
    let last = counter(view.as_ref())?;
    ensure!(
        last >= acknowledged,
        "{acknowledged} was acknowledged, the store ends at {last}"
    );
    let mut rows = 0;
    for found in view.range(Bound::Included(&[1]), Bound::Excluded(&[2]), false)? {
        let (key, found) = found?;
        let number = found
            .first_chunk()
            .map_or(0, |number| u64::from_be_bytes(*number));
        ensure!(key == row(number) && found == value(number), "a row is torn");
        ensure!(
            number <= last && last - number < ROWS,
            "the row of commit {number} in a store that ends at {last}"
        );
        rows += 1;
    }
    ensure!(rows == last.min(ROWS), "{rows} rows after {last} commits");
    Ok(last)
}

fn survives(test: &str, kind: EngineKind, names: Names, seed: u64) -> Result<()> {
    if let Some(place) = std::env::var_os(PLACE) {
        return write(kind, Path::new(&place));
    }
    let scratch = tempfile::tempdir()?;
    let path = scratch.path().join("disk");
    let mut disk = Disk::mount(Volume::new(names, seed), &path)?;
    let mut last = 0;
    for round in 0..CUTS {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", test, "--nocapture"])
            .env(PLACE, path.join("meta"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        // Opening is cut as well, now and then.
        if round % 4 != 3 {
            while !lines
                .next()
                .context("the child does not open the store")??
                .ends_with("open")
            {}
        }
        std::thread::sleep(Duration::from_millis(5 + 211 * (round + seed) % 900));
        let cut = disk.cut();
        child.kill()?;
        child.wait()?;
        for line in lines {
            if let Some(number) = line?.strip_prefix("acknowledged ") {
                last = last.max(number.parse()?);
            }
        }
        drop(disk);
        disk = Disk::mount(cut.image(seed + round), &path)?;
        last = check(kind, &path.join("meta"), last)
            .with_context(|| format!("{names:?}, seed {seed}, cut {round}"))?;
    }
    println!("{names:?}: {CUTS} cuts, {last} commits");
    ensure!(last > 50, "the cuts came too early to prove anything");
    Ok(())
}

#[test]
fn sled_survives_power_cuts() -> Result<()> {
    survives("sled_survives_power_cuts", EngineKind::Sled, Names::Journal, 1)
}

#[test]
fn sled_survives_power_cuts_on_a_strict_disk() -> Result<()> {
    let name = "sled_survives_power_cuts_on_a_strict_disk";
    survives(name, EngineKind::Sled, Names::Strict, 2)
}

#[test]
fn fjall_survives_power_cuts_on_a_strict_disk() -> Result<()> {
    let name = "fjall_survives_power_cuts_on_a_strict_disk";
    survives(name, EngineKind::Fjall, Names::Strict, 3)
}
