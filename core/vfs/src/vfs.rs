//! The handle every door holds, and what is behind it.
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use meta::{Durability, Meta, Read, Transaction};
use parking_lot::Mutex;
use store::{Level, Store};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::ack::Terms;
use crate::buffer::{Budget, Dirty, Nodes};
use crate::clone::fold::Folds;
use crate::clone::read::WithOrigins;
use crate::extent::Extent;
use crate::inode_numbers::InodeNumbers;
use crate::inquiry::Inquiries;
use crate::locks::LockTable;
use crate::quota::{self, Quotas};
use crate::read_ahead::Readers;
use crate::row_cache::{RowCache, Rows};
use crate::schema::{self, DIR_TIME, INODE, InodeRecord};
use crate::snapshot::preserve::Preserving;
use crate::snapshot::{self, Known, Sight};
use crate::transaction::{Kept, Watched};
use crate::{
    Error, InodeNo, Kind, Result, clock, clone, compact, extent, flush, heard, inode, purge, release, trash,
};

/// How often an operation looks again when a name's inode was purged between two looks. Names come
/// and go, but nobody loses that race so often: beyond it the metadata are damaged.
pub(crate) const LOOKS: usize = 1000;

/// Extents whose level is looked at at a time: first, and at most.
const LEVEL_PAGE_FIRST: usize = 64;
const LEVEL_PAGE_MAX: usize = 4096;

/// Runs what looks at many rows where it delays nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Internal(error.to_string()))?
}

/// Settings of the namespace.
#[derive(Clone, Debug)]
pub struct VfsConfig {
    /// Dirty bytes buffered over all inodes before writers wait.
    pub write_buffer: u64,
    /// Dirty bytes of an inode are staged at this age without anybody asking.
    pub write_back_age: Duration,
    /// Level that every fsync, FLUSH and answer to a PUT stands for at least.
    pub ack: Level,
    /// The highest level that a door asks for by itself, beside what the data ask for
    /// ([`Vfs::demanding`]). What it acknowledged must not fall back.
    pub ack_doors: Level,
    /// Longest wait for a level above staged.
    pub ack_timeout: Duration,
}

/// Handle to the namespace. Cheap to clone.
///
/// The workers behind it stop when the last handle is gone; what is only buffered then is lost, as
/// in a crash. [`Vfs::shutdown`] stages it first.
#[derive(Clone)]
pub struct Vfs {
    pub(crate) core: Arc<Core>,
    /// What acknowledgements through this handle stand for at least.
    pub(crate) terms: Terms,
    /// Dropped with the last handle, which tells the workers to stop.
    workers: Arc<Workers>,
}

/// What all handles and workers share.
pub(crate) struct Core {
    pub config: VfsConfig,
    pub meta: Meta,
    pub store: Store,
    pub numbers: InodeNumbers,
    pub quotas: Quotas,
    pub rows: RowCache,
    pub nodes: Arc<Nodes>,
    /// Sequential readers through all doors.
    pub readers: Readers,
    pub budget: Budget,
    /// Told when dirty bytes should be flushed before their time.
    pub flush_wanted: Notify,
    /// Told when an inode lost its last name.
    pub purge_wanted: Notify,
    /// Told when references were dropped.
    pub release_wanted: Notify,
    /// Told when a snapshot was deleted.
    pub clean_wanted: Notify,
    /// Told when a retention rule changed.
    pub rules_wanted: Notify,
    /// How often settings of the gateway were changed, as far as is known here.
    pub settings_changed: watch::Sender<u64>,
    /// Locks of files.
    pub locks: LockTable,
    /// What gateways ask each other.
    pub inquiries: Inquiries,
    /// The snapshots there are.
    pub known: Arc<Known>,
    /// Directories of clones that have to take over names.
    pub folds: Arc<Folds>,
    /// Snapshots that have been looked at.
    pub slots: snapshot::number::Slots,
    inodes: AtomicI64,
    stopping: watch::Receiver<bool>,
}

