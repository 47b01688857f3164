//! Clients that read, and judge what they read.
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use block_frontend::client::Client;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::ledger::{BLOCK, BLOCKS, Cell, Held, Ledger, OBJECTS};
use super::load::{BUCKET, Doors, Shared, VOLUME};
use super::writer::key;

/// Pause between two reads.
const PAUSE: Duration = Duration::from_millis(10);
/// Pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
/// Reads of a block of the file that must all be wrong.
const FILE_TRIES: usize = 5;

fn random(seed: u64, client: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed.wrapping_mul(37).wrapping_add(client))
}

async fn object(doors: &Doors, number: u32) -> Result<Held> {
    Ok(doors.s3.get(&key(number)).await?.map(|bytes| bytes.to_vec()))
}

fn block(file: &std::fs::File, number: u32) -> Result<Held> {
    let mut bytes = vec![0; BLOCK];
    file.read_exact_at(&mut bytes, u64::from(number) * BLOCK as u64)?;
    Ok(Some(bytes))
}

/// GETs objects.
pub(super) async fn objects(shared: Arc<Shared>, seed: u64) {
    let mut random = random(seed, 300);
    while !shared.stopped() {
        let number = random.random_range(0..OBJECTS);
        let cell = Cell::Object(number);
        let before = shared.ledger.before(cell);
        let pause = match object(&shared.doors, number).await {
            Ok(held) => {
                if let Err(wrong) = shared.ledger.judge(cell, &before, &held) {
                    shared.wrong(wrong);
                }
                shared.tallies.reads.done();
                PAUSE
            }
            Err(error) => {
                shared.tallies.reads.failed(format!("GET: {error:#}"));
                AFTER_FAILURE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Reads blocks of the file in the mount.
pub(super) fn file(shared: &Shared, seed: u64) {
    let mut random = random(seed, 400);
    while !shared.stopped() {
        match file_block(shared, random.random_range(0..BLOCKS)) {
            Ok(judged) => {
                if let Err(wrong) = judged {
                    shared.wrong(wrong);
                }
                shared.tallies.reads.done();
                std::thread::sleep(PAUSE);
            }
            Err(error) => {
                shared.tallies.reads.failed(format!("read: {error:#}"));
                std::thread::sleep(AFTER_FAILURE);
            }
        }
    }
}

/// Reads and judges one block. The kernel copies page by page, so a read that runs beside a write
/// may see a part of it: only what is wrong several times is wrong.
fn file_block(shared: &Shared, number: u32) -> Result<Result<()>> {
    let cell = Cell::File(number);
    let file = std::fs::File::open(&shared.doors.file)?;
    let mut judged = Ok(());
    for _ in 0..FILE_TRIES {
        let before = shared.ledger.before(cell);
        let held = block(&file, number)?;
        judged = shared.ledger.judge(cell, &before, &held).map(drop);
        if judged.is_ok() {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(judged)
}

/// Reads blocks of the volume over a connection of its own.
pub(super) async fn volume(shared: Arc<Shared>, seed: u64) {
    let mut random = random(seed, 500);
    let mut attached: Option<Client> = None;
    while !shared.stopped() {
        let number = random.random_range(0..BLOCKS);
        let cell = Cell::Volume(number);
        let before = shared.ledger.before(cell);
        let read = async {
            if attached.is_none() {
                attached = Some(attach(&shared.doors).await?);
            }
            let client = attached.as_mut().context("was just put there")?;
            let bytes = client
                .read(u64::from(number) * BLOCK as u64, BLOCK as u32)
                .await?;
            anyhow::Ok(Some(bytes.to_vec()))
        };
        let pause = match read.await {
            Ok(held) => {
                if let Err(wrong) = shared.ledger.judge(cell, &before, &held) {
                    shared.wrong(wrong);
                }
                shared.tallies.reads.done();
                PAUSE
            }
            Err(error) => {
                attached = None;
                shared.tallies.reads.failed(format!("NBD read: {error:#}"));
                AFTER_FAILURE
            }
        };
        tokio::time::sleep(pause).await;
    }
    if let Some(client) = attached {
        // The gateway may be gone.
        let _ = client.disconnect().await;
    }
}

async fn attach(doors: &Doors) -> Result<Client> {
    Ok(Client::attach(doors.nbd, format!("{BUCKET}/{VOLUME}").as_bytes()).await?)
}

/// Reads every cell through its own door and judges it, while nobody writes. With `settle`, what is
/// found is what stays possible: right after a restart.
pub(super) async fn every_cell(doors: &Doors, ledger: &Ledger, settle: bool) -> Result<()> {
    let mut volume = attach(doors).await.context("attaching the volume")?;
    let path = doors.file.clone();
    let blocks = tokio::task::spawn_blocking(move || -> Result<Vec<Held>> {
        let file = std::fs::File::open(&path)?;
        (0..BLOCKS).map(|number| block(&file, number)).collect()
    })
    .await?
    .context("reading the file")?;
    for cell in Ledger::cells() {
        let held = match cell {
            Cell::Object(number) => object(doors, number)
                .await
                .with_context(|| format!("{cell:?} cannot be read"))?,
            Cell::File(number) => blocks[number as usize].clone(),
            Cell::Volume(number) => {
                let bytes = volume.read(u64::from(number) * BLOCK as u64, BLOCK as u32).await;
                Some(
                    bytes
                        .with_context(|| format!("{cell:?} cannot be read"))?
                        .to_vec(),
                )
            }
        };
        let version = ledger.judge(cell, &ledger.before(cell), &held)?;
        if settle {
            ledger.settle(cell, version)?;
        }
    }
    volume.disconnect().await?;
    Ok(())
}
