//! Placing: from staged chunks to verified files on the network.
//!
//! ```text
//!             freeze          hash           declare         12 reports       read-back
//! unpacked ──────────▶ Closed ────▶ Hashed ─────────▶ Declared ──────▶ Placed ─────────▶ Verified
//!     ▲                                                                  │                  │
//!     └──────────── retire: live chunks are packed again ◀───────────────┘       staging reclaimed
//! ```
//! - [`packer`] closes packs: by size, by age (the emptier, the later), or because somebody waits.
//! - [`drive`] moves one pack from state to state; each step can be repeated after a crash at any
//!   point. [`build`] makes its segments, [`declare`] orders space, [`upload`] pushes fragments
//!   and awaits the miners' reports, [`verify`] reads them back.
//! - [`upkeep`] deletes packs in which nothing lives any more, and those that were stored again;
//!   [`crate::reclaim`] has those stored again in which little does.
//! - [`absent`] looks after packs of gateways that do not run, as far as that takes no bytes of theirs.
//! - [`isolate`] keeps a record that rots in staging from holding up its pack.
//! - [`levels`] answers how far chunks have come, and waits for it.
//! - [`orders`] knows what was sent to the chain, [`strangers`] what to do when somebody else was
//!   there first, [`watcher`] how the chain is, [`rules`] where packs may be,
//!   [`finality`] whether a pack is placed for good.
//!
//! Every worker sleeps until it is woken or a pause with jitter ends; an outage of the chain or of
//! miners only delays. A failed step leaves its reason in the pack's record.
pub(crate) mod absent;
pub(crate) mod age;
pub(crate) mod awaited;
pub(crate) mod buffers;
pub(crate) mod build;
pub(crate) mod declare;
pub(crate) mod drive;
pub(crate) mod finality;
pub(crate) mod isolate;
pub(crate) mod kept;
pub(crate) mod levels;
pub(crate) mod local;
pub(crate) mod memory;
pub(crate) mod miners;
pub(crate) mod network;
pub(crate) mod orders;
pub(crate) mod pace;
pub(crate) mod packer;
pub(crate) mod pool;
pub(crate) mod rules;
pub(crate) mod strangers;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod upkeep;
pub(crate) mod upload;
pub(crate) mod verify;
pub(crate) mod waiting;
pub(crate) mod watcher;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cess::AccountId;
use meta::{Durability, Meta};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::checkpoint::coverage::Coverage;
use crate::checkpoint::fence::Fence;
use crate::members::Role;
use crate::pack::record::{self, Record};
use crate::place::awaited::Awaited;
use crate::place::buffers::Buffers;
use crate::place::kept::Kept;
use crate::place::local::Local;
use crate::place::memory::UploadMemory;
use crate::place::miners::Miners;
use crate::place::network::Network;
use crate::place::pace::Pace;
use crate::place::pool::Pool;
use crate::place::rules::{Addresses, Rules};
use crate::reclaim::{self, ReclaimConfig, ReclaimPlan};
use crate::workers::{Worker, Workers};
use crate::{ChainOutlook, ChunkId, Error, PackState, Result, StoreConfig};

/// Settings of placing.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// A pack closes when it fills this many segments.
    pub pack_segments: u32,
    /// Packs close, however empty, once this many bytes of frames wait for one: staging has no room for
    /// many more.
    pub most_waiting: u64,
    /// A pack closes at this age however empty.
    pub pack_max_age: Duration,
    /// Bytes that segments may take in memory on their way.
    pub upload_memory: u64,
    /// Whose territory pays.
    pub owner: AccountId,
    /// Name of the territory.
    pub territory: Vec<u8>,
    /// Where packs may be placed.
    pub rules: Arc<Rules>,
    /// Pauses and patience.
    pub pace: Pace,
    /// When packs are reclaimed.
    pub reclaim: ReclaimConfig,
    /// Whether this gateway may go on.
    pub fence: Arc<Fence>,
    /// Which files may be deleted; `None`: no checkpoints are taken, and none is waited for.
    pub coverage: Option<Arc<Coverage>>,
    /// This gateway among those on the namespace.
    pub role: Role,
}

impl Settings {
    /// Those of the store that matter to placing; `owner`'s territory pays. Reads the GeoIP file.
    pub(crate) fn of(config: &StoreConfig, owner: AccountId) -> Result<Self> {
        let most_waiting = config.staging_limit / 2;
        let pack_segments = fitting(config.pack_segments, most_waiting);
        if pack_segments < config.pack_segments {
            tracing::warn!(
                staging_limit = config.staging_limit,
                most_waiting,
                pack_segments,
                "staging is too small for two packs of the size that is set: packs are closed earlier"
            );
        }
        Ok(Self {
            pack_segments,
            most_waiting,
            pack_max_age: config.pack_max_age,
            upload_memory: config.upload_memory,
            owner,
            territory: config.territory.clone(),
            rules: Arc::new(Rules::open(config.placement.clone())?),
            pace: config.pace.clone(),
            reclaim: config.reclaim.clone(),
            fence: Arc::default(),
            coverage: None,
            role: Role::default(),
        })
    }
}