/// A moment of the rows, and which inodes had changes beyond it.
pub(crate) struct View<'a> {
    core: &'a Core,
    dirty: HashMap<InodeNo, Dirty>,
    snapshot: Box<dyn Read + Send>,
    /// Whether these are the rows of now. Those of a snapshot are ranged over within one inode only.
    current: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        core: &'a Core,
        dirty: HashMap<InodeNo, Dirty>,
        snapshot: Box<dyn Read + Send>,
        current: bool,
    ) -> Self {
        Self {
            core,
            dirty,
            snapshot,
            current,
        }
    }

    /// The snapshot.
    pub(crate) fn snapshot(&self) -> &(dyn Read + Send) {
        &*self.snapshot
    }

    /// The records of inodes that have names in the snapshot, with what is buffered, in the order of
    /// `inos`. Objects that were made one after the other are read one after the other.
    pub(crate) fn records(&self, inos: &[InodeNo]) -> Result<Vec<InodeRecord>> {
        if !self.current {
            return inos.iter().map(|ino| self.record(*ino)).collect();
        }
        let mut clean: Vec<InodeNo> = inos
            .iter()
            .copied()
            .filter(|ino| !self.dirty.contains_key(ino))
            .collect();
        clean.sort_unstable();
        clean.dedup();
        let found = inode::load_files(&*self.snapshot, &clean)?;
        inos.iter()
            .map(|ino| match found.binary_search_by_key(ino, |(ino, _)| *ino) {
                // Several names may lead to it.
                Ok(at) => Ok(found[at].1.clone()),
                Err(_) => self.record(*ino),
            })
            .collect()
    }

    /// The record of an inode that has a name in the snapshot, with what is buffered.
    pub(crate) fn record(&self, ino: InodeNo) -> Result<InodeRecord> {
        if let Some(dirty) = self.dirty.get(&ino) {
            let found = dirty.over(|| inode::load(&*self.snapshot, ino))?;
            // What was stored since lies over a newer record than this view has.
            if let Some(record) = found.or_else(|| self.core.current_record(ino).ok()) {
                return Ok(record);
            }
        }
        inode::load(&*self.snapshot, ino)?.ok_or_else(|| schema::damaged("a name without an inode"))
    }
}

/// The tasks behind all handles.
pub(crate) struct Workers {
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl Vfs {
    /// Opens or creates the namespace.
    pub async fn open(config: VfsConfig, meta: Meta, store: Store) -> Result<Self> {
        let (stop, stopping) = watch::channel(false);
        make_root(&meta).await?;
        let counted = meta.snapshot()?;
        let quotas = Quotas::open(meta.clone())?;
        let rows = RowCache::new(&meta)?;
        let folds = Folds::open(&*meta.snapshot()?)?;
        if meta.is_shared() {
            // Others fold directories, too, and what they do is heard of too late for who removes an empty one.
            folds.exist();
        }
        let core = Arc::new(Core {
            budget: Budget::new(config.write_buffer),
            readers: Readers::new(store.prefetch_limit()),
            config,
            meta,
            store,
            numbers: InodeNumbers::default(),
            quotas,
            rows,
            nodes: Arc::new(Nodes::default()),
            flush_wanted: Notify::new(),
            purge_wanted: Notify::new(),
            release_wanted: Notify::new(),
            clean_wanted: Notify::new(),
            rules_wanted: Notify::new(),
            settings_changed: watch::Sender::new(0),
            locks: LockTable::default(),
            inquiries: Inquiries::default(),
            known: Arc::default(),
            folds: Arc::new(folds),
            slots: Default::default(),
            inodes: AtomicI64::new(0),
            stopping,
        });
        let tasks = vec![
            tokio::spawn(flush::run(core.clone())),
            tokio::spawn(heard::run(core.clone())),
            tokio::spawn(heard::answer(core.clone())),
            tokio::spawn(for_all(core.clone(), purge::run)),
            tokio::spawn(for_all(core.clone(), release::run)),
            tokio::spawn(for_all(core.clone(), quota::run)),
            tokio::spawn(for_all(core.clone(), compact::run)),
            tokio::spawn(for_all(core.clone(), trash::run)),
            tokio::spawn(for_all(core.clone(), snapshot::clean)),
            tokio::spawn(for_all(core.clone(), clone::unfold_all)),
            tokio::spawn(for_all(core.clone(), snapshot::keep_rules)),
            tokio::spawn(count_inodes(core.clone(), counted)),
        ];
        let terms = Terms {
            level: core.config.ack,
            timeout: core.config.ack_timeout,
        };
        Ok(Self {
            core,
            terms,
            workers: Arc::new(Workers {
                stop,
                tasks: Mutex::new(tasks),
            }),
        })
    }

    /// A handle made of what handles share.
    pub(crate) fn from_parts(core: Arc<Core>, terms: Terms, workers: Arc<Workers>) -> Self {
        Self { core, terms, workers }
    }

    /// What a worker that needs a handle now and then holds instead of one.
    pub(crate) fn weak_workers(&self) -> Weak<Workers> {
        Arc::downgrade(&self.workers)
    }

    /// One more task whose end [`Self::shutdown`] waits for.
    pub(crate) fn add_worker(&self, task: JoinHandle<()>) {
        self.workers.tasks.lock().push(task);
    }

    /// The level that `ino`'s bytes have reached: the lowest of its chunks; buffered bytes have none.
    pub async fn level(&self, ino: InodeNo) -> Result<Option<Level>> {
        let guard = self.core.enter(ino)?;
        if guard.node.state.lock().is_dirty() {
            return Ok(None);
        }
        let core = self.core.clone();
        blocking(move || {
            let _guard = guard;
            let Sight { read, ino, .. } = core.sight(ino)?;
            inode::get(&*read, ino)?;
            core.level_of_content(&*read, ino).map(Some)
        })
        .await
    }

    /// Stages everything buffered and waits until all of it is at `level`.
    pub async fn flush_all(&self, level: Level, timeout: Duration) -> Result<()> {
        self.core.flush_dirty().await?;
        self.core.meta.sync().await?;
        Ok(self.core.store.flush(level, timeout).await?)
    }

    /// Whether other gateways may use the namespace at the same time.
    pub fn is_shared(&self) -> bool {
        self.core.meta.is_shared()
    }

    /// Stores what is buffered of the inode, so that other gateways see it; not more durable than
    /// they need ([`Self::fsync`] is).
    pub async fn publish(&self, ino: InodeNo) -> Result<()> {
        self.core.flush_inode(self.core.node_of(ino)?).await
    }

    /// Forgets what only speeds things up. Answers why something of it is left in the metadata store, where
    /// its engine cannot forget.
    pub async fn drop_caches(&self) -> Result<Option<&'static str>> {
        Ok(self.core.store.drop_caches().await?)
    }

