//! Whether an inode belongs to a snapshot.
use std::collections::HashSet;

use meta::Read;

use super::as_of::AsOf;
use super::known::Snapshot;
use crate::schema::{self, LINK};
use crate::{InodeNo, Kind, Result, inode};

/// Whether the snapshot's root led to `ino` when it was taken. Walks up the parents that the inode
/// and those above it had then; a file with several names belongs when one of them lay below.
///
/// Exact for what belongs. An inode that moved below the root later may count as belonging once the
/// snapshots that knew where it had been are gone; then some of its rows are kept for nobody, until
/// this snapshot goes.
pub(crate) fn is_member(read: &(impl Read + ?Sized), snapshot: &Snapshot, ino: InodeNo) -> Result<bool> {
    if ino.0 >= snapshot.record.mark {
        return Ok(false);
    }
    let root = snapshot.record.root;
    if ino == root {
        return Ok(true);
    }
    if !snapshot.record.directory {
        return Ok(false);
    }
    let then = AsOf::new(read, snapshot.number, snapshot.record.mark);
    let mut seen = HashSet::new();
    let mut next = vec![ino];
    while let Some(at) = next.pop() {
        let Some(record) = inode::load_timeless(&then, at)? else {
            continue;
        };
        if record.domain != snapshot.record.domain {
            return Ok(false);
        }
        let mut above = vec![record.parent];
        if record.kind != Kind::Directory && record.nlink > 1 {
            for row in schema::scan(&then, &schema::inode_key(LINK, at))? {
                above.push(InodeNo(schema::number_at(&row?.0, 9)?));
            }
        }
        for parent in above {
            if parent == root {
                return Ok(true);
            }
            if parent.0 != 0 && parent != InodeNo::ROOT && seen.insert(parent) {
                next.push(parent);
            }
        }
    }
    Ok(false)
}