/// As many of `segments` as `bytes` bytes of frames fill, but one at least.
fn fitting(segments: u32, bytes: u64) -> u32 {
    let full = u32::try_from(bytes / cess::codec::SEGMENT_SIZE as u64).unwrap_or(u32::MAX);
    segments.min(full).max(1)
}

/// Why a step did not succeed. The text is kept in the pack's record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    /// This gateway's own disk, metadata or keys.
    #[error("{0}")]
    Store(#[from] Error),
    /// Chain or miners.
    #[error("{0}")]
    Network(#[from] cess::Error),
    /// The territory cannot pay.
    #[error("territory: {0}")]
    Territory(String),
    /// There are not enough miners to place on.
    #[error("miners: {0}")]
    Miners(String),
    /// The disk does not give back the bytes of a staged chunk.
    #[error("staging: chunk {} cannot be read: {reason}", chunk.0)]
    Unreadable {
        /// Which.
        chunk: ChunkId,
        /// What the disk says.
        reason: String,
    },
    /// The chain has something else under this name.
    #[error("deal: {0}")]
    Deal(String),
    /// Read-back did not find what was stored.
    #[error("read-back: {0}")]
    Unverified(String),
}

impl From<meta::Error> for StepError {
    fn from(error: meta::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What the workers share.
pub(crate) struct Shared {
    pub(crate) meta: Meta,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) local: Arc<dyn Local>,
    pub(crate) settings: Settings,
    /// Held by who moves chunks out of packs.
    pub(crate) reclaiming: tokio::sync::Mutex<()>,
    /// Packs out of which something could not be moved.
    pub(crate) stuck: reclaim::worker::Stuck,
    miners: Arc<Miners>,
    /// Where miners are, for the rules.
    addresses: Addresses,
    /// Wakes the packer.
    packer: Notify,
    /// Wakes the upkeep.
    upkeep: Notify,
    /// Changed whenever a pack made progress.
    progress: watch::Sender<u64>,
    /// Chunks with ids below are to be packed at once.
    awaited: Awaited,
    /// The packer is to look at all chunks again: some wait with lower ids than it saw.
    rescan: AtomicBool,
    /// Chunks that come back from old packs are not packed yet: more of them are on their way.
    held: AtomicBool,
    /// Bytes of frames that wait for a pack, as of the packer's last look; those that fill the next
    /// packs at least.
    unpacked: AtomicU64,
    /// What segments in memory may take.
    memory: UploadMemory,
    /// Those that are wanted again soon.
    kept: Kept,
    declarations: mpsc::Sender<declare::Request>,
    /// Where segments are computed.
    pool: Pool,
    /// What they are computed in.
    buffers: Arc<Buffers>,
    /// Packs that have a task.
    driven: Mutex<HashSet<u64>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    pub(crate) workers: PlaceWorkers,
    /// What the watcher last saw.
    outlook: Mutex<ChainOutlook>,
    /// Wakes whoever pauses after a failure: what was wrong with the chain is over.
    chain_back: Notify,
}

/// The names that an operator knows.
pub(crate) struct PlaceWorkers {
    /// Closes packs.
    packer: Worker,
    /// Hashes packs, orders space for them, pushes their fragments.
    placer: Worker,
    /// Sends declarations to the chain.
    declarer: Worker,
    /// Reads packs back that were placed.
    verifier: Worker,
    /// Forgets packs.
    upkeep: Worker,
    /// Looks how the chain is.
    watcher: Worker,
    /// Moves what lives out of packs that are not worth their territory.
    pub(crate) reclaimer: Worker,
}

/// The running workers. Dropping it stops them; [`Placing::stop`] also waits.
pub(crate) struct Placing {
    shared: Arc<Shared>,
}

impl Placing {
    /// Starts the workers and goes on with every pack where it was.
    pub(crate) fn start(
        meta: Meta,
        network: Arc<dyn Network>,
        local: Arc<dyn Local>,
        miners: Arc<Miners>,
        settings: Settings,
        workers: &Workers,
    ) -> Result<Self> {
        let (declarations, requests) = mpsc::channel(64);
        let memory = UploadMemory::new(settings.upload_memory);
        let parallel = memory.segments();
        let shared = Arc::new(Shared {
            memory,
            kept: Kept::default(),
            meta,
            network,
            local,
            settings,
            reclaiming: tokio::sync::Mutex::default(),
            stuck: reclaim::worker::Stuck::default(),
            miners,
            addresses: Addresses::default(),
            packer: Notify::new(),
            upkeep: Notify::new(),
            progress: watch::Sender::new(0),
            awaited: Awaited::default(),
            rescan: AtomicBool::new(false),
            held: AtomicBool::new(false),
            unpacked: AtomicU64::new(0),
            declarations,
            pool: Pool::new(parallel)?,
            buffers: Arc::default(),
            driven: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            workers: PlaceWorkers {
                packer: workers.register("packer"),
                placer: workers.register_mover("placer"),
                declarer: workers.register("declarer"),
                verifier: workers.register("verifier"),
                upkeep: workers.register("upkeep"),
                watcher: workers.register("watcher"),
                reclaimer: workers.register_mover("reclaimer"),
            },
            outlook: Mutex::default(),
            chain_back: Notify::new(),
        });
        shared.miners.load(&*shared.meta.snapshot()?)?;
        let snapshot = shared.meta.snapshot()?;
        for (pack, record) in record::all(&*snapshot)? {
            // The bytes of others' packs lie in their staging.
            if drive::unfinished(&record) && record::member(&*snapshot, pack)? == shared.settings.role.member
            {
                shared.drive(pack);
            }
        }
        drop(snapshot);
        shared.spawn(declare::run(shared.clone(), requests));
        shared.spawn(packer::run(shared.clone()));
        shared.spawn(upkeep::run(shared.clone()));
        shared.spawn(watcher::run(shared.clone()));
        shared.spawn(reclaim::worker::run(shared.clone()));
        shared.spawn(isolate::run(shared.clone()));
        shared.spawn(absent::run(shared.clone()));
        Ok(Self { shared })
    }

    /// Bytes that segments take in memory, the most that they took, and the limit.
    pub(crate) fn upload_memory(&self) -> (u64, u64, u64) {
        self.shared.memory.usage()
    }

    /// What the watcher last saw of the chain.
    pub(crate) fn outlook(&self) -> ChainOutlook {
        self.shared.outlook.lock().clone()
    }

    /// Makes the caller the only one that takes chunks out of packs, until the answer is dropped;
    /// the packer waits so long with what comes back.
    pub(crate) async fn moving(&self) -> (Hold<'_>, tokio::sync::MutexGuard<'_, ()>) {
        let alone = self.shared.reclaiming.lock().await;
        (self.shared.hold(), alone)
    }

    /// Chunks up to `highest` were taken back from the network: they are packed at once.
    pub(crate) fn pack_again(&self, highest: ChunkId) {
        self.shared.close_through(highest);
        self.shared.progressed();
    }

    /// Has those of `packs` that are ordered, and that the miners have completed, become placed. Nothing is decided
    /// while the chain cannot be asked.
    pub(crate) async fn watch_orders(&self, packs: Vec<u64>) -> Result<()> {
        for pack in packs {
            let record = record::get(&*self.shared.meta.snapshot()?, pack)?;
            let Some(record) = record.filter(|record| record.state == PackState::Declared && !record.retired)
            else {
                continue;
            };
            upload::watch(&self.shared, pack, &record)
                .await
                .map_err(|error| match error {
                    StepError::Store(error) => error,
                    StepError::Network(error) => error.into(),
                    other => Error::Elsewhere(other.to_string()),
                })?;
        }
        Ok(())
    }

    /// Everything that waits is to be packed at once.
    pub(crate) fn close_all(&self) -> Result<()> {
        self.shared.close_all()
    }

    /// Changes whenever a pack made progress.
    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.shared.progress.subscribe()
    }

    /// Packs made progress, by whichever gateway.
    pub(crate) fn heard(&self) {
        self.shared.progressed();
    }

    /// The packer is to look whether others wait for this gateway.
    pub(crate) fn wake_packer(&self) {
        self.shared.packer.notify_one();
    }

    /// A pack was retired, or was read back for the first time since a restore.
    pub(crate) fn retired(&self) {
        self.shared.upkeep.notify_one();
        self.shared.progressed();
    }

    /// Stops the workers and waits until none touches the store any more. Each stops between two
    /// awaits; what it was doing is done again at the next start.
    pub(crate) async fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        if let Err(error) = self.shared.miners.save(&self.shared.meta).await {
            tracing::warn!(%error, "cannot keep the scores of miners");
        }
    }
}

