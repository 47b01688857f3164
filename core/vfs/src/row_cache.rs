//! Rows of names, inodes and settings of buckets in memory, so that looking up what was looked up
//! before touches no engine.
//!
//! The cache holds values of single rows, and that there is none, as they are committed now. A row
//! that a transaction writes is forgotten before the commit, and nobody may put it back until the
//! transaction has ended ([`Change`]); so no reader that looks after a commit was answered finds what
//! was before it.
//!
//! A reader that misses reads from a snapshot and puts what it found into the cache, unless the row
//! was changed since before the snapshot was taken. To know that, keys are spread over *slots*; each
//! counts the changes of its keys that began, and those that are under way. The reader notes the
//! count before the snapshot, and compares it, under the slot's lock, when it puts the row back.
//!
//! **Several gateways.** What others commit is heard of in the change feed ([`meta::changes`]). Each
//! look takes in first what was told, as changes that began and ended; what is kept is then as old as
//! the last time the feed was known to be complete ([`meta::Meta::heard`]). When that is longer ago
//! than [`LAG`], or before a moment that somebody asked for ([`RowCache::be_newer`]), rows are read from
//! the engine.
use std::cell::OnceCell;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meta::changes::{Change as Told, Changes};
use meta::{KeyValue, Meta, Read};
use parking_lot::Mutex;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::hash::BuildHasher;

use crate::schema::{BUCKET_SETTING, DENTRY, DIR_TIME, INODE};
use crate::transaction::below;
use crate::vfs::Core;

/// Memory for rows. About 250 bytes per name with its inode: some 60,000 of them.
const BUDGET: u64 = 16 << 20;
/// What an entry costs beside its bytes: the tables' share, two allocations, the reference count.
const ENTRY: u64 = 120;
/// Expected size of an entry, for sizing the tables.
const TYPICAL: u64 = 200;
/// How far a row that is kept may lie behind what other gateways committed.
const LAG: Duration = Duration::from_secs(1);
/// Slots: many more than transactions under way, so that they rarely meet in one.
const SLOTS: usize = 1024;

/// A row's value; `None`: there is no such row.
type Value = Option<Arc<[u8]>>;

#[derive(Clone)]
struct Bytewise;

impl Weighter<Box<[u8]>, Value> for Bytewise {
    fn weight(&self, key: &Box<[u8]>, value: &Value) -> u64 {
        key.len() as u64 + value.as_ref().map_or(0, |value| value.len() as u64) + ENTRY
    }
}

#[derive(Default)]
struct Slot {
    /// Changes that began.
    begun: u64,
    /// Changes under way.
    running: u32,
}

struct Shared {
    rows: Cache<Box<[u8]>, Value, Bytewise>,
    slots: Vec<Mutex<Slot>>,
    hasher: DefaultHashBuilder,
    /// What other gateways change; `None` when there can be none.
    others: Option<Others>,
}

/// What is heard of other gateways.
struct Others {
    changes: Mutex<Changes>,
    /// Nothing that is older than this is good enough.
    newer_than: Mutex<Option<Instant>>,
}

/// The cache. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RowCache {
    shared: Arc<Shared>,
}

/// Rows that a transaction changes. While it lives they are in nobody's cache.
pub(crate) struct Change {
    cache: RowCache,
    slots: Vec<usize>,
}

impl RowCache {
    /// An empty one of a namespace.
    pub(crate) fn new(meta: &Meta) -> meta::Result<Self> {
        let others = if meta.is_shared() {
            Some(Others {
                changes: Mutex::new(meta.subscribe()?),
                newer_than: Mutex::default(),
            })
        } else {
            None
        };
        let options = OptionsBuilder::new()
            .estimated_items_capacity((BUDGET / TYPICAL) as usize)
            .weight_capacity(BUDGET)
            .build()
            .expect("all required options are set");
        let rows = Cache::with_options(
            options,
            Bytewise,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        );
        Ok(Self {
            shared: Arc::new(Shared {
                rows,
                slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
                hasher: DefaultHashBuilder::default(),
                others,
            }),
        })
    }

    /// Whether rows like this are kept.
    pub(crate) fn keeps(key: &[u8]) -> bool {
        matches!(key.first(), Some(&(INODE | DENTRY | DIR_TIME | BUCKET_SETTING)))
    }

    /// A transaction is about to commit changes of these rows.
    pub(crate) fn change<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Change {
        let slots = keys
            .map(|key| {
                let number = self.slot(key);
                let mut slot = self.shared.slots[number].lock();
                slot.begun += 1;
                slot.running += 1;
                self.shared.rows.remove(key);
                number
            })
            .collect();
        Change {
            cache: self.clone(),
            slots,
        }
    }

