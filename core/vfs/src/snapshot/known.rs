//! The snapshots there are, in memory.
//!
//! Loaded anew whenever the SNAPSHOTS row says that something changed since, so that a transaction
//! works with exactly the snapshots that its own view of the metadata has.
use std::collections::HashMap;
use std::sync::Arc;

use meta::Read;
use parking_lot::Mutex;

use super::member::is_member;
use super::row::{self, SnapshotRecord};
use crate::{InodeNo, Result, inode};

/// Inodes of which it is remembered which snapshot they belong to (4 MiB). When there are more, all
/// are forgotten and looked up again.
const REMEMBERED: usize = 64 << 10;

/// A snapshot that users or clones need.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub number: u64,
    pub record: SnapshotRecord,
}

/// The snapshots as of one value of the SNAPSHOTS row, without those that nothing needs.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    changes: u64,
    /// By number.
    live: Vec<Arc<Snapshot>>,
    /// Of each root, by number.
    by_root: HashMap<InodeNo, Vec<Arc<Snapshot>>>,
    /// Those of directories of each bucket, by number.
    directories: HashMap<u64, Vec<Arc<Snapshot>>>,
    /// Those that users see, by number.
    visible: Vec<Arc<Snapshot>>,
    clones: bool,
    /// There may be folded directories.
    folded: bool,
}

/// What is remembered of an inode: a fact about the past.
#[derive(Clone, Copy)]
struct Checked {
    /// No snapshot up to this number is newer than `newest`.
    up_to: u64,
    newest: Option<u64>,
}

/// What this process knows.
#[derive(Default)]
pub(crate) struct Known {
    loaded: Mutex<Arc<Snapshots>>,
    checked: Mutex<HashMap<InodeNo, Checked>>,
}

impl Snapshots {
    fn load(read: &(impl Read + ?Sized), state: row::SnapshotsRecord) -> Result<Self> {
        let mut loaded = Self {
            changes: state.changes,
            folded: state.folded,
            ..Self::default()
        };
        for (number, record) in row::all(read)? {
            if record.is_dead() {
                continue;
            }
            let snapshot = Arc::new(Snapshot { number, record });
            let root = snapshot.record.root;
            loaded.by_root.entry(root).or_default().push(snapshot.clone());
            loaded.clones |= snapshot.record.clones > 0;
            if !snapshot.record.deleted {
                loaded.visible.push(snapshot.clone());
            }
            if snapshot.record.directory {
                let domain = snapshot.record.domain;
                loaded
                    .directories
                    .entry(domain)
                    .or_default()
                    .push(snapshot.clone());
            }
            loaded.live.push(snapshot);
        }
        Ok(loaded)
    }

    /// Whether nothing has to be kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Whether there are clones.
    pub(crate) fn has_clones(&self) -> bool {
        self.clones
    }

    /// Whether there may be folded directories.
    pub(crate) fn may_be_folded(&self) -> bool {
        self.folded
    }

    /// All that users see, by number.
    pub(crate) fn visible(&self) -> &[Arc<Snapshot>] {
        &self.visible
    }

    fn all_of(&self, root: InodeNo) -> &[Arc<Snapshot>] {
        self.by_root.get(&root).map_or(&[], Vec::as_slice)
    }

    /// Those of one root that users see, by number.
    pub(crate) fn of(&self, root: InodeNo) -> impl DoubleEndedIterator<Item = &Arc<Snapshot>> {
        self.all_of(root)
            .iter()
            .filter(|snapshot| !snapshot.record.deleted)
    }

    /// The one of that name that users see.
    pub(crate) fn named(&self, root: InodeNo, name: &str) -> Option<&Arc<Snapshot>> {
        self.of(root).rev().find(|snapshot| snapshot.record.name == name)
    }

    /// The one with that number.
    fn numbered(&self, number: u64) -> Option<&Arc<Snapshot>> {
        let found = self
            .live
            .binary_search_by_key(&number, |snapshot| snapshot.number);
        found.ok().map(|at| &self.live[at])
    }

    /// The one with that number, if users see it.
    pub(crate) fn visible_numbered(&self, number: u64) -> Option<&Arc<Snapshot>> {
        self.numbered(number).filter(|snapshot| !snapshot.record.deleted)
    }