impl Placing {
    /// What reclaim would do now. [`Error::ShuttingDown`] once the workers stop.
    pub(crate) async fn reclaim_plan(&self) -> Result<ReclaimPlan> {
        self.shared
            .on_request(reclaim::worker::plan_now(&self.shared))
            .await
    }

    /// Does it; answers what was to be done. [`Error::ShuttingDown`] once the workers stop: what it
    /// was doing is finished after the next start.
    pub(crate) async fn reclaim(&self) -> Result<ReclaimPlan> {
        self.shared
            .on_request(reclaim::worker::run_now(&self.shared))
            .await
    }
}

impl Drop for Placing {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    /// Runs a worker until it ends or everything stops.
    fn spawn(self: &Arc<Self>, worker: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = worker => {}
            }
        });
    }

    /// Does work of a worker for somebody who waits for it. [`Placing::stop`] ends it between two
    /// awaits and waits for that, as it does with the worker's own.
    async fn on_request<T>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let until_stopped = async {
            tokio::select! {
                // Asked first: nothing begins any more once everything stops.
                biased;
                () = self.stop.cancelled() => Err(Error::ShuttingDown),
                done = work => done,
            }
        };
        self.tasks.track_future(until_stopped).await
    }

    /// Runs work that blocks; [`Placing::stop`] waits for it.
    async fn blocking<T, E>(&self, work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.tasks
            .spawn_blocking(work)
            .await
            .map_err(|_| Error::ShuttingDown)?
    }

    /// Runs the arithmetic of a pack; [`Placing::stop`] waits for it.
    async fn computing<T, E>(&self, work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let running = self.tasks.token();
        self.pool
            .run(move || {
                let result = work();
                drop(running);
                result
            })
            .await
    }

    /// Gives `pack` a task if it has none.
    fn drive(self: &Arc<Self>, pack: u64) {
        if self.driven.lock().insert(pack) {
            self.spawn(drive::run(self.clone(), pack));
        }
    }

    /// Chunks up to `chunk` are to be packed at once.
    fn close_through(&self, chunk: ChunkId) {
        self.awaited.order(chunk);
        self.packer.notify_one();
    }

    /// Chunks are to be packed at once, by whoever staged them. What was `asked` of others is not asked again.
    async fn close(&self, wanted: levels::Wanted, asked: &mut levels::Wanted) -> Result<()> {
        for (member, chunk) in wanted {
            if member == self.settings.role.member {
                self.close_through(chunk);
            } else if asked.get(&member).is_none_or(|before| *before < chunk) {
                self.settings.role.ask_to_pack(member, chunk).await?;
                asked.insert(member, chunk);
            }
        }
        Ok(())
    }

    /// Everything that waits in this gateway's staging is to be packed at once.
    pub(crate) fn close_all(&self) -> Result<()> {
        if let Some(last) = local::unpacked::last(&*self.meta.snapshot()?, self.settings.role.member)? {
            self.close_through(last);
        }
        Ok(())
    }

    /// Keeps the packer from chunks that come back from old packs until the answer is dropped: they
    /// are to share new ones.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.held.store(true, Ordering::Release);
        Hold(self)
    }

    /// Bytes of frames that wait for a pack, as far as the packer has looked.
    pub(crate) fn waiting(&self) -> u64 {
        self.unpacked.load(Ordering::Relaxed)
    }

    /// A pack is on its way out.
    pub(crate) fn wake_upkeep(&self) {
        self.upkeep.notify_one();
    }

    fn progressed(&self) {
        self.progress.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Changes the record of a pack in a transaction of its own. `None`: the pack is forgotten.
    async fn update(
        &self,
        pack: u64,
        durability: Durability,
        change: impl Fn(&mut Record) + Send + 'static,
    ) -> Result<Option<Record>> {
        let changed = self
            .meta
            .write(durability, move |tx| record::update(tx, pack, &change))
            .await?;
        self.progressed();
        Ok(changed)
    }

    /// Bytes that each miner needs for its group of a pack, in chain terms.
    const fn group_space(segments: u32) -> u128 {
        cess::codec::FRAGMENT_SIZE as u128 * segments as u128
    }
}

/// Keeps the packer from chunks that come back from old packs.
pub(crate) struct Hold<'a>(&'a Shared);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.held.store(false, Ordering::Release);
        // They have lower ids than others that the packer saw.
        self.0.rescan.store(true, Ordering::Release);
        self.0.packer.notify_one();
        // Who waits for one of them orders it again: while they were held, the packer saw none.
        self.0.progressed();
    }
}

/// Whether a level is reached in `state`.
pub(crate) const fn level_of(state: PackState) -> crate::Level {
    match state {
        PackState::Closed | PackState::Hashed | PackState::Declared => crate::Level::Staged,
        PackState::Placed => crate::Level::Placed,
        PackState::Verified => crate::Level::Verified,
    }
}
