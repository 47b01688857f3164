//! The store as `vfs` and the program see it.
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meta::{Meta, Transaction};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cache::disk::DiskCache;
use crate::cache::memory::{MemoryCache, Plain};
use crate::checkpoint::coverage::Coverage;
use crate::checkpoint::fence::Fence;
use crate::checkpoint::rows::Restoring;
use crate::checkpoint::{Checkpoints, rows};
use crate::chunk_ids::ChunkIds;
use crate::domains::Domains;
use crate::frame::compression::Compression;
use crate::health::settings::HealthSettings;
use crate::health::{Health, report};
use crate::inner::Inner;
use crate::keys::{Keys, PassphraseCost};
use crate::members::{self, Keeper, Members, Role};
use crate::peers::key::PeerKey;
use crate::peers::{self, PeerConfig, Peers};
use crate::place::local::unpacked;
use crate::place::miners::Miners;
use crate::place::network::{Live, Network};
use crate::place::pace::Pace;
use crate::place::rules::Placement;
use crate::place::waiting::{self, Waiting};
use crate::place::{Placing, Settings, isolate, levels};
use crate::read::trace::{ReadTrace, Traces};
use crate::reclaim::{ReclaimConfig, ReclaimPlan, tally};
use crate::remote::Remote;
use crate::staging::{INLINE_PLAIN, StagedFrame, Staging};
use crate::workers::Workers;
use crate::{Error, Result, StoreStatus, frame, references, restore};

#[cfg(test)]
mod tests;

/// Most plaintext bytes in a chunk.
pub const CHUNK_MAX: usize = 256 << 10;

/// Names a chunk. Dense, rising, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkId(pub u64);

/// Names a key domain (a bucket by default).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DomainId(pub u64);

/// How far an acknowledged byte has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// On this gateway's disk, synced.
    Staged,
    /// Twelve fragments on twelve miners; the chain lists the file.
    Placed,
    /// Read back from the miners and compared.
    Verified,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Staged => "staged",
            Self::Placed => "placed",
            Self::Verified => "verified",
        })
    }
}

/// Opaque note kept in the segment's own index, so that packs explain themselves: which inode
/// asked for the chunk, and at which offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Inode number.
    pub inode: u64,
    /// Byte offset in the inode.
    pub offset: u64,
}

/// The id of a chunk to be. It can be used for one chunk only, or a nonce would repeat.
#[must_use]
#[derive(Debug)]
pub struct NewChunk(ChunkId);

/// A sealed chunk in staging that no metadata names yet. Pass it to [`Store::record`]; a dropped
/// one is garbage that staging reclaims by itself. Keep it until the transaction that records it
/// has ended.
#[must_use]
#[derive(Clone, Debug)]
pub struct StagedChunk {
    /// Its id.
    pub id: ChunkId,
    /// Plaintext length in bytes.
    pub len: u32,
    pub(crate) frame: StagedFrame,
}

/// Settings of the store; sizes in bytes.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Directory for staging files and the disk cache.
    pub path: PathBuf,
    /// Budget of the staging disk.
    pub staging_limit: u64,
    /// Bytes that stay free on the disks of staging and of the metadata: nothing is taken in beyond,
    /// so that neither meets a full disk.
    pub disk_reserve: u64,
    /// Budget of the plaintext memory cache.
    pub memory_cache: u64,
    /// Memory for reading from miners beside the caches: chunks on their way ahead of readers, ranges
    /// being rebuilt, segments being decoded. Less than 128 MiB counts as 128 MiB.
    pub read_memory: u64,
    /// Budget of the ciphertext disk cache; below 16 MiB there is none.
    pub disk_cache: u64,
    /// How chunks are compressed before they are sealed, in domains that ask for nothing.
    pub compression: Compression,
    /// What guessing the passphrase costs; used when the store is made, kept in it afterwards.
    pub passphrase_cost: PassphraseCost,
    /// A pack closes when it has this many segments' worth of chunks.
    pub pack_segments: u32,
    /// A pack closes at this age however empty it is (the emptier, the later, at most this).
    pub pack_max_age: Duration,
    /// Memory for segments on their way to the network: hashed, pushed or read back. One takes
    /// 112 MiB; less is taken for that.
    pub upload_memory: u64,
    /// Owner whose territory pays.
    pub owner: Option<cess::AccountId>,
    /// Name of that territory.
    pub territory: Vec<u8>,
    /// Where packs may be placed.
    pub placement: Placement,
    /// How what is on the network is looked after.
    pub health: HealthSettings,
    /// Pauses and patience with chain and miners.
    pub pace: Pace,
    /// When packs in which little lives are packed again.
    pub reclaim: ReclaimConfig,
    /// How often a checkpoint is taken if the metadata changed; `None`: never.
    pub checkpoint_interval: Option<Duration>,
    /// What people call this gateway, among others on the same namespace.
    pub name: String,
    /// How long another gateway on the namespace is silent before it is declared dead.
    pub member_patience: Duration,
    /// Where others ask for what lies in this gateway's staging; `None`: they wait until it is placed.
    pub peers: Option<PeerConfig>,
}

