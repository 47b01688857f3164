//! Clients that write.
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use block_frontend::client::Client;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::ledger::{BLOCK, BLOCKS, Cell, OBJECTS};
use super::load::{BUCKET, Shared, VOLUME};

/// Pause between two rounds: the load is to leave the machine room for placing.
const PAUSE: Duration = Duration::from_millis(15);
/// Pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
/// Blocks written between two syncs, at most.
const BLOCKS_PER_SYNC: u32 = 6;

fn random(seed: u64, client: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(client))
}

/// PUT and DELETE of objects whose number is `number` modulo `of`.
pub(super) async fn objects(shared: Arc<Shared>, seed: u64, number: u32, of: u32) {
    let mut random = random(seed, u64::from(number));
    while !shared.stopped() {
        let object = random.random_range(0..OBJECTS / of) * of + number;
        let cell = Cell::Object(object);
        let Some(version) = shared.ledger.begin(cell) else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let key = key(object);
        let outcome = match shared.ledger.held(cell, version) {
            Some(bytes) => shared.doors.s3.put(&key, bytes).await,
            None => shared.doors.s3.delete(&key).await,
        };
        match outcome {
            Ok(()) => {
                shared.ledger.acknowledge(cell, version);
                shared.tallies.objects.done();
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                // Without an answer the gateway may still be at it.
                if error.downcast_ref::<reqwest::Error>().is_some() {
                    shared.ledger.leave_open(cell);
                }
                shared.tallies.objects.failed(format!("{error:#}"));
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// Key of an object. Some lie in directories.
pub(super) fn key(object: u32) -> String {
    match object % 3 {
        0 => format!("object-{object}"),
        _ => format!("directory-{}/object-{object}", object % 7),
    }
}

/// Writes and fsyncs in the mount.
pub(super) fn file(shared: &Shared, seed: u64) {
    let mut random = random(seed, 100);
    let mut open = None;
    while !shared.stopped() {
        let outcome = match &open {
            None => std::fs::File::options()
                .write(true)
                .open(&shared.doors.file)
                .map(|file| open = Some(file)),
            Some(file) => file_round(shared, file, &mut random),
        };
        match outcome {
            Ok(()) => {
                shared.tallies.file.done();
                std::thread::sleep(PAUSE);
            }
            Err(error) => {
                shared.tallies.file.failed(&error);
                std::thread::sleep(AFTER_FAILURE);
            }
        }
    }
}

fn file_round(shared: &Shared, file: &std::fs::File, random: &mut SmallRng) -> std::io::Result<()> {
    let mut written = Vec::new();
    for _ in 0..random.random_range(1..=BLOCKS_PER_SYNC) {
        let number = random.random_range(0..BLOCKS);
        let cell = Cell::File(number);
        let Some(version) = shared.ledger.begin(cell) else {
            continue;
        };
        let bytes = shared.ledger.held(cell, version).unwrap_or_default();
        if let Err(error) = file.write_all_at(&bytes, u64::from(number) * BLOCK as u64) {
            if error.raw_os_error() == Some(libc::ETIMEDOUT) {
                shared.ledger.leave_open(cell);
            }
            return Err(error);
        }
        written.push((cell, version));
    }
    file.sync_all()?;
    for (cell, version) in written {
        shared.ledger.acknowledge(cell, version);
    }
    Ok(())
}

/// Writes, flushes and writes with FUA over NBD.
pub(super) async fn volume(shared: Arc<Shared>, seed: u64) {
    let mut random = random(seed, 200);
    let mut attached = None;
    while !shared.stopped() {
        let outcome = match &mut attached {
            None => Client::attach(shared.doors.nbd, format!("{BUCKET}/{VOLUME}").as_bytes())
                .await
                .map(|client| attached = Some(client)),
            Some(client) => volume_round(&shared, client, &mut random).await,
        };
        match outcome {
            Ok(()) => {
                shared.tallies.volume.done();
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                // A client whose request failed may be out of step with the server.
                attached = None;
                shared.tallies.volume.failed(&error);
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
    if let Some(client) = attached {
        // The gateway may be gone.
        let _ = client.disconnect().await;
    }
}

async fn volume_round(
    shared: &Shared,
    client: &mut Client,
    random: &mut SmallRng,
) -> Result<(), block_frontend::Error> {
    let mut written = Vec::new();
    let fua = random.random_range(0..4) == 0;
    for _ in 0..random.random_range(1..=BLOCKS_PER_SYNC) {
        let number = random.random_range(0..BLOCKS);
        let cell = Cell::Volume(number);
        let Some(version) = shared.ledger.begin(cell) else {
            continue;
        };
        let bytes = shared.ledger.held(cell, version).unwrap_or_default();
        let write = client.write(u64::from(number) * BLOCK as u64, &bytes, fua).await;
        if let Err(error) = write {
            shared.ledger.leave_open(cell);
            return Err(error);
        }
        if fua {
            shared.ledger.acknowledge(cell, version);
        } else {
            written.push((cell, version));
        }
    }
    if !fua {
        client.flush().await?;
    }
    for (cell, version) in written {
        shared.ledger.acknowledge(cell, version);
    }
    Ok(())
}