    /// Those that `ino` may belong to, the newest first: its own, and those of directories of its bucket
    /// that were taken after it was made. The bucket is looked up if it is not `domain`.
    fn candidates(
        &self,
        read: &(impl Read + ?Sized),
        ino: InodeNo,
        domain: Option<u64>,
    ) -> Result<Vec<&Arc<Snapshot>>> {
        let came_before = |snapshot: &&Arc<Snapshot>| ino.0 < snapshot.record.mark;
        let mut found: Vec<_> = self.all_of(ino).iter().filter(came_before).collect();
        // Which bucket it lies in costs a look, which most inodes need not: they are new.
        if self
            .directories
            .values()
            .flatten()
            .any(|known| came_before(&known))
        {
            let domain = match domain {
                Some(domain) => Some(domain),
                None => inode::load_timeless(read, ino)?.map(|record| record.domain),
            };
            for (of, directories) in &self.directories {
                // Of what is gone already the bucket is not known.
                if domain.is_none_or(|domain| domain == *of) {
                    let others = directories.iter().filter(came_before);
                    found.extend(others.filter(|snapshot| snapshot.record.root != ino));
                }
            }
        }
        found.sort_unstable_by_key(|snapshot| std::cmp::Reverse(snapshot.number));
        Ok(found)
    }

    /// The newest one below `before` that the inode belongs to.
    pub(crate) fn newest_before(
        &self,
        read: &(impl Read + ?Sized),
        ino: InodeNo,
        before: u64,
    ) -> Result<Option<&Arc<Snapshot>>> {
        let candidates = self.candidates(read, ino, None)?.into_iter();
        for snapshot in candidates.filter(|found| found.number < before) {
            if is_member(read, snapshot, ino)? {
                return Ok(Some(snapshot));
            }
        }
        Ok(None)
    }
}

impl Known {
    /// The snapshots that `read`, a view of what is committed, has. Costs one read of one row when
    /// nothing changed.
    pub(crate) fn at(&self, read: &(impl Read + ?Sized)) -> Result<Arc<Snapshots>> {
        let found = self.within(read)?;
        let mut loaded = self.loaded.lock();
        // Somebody with an older view must not replace what others have loaded since.
        if loaded.changes < found.changes {
            *loaded = found.clone();
        }
        Ok(found)
    }

    /// Whether there were snapshots of directories when somebody looked last.
    pub(crate) fn has_directories(&self) -> bool {
        !self.loaded.lock().directories.is_empty()
    }

    /// As [`Self::at`] for a transaction that may have changed snapshots itself: what it sees is for
    /// nobody else before it has committed.
    pub(crate) fn within(&self, tx: &(impl Read + ?Sized)) -> Result<Arc<Snapshots>> {
        let state = row::state(tx)?;
        let loaded = self.loaded.lock().clone();
        if loaded.changes == state.changes {
            return Ok(loaded);
        }
        Ok(Arc::new(Snapshots::load(tx, state)?))
    }

    /// The newest of `snapshots` that the inode belongs to. `domain`: its bucket, for who knows it.
    pub(crate) fn newest_of(
        &self,
        read: &(impl Read + ?Sized),
        snapshots: &Snapshots,
        ino: InodeNo,
        domain: Option<u64>,
    ) -> Result<Option<Arc<Snapshot>>> {
        let Some(last) = snapshots.live.last().map(|last| last.number) else {
            return Ok(None);
        };
        let before = self.checked.lock().get(&ino).copied();
        let remembered = before.and_then(|checked| checked.newest);
        // What was the newest may be deleted by now: then the older ones have to be looked at again.
        let remembered = remembered.map(|number| snapshots.numbered(number));
        let up_to = match (before, &remembered) {
            (Some(checked), None | Some(Some(_))) => checked.up_to,
            _ => 0,
        };
        let mut newest = remembered.flatten().cloned();
        if up_to < last {
            let candidates = snapshots.candidates(read, ino, domain)?.into_iter();
            for snapshot in candidates.take_while(|found| found.number > up_to) {
                if is_member(read, snapshot, ino)? {
                    newest = Some(snapshot.clone());
                    break;
                }
            }
        }
        let mut checked = self.checked.lock();
        if checked.len() >= REMEMBERED {
            checked.clear();
        }
        let fact = Checked {
            up_to: up_to.max(last),
            newest: newest.as_ref().map(|found| found.number),
        };
        // Somebody with a newer view may have remembered more.
        let slot = checked.entry(ino).or_insert(fact);
        if slot.up_to <= fact.up_to {
            *slot = fact;
        }
        Ok(newest)
    }
}