impl StoreConfig {
    /// The settings of a small gateway, with everything in `path`.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            staging_limit: 16 << 30,
            disk_reserve: 512 << 20,
            memory_cache: 256 << 20,
            read_memory: 256 << 20,
            disk_cache: 4 << 30,
            compression: Compression::Zstd,
            passphrase_cost: PassphraseCost::NORMAL,
            pack_segments: 8,
            pack_max_age: Duration::from_secs(3600),
            upload_memory: 224 << 20,
            owner: None,
            territory: Vec::new(),
            placement: Placement::default(),
            health: HealthSettings::default(),
            pace: Pace::default(),
            reclaim: ReclaimConfig::default(),
            checkpoint_interval: None,
            name: "gateway".to_owned(),
            member_patience: Duration::from_secs(15),
            peers: None,
        }
    }
}

/// Handle to the store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
    /// Beside `inner`, which its workers hold: it must stop with the last handle.
    pub(crate) placing: Option<Arc<Placing>>,
    /// See `placing`.
    pub(crate) health: Option<Arc<Health>>,
    /// See `placing`.
    checkpoints: Option<Arc<Checkpoints>>,
}

impl Store {
    /// Opens the store and starts its workers. Without a network, everything stays staged.
    ///
    /// Everything committed to `meta` before is durable when this returns. [`Error::Key`] when the
    /// passphrase is not the one the store was made with, [`Error::Restoring`] when a restore into
    /// `meta` was begun and not finished.
    pub async fn open(
        config: StoreConfig,
        meta: Meta,
        passphrase: zeroize::Zeroizing<Vec<u8>>,
        network: Option<(cess::chain::Chain, cess::miner::MinerClient)>,
    ) -> Result<Self> {
        let network = network.map(|(chain, miners)| {
            let owner = config.owner.unwrap_or_else(|| chain.account());
            (Arc::new(Live::new(chain, miners)) as Arc<dyn Network>, owner)
        });
        Self::open_over(config, meta, passphrase, network).await
    }

