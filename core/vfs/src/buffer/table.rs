//! Inodes that are open, in use or dirty, and who may still be looking at them.
//!
//! Every operation on an inode's content holds a [`Guard`] while it runs. Guards are numbered in the
//! order in which they were made; a reader makes its guard first and looks at the metadata second.
//! Two things follow:
//! - References that a transaction dropped may be released once every guard of that inode that is
//!   older than a look at the committed transaction is gone: nobody can hold the older view.
//! - An inode without a name is purged only while it is not open and has no guard; from that moment
//!   on no guard can be had for it.
//!
//! Who reads an inode in a snapshot may be looking at rows of the inode of today, and has a guard of
//! all views of it ([`views_of`]): that one holds back references and purges, too, but can be had
//! while the inode is being purged, and long after.
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Node;
use crate::schema::InodeRecord;
use crate::snapshot::number::views_of;
use crate::{Error, InodeNo, Result};

#[derive(Default)]
struct Entry {
    node: Arc<Node>,
    guards: BTreeSet<u64>,
    opens: u32,
    attached: u32,
    /// A purge waits for it to be closed.
    purge_waits: bool,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<InodeNo, Entry>,
    purging: HashSet<InodeNo>,
    next_guard: u64,
}

/// The table. Its size is bounded by what is open, running or dirty.
#[derive(Default)]
pub(crate) struct Nodes {
    inner: Mutex<Inner>,
    /// Told when an inode that a purge waits for may have become free.
    pub freed: Notify,
}

/// Keeps an inode's rows and chunks in place while it is held.
pub(crate) struct Guard {
    nodes: Arc<Nodes>,
    pub ino: InodeNo,
    pub node: Arc<Node>,
    number: u64,
}

impl Nodes {
    /// Begins an operation on the inode. `NotFound` when it is being purged.
    pub(crate) fn enter(self: &Arc<Self>, ino: InodeNo) -> Result<Guard> {
        let mut inner = self.inner.lock();
        if inner.purging.contains(&ino) {
            return Err(Error::NotFound);
        }
        let number = inner.next_guard;
        inner.next_guard += 1;
        let entry = inner.entries.entry(ino).or_default();
        entry.guards.insert(number);
        Ok(Guard {
            nodes: self.clone(),
            ino,
            node: entry.node.clone(),
            number,
        })
    }

    /// Whether nothing is in memory of any inode.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.lock().entries.is_empty()
    }

    /// What is in memory of the inode, if anything.
    pub(crate) fn peek(&self, ino: InodeNo) -> Option<Arc<Node>> {
        self.inner
            .lock()
            .entries
            .get(&ino)
            .map(|entry| entry.node.clone())
    }

    /// Keeps the inode alive without a name, beyond the guard's own life.
    pub(crate) fn open(&self, guard: &Guard) {
        if let Some(entry) = self.inner.lock().entries.get_mut(&guard.ino) {
            entry.opens += 1;
        }
    }

    /// Undoes one [`Self::open`].
    pub(crate) fn close(&self, ino: InodeNo) -> Result<()> {
        let mut inner = self.inner.lock();
        let entry = inner.entries.get_mut(&ino).filter(|entry| entry.opens > 0);
        entry.ok_or(Error::Invalid("not open"))?.opens -= 1;
        self.tidy(&mut inner, ino);
        Ok(())
    }

    /// Marks the inode attached as a block device.
    pub(crate) fn attach(&self, guard: &Guard) {
        if let Some(entry) = self.inner.lock().entries.get_mut(&guard.ino) {
            entry.opens += 1;
            entry.attached += 1;
        }
    }

    /// Undoes one [`Self::attach`].
    pub(crate) fn detach(&self, ino: InodeNo) -> Result<()> {
        let mut inner = self.inner.lock();
        let entry = inner
            .entries
            .get_mut(&ino)
            .filter(|entry| entry.attached > 0 && entry.opens > 0);
        let entry = entry.ok_or(Error::Invalid("not attached"))?;
        entry.attached -= 1;
        entry.opens -= 1;
        self.tidy(&mut inner, ino);
        Ok(())
    }

    /// Whether the inode is attached as a block device.
    pub(crate) fn is_attached(&self, ino: InodeNo) -> bool {
        self.inner
            .lock()
            .entries
            .get(&ino)
            .is_some_and(|entry| entry.attached > 0)
    }

    /// How many have the inode open.
    pub(crate) fn opens(&self, ino: InodeNo) -> u32 {
        self.inner.lock().entries.get(&ino).map_or(0, |entry| entry.opens)
    }

    /// Inodes with changes that are not stored.
    pub(crate) fn dirty(&self) -> Vec<InodeNo> {
        let nodes: Vec<_> = self
            .inner
            .lock()
            .entries
            .iter()
            .map(|(&ino, entry)| (ino, entry.node.clone()))
            .collect();
        nodes
            .into_iter()
            .filter(|(_, node)| node.state.lock().is_dirty())
            .map(|(ino, _)| ino)
            .collect()
    }

    /// The same, for who looks at their records later.
    pub(crate) fn dirty_now(&self) -> impl Iterator<Item = (InodeNo, Dirty)> {
        let nodes: Vec<_> = self
            .inner
            .lock()
            .entries
            .iter()
            .map(|(&ino, entry)| (ino, entry.node.clone()))
            .collect();
        nodes.into_iter().filter_map(|(ino, node)| {
            let state = node.state.lock();
            let (is_dirty, flushed) = (state.is_dirty(), state.flushed);
            drop(state);
            is_dirty.then_some((ino, Dirty { node, flushed }))
        })
    }

    /// A number above that of every guard made so far.
    pub(crate) fn boundary(&self) -> u64 {
        self.inner.lock().next_guard
    }

    /// Whether the inode has no guard with a number below `boundary`.
    pub(crate) fn is_past(&self, ino: InodeNo, boundary: u64) -> bool {
        let inner = self.inner.lock();
        [ino, views_of(ino)].iter().all(|ino| {
            let oldest = inner.entries.get(ino).and_then(|entry| entry.guards.first());
            oldest.is_none_or(|&oldest| oldest >= boundary)
        })
    }

    /// Takes the inode out of everybody's reach to purge it. Else answers `Busy`, and
    /// [`Self::freed`] is told later. `is_orphan` looks once more when nobody has it open: whoever
    /// had may have given it a name. Answers what was in memory of it.
    pub(crate) fn claim_for_purge(
        &self,
        ino: InodeNo,
        is_orphan: impl FnOnce() -> Result<bool>,
    ) -> Result<Option<Arc<Node>>> {
        let mut inner = self.inner.lock();
        if let Some(entry) = inner.entries.get_mut(&ino)
            && (entry.opens > 0 || !entry.guards.is_empty())
        {
            entry.purge_waits = true;
            return Err(Error::Busy("in use"));
        }
        if let Some(views) = inner.entries.get_mut(&views_of(ino))
            && !views.guards.is_empty()
        {
            views.purge_waits = true;
            return Err(Error::Busy("in use"));
        }
        if !is_orphan()? {
            return Err(Error::Invalid("has a name"));
        }
        inner.purging.insert(ino);
        Ok(inner.entries.remove(&ino).map(|entry| entry.node))
    }

    /// As [`Self::claim_for_purge`], for another gateway that purges. Answers whether nobody has it here.
    pub(crate) fn give_up(&self, ino: InodeNo) -> bool {
        let mut inner = self.inner.lock();
        let free = [ino, views_of(ino)].iter().all(|ino| {
            inner.entries.get(ino).is_none_or(|entry| {
                entry.opens == 0 && entry.guards.is_empty() && !entry.node.state.lock().is_dirty()
            })
        });
        if free {
            inner.purging.insert(ino);
        }
        free
    }

    /// The claimed inode's rows are gone (its number is never used again), or the purge failed.
    pub(crate) fn purge_ended(&self, ino: InodeNo) {
        self.inner.lock().purging.remove(&ino);
    }

    fn tidy(&self, inner: &mut Inner, ino: InodeNo) {
        let Some(entry) = inner.entries.get_mut(&ino) else {
            return;
        };
        if entry.purge_waits && entry.guards.is_empty() && (entry.opens == 0 || ino == views_of(ino)) {
            entry.purge_waits = false;
            self.freed.notify_one();
        }
        if entry.opens > 0 || !entry.guards.is_empty() {
            return;
        }
        // Nobody can be changing the state: that takes a guard.
        let state = entry.node.state.lock();
        let idle = !state.is_dirty() && state.lost == 0;
        drop(state);
        if idle {
            inner.entries.remove(&ino);
        }
    }
}

