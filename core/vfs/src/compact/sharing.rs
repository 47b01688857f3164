//! Which extents of a file somebody else has as they are, without a row of their own.
//!
//! References on a chunk say how many rows name it. A snapshot has no rows of what did not change since
//! it was taken, and a clone none of what it has from its origin: the bytes are shared all the same,
//! and whoever rewrites them stores them twice.
use std::ops::Bound;

use meta::Read;

use crate::clone::row::{self as clones, WINDOW};
use crate::extent::Extent;
use crate::snapshot::{Known, row as snapshots};
use crate::{InodeNo, Result, schema};

/// Who has extents of one inode, too.
pub(super) struct Sharing<'a, R: ?Sized> {
    read: &'a R,
    ino: InodeNo,
    /// Number of the newest snapshot that the inode belongs to, hidden ones of clones included.
    newest: Option<u64>,
    /// It is a clone itself.
    is_clone: bool,
}

impl<'a, R: Read + ?Sized> Sharing<'a, R> {
    /// As `read` has it.
    pub(super) fn of(read: &'a R, known: &Known, ino: InodeNo) -> Result<Self> {
        let snapshots = known.within(read)?;
        let newest = known.newest_of(read, &snapshots, ino, None)?;
        Ok(Self {
            read,
            ino,
            newest: newest.map(|snapshot| snapshot.number),
            is_clone: clones::origin(read, ino)?.is_some(),
        })
    }

    /// Whether somebody else has the extent.
    pub(super) fn has(&self, extent: &Extent) -> Result<bool> {
        if self.is_clone {
            let window = clones::copied_key(self.ino, extent.offset / WINDOW);
            if self.read.get(&window)?.is_none() {
                return Ok(true);
            }
        }
        let (Some(newest), Some(row)) = (
            self.newest,
            snapshots::preserved_row_of(&schema::extent_key(self.ino, extent.offset)),
        ) else {
            return Ok(false);
        };
        // What has changed since was kept, and is the inode's alone.
        let from = snapshots::preserved_key(&row, newest);
        let to = snapshots::preserved_key(&row, u64::MAX);
        let kept = self
            .read
            .range(Bound::Included(&from), Bound::Included(&to), false)?
            .next()
            .transpose()?;
        Ok(kept.is_none())
    }
}