    /// [`Self::open`] over any network; `AccountId` is whose territory pays.
    pub(crate) async fn open_over(
        config: StoreConfig,
        meta: Meta,
        passphrase: zeroize::Zeroizing<Vec<u8>>,
        network: Option<(Arc<dyn Network>, cess::AccountId)>,
    ) -> Result<Self> {
        if rows::restoring(&*meta.snapshot()?)? != Restoring::Not {
            return Err(Error::Restoring);
        }
        let network = match network {
            None => None,
            Some((network, owner)) => {
                let miners = Arc::new(Miners::new(network.clone(), config.pace.miners_fresh));
                Some((network, miners, Settings::of(&config, owner)?))
            }
        };
        let reading = network
            .as_ref()
            .map(|(network, miners, _)| (network.clone(), miners.clone()));
        let inner = Self::parts(config, meta, passphrase, reading).await?;
        let bare = Self::bare(inner.clone());
        let Some((network, miners, mut settings)) = network else {
            bare.join_in(None).await?;
            return Ok(bare);
        };
        let (owner, interval) = (settings.owner, inner.config.checkpoint_interval);
        settings.fence = inner.fence.clone();
        settings.role = Role::of(&inner.members, &inner.keeper);
        settings.coverage = interval.map(|_| inner.coverage.clone());
        let placing = Arc::new(Placing::start(
            inner.meta.clone(),
            network.clone(),
            Arc::new(inner.clone()),
            miners.clone(),
            settings,
            &inner.workers,
        )?);
        bare.join_in(Some(&placing)).await?;
        let checkpoints = interval
            .map(|interval| {
                let (placing, network) = (placing.clone(), network.clone());
                Checkpoints::start(bare, placing, network, owner, interval).map(Arc::new)
            })
            .transpose()?;
        let workers = inner.workers.clone();
        let health = Health::start(inner.clone(), placing.clone(), network, miners, owner, &workers);
        Ok(Self {
            inner,
            placing: Some(placing),
            health: Some(Arc::new(health)),
            checkpoints,
        })
    }

    /// Hears what other gateways commit and answers them, where there can be some.
    async fn join_in(&self, placing: Option<&Arc<Placing>>) -> Result<()> {
        let inner = &self.inner;
        if inner.members.is_shared() {
            if let Some(config) = &inner.config.peers {
                let unusable = |error: std::io::Error| {
                    Error::Disk(format!("cannot listen on {}: {error}", config.listen))
                };
                let listener = TcpListener::bind(config.listen).await.map_err(unusable)?;
                let bound = listener.local_addr().map_err(unusable)?;
                let address = config.advertise.clone().unwrap_or_else(|| bound.to_string());
                let serving = peers::serve(Arc::downgrade(inner), listener, inner.peers.acceptor()?);
                inner
                    .tasks
                    .spawn(inner.stop.clone().run_until_cancelled_owned(serving));
                inner.members.announce(address).await?;
            }
            let (following, placing) = (Arc::downgrade(inner), placing.map(Arc::downgrade));
            let following = members::run_follower(following, placing, inner.meta.subscribe()?);
            inner
                .tasks
                .spawn(inner.stop.clone().run_until_cancelled_owned(following));
        }
        Ok(())
    }

    /// A handle that works for nobody in the background.
    pub(crate) const fn bare(inner: Arc<Inner>) -> Self {
        Self {
            inner,
            placing: None,
            health: None,
            checkpoints: None,
        }
    }

    /// What reads and stages, without what places.
    pub(crate) async fn parts(
        config: StoreConfig,
        meta: Meta,
        passphrase: zeroize::Zeroizing<Vec<u8>>,
        network: Option<(Arc<dyn Network>, Arc<Miners>)>,
    ) -> Result<Arc<Inner>> {
        let remote = network.as_ref().map(|(network, miners)| {
            let memory = config.read_memory;
            Remote::new(
                meta.clone(),
                network.clone(),
                miners.clone(),
                &config.pace,
                memory,
            )
        });
        let superseded = rows::superseded(&*meta.snapshot()?)?;
        let keys = Keys::open(meta.clone(), passphrase, config.passphrase_cost).await?;
        let patience = config.member_patience;
        let key = PeerKey::of(&config.path)?;
        let (name, path) = (config.name.clone(), &config.path);
        let members = Members::join(meta.clone(), path, name, patience, key.fingerprint).await?;
        let (keeper, lease) = Keeper::begin(&members).await?;
        let (staging, ended) = Staging::open(
            &config.path.join("staging"),
            meta.clone(),
            members.me().member,
            config.staging_limit,
            config.disk_reserve,
        )
        .await?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let workers = Workers::default();
        let settling = staging.settler().run(ended, workers.register("settler"));
        tasks.spawn(stop.clone().run_until_cancelled_owned(settling));
        tasks.spawn(
            stop.clone()
                .run_until_cancelled_owned(members::run(members.clone())),
        );
        let keeping = members::run_keeper(members.clone(), keeper.clone(), lease);
        tasks.spawn(stop.clone().run_until_cancelled_owned(keeping));
        // Longer than a pack may wait, and a pack that is full of other things.
        let interval = config.checkpoint_interval.unwrap_or_default();
        let patience = config.pack_max_age.saturating_add(interval).saturating_mul(2);
        Ok(Arc::new(Inner {
            fence: Arc::new(Fence::new(superseded)),
            coverage: Arc::new(Coverage::new(patience)),
            memory: MemoryCache::new(config.memory_cache),
            disk: DiskCache::open(&config.path.join("cache"), config.disk_cache).await,
            ids: ChunkIds::new(meta.clone()),
            domains: Domains::new(meta.clone()),
            config,
            meta,
            members,
            keeper,
            peers: Peers::new(key),
            keys,
            staging,
            remote,
            flights: Mutex::default(),
            traces: Traces::default(),
            stop,
            tasks,
            workers,
        }))
    }

