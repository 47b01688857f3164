//! Preserving on change: what stands between the operations of this crate and the engine.
//!
//! Each row that is put or deleted is looked at before. When the inode that it belongs to is part of
//! a snapshot (the newest one counts: what is kept under it serves the older ones), and the row was
//! not kept since, its old value is kept first.
//!
//! Where an inode *was* is kept as well when a name in a directory of a snapshot is given to it:
//! [`super::member`] then sees that it came from outside.
//!
//! The extents that a clone has from its origin ([`crate::clone`]) read as its own, and become its own
//! here before one of them is changed.
//!
//! Whoever changes an extent changes the row first and releases its chunk afterwards: keeping the row
//! takes the reference that keeps the chunk alive.
use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use meta::{KeyValue, Read, Transaction};
use store::Store;

use super::known::{Known, Snapshot, Snapshots};
use super::row;
use crate::clone::fold::Folds;
use crate::clone::read::{is_of_extents, merged};
use crate::clone::row::{CLONE, CloneRecord, WINDOW};
use crate::schema::{self, DENTRY, DentryRecord, EXTENT, ExtentRecord, INODE, LINK, LONG_NAME};
use crate::{Error, InodeNo, Result, clone, inode};

/// A transaction that keeps what snapshots need.
pub(crate) struct Preserving<'a> {
    tx: &'a mut dyn Transaction,
    known: &'a Known,
    store: &'a Store,
    folds: &'a Folds,
    /// Set when the operation met a folded directory: it cannot go on before that is unfolded.
    held: &'a AtomicBool,
    /// Looked at once per transaction, before its first change.
    snapshots: OnceCell<Arc<Snapshots>>,
    /// The newest snapshot of each inode that was changed.
    newest: HashMap<InodeNo, Option<Arc<Snapshot>>>,
    /// Rows of inodes that the operation has read: they say in which bucket the inode lies, which
    /// needs not be looked up then.
    seen: RefCell<HashMap<InodeNo, Vec<u8>>>,
    /// Windows of clones that are known to be copied up.
    copied: HashSet<(InodeNo, u64)>,
}

/// An error of this crate where the engine's is wanted. The reason survives as text.
pub(crate) fn engine_error(error: Error) -> meta::Error {
    match error {
        Error::Conflict => meta::Error::Conflict,
        Error::Damaged(text) => meta::Error::Damaged(text),
        error => meta::Error::Engine(error.to_string()),
    }
}

impl<'a> Preserving<'a> {
    pub(crate) fn new(
        tx: &'a mut dyn Transaction,
        known: &'a Known,
        store: &'a Store,
        folds: &'a Folds,
        held: &'a AtomicBool,
    ) -> Self {
        Self {
            tx,
            known,
            store,
            folds,
            held,
            snapshots: OnceCell::new(),
            newest: HashMap::new(),
            seen: RefCell::default(),
            copied: HashSet::new(),
        }
    }

    /// The snapshots when the transaction began. Nothing of its own is among them: it is asked for
    /// before each change, so that the first look sees none.
    fn snapshots(&self) -> Result<Arc<Snapshots>> {
        if let Some(snapshots) = self.snapshots.get() {
            return Ok(snapshots.clone());
        }
        let found = self.known.at(&*self.tx)?;
        Ok(self.snapshots.get_or_init(|| found).clone())
    }

    /// Names in a folded directory are not read before they are there.
    fn refuse_folded(&self, key: &[u8]) -> meta::Result<()> {
        if !matches!(key.first(), Some(&(DENTRY | LONG_NAME)))
            || !self.snapshots().map_err(engine_error)?.may_be_folded()
            || !self.folds.hold(&*self.tx, key)?
        {
            return Ok(());
        }
        self.held.store(true, Ordering::Relaxed);
        Err(meta::Error::Conflict)
    }

    /// Keeps what the change of the row would destroy, and makes an extent that is to be changed the
    /// clone's own.
    fn before_change(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let snapshots = self.snapshots()?;
        let Some(ino) = row::owner(key) else {
            return Ok(());
        };
        if snapshots.is_empty() {
            return Ok(());
        }
        if key[0] == EXTENT && snapshots.has_clones() {
            self.copy_up(&snapshots, ino, schema::number_at(key, 9)? / WINDOW)?;
        }
        self.keep_old(&snapshots, ino, key, value)
    }

    /// Makes what a clone has from its origin in a window its own.
    fn copy_up(&mut self, snapshots: &Snapshots, ino: InodeNo, window: u64) -> Result<()> {
        if !self.copied.insert((ino, window)) {
            return Ok(());
        }
        let Some(origin) = clone::row::origin(&*self.tx, ino)? else {
            return Ok(());
        };
        let note = clone::row::copied_key(ino, window);
        if self.tx.get(&note)?.is_some() {
            return Ok(());
        }
        for extent in clone::read::in_window(&*self.tx, ino, &origin, window)? {
            let (key, value) = (
                schema::extent_key(ino, extent.offset),
                schema::encode(&extent.record)?,
            );
            self.store.retain(&mut *self.tx, extent.record.chunk)?;
            self.keep_old(snapshots, ino, &key, Some(&value))?;
            self.tx.put(&key, &value)?;
        }
        let nothing = schema::encode_raw(&[]);
        self.keep_old(snapshots, ino, &note, Some(&nothing))?;
        Ok(self.tx.put(&note, &nothing)?)
    }