    /// Committed rows as they are now: from memory, else from the engine. Different rows may be of
    /// different moments.
    pub(crate) fn reader(core: &Core) -> Rows<'_> {
        let kept = core.rows.take_in(&core.meta);
        Rows {
            core,
            kept,
            view: OnceCell::new(),
        }
    }

    /// Looks from now on show everything that any gateway committed before.
    pub(crate) fn be_newer(&self) {
        if let Some(others) = &self.shared.others {
            *others.newer_than.lock() = Some(store::clock::monotonic());
        }
    }

    /// Forgets these rows, so that the next look asks the engine, if another gateway may have changed
    /// them unheard.
    pub(crate) fn forget(&self, keys: &[&[u8]]) {
        if self.shared.others.is_some() {
            for key in keys {
                self.changed(key);
            }
        }
    }

    /// Forgets what other gateways are known to have changed. Answers whether the rest is new enough.
    fn take_in(&self, meta: &Meta) -> bool {
        let Some(others) = &self.shared.others else {
            return true;
        };
        // Before the queue is emptied: it holds all that was told until then.
        let heard = meta.heard();
        {
            // Held while they are forgotten: nobody looks in between.
            let mut changes = others.changes.lock();
            while let Some(change) = changes.try_next() {
                match change {
                    Told::Commit { keys, .. } => keys
                        .iter()
                        .filter(|key| Self::keeps(key))
                        .for_each(|key| self.changed(key)),
                    Told::Lost => self.changed_all(),
                }
            }
        }
        let newer_than = *others.newer_than.lock();
        let oldest = store::clock::monotonic().checked_sub(LAG).max(newer_than);
        heard.is_some() && heard >= oldest
    }

    /// Somebody has changed the row.
    fn changed(&self, key: &[u8]) {
        let mut slot = self.shared.slots[self.slot(key)].lock();
        slot.begun += 1;
        self.shared.rows.remove(key);
    }

    /// Somebody may have changed any row.
    fn changed_all(&self) {
        for slot in &self.shared.slots {
            slot.lock().begun += 1;
        }
        self.shared.rows.clear();
    }

    fn slot(&self, key: &[u8]) -> usize {
        self.shared.hasher.hash_one(key) as usize % SLOTS
    }

    fn get(&self, core: &Core, key: &[u8]) -> meta::Result<Option<Vec<u8>>> {
        if let Some(value) = self.shared.rows.get(key) {
            return Ok(value.map(|value| value.to_vec()));
        }
        let slot = &self.shared.slots[self.slot(key)];
        let before = {
            let slot = slot.lock();
            (slot.running == 0).then_some(slot.begun)
        };
        let value = look(core, key)?;
        if before.is_some() {
            let slot = slot.lock();
            if slot.running == 0 && Some(slot.begun) == before {
                let kept = value.as_deref().map(Arc::from);
                self.shared.rows.insert(key.into(), kept);
            }
        }
        Ok(value)
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        for &number in &self.slots {
            self.cache.shared.slots[number].lock().running -= 1;
        }
    }
}

/// Single rows through the cache.
pub(crate) struct Rows<'a> {
    core: &'a Core,
    /// What is kept is new enough.
    kept: bool,
    /// Where rows are read from when it is not.
    view: OnceCell<Box<dyn Read + Send>>,
}

impl Rows<'_> {
    /// A row as it was committed when the first one was looked at this way, or later.
    fn strict(&self, key: &[u8]) -> meta::Result<Option<Vec<u8>>> {
        if let Some(view) = self.view.get() {
            return view.get(key);
        }
        let view = self.core.snapshot().map_err(below)?;
        self.view.get_or_init(|| view).get(key)
    }
}

/// A row as it is committed now.
fn look(core: &Core, key: &[u8]) -> meta::Result<Option<Vec<u8>>> {
    let rows = core.meta.snapshot()?;
    // Names in a folded directory are not read before they are there. Origins of clones show in ranges of
    // extents alone.
    if core.folds.may_exist() && core.folds.hold(&*rows, key)? {
        return Err(meta::Error::Conflict);
    }
    rows.get(key)
}

impl Read for Rows<'_> {
    fn get(&self, key: &[u8]) -> meta::Result<Option<Vec<u8>>> {
        if !self.kept {
            self.strict(key)
        } else if RowCache::keeps(key) {
            self.core.rows.get(self.core, key)
        } else {
            look(self.core, key)
        }
    }

    /// A range is of one moment and cannot be put together from rows: it is refused.
    fn range<'b>(
        &'b self,
        _: Bound<&[u8]>,
        _: Bound<&[u8]>,
        _: bool,
    ) -> meta::Result<Box<dyn Iterator<Item = meta::Result<KeyValue>> + 'b>> {
        Err(meta::Error::Engine("ranges are read from snapshots".into()))
    }
}