/// Changes that were not stored at one moment.
pub(crate) struct Dirty {
    node: Arc<Node>,
    /// What was stored before.
    flushed: u64,
}

impl Dirty {
    /// A record that was read after that moment, with the changes over it. `None` when they were stored
    /// since, or there is no record: then the one that was read may be older than they are.
    pub(crate) fn over(
        &self,
        read: impl FnOnce() -> Result<Option<InodeRecord>>,
    ) -> Result<Option<InodeRecord>> {
        let state = self.node.state.lock();
        if state.flushed != self.flushed {
            return Ok(None);
        }
        let mut record = read()?;
        if let Some(record) = &mut record {
            state.overlay(record);
        }
        Ok(record)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut inner = self.nodes.inner.lock();
        if let Some(entry) = inner.entries.get_mut(&self.ino) {
            entry.guards.remove(&self.number);
        }
        self.nodes.tidy(&mut inner, self.ino);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INO: InodeNo = InodeNo(9);

    #[test]
    fn old_guards_hold_back_and_new_ones_do_not() {
        let nodes = Arc::new(Nodes::default());
        let old = nodes.enter(INO).unwrap();
        let boundary = nodes.boundary();
        let new = nodes.enter(INO).unwrap();
        assert!(!nodes.is_past(INO, boundary));
        drop(old);
        assert!(nodes.is_past(INO, boundary));
        drop(new);
        assert!(nodes.peek(INO).is_none(), "an idle inode takes no memory");
    }

    #[test]
    fn what_is_open_is_not_purged_and_what_is_purged_does_not_open() {
        let nodes = Arc::new(Nodes::default());
        let guard = nodes.enter(INO).unwrap();
        nodes.open(&guard);
        drop(guard);
        assert!(nodes.claim_for_purge(INO, || Ok(true)).is_err());
        nodes.close(INO).unwrap();
        assert!(matches!(nodes.close(INO), Err(Error::Invalid(_))));
        assert!(nodes.claim_for_purge(INO, || Ok(false)).is_err());
        drop(nodes.enter(INO).unwrap());
        assert!(nodes.claim_for_purge(INO, || Ok(true)).is_ok());
        assert!(matches!(nodes.enter(INO), Err(Error::NotFound)));
        nodes.purge_ended(INO);
        assert!(nodes.enter(INO).is_ok());
    }
}