    /// Keeps what the change of the row would destroy.
    fn keep_old(
        &mut self,
        snapshots: &Snapshots,
        ino: InodeNo,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<()> {
        let mut newest = self.newest_of(snapshots, ino)?;
        let mut is_later = false;
        match (key[0], value) {
            (DENTRY, Some(value)) => {
                if let Some(snapshot) = &newest {
                    let entry: DentryRecord = schema::decode(value)?;
                    is_later = entry.ino.0 >= snapshot.record.mark;
                    if !is_later {
                        self.keep(&schema::inode_key(INODE, entry.ino), snapshot.number, false)?;
                    }
                }
            }
            (LINK, _) => {
                let above = self.newest_of(snapshots, InodeNo(schema::number_at(key, 9)?))?;
                newest = newer(newest, above);
            }
            _ => {}
        }
        match newest {
            Some(snapshot) => self.keep(key, snapshot.number, is_later),
            None => Ok(()),
        }
    }

    fn newest_of(&mut self, snapshots: &Snapshots, ino: InodeNo) -> Result<Option<Arc<Snapshot>>> {
        if let Some(found) = self.newest.get(&ino) {
            return Ok(found.clone());
        }
        let domain = match self.seen.get_mut().get(&ino) {
            Some(row) => Some(inode::decode(row)?.domain),
            None => None,
        };
        let found = self.known.newest_of(&*self.tx, snapshots, ino, domain)?;
        self.newest.insert(ino, found.clone());
        Ok(found)
    }

    /// Keeps the row under the snapshot unless it was kept since. `if_there`: that there is no such
    /// row needs not be kept.
    fn keep(&mut self, key: &[u8], number: u64, if_there: bool) -> Result<()> {
        let (Some(preserved), Some(ino)) = (row::preserved_row_of(key), row::owner(key)) else {
            return Ok(());
        };
        let at = row::preserved_key(&preserved, number);
        let last = row::preserved_key(&preserved, u64::MAX);
        let since = self
            .tx
            .range(Bound::Included(&at), Bound::Included(&last), false)?
            .next()
            .transpose()?;
        if since.is_some() {
            return Ok(());
        }
        let old = self.tx.get(key)?;
        if old.is_none() && if_there {
            return Ok(());
        }
        match (key[0], &old) {
            (EXTENT, Some(value)) => {
                let extent: ExtentRecord = schema::decode(value)?;
                self.store.retain(&mut *self.tx, extent.chunk)?;
            }
            (CLONE, Some(value)) => {
                let origin: CloneRecord = schema::decode(value)?;
                clone::row::count(&mut *self.tx, origin.snapshot, true)?;
            }
            _ => {}
        }
        self.tx.put(&at, &row::encode_kept(old.as_deref()))?;
        self.tx
            .put(&row::preserved_in_key(number, ino), &schema::encode_raw(&[]))?;
        Ok(())
    }
}

/// The newer of two.
fn newer(a: Option<Arc<Snapshot>>, b: Option<Arc<Snapshot>>) -> Option<Arc<Snapshot>> {
    a.into_iter().chain(b).max_by_key(|snapshot| snapshot.number)
}

impl Read for Preserving<'_> {
    fn get(&self, key: &[u8]) -> meta::Result<Option<Vec<u8>>> {
        self.refuse_folded(key)?;
        let value = self.tx.get(key)?;
        if key.first() == Some(&INODE)
            && self.known.has_directories()
            && let (Some(ino), Some(row)) = (row::owner(key), &value)
        {
            self.seen.borrow_mut().insert(ino, row.clone());
        }
        Ok(value)
    }

    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> meta::Result<Box<dyn Iterator<Item = meta::Result<KeyValue>> + 'a>> {
        if let Bound::Included(key) | Bound::Excluded(key) = from {
            self.refuse_folded(key)?;
        }
        if is_of_extents(from) && self.snapshots().map_err(engine_error)?.has_clones() {
            let rows: &dyn Read = &*self.tx;
            if let Some(merged) = merged(rows, from, to, reverse).map_err(engine_error)? {
                return Ok(merged);
            }
        }
        self.tx.range(from, to, reverse)
    }
}

impl Transaction for Preserving<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> meta::Result<()> {
        self.before_change(key, Some(value)).map_err(engine_error)?;
        self.tx.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> meta::Result<()> {
        self.before_change(key, None).map_err(engine_error)?;
        self.tx.delete(key)
    }

    /// Whoever began the transaction underneath commits it.
    fn commit(self: Box<Self>) -> meta::Result<()> {
        Err(meta::Error::Engine(
            "a transaction is committed by whoever began it".into(),
        ))
    }
}
