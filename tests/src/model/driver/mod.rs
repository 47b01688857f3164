//! Carries operations out on a real gateway, through its three doors.
pub(super) mod block;
pub(super) mod file;
mod object;
pub(super) mod watchdog;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use block_frontend::client::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Url;
use rusty_s3::{Bucket, Credentials, UrlStyle};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use self::watchdog::Watchdog;
use super::operation::{BUCKETS, Event, Operation, SLOTS};
use super::outcome::Outcome;
use super::reference::Seen;
use crate::product::{self, Product};

/// Longest time for one operation. A gateway that takes longer is killed, and the test fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// How long to hold on for one S3 request.
const S3_PATIENCE: Duration = Duration::from_secs(120);

/// A gateway and its clients.
pub struct Driver {
    // Stops first: it knows the gateway by its process id.
    watchdog: Watchdog,
    slots: [Option<Client>; SLOTS],
    s3: S3,
    product: Product,
    runtime: Runtime,
    dir: Option<TempDir>,
}

/// What requests to the S3 door need.
pub(super) struct S3 {
    http: reqwest::Client,
    credentials: Credentials,
    buckets: Vec<Bucket>,
}

impl S3 {
    pub(super) fn new(ready: &product::S3) -> Result<Self> {
        let endpoint: Url = ready.endpoint.parse().context("the S3 endpoint is no URL")?;
        let buckets = BUCKETS
            .iter()
            .map(|name| Bucket::new(endpoint.clone(), UrlStyle::Path, *name, ready.region.clone()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            http: reqwest::Client::builder().timeout(S3_PATIENCE).build()?,
            credentials: Credentials::new(ready.access_key.clone(), ready.secret_key.clone()),
            buckets,
        })
    }
}

impl Driver {
    /// Starts a gateway in a new directory and makes the buckets.
    pub fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("model-").tempdir()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let product = Product::start(&dir.path().join("data"), &[])?;
        let driver = Self {
            watchdog: Watchdog::start(PATIENCE),
            slots: [const { None }; SLOTS],
            s3: S3::new(&product.ready.s3)?,
            product,
            runtime,
            dir: Some(dir),
        };
        driver.runtime.block_on(driver.s3.create_buckets())?;
        Ok(driver)
    }

    /// Carries an operation out. Whatever goes wrong is an outcome.
    pub fn execute(&mut self, operation: &Operation) -> Outcome {
        self.watchdog.watch(self.product.pid());
        let outcome = match operation {
            Operation::Object(operation) => self.runtime.block_on(self.s3.execute(operation)),
            Operation::File(operation) => file::execute(&self.product.ready.mount, operation),
            Operation::Block(operation) => match nbd_address(&self.product.ready.nbd.uri) {
                Ok(address) => self
                    .runtime
                    .block_on(block::execute(address, &mut self.slots, operation)),
                Err(error) => Outcome::Broken(format!("{error:#}")),
            },
            Operation::Event(event) => match self.event(event) {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::Broken(format!("{error:#}")),
            },
        };
        self.watchdog.rest();
        outcome
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Kill | Event::KillDuring { .. } => bail!("kills answer with what they left"),
            Event::Dead { first, count } => {
                self.product.fault("--all", "heal")?;
                let miners = &self.product.ready.miners;
                for miner in miners
                    .iter()
                    .cycle()
                    .skip(*first % miners.len().max(1))
                    .take(*count)
                {
                    self.product.fault(&miner.account, "dead")?;
                }
                Ok(())
            }
            Event::Heal => self.product.fault("--all", "heal"),
            Event::DropCaches => self.product.gateway(&["cache", "drop"]).map(drop),
            Event::Flush { level } => {
                if *level != "staged" {
                    // Placing needs twelve miners.
                    self.product.fault("--all", "heal")?;
                }
                self.product.gateway(&["flush", "--wait", level]).map(drop)
            }
        }
    }

    /// Carries an operation out and kills the gateway after so many microseconds, whatever has come of
    /// the operation by then. The gateway is still to be started again: see [`Self::kill`].
    pub fn execute_and_kill(&mut self, operation: &Operation, micros: u64) -> Result<Outcome> {
        let process = Pid::from_raw(i32::try_from(self.product.pid())?);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(micros));
            kill(process, Signal::SIGKILL)
        });
        let outcome = self.execute(operation);
        match killer.join() {
            Ok(killed) => killed?,
            Err(_) => bail!("the thread that kills has panicked"),
        }
        Ok(outcome)
    }

    /// kill -9, a start on the same data, and what is on the mount then. Miners are well again.
    pub fn kill(&mut self) -> Result<[Seen; BUCKETS.len()]> {
        self.watchdog.watch(self.product.pid());
        self.product.kill()?;
        self.slots = [const { None }; SLOTS];
        self.product.restart()?;
        self.watchdog.watch(self.product.pid());
        self.s3 = S3::new(&self.product.ready.s3)?;
        self.product.fault("--all", "heal")?;
        let mount = &self.product.ready.mount;
        let mut seen = Vec::new();
        for bucket in BUCKETS {
            seen.push(
                file::walk(&mount.join(bucket)).with_context(|| format!("reading {bucket} after a kill"))?,
            );
        }
        self.watchdog.rest();
        seen.try_into().ok().context("one tree for each bucket")
    }

    /// Stops the gateway, which must end well.
    pub fn stop(mut self) -> Result<()> {
        for client in self.slots.iter_mut().filter_map(Option::take) {
            self.runtime.block_on(client.disconnect())?;
        }
        self.product.stop()
    }

    /// Keeps the gateway's directory after a failure, and says where it is.
    pub fn keep(&mut self) -> String {
        match self.dir.take() {
            Some(dir) if std::env::var_os("CESS_MODEL_KEEP").is_some() => {
                format!("\n  kept: {}", dir.keep().display())
            }
            dir => {
                self.dir = dir;
                String::new()
            }
        }
    }
}

pub(super) fn nbd_address(uri: &str) -> Result<SocketAddr> {
    let address = uri
        .strip_prefix("nbd://")
        .context("the NBD URI is not nbd://ADDRESS")?;
    Ok(address.trim_end_matches('/').parse()?)
}