    /// Seals a secret that is kept in the metadata, for `context`, which says what it is for. Adds 28
    /// bytes. Every gateway of the namespace can open it, and who restores it from the network.
    pub fn seal_secret(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        self.inner.keys.kept().seal(context, plain)
    }
    /// Opens what [`Self::seal_secret`] sealed for the same context; `None`: it was not.
    pub fn open_secret(&self, context: &[u8], sealed: &[u8]) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        self.inner.keys.kept().open(context, sealed)
    }
    /// The secret of this namespace that belongs to `name`: 32 bytes, always the same, which nobody
    /// else can tell and which need not be kept.
    pub fn made_secret(&self, name: &[u8]) -> zeroize::Zeroizing<[u8; 32]> {
        self.inner.keys.kept().made(name)
    }

    /// Makes a key domain with a fresh wrapped key. [`Error::Key`] when it exists.
    pub fn create_domain(&self, tx: &mut dyn Transaction, domain: DomainId) -> Result<()> {
        self.inner.keys.create_domain(tx, domain)
    }
    /// Destroys a domain's key: its chunks can never be read again through this store. (Packs carry
    /// wrapped keys: whoever keeps an older root row and the passphrase can still open those.)
    pub fn destroy_domain(&self, tx: &mut dyn Transaction, domain: DomainId) -> Result<()> {
        Domains::destroy(tx, domain)?;
        Keys::destroy_domain(tx, domain)?;
        self.inner.forget_when_destroyed(domain);
        Ok(())
    }
    /// How chunks of `domain` are compressed: as it asks for, else as the gateway does.
    pub fn compression(&self, domain: DomainId) -> Result<Compression> {
        let asked = self.inner.domains.compression(domain)?;
        Ok(asked.unwrap_or(self.inner.config.compression))
    }
    /// Sets how chunks of `domain` are compressed from now on; `None`: as the gateway does. What is
    /// stored stays as it is. [`Error::Key`] when there is no such domain.
    pub async fn set_compression(&self, domain: DomainId, compression: Option<Compression>) -> Result<()> {
        self.inner.fence.check()?;
        self.inner.domains.set_compression(domain, compression).await
    }

    /// The id of a chunk to be. Packs take chunks in the order of their ids, and a reader fetches
    /// neighbours in one request: who stages in parallel what belongs together takes the ids first,
    /// in order. Ids that are never staged cost nothing.
    pub async fn next_chunk(&self) -> Result<NewChunk> {
        self.inner.check_open()?;
        Ok(NewChunk(self.inner.ids.next().await?))
    }
    /// As [`Self::stage_as`], with the next id.
    pub async fn stage(&self, domain: DomainId, owner: Owner, data: Bytes) -> Result<StagedChunk> {
        let id = self.next_chunk().await?;
        self.stage_as(id, domain, owner, data).await
    }
    /// Compresses, seals and appends 1..=[`CHUNK_MAX`] bytes to staging. Not durable yet.
    ///
    /// Waits the longer the fuller staging is, and for space when it is full; [`Error::StagingFull`]
    /// when none comes free for two seconds, and at once when the disk is down to its reserve.
    pub async fn stage_as(
        &self,
        NewChunk(id): NewChunk,
        domain: DomainId,
        owner: Owner,
        data: Bytes,
    ) -> Result<StagedChunk> {
        let inner = &self.inner;
        inner.check_open()?;
        inner.fence.check()?;
        if data.is_empty() || data.len() > CHUNK_MAX {
            return Err(Error::Disk(format!(
                "a chunk has 1..={CHUNK_MAX} bytes, not {}",
                data.len()
            )));
        }
        let key = inner.keys.sealing(domain).await?;
        let compression = self.compression(domain)?;
        let admission = inner.staging.admit(data.len()).await?;
        let len = data.len() as u32;
        // The caller's bytes may be a window on something larger; the cache must own what it counts.
        let plain = Plain {
            domain,
            bytes: Bytes::copy_from_slice(&data),
        };
        let seal = {
            let inner = inner.clone();
            move || {
                let frame = frame::seal(&key.cipher, key.epoch, domain, id, &data, compression);
                inner.staging.put(admission, id, owner, len, frame)
            }
        };
        let frame = if len as usize <= INLINE_PLAIN {
            seal()?
        } else {
            tokio::task::spawn_blocking(seal)
                .await
                .map_err(|_| Error::ShuttingDown)??
        };
        inner.memory.insert(id, plain);
        Ok(StagedChunk { id, len, frame })
    }
    /// Makes everything staged before the call durable. Concurrent callers share one sync. When it
    /// fails in a file that holds a chunk, recording that chunk fails: it has to be staged again.
    pub async fn sync_staged(&self) -> Result<()> {
        self.inner.staging.sync().await
    }
    /// [`Error::Superseded`] when this gateway may only read: the namespace was restored elsewhere.
    pub fn require_writer(&self) -> Result<()> {
        self.inner.fence.check()
    }
    /// Whether there is room for what grows the metadata without staging anything: names, attributes.
    /// [`Error::StagingFull`] when the disk is down to half of its reserve, [`Error::Superseded`] when
    /// this gateway may only read.
    pub fn require_room(&self) -> Result<()> {
        self.inner.fence.check()?;
        self.inner.staging.require_room()
    }
    /// Names a staged chunk in the caller's transaction, with one reference. [`Error::Disk`] when the
    /// disk lost it since it was staged.
    pub fn record(&self, tx: &mut dyn Transaction, chunk: &StagedChunk) -> Result<()> {
        Staging::name(tx, chunk.id, &chunk.frame)?;
        let waiting = Waiting {
            chunk: chunk.id,
            len: Staging::frame_len(&chunk.frame),
            stream: waiting::stream(chunk.len, Staging::owner_of(&chunk.frame).inode),
        };
        unpacked::put(tx, waiting)
    }
    /// One more extent refers to the chunk.
    pub fn retain(&self, tx: &mut dyn Transaction, chunk: ChunkId) -> Result<()> {
        references::retain(tx, chunk)
    }
    /// One extent less refers to it; at none, its space is given back. [`Error::UnknownChunk`] when
    /// there was none.
    pub fn release(&self, tx: &mut dyn Transaction, chunk: ChunkId) -> Result<()> {
        references::release(tx, &self.inner.staging, chunk)
    }

    /// How many refer to the chunk, as committed now; a chunk that is gone counts as one.
    pub fn references(&self, chunk: ChunkId) -> Result<u32> {
        references::count(&*self.inner.meta.snapshot()?, chunk)
    }

    /// Plaintext bytes `range` of a chunk: memory cache, disk cache, staging, then miners.
    /// [`Error::Damaged`] when the chunk is shorter than the range.
    pub async fn read(&self, chunk: ChunkId, range: Range<u32>) -> Result<Bytes> {
        let plain = self.inner.plain(chunk).await?;
        let range = range.start as usize..range.end as usize;
        if range.start > range.end || range.end > plain.len() {
            tracing::error!(
                chunk = chunk.0,
                ?range,
                len = plain.len(),
                "a chunk is shorter than its extent"
            );
            return Err(Error::Damaged(chunk));
        }
        Ok(plain.slice(range))
    }
    /// Starts fetching chunks that will be read soon, in this order, and answers how many of them are
    /// here or on their way: fewer than all when the memory for it is taken.
    pub fn prefetch(&self, chunks: &[ChunkId]) -> usize {
        self.inner.prefetch(chunks)
    }
    /// Bytes that may be on their way ahead of readers at a time, those of all readers together.
    pub fn prefetch_limit(&self) -> u64 {
        self.inner.prefetch_limit()
    }
    /// How the last read of `chunk` went that memory could not answer; `None` when there was none
    /// lately.
    pub fn last_read(&self, chunk: ChunkId) -> Option<ReadTrace> {
        self.inner.traces.last(chunk)
    }
    /// Whether `chunk` is in the memory cache.
    pub fn in_memory(&self, chunk: ChunkId) -> bool {
        self.inner.memory.contains(chunk)
    }

    /// The lowest level of the chunks (of recorded, durable ones).
    pub fn level(&self, chunks: &[ChunkId]) -> Result<Level> {
        levels::level(&*self.inner.meta.snapshot()?, chunks)
    }
    /// Waits until all of `chunks` reached `level`, closing packs early to get there, and with them a
    /// checkpoint that knows what was committed before the call. Without a network nothing rises
    /// above [`Level::Staged`], and the answer is [`Error::NotYet`] at once.
    pub async fn wait_level(&self, chunks: &[ChunkId], level: Level, timeout: Duration) -> Result<()> {
        self.wait_with_checkpoint(Some(chunks), level, timeout).await
    }
    /// Closes open packs and waits until everything recorded before the call reached `level`, and with
    /// it a checkpoint that knows what was committed before.
    pub async fn flush(&self, level: Level, timeout: Duration) -> Result<()> {
        self.wait_with_checkpoint(None, level, timeout).await
    }
    /// Waits for `chunks` (`None`: for everything recorded before), and for a checkpoint begun after this
    /// call. One that rots on its way is followed by one that shares nothing with it, which is waited for
    /// in its place: nobody's own bytes are damaged by it.
    async fn wait_with_checkpoint(
        &self,
        chunks: Option<&[ChunkId]>,
        level: Level,
        timeout: Duration,
    ) -> Result<()> {
        self.sync_all().await?;
        let began = Instant::now();
        let left = || timeout.saturating_sub(began.elapsed());
        let (meta, placing) = (&self.inner.meta, self.placing.as_deref());
        loop {
            let checkpoint = self.checkpoint(level, left()).await?;
            if chunks.is_none() {
                levels::flush(meta, placing, level, left()).await?;
            }
            let all = [chunks.unwrap_or_default(), &checkpoint].concat();
            if level == Level::Verified {
                self.look_at_unseen(&all, left()).await?;
            }
            match levels::wait(meta, placing, &all, level, left()).await {
                Err(Error::Damaged(chunk)) if checkpoint.contains(&chunk) => {
                    tracing::warn!(chunk = chunk.0, "a checkpoint is damaged; another one is taken");
                }
                done => return done,
            }
        }
    }
    /// Has the scrubber look before its time at what a restore brought back of `chunks`.
    async fn look_at_unseen(&self, chunks: &[ChunkId], patience: Duration) -> Result<()> {
        let unseen = levels::unseen(&*self.inner.meta.snapshot()?, chunks)?;
        if let (Some(health), false) = (&self.health, unseen.is_empty()) {
            // What it finds shows in the level; a look that takes too long is waited for no longer.
            let _ = tokio::time::timeout(patience, health.look_at(unseen)).await;
        }
        Ok(())
    }
    /// Chunks of a checkpoint begun after this call, if one is needed for `level`.
    async fn checkpoint(&self, level: Level, timeout: Duration) -> Result<Vec<ChunkId>> {
        match &self.checkpoints {
            Some(checkpoints) if level > Level::Staged => tokio::time::timeout(timeout, checkpoints.now())
                .await
                .unwrap_or(Err(Error::NotYet(level))),
            _ => Ok(Vec::new()),
        }
    }

    /// What an operator sees. Reads the list of unpacked chunks: not for every second.
    pub fn status(&self) -> Result<StoreStatus> {
        let snapshot = self.inner.meta.snapshot()?;
        let mut unpacked_bytes = 0;
        for waiting in unpacked::everywhere(&*snapshot, ChunkId(0))? {
            unpacked_bytes += u64::from(waiting?.len);
        }
        let tallies = tally::all(&*snapshot)?;
        let packs = levels::packs(&*snapshot)?;
        let unseen = packs.iter().map(|pack| u64::from(pack.unseen)).sum();
        Ok(StoreStatus {
            restored: restore::status(&*snapshot, unseen)?,
            gateways: self.inner.members.list()?,
            leased_bytes: tally::leased(&tallies),
            live_bytes: tally::live_bytes(&tallies),
            unpacked_bytes,
            staging_bytes: self.inner.staging.bytes(),
            staging_limit: self.inner.config.staging_limit,
            trouble: self.inner.fence.reason().or_else(|| self.inner.staging.trouble()),
            damaged: isolate::status(&*snapshot, |chunk| self.inner.staging.owner(chunk))?,
            packs,
            health: report::status(&*snapshot, &self.inner.config.health)?,
            memory_cache: self.inner.memory.usage(),
            read_memory: self.inner.read_memory(),
            disk_cache: self.inner.disk.usage(),
            upload_memory: self.placing.as_ref().map(|placing| placing.upload_memory()),
            chain: self.placing.as_ref().map(|placing| placing.outlook()),
            checkpoint: self
                .checkpoints
                .as_ref()
                .map(|checkpoints| checkpoints.status())
                .transpose()?,
            workers: self.inner.workers.list(),
        })
    }
    /// Bytes in staging and bytes that live in packs. Costs a row per pack, unlike [`Self::status`].
    pub fn used_bytes(&self) -> Result<u64> {
        let tallies = tally::all(&*self.inner.meta.snapshot()?)?;
        Ok(self.inner.staging.bytes() + tally::live_bytes(&tallies))
    }
    /// The background workers: what they do, and a hand on each.
    pub fn workers(&self) -> &Workers {
        &self.inner.workers
    }
    /// What [`Self::reclaim`] would do now. Nothing without a network; fails when the chain cannot be
    /// asked for its price.
    pub async fn reclaim_plan(&self) -> Result<ReclaimPlan> {
        match &self.placing {
            Some(placing) => placing.reclaim_plan().await,
            None => Ok(ReclaimPlan::default()),
        }
    }
    /// Moves what lives in packs that are not worth their territory back to staging and closes new
    /// packs over it; answers what was to be done. Old files go by themselves when the new packs
    /// are verified.
    pub async fn reclaim(&self) -> Result<ReclaimPlan> {
        match &self.placing {
            Some(placing) => placing.reclaim().await,
            None => Ok(ReclaimPlan::default()),
        }
    }
    /// Forgets what only speeds things up: memory cache and disk cache, files included, and what the
    /// metadata engine's files still hold of small chunks that left staging. Rewrites the metadata
    /// store: takes as long as copying it. Answers why the latter was left out, where the engine cannot do
    /// it.
    pub async fn drop_caches(&self) -> Result<Option<&'static str>> {
        self.inner.drop_caches().await
    }
    /// Stops the workers at a safe point. Staged data stays staged.
    pub async fn shutdown(&self) {
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.stop().await;
        }
        if let Some(health) = &self.health {
            health.stop().await;
        }
        if let Some(placing) = &self.placing {
            placing.stop().await;
        }
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        if let Err(error) = self.inner.members.leave().await {
            tracing::debug!(%error, "the other gateways find out by themselves that this one ended");
        }
        self.inner.disk.close().await;
    }

    /// Everything staged and everything committed is durable.
    async fn sync_all(&self) -> Result<()> {
        self.sync_staged().await?;
        Ok(self.inner.meta.sync().await?)
    }
}
