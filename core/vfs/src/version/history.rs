//! What a change of a key does to its versions, within the transaction of the change.
use meta::{Read, Transaction};

use super::row::{self, VersionRecord, VersionRow};
use super::{VersionId, Versioning};
use crate::buffer::Nodes;
use crate::object::KEY_MAX;
use crate::{InodeNo, Kind, Result, Timestamp, dentry, inode, object_lock, posix, quota, trash};

/// A key of a versioned bucket.
pub(crate) struct History {
    pub(super) bucket: InodeNo,
    pub(super) key: Vec<u8>,
    state: Versioning,
}

/// A bucket whose objects are versioned: where the histories of its keys are found.
pub(crate) struct Histories {
    bucket: InodeNo,
    state: Versioning,
}

impl Histories {
    /// Those of a bucket; `None` where nothing is versioned.
    pub(crate) fn of(read: &(impl Read + ?Sized), bucket: InodeNo) -> Result<Option<Self>> {
        Ok(row::state(read, bucket)?.map(|state| Self { bucket, state }))
    }

    /// Of a key; `None`: it is none that has versions.
    fn of_key(&self, read: &(impl Read + ?Sized), key: &[u8]) -> Result<Option<History>> {
        let in_trash = key.starts_with(trash::NAME) && trash::get(read, self.bucket)?.is_some();
        if key.ends_with(b"/") || key.len() > KEY_MAX || in_trash {
            return Ok(None);
        }
        Ok(Some(History {
            bucket: self.bucket,
            key: key.to_vec(),
            state: self.state,
        }))
    }

    /// Of a name in a directory of the bucket; `None`: it is none that has versions.
    pub(crate) fn at(
        &self,
        read: &(impl Read + ?Sized),
        parent: InodeNo,
        suffix: &[u8],
    ) -> Result<Option<History>> {
        let Some(path) = posix::lookup::path(read, parent)? else {
            return Ok(None);
        };
        let end = path
            .iter()
            .position(|byte| *byte == b'/')
            .map_or(0, |slash| slash + 1);
        self.of_key(read, &[&path[end..], suffix].concat())
    }
}

impl History {
    /// Of a key; `None` where nothing is versioned.
    pub(crate) fn of(read: &(impl Read + ?Sized), bucket: InodeNo, key: &[u8]) -> Result<Option<Self>> {
        match Histories::of(read, bucket)? {
            Some(histories) => histories.of_key(read, key),
            None => Ok(None),
        }
    }

    /// Of a name in a directory of the bucket `domain`.
    pub(crate) fn at(
        read: &(impl Read + ?Sized),
        domain: u64,
        parent: InodeNo,
        suffix: &[u8],
    ) -> Result<Option<Self>> {
        match Histories::of(read, InodeNo(domain))? {
            Some(histories) => histories.at(read, parent, suffix),
            None => Ok(None),
        }
    }

    /// The present object `ino` is to lose its name `suffix` in `parent`: makes it a version if it has
    /// to be one. Answers `false`, and has done nothing, if it has not.
    pub(crate) fn keep(
        &self,
        tx: &mut dyn Transaction,
        parent: InodeNo,
        suffix: &[u8],
        ino: InodeNo,
        now: Timestamp,
    ) -> Result<bool> {
        let mut record = inode::get(&*tx, ino)?;
        let mut id = row::id_of(&*tx, ino)?;
        let given_up = id == VersionId::NULL && self.state == Versioning::Suspended;
        if record.kind != Kind::File || record.nlink != 1 || given_up {
            return Ok(false);
        }
        dentry::detach(tx, parent, suffix, ino, &mut record)?;
        record.nlink = 0;
        record.ctime = now;
        record.quota = quota::of_directory(&*tx, self.bucket)?;
        inode::put(tx, ino, &record)?;
        let own = match id {
            VersionId::NULL => record.modified.0.max(0) as u64,
            id => id.0,
        };
        let position = self.above_newest(tx, own)?;
        let is_there = row::with_id(&*tx, self.bucket, &self.key, id)?.is_some();
        if is_there {
            // It came from elsewhere, and two versions of a key do not share an id.
            id = VersionId(position);
            row::put_id(tx, ino, id)?;
        }
        let record = VersionRecord {
            ino,
            id,
            at: record.modified,
        };
        self.put(tx, position, record)?;
        Ok(true)
    }

    /// The file `ino` is to be the present object: gives it its id. What it replaces has been kept or
    /// removed.
    pub(crate) fn arrive(
        &self,
        tx: &mut dyn Transaction,
        nodes: &Nodes,
        ino: InodeNo,
        now: Timestamp,
    ) -> Result<()> {
        match self.state {
            Versioning::Enabled => {
                let id = VersionId(self.above_newest(tx, moment(now))?);
                row::put_id(tx, ino, id)
            }
            Versioning::Suspended => {
                self.drop_null(tx, nodes)?;
                row::put_id(tx, ino, VersionId::NULL)
            }
        }
    }

    /// The present object is gone, or there was none: puts a delete marker above its versions.
    pub(crate) fn mark(&self, tx: &mut dyn Transaction, nodes: &Nodes, now: Timestamp) -> Result<VersionId> {
        if self.state == Versioning::Suspended {
            self.drop_null(tx, nodes)?;
        }
        let position = self.above_newest(tx, moment(now))?;
        let id = match self.state {
            Versioning::Enabled => VersionId(position),
            Versioning::Suspended => VersionId::NULL,
        };
        let record = VersionRecord {
            ino: InodeNo(0),
            id,
            at: now,
        };
        self.put(tx, position, record)?;
        Ok(id)
    }

    /// The present file moved to another key: what is left of this one is not to look as if it were
    /// there.
    pub(crate) fn moved_away(&self, tx: &mut dyn Transaction, nodes: &Nodes, now: Timestamp) -> Result<()> {
        if row::newest(&*tx, self.bucket, &self.key)?.is_some() {
            self.mark(tx, nodes, now)?;
        }
        Ok(())
    }

    fn put(&self, tx: &mut dyn Transaction, position: u64, record: VersionRecord) -> Result<()> {
        let row = VersionRow {
            key: self.key.clone(),
            position,
            record,
        };
        row::put(tx, self.bucket, &row)
    }

    fn above_newest(&self, tx: &mut dyn Transaction, least: u64) -> Result<u64> {
        let newest = row::newest(&*tx, self.bucket, &self.key)?;
        let above = newest.map_or(1, |newest| newest.position.saturating_add(1));
        Ok(above.max(least))
    }

    /// A new `null` version takes the place of the one that there is.
    fn drop_null(&self, tx: &mut dyn Transaction, nodes: &Nodes) -> Result<()> {
        if let Some(old) = row::with_id(&*tx, self.bucket, &self.key, VersionId::NULL)? {
            row::delete(tx, self.bucket, &old)?;
            discard(tx, nodes, &old.record)?;
        }
        Ok(())
    }
}

/// The inode of a version whose row is gone has nothing left that leads to it.
pub(super) fn discard(tx: &mut dyn Transaction, nodes: &Nodes, version: &VersionRecord) -> Result<()> {
    if version.is_marker() {
        return Ok(());
    }
    let mut record = inode::get(&*tx, version.ino)?;
    object_lock::refuse(&*tx, version.ino, &record)?;
    posix::remove::lose(tx, nodes, version.ino, &mut record)?;
    inode::put(tx, version.ino, &record)
}

fn moment(now: Timestamp) -> u64 {
    now.0.max(1) as u64
}
