//! Storage miners: `/fragment` over HTTP as the network's miners speak it, fragments on disk, and
//! reports to a chain.
//!
//! A fragment that passes its checks goes to the *report* area. As soon as the miner holds one
//! index of every segment of a deal it reports that index; when the file is complete its own
//! fragments move to the *file* area and what else there is of that file goes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use subxt_signer::sr25519::Keypair;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::gate::{Gate, serve_http};
use crate::runtime::primitives::AccountId32;

mod area;
mod auth;
pub mod fault;
mod http;
pub mod link;
mod range;
mod report;

use area::Areas;
use fault::{Fault, Faults};
use link::Link;

/// Bytes of a fragment.
pub const FRAGMENT_SIZE: usize = cess::codec::FRAGMENT_SIZE;

/// The secret URI of miner `index` (0…) under `suri`.
pub fn miner_uri(suri: &str, index: usize) -> String {
    format!("{suri}//{index}")
}

/// The secret URI under which the devnet's own miners are derived.
pub const DEVNET_SURI: &str = "//Miner";

/// How a miner starts.
pub struct MinerConfig {
    /// Directory of its fragments.
    pub dir: PathBuf,
    /// Address to serve; a listener bound before, so that the port is known.
    pub listener: std::net::TcpListener,
    /// Key that signs reports.
    pub key: Keypair,
    /// Time between looks at the whole report area. Complete groups are reported at once anyway.
    pub report_period: Duration,
}

/// A running miner. Dropping it stops it.
pub struct Miner {
    inner: Arc<Inner>,
    gate: Gate,
    reporter: JoinHandle<()>,
}

/// What the HTTP handlers and the report loop share.
struct Inner {
    account: AccountId32,
    address: SocketAddr,
    key: Keypair,
    areas: Areas,
    faults: Mutex<Faults>,
    link: Link,
    /// FIDs of which something arrived.
    arrived: mpsc::UnboundedSender<cess::Hash>,
    started: u64,
    /// Requests for fragments, whole or in part, since the start.
    served: AtomicU64,
}

impl Miner {
    /// Starts serving and reporting.
    pub fn start(config: MinerConfig, link: Link) -> Result<Self> {
        let address = config.listener.local_addr().map_err(Error::io("miner address"))?;
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            account: AccountId32(config.key.public_key().0),
            address,
            key: config.key,
            areas: Areas::open(config.dir)?,
            faults: Mutex::new(Faults::default()),
            link,
            arrived,
            started: crate::clock::now_millis() / 1000,
            served: AtomicU64::new(0),
        });
        let app = http::router(inner.clone());
        let gate = Gate::serve(config.listener, move |socket| serve_http(socket, app.clone()))?;
        let reporter = tokio::spawn(report::run(inner.clone(), arrivals, config.report_period));
        Ok(Self {
            inner,
            gate,
            reporter,
        })
    }

    /// The miner's account.
    pub fn account(&self) -> AccountId32 {
        self.inner.account
    }

    /// `ip:port`, as the chain tells it.
    pub fn endpoint(&self) -> String {
        self.inner.address.to_string()
    }

    /// Throws a fault. Faults add up until [`Fault::Heal`].
    pub async fn fault(&self, fault: Fault) -> Result<()> {
        self.inner.faults.lock().throw(fault);
        match fault {
            Fault::Dead => self.gate.set_open(false),
            Fault::Heal => self.gate.set_open(true),
            Fault::Forget => self.inner.areas.forget().await?,
            Fault::Slow(_) | Fault::Corrupt | Fault::Lie | Fault::Full => {}
        }
        Ok(())
    }

    /// Stops; the port is free when this returns.
    pub async fn stop(mut self) {
        self.gate.close().await;
    }

    /// The faults in force.
    pub fn faults(&self) -> Faults {
        *self.inner.faults.lock()
    }

    /// Requests for fragments, whole or in part, since the start.
    pub fn served(&self) -> u64 {
        self.inner.served.load(Ordering::Relaxed)
    }

    /// Number of fragments on disk: (to be reported, of complete files).
    pub async fn fragments(&self) -> (usize, usize) {
        self.inner.areas.count().await
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.reporter.abort();
    }
}
