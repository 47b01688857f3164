//! The rows of clones, byte for byte.
//!
//! | table | key after the table byte | value |
//! |---|---|---|
//! | [`CLONE`] | inode | [`CloneRecord`] |
//! | [`COPIED`] | inode, number of the window | nothing: the origin's extents there are the clone's own |
use meta::{Read, Transaction};
use serde::{Deserialize, Serialize};

use crate::schema;
use crate::snapshot::row::{self as snapshots, SNAPSHOTS, SnapshotRecord};
use crate::{Error, InodeNo, Result};

/// The origins of clones.
pub(crate) const CLONE: u8 = 0x34;
/// Windows that were copied up.
pub(crate) const COPIED: u8 = 0x35;

/// Bytes that are copied up together: at most 4,096 extents of one block each, 64 of full chunks.
pub(crate) const WINDOW: u64 = 16 << 20;

/// Where a clone's content comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CloneRecord {
    /// Number of the snapshot.
    pub snapshot: u64,
    /// The inode in it.
    pub ino: InodeNo,
    /// The snapshot's mark.
    pub mark: u64,
}

/// Key of the note that a window was copied up.
pub(crate) fn copied_key(ino: InodeNo, window: u64) -> [u8; 17] {
    let mut key = [COPIED; 17];
    key[1..9].copy_from_slice(&ino.0.to_be_bytes());
    key[9..].copy_from_slice(&window.to_be_bytes());
    key
}

/// The origin of an inode, if it is a clone.
pub(crate) fn origin(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<Option<CloneRecord>> {
    read.get(&schema::inode_key(CLONE, ino))?
        .map(|row| schema::decode(&row))
        .transpose()
}

/// The inode is no clone any more, of its own extents alone.
pub(crate) fn leave_origin(tx: &mut dyn Transaction, ino: InodeNo) -> Result<()> {
    if let Some(record) = origin(&*tx, ino)? {
        tx.delete(&schema::inode_key(CLONE, ino))?;
        count(tx, record.snapshot, false)?;
    }
    Ok(())
}

/// One more row needs the snapshot, or one fewer (`up` is false). Rows that need it are the CLONE
/// and FOLDED rows there are, and those that are kept for other snapshots.
pub(crate) fn count(tx: &mut dyn Transaction, snapshot: u64, up: bool) -> Result<()> {
    let key = snapshots::snapshot_key(snapshot);
    let row = tx.get(&key)?.ok_or(Error::NotFound)?;
    let mut record: SnapshotRecord = schema::decode(&row)?;
    let before = record.clones;
    record.clones = if up {
        record.clones.checked_add(1)
    } else {
        record.clones.checked_sub(1)
    }
    .ok_or_else(|| schema::damaged("clones of a snapshot are counted wrong"))?;
    tx.put(&key, &schema::encode(&record)?)?;
    if before > 0 && record.clones > 0 {
        // Whether there are any is all that others go by.
        return Ok(());
    }
    let mut state = snapshots::state(&*tx)?;
    state.changes += 1;
    Ok(tx.put(&[SNAPSHOTS], &schema::encode(&state)?)?)
}