    /// Stages everything buffered and stops. Bytes that cannot be staged are reported as the error.
    pub async fn shutdown(&self) -> Result<()> {
        self.workers.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.workers.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a namespace worker ended badly");
            }
        }
        self.core.flush_dirty().await?;
        Ok(self.core.meta.sync().await?)
    }
}

/// Work that one gateway does for all, once it is this one's.
async fn for_all<F: Future<Output = ()>>(core: Arc<Core>, work: impl FnOnce(Arc<Core>) -> F) {
    tokio::select! {
        () = core.stopped() => return,
        () = core.store.keeper() => {}
    }
    work(core).await;
}

/// Counts the inodes there were when the namespace was opened, beside its work: what comes and goes
/// meanwhile is counted where it happens.
async fn count_inodes(core: Arc<Core>, snapshot: Box<dyn Read + Send>) {
    let counted = tokio::task::spawn_blocking(move || -> Result<()> {
        for (number, row) in schema::scan(&*snapshot, &[INODE])?.enumerate() {
            row?;
            core.count_inodes(1);
            if number % 1024 == 0 && core.is_stopping() {
                break;
            }
        }
        Ok(())
    });
    match counted.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "inodes cannot be counted; statfs shows too few"),
        Err(error) => tracing::warn!(%error, "counting inodes stopped"),
    }
}

/// Makes the root directory of a new namespace. It belongs to whoever runs the gateway.
pub(crate) async fn make_root(meta: &Meta) -> Result<()> {
    if inode::load(&*meta.snapshot()?, InodeNo::ROOT)?.is_some() {
        return Ok(());
    }
    let now = clock::now();
    let (uid, gid) = process_owner();
    meta.write(Durability::Synced, move |tx| {
        if inode::load(&*tx, InodeNo::ROOT)?.is_none() {
            let mut root = inode::new(Kind::Directory, 0o755, uid, gid, 0, now);
            root.parent = InodeNo::ROOT;
            root.explicit = true;
            inode::put(tx, InodeNo::ROOT, &root)?;
        }
        Ok(())
    })
    .await
}

