//! Writers and readers at all three doors, until they are told to stop.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::ledger::Ledger;
use super::{reader, writer};
use crate::product::Product;
use crate::s3::S3Client;

/// The bucket that holds everything.
pub const BUCKET: &str = "siege";
/// The file that is written through the mount.
pub const FILE: &str = "file.bin";
/// The volume that is written through NBD.
pub const VOLUME: &str = "volume.img";
/// Writers of objects; each has keys of its own.
const OBJECT_WRITERS: u32 = 2;

/// How requests went.
#[derive(Debug, Default)]
pub struct Tally {
    done: AtomicU64,
    failed: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Tally {
    pub(super) fn done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, error: impl std::fmt::Display) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock() = Some(error.to_string());
    }

    /// Requests that succeeded.
    pub fn successes(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Requests that failed.
    pub fn failures(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// How the last of them failed.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }
}

/// What a door's clients did.
#[derive(Debug, Default)]
pub struct Tallies {
    /// PUT and DELETE of objects.
    pub objects: Tally,
    /// Rounds of `write` and `fsync` in the mount.
    pub file: Tally,
    /// Rounds of WRITE and FLUSH, and writes with FUA.
    pub volume: Tally,
    /// Reads through all doors.
    pub reads: Tally,
}

/// Where the doors of a running gateway are.
#[derive(Clone)]
pub struct Doors {
    /// Objects of [`BUCKET`].
    pub s3: S3Client,
    /// The NBD door.
    pub nbd: SocketAddr,
    /// [`FILE`] in the mount.
    pub file: PathBuf,
}

impl Doors {
    /// Those of `product`.
    pub fn of(product: &Product) -> Result<Self> {
        let nbd = product.ready.nbd.uri.trim_start_matches("nbd://");
        Ok(Self {
            s3: S3Client::new(&product.ready.s3, BUCKET)?,
            nbd: nbd.parse().with_context(|| format!("{nbd} is no address"))?,
            file: product.ready.mount.join(BUCKET).join(FILE),
        })
    }
}

/// What the clients share.
pub(super) struct Shared {
    pub ledger: Arc<Ledger>,
    pub doors: Doors,
    pub tallies: Tallies,
    stop: AtomicBool,
    /// What must never happen.
    wrong: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A wrong answer: the test fails, and everything stops.
    pub(super) fn wrong(&self, what: impl std::fmt::Display) {
        self.wrong.lock().get_or_insert_with(|| what.to_string());
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Running clients.
pub struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the clients of all doors.
    pub fn start(product: &Product, ledger: &Arc<Ledger>, seed: u64) -> Result<Self> {
        let shared = Arc::new(Shared {
            ledger: ledger.clone(),
            doors: Doors::of(product)?,
            tallies: Tallies::default(),
            stop: AtomicBool::new(false),
            wrong: Mutex::new(None),
        });
        let mut tasks = Vec::new();
        for number in 0..OBJECT_WRITERS {
            let writer = writer::objects(shared.clone(), seed, number, OBJECT_WRITERS);
            tasks.push(tokio::spawn(writer));
        }
        tasks.push(tokio::spawn(writer::volume(shared.clone(), seed)));
        let file = shared.clone();
        tasks.push(tokio::task::spawn_blocking(move || writer::file(&file, seed)));
        tasks.push(tokio::spawn(reader::objects(shared.clone(), seed)));
        tasks.push(tokio::spawn(reader::volume(shared.clone(), seed)));
        let file = shared.clone();
        tasks.push(tokio::task::spawn_blocking(move || reader::file(&file, seed)));
        Ok(Self { shared, tasks })
    }

    /// How it goes.
    pub fn tallies(&self) -> &Tallies {
        &self.shared.tallies
    }

    /// Tells every client to stop after the request that it is in.
    pub fn tell_to_stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Stops, and waits for every client. An error is a wrong answer.
    pub async fn stop(mut self) -> Result<()> {
        self.tell_to_stop();
        for task in std::mem::take(&mut self.tasks) {
            task.await.context("a client of the load panicked")?;
        }
        match self.shared.wrong.lock().take() {
            None => Ok(()),
            Some(what) => bail!("{what}"),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Whoever fails to wait for them must not keep them running for ever.
        self.tell_to_stop();
    }
}
