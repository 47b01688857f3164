//! Folded directories: those of clones that have not taken over the names of their origins yet.
//!
//! | table | key after the table byte | value |
//! |---|---|---|
//! | [`FOLDED`] | inode | [`FoldedRecord`] |
//! | [`FOLDED_IN`] | bucket inode, inode | nothing: the directory is folded |
//! | [`COPY`] | bucket inode, inode of the clone's root, inode of the origin | [`CopyRecord`] |
//!
//! Whoever reads a name in a folded directory is told [`Error::Conflict`](crate::Error::Conflict), and the
//! directory is noted here; [`Core::unfolding`](crate::vfs::Core::unfolding) and every transaction then
//! unfold it ([`super::unfold`]) and look again.
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use meta::{Read, Transaction};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::row::{self, CloneRecord};
use crate::schema::{self, DENTRY, LONG_NAME};
use crate::{InodeNo, Result, inode};

/// The folded directories.
pub(crate) const FOLDED: u8 = 0x3a;
/// The same by bucket.
pub(crate) const FOLDED_IN: u8 = 0x3b;
/// Files with several names in a clone of which not all were taken over.
pub(crate) const COPY: u8 = 0x3c;

/// Folded directories that are looked at to see whether they lie below another. When a bucket has more,
/// all of them are taken to.
const LOOKED: usize = 1000;

/// Where a directory's names are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FoldedRecord {
    /// Inode of the root of the clone.
    pub tree: InodeNo,
    /// The directory that the names are taken from. Counts on its snapshot as a CLONE row does.
    pub origin: CloneRecord,
    /// The last name, as in DENTRY, that was taken over; empty: none was.
    #[serde(with = "serde_bytes")]
    pub after: Vec<u8>,
}

/// The copy of a file that has several names in a clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CopyRecord {
    pub ino: InodeNo,
    /// Names that it does not have yet. Its links count them already: it must not go with the first.
    pub names_left: u32,
}

/// Directories that somebody waits for.
#[derive(Default)]
pub(crate) struct Folds {
    wanted: Mutex<BTreeSet<InodeNo>>,
    may_exist: AtomicBool,
    /// Told when there are directories to unfold.
    pub told: Notify,
}

impl Folds {
    /// Those of a namespace.
    pub(crate) fn open(read: &(impl Read + ?Sized)) -> Result<Self> {
        let folds = Self::default();
        for table in [FOLDED_IN, COPY] {
            if schema::scan(read, &[table])?.next().transpose()?.is_some() {
                folds.exist();
            }
        }
        Ok(folds)
    }

    /// There will be a folded directory. Readers look for it as long as this process runs.
    pub(crate) fn exist(&self) {
        self.may_exist.store(true, Ordering::SeqCst);
    }

    /// Whether there may be one.
    pub(crate) fn may_exist(&self) -> bool {
        self.may_exist.load(Ordering::SeqCst)
    }

    /// Whether the key is that of a name in a folded directory, which is noted then.
    pub(crate) fn hold(&self, rows: &(impl Read + ?Sized), key: &[u8]) -> meta::Result<bool> {
        let Some(dir) = directory_of(key) else {
            return Ok(false);
        };
        let folded = rows.get(&schema::inode_key(FOLDED, dir))?.is_some();
        if folded {
            self.wanted.lock().insert(dir);
        }
        Ok(folded)
    }

    /// One that somebody waits for.
    pub(super) fn take(&self) -> Option<InodeNo> {
        self.wanted.lock().pop_first()
    }
}

/// The directory of a key that begins within the names of one.
fn directory_of(key: &[u8]) -> Option<InodeNo> {
    match key.first() {
        Some(&(DENTRY | LONG_NAME)) => schema::number_at(key, 1).map(InodeNo).ok(),
        _ => None,
    }
}

/// The record of a folded directory; `None` for all others.
pub(super) fn get(read: &(impl Read + ?Sized), dir: InodeNo) -> Result<Option<FoldedRecord>> {
    read.get(&schema::inode_key(FOLDED, dir))?
        .map(|row| schema::decode(&row))
        .transpose()
}

/// Key of the note that a directory of a bucket is folded.
fn folded_in_key(bucket: u64, dir: InodeNo) -> Vec<u8> {
    schema::key(FOLDED_IN, &[&bucket.to_be_bytes(), &dir.0.to_be_bytes()])
}

/// Key of the copy of a file.
pub(super) fn copy_key(bucket: u64, tree: InodeNo, origin: InodeNo) -> Vec<u8> {
    let parts = [bucket, tree.0, origin.0].map(u64::to_be_bytes);
    schema::key(COPY, &[&parts[0], &parts[1], &parts[2]])
}

/// The directory, which is new and empty, has the names of its origin.
pub(super) fn fold(
    tx: &mut dyn Transaction,
    bucket: u64,
    dir: InodeNo,
    tree: InodeNo,
    origin: CloneRecord,
) -> Result<()> {
    let record = FoldedRecord {
        tree,
        origin,
        after: Vec::new(),
    };
    tx.put(&schema::inode_key(FOLDED, dir), &schema::encode(&record)?)?;
    tx.put(&folded_in_key(bucket, dir), &schema::encode_raw(&[]))?;
    row::count(tx, origin.snapshot, true)
}

/// Names up to `after` are the directory's own; `None`: all are.
pub(super) fn progress(
    tx: &mut dyn Transaction,
    bucket: u64,
    dir: InodeNo,
    folded: &FoldedRecord,
    after: Option<&[u8]>,
) -> Result<()> {
    let key = schema::inode_key(FOLDED, dir);
    if let Some(after) = after {
        let record = FoldedRecord {
            after: after.to_vec(),
            ..folded.clone()
        };
        return Ok(tx.put(&key, &schema::encode(&record)?)?);
    }
    tx.delete(&key)?;
    tx.delete(&folded_in_key(bucket, dir))?;
    row::count(tx, folded.origin.snapshot, false)
}

/// The directory, which is folded, is on its way out: it takes over no names any more.
pub(crate) fn let_go(tx: &mut dyn Transaction, dir: InodeNo) -> Result<()> {
    let (Some(folded), Some(record)) = (get(&*tx, dir)?, inode::load_timeless(&*tx, dir)?) else {
        return Ok(());
    };
    progress(tx, record.domain, dir, &folded, None)
}

/// A folded directory at or below `root`, if there is one.
pub(super) fn below(read: &(impl Read + ?Sized), root: InodeNo) -> Result<Option<InodeNo>> {
    let Some(bucket) = inode::load_timeless(read, root)?.map(|record| record.domain) else {
        return Ok(None);
    };
    let rows = schema::scan(read, &schema::key(FOLDED_IN, &[&bucket.to_be_bytes()]))?;
    let folded = rows
        .take(LOOKED + 1)
        .map(|row| schema::number_at(&row?.0, 9).map(InodeNo))
        .collect::<Result<Vec<_>>>()?;
    if folded.len() > LOOKED {
        return Ok(folded.first().copied());
    }
    for dir in folded {
        if is_below(read, dir, root)? {
            return Ok(Some(dir));
        }
    }
    Ok(None)
}

/// Whether `dir` is `root` or lies below it.
pub(super) fn is_below(read: &(impl Read + ?Sized), dir: InodeNo, root: InodeNo) -> Result<bool> {
    let mut at = dir;
    while at != root {
        match inode::load_timeless(read, at)? {
            Some(record) if record.parent.0 != 0 && record.parent != at => at = record.parent,
            _ => return Ok(false),
        }
    }
    Ok(true)
}
