//! Snapshots that nobody sees: those that clones need.
use meta::{Read, Transaction};

use super::row::{self, SNAPSHOTS, SnapshotRecord};
use crate::schema::{self, NEXT_INODE};
use crate::{Error, InodeNo, Kind, Result, Timestamp, inode, posix};

/// What is to be cloned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    /// The snapshot; `None`: as it is now.
    pub number: Option<u64>,
    pub root: InodeNo,
    pub directory: bool,
    /// Inode of its bucket.
    pub domain: u64,
}

/// A snapshot that users see; `NotFound` when it was deleted.
pub(crate) fn still_there(read: &(impl Read + ?Sized), number: u64) -> Result<SnapshotRecord> {
    let row = read.get(&row::snapshot_key(number))?.ok_or(Error::NotFound)?;
    let record: SnapshotRecord = schema::decode(&row)?;
    if record.deleted {
        Err(Error::NotFound)
    } else {
        Ok(record)
    }
}

/// Takes a snapshot of an inode that was never in sight, and goes with the last clone of it. Answers
/// its number and mark.
pub(crate) fn take(tx: &mut dyn Transaction, root: InodeNo, now: Timestamp) -> Result<(u64, u64)> {
    let snapshot = record(tx, root, String::new(), now)?;
    let hidden = SnapshotRecord {
        deleted: true,
        ..snapshot
    };
    let number = put(tx, &hidden)?;
    Ok((number, hidden.mark))
}

/// The record of a snapshot of an inode that has a name.
pub(super) fn record(
    tx: &mut dyn Transaction,
    root: InodeNo,
    name: String,
    now: Timestamp,
) -> Result<SnapshotRecord> {
    let inode = inode::load_timeless(&*tx, root)?.filter(|record| record.nlink > 0);
    let inode = inode.ok_or(Error::NotFound)?;
    let mark = tx.get(&[NEXT_INODE])?.map(|row| schema::decode::<u64>(&row));
    Ok(SnapshotRecord {
        root,
        domain: inode.domain,
        directory: inode.kind == Kind::Directory,
        name,
        path: posix::lookup::path(&*tx, root)?.ok_or(Error::NotFound)?,
        created: now,
        // No inode but the root was ever made without the row.
        mark: mark.transpose()?.unwrap_or(InodeNo::ROOT.0 + 1),
        automatic: false,
        deleted: false,
        clones: 0,
    })
}

/// Writes a new snapshot; answers its number.
pub(super) fn put(tx: &mut dyn Transaction, record: &SnapshotRecord) -> Result<u64> {
    let mut state = row::state(&*tx)?;
    state.changes += 1;
    state.last += 1;
    tx.put(&row::snapshot_key(state.last), &schema::encode(record)?)?;
    tx.put(&[SNAPSHOTS], &schema::encode(&state)?)?;
    Ok(state.last)
}