/// User and group of this process; the kernel shows them as the owner of its directory in /proc.
fn process_owner() -> (u32, u32) {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").map_or((0, 0), |found| (found.uid(), found.gid()))
}

impl Core {
    /// Runs `f` in a transaction; see [`Meta::write`]. What it takes of quotas must be free. What
    /// snapshots need of the rows that it changes is kept ([`snapshot`]): every change of the namespace
    /// comes through here, [`Self::write_short`] or [`Self::write_beyond_limits`].
    pub(crate) async fn write<T, F>(&self, durability: Durability, f: F) -> Result<T>
    where
        F: FnMut(&mut dyn Transaction) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.write_watched(durability, true, false, f).await
    }

    /// As [`Self::write`], for what takes a few rows, whatever it meets: see [`Meta::write_short`].
    pub(crate) async fn write_short<T, F>(&self, durability: Durability, f: F) -> Result<T>
    where
        F: FnMut(&mut dyn Transaction) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.write_watched(durability, true, true, f).await
    }

    /// As [`Self::write`], for what must not be refused any more: room for it was made before, or it
    /// only says what is so already.
    pub(crate) async fn write_beyond_limits<T, F>(&self, durability: Durability, f: F) -> Result<T>
    where
        F: FnMut(&mut dyn Transaction) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.write_watched(durability, false, false, f).await
    }

    /// Runs `f`, `short` or not, as often as it meets folded directories, which are unfolded in between.
    async fn write_watched<T, F>(&self, durability: Durability, enforce: bool, short: bool, f: F) -> Result<T>
    where
        F: FnMut(&mut dyn Transaction) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let f = Arc::new(Mutex::new(f));
        loop {
            let held = Arc::new(AtomicBool::new(false));
            let run = self.watched(enforce, f.clone(), held.clone());
            let done = if short {
                self.meta.write_short(durability, run).await
            } else {
                self.meta.write(durability, run).await
            };
            match done {
                Err(Error::Conflict) if held.load(Ordering::Relaxed) => self.unfold_wanted().await?,
                done => return done,
            }
        }
    }

    /// As [`Self::write_beyond_limits`], once. Sets `held` and answers [`Error::Conflict`] when `f` met a
    /// folded directory ([`clone::fold`]).
    pub(crate) async fn attempt<T, F>(
        &self,
        durability: Durability,
        f: Arc<Mutex<F>>,
        held: Arc<AtomicBool>,
    ) -> Result<T>
    where
        F: FnMut(&mut dyn Transaction) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.meta.write(durability, self.watched(false, f, held)).await
    }

    /// `f` with all that goes along with a transaction. With `enforce`, quotas must have room for it.
    fn watched<T, F>(
        &self,
        enforce: bool,
        f: Arc<Mutex<F>>,
        held: Arc<AtomicBool>,
    ) -> impl FnMut(&mut dyn Transaction) -> Result<T> + Send + 'static + use<T, F>
    where
        F: FnMut(&mut dyn Transaction) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let (quotas, rows) = (self.quotas.clone(), self.rows.clone());
        let (known, store, folds) = (self.known.clone(), self.store.clone(), self.folds.clone());
        // Lives in the closure: it is let go of when the transaction has ended, even if nobody waits
        // for its end.
        let mut kept = Kept::default();
        move |tx: &mut dyn Transaction| {
            kept.let_go();
            store.require_writer()?;
            let mut watched = Watched::new(tx, &quotas);
            let value = (f.lock())(&mut Preserving::new(&mut watched, &known, &store, &folds, &held))?;
            kept = watched.settle(&rows, enforce)?;
            Ok(value)
        }
    }

    /// Single rows as they are committed now, from memory where they are there.
    pub(crate) fn rows(&self) -> Rows<'_> {
        RowCache::reader(self)
    }

    /// Looks at the inode itself from now on show everything that any gateway committed before.
    pub(crate) fn look_again(&self, ino: InodeNo) {
        self.rows
            .forget(&[&schema::inode_key(INODE, ino), &schema::inode_key(DIR_TIME, ino)]);
    }

    /// A consistent view of everything committed, clones as they read.
    pub(crate) fn snapshot(&self) -> Result<Box<dyn Read + Send>> {
        let rows = self.meta.snapshot()?;
        Ok(Box::new(WithOrigins::new(
            rows,
            self.known.clone(),
            Some(self.folds.clone()),
        )))
    }

    /// Lays what is buffered over a stored record. The record must have been read after the node was
    /// looked up; the two steps are one here.
    pub(crate) fn current_record(&self, ino: InodeNo) -> Result<InodeRecord> {
        if Self::writable(ino).is_err() {
            let Sight { read, ino, .. } = self.sight(ino)?;
            return inode::get(&*read, ino);
        }
        match self.nodes.peek(ino) {
            None => inode::get(&self.rows(), ino),
            Some(node) => {
                let state = node.state.lock();
                let mut record = inode::get(&self.rows(), ino)?;
                state.overlay(&mut record);
                Ok(record)
            }
        }
    }

    /// A view of everything acknowledged so far, for looking at many inodes.
    pub(crate) fn view(&self) -> Result<View<'_>> {
        // What is dirty first: what is flushed in between is looked up anew, what becomes dirty later
        // need not show.
        let dirty = self.nodes.dirty_now().collect();
        Ok(View::new(self, dirty, self.snapshot()?, true))
    }

    /// Lays what is buffered now over a record that the running transaction read. When a flush takes
    /// it away in between, the transaction conflicts with that flush and runs again.
    pub(crate) fn overlay(&self, ino: InodeNo, record: &mut InodeRecord) {
        if record.kind == Kind::File
            && let Some(node) = self.nodes.peek(ino)
        {
            node.state.lock().overlay(record);
        }
    }

    /// Level of chunks; no chunks at all need nobody and count as verified.
    pub(crate) fn level_of(&self, chunks: &[store::ChunkId]) -> Result<Level> {
        if chunks.is_empty() {
            Ok(Level::Verified)
        } else {
            Ok(self.store.level(chunks)?)
        }
    }

    /// Lowest level of the chunks of an inode. Extents may be millions, and most files that are not
    /// at a level say so early: they are looked at in growing pages, on a thread that may block.
    pub(crate) fn level_of_content(&self, read: &(dyn Read + Send), ino: InodeNo) -> Result<Level> {
        let (mut at, mut page, mut lowest) = (0, LEVEL_PAGE_FIRST, Level::Verified);
        loop {
            let extents = extent::overlapping(read, ino, &(at..u64::MAX), page)?;
            let mut chunks: Vec<_> = extents.iter().map(|extent| extent.record.chunk).collect();
            chunks.dedup();
            lowest = lowest.min(self.level_of(&chunks)?);
            match extents.last() {
                Some(last) if lowest > Level::Staged && extents.len() == page => at = last.end(),
                _ => return Ok(lowest),
            }
            page = (2 * page).min(LEVEL_PAGE_MAX);
        }
    }

    /// Has the store fetch the chunks of extents that will be read next, in their order. Answers
    /// where in the file it stopped when there was no room for all of them.
    pub(crate) fn fetch_ahead(&self, extents: &[Extent]) -> Option<u64> {
        let chunks: Vec<_> = extents.iter().map(|extent| extent.record.chunk).collect();
        let taken = self.store.prefetch(&chunks);
        extents.get(taken).map(|extent| extent.offset)
    }

    /// `count` inode numbers in a row for something new, if there is room for it; answers the first.
    pub(crate) async fn new_inodes(&self, count: u64) -> Result<InodeNo> {
        self.store.require_room()?;
        self.numbers.take(&self.meta, count).await
    }

    /// Inodes came or went.
    pub(crate) fn count_inodes(&self, change: i64) {
        self.inodes.fetch_add(change, Ordering::Relaxed);
    }

    /// Inodes there are.
    pub(crate) fn inodes(&self) -> u64 {
        self.inodes.load(Ordering::Relaxed).max(0) as u64
    }

    /// Resolves when workers should stop.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that every handle is gone, which is a reason to stop too.
        let _ = stopping.wait_for(|stop| *stop).await;
    }

    /// Waits while `worker` is paused. `false`: everything stops, paused or not.
    pub(crate) async fn turn(&self, worker: &store::workers::Worker) -> bool {
        tokio::select! {
            () = self.stopped() => false,
            () = worker.turn() => true,
        }
    }

    /// Whether nothing of the namespace may be changed here any more: workers have nothing to do.
    pub(crate) fn only_reads(&self) -> bool {
        self.store.require_writer().is_err()
    }

    /// Whether workers should stop.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}
