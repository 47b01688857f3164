//! Inode numbers of what lies in snapshots, and reading through any inode number.
//!
//! An inode in a snapshot has a number of its own, so that a mount can tell it from the inode of
//! today. Such numbers begin with a one bit, which those of inodes never have:
//!
//! | bits | 63 | 62 | 40..=61 | 0..=39 |
//! |---|---|---|---|---|
//! | inode in a snapshot | 1 | 0 | slot | inode |
//! | `.snapshots` of a directory | 1 | 1 | 0 | directory |
//!
//! A slot stands for a snapshot as long as the process runs; no slot is ever used for a second one,
//! so that who has a file of a deleted snapshot open never reads another one.
use meta::Read;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ops::Range;

use super::as_of::AsOf;
use super::hidden;
use super::known::Snapshot;
use crate::buffer::Guard;
use crate::clone::read::WithOrigins;
use crate::extent::Extent;
use crate::vfs::Core;
use crate::{Error, InodeNo, Result, clone, extent, inode};

const VIEW: u64 = 1 << 63;
const LISTING: u64 = 1 << 62;
const SLOT_BITS: u32 = 22;
const INO_BITS: u32 = 40;
const INO_MASK: u64 = (1 << INO_BITS) - 1;

/// Which snapshots have been looked at, by slot.
#[derive(Default)]
pub(crate) struct Slots {
    inner: Mutex<(HashMap<u64, u64>, Vec<u64>)>,
}

impl Slots {
    fn slot_of(&self, snapshot: u64) -> Result<u64> {
        let (slots, numbers) = &mut *self.inner.lock();
        if let Some(&slot) = slots.get(&snapshot) {
            return Ok(slot);
        }
        let slot = numbers.len() as u64;
        if slot >> SLOT_BITS != 0 {
            return Err(Error::Busy(
                "millions of snapshots were looked at since the start",
            ));
        }
        numbers.push(snapshot);
        slots.insert(snapshot, slot);
        Ok(slot)
    }

    fn snapshot_in(&self, slot: u64) -> Result<u64> {
        let inner = self.inner.lock();
        inner.1.get(slot as usize).copied().ok_or(Error::NotFound)
    }
}

/// What an inode number names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// An inode.
    Live(InodeNo),
    /// An inode in a snapshot.
    View { snapshot: u64, ino: InodeNo },
    /// The `.snapshots` of a directory.
    Listing(InodeNo),
}

impl Place {
    /// The size of a file and its extents that touch `range`, as the transaction sees them. What lies
    /// in a snapshot can be had as long as users see that.
    pub(crate) fn extents(self, tx: &dyn Read, range: &Range<u64>) -> Result<(u64, Vec<Extent>)> {
        match self {
            Self::Live(ino) => {
                let size = inode::get(tx, ino)?.size;
                Ok((size, extent::overlapping(tx, ino, range, usize::MAX)?))
            }
            Self::View { snapshot, ino } => {
                let then = AsOf::new(tx, snapshot, hidden::still_there(tx, snapshot)?.mark);
                let size = inode::get(&then, ino)?.size;
                Ok((size, clone::read::overlapping(&then, ino, range)?))
            }
            Self::Listing(_) => Err(Error::IsDirectory),
        }
    }
}

/// Number of the `.snapshots` of a directory.
pub(super) fn listing_of(directory: InodeNo) -> Result<InodeNo> {
    if directory.0 > INO_MASK {
        return Err(Error::TooLarge);
    }
    Ok(InodeNo(VIEW | LISTING | directory.0))
}

/// Number under which all views of one inode are guarded.
pub(crate) fn views_of(ino: InodeNo) -> InodeNo {
    InodeNo(VIEW | ino.0)
}

/// How inodes of some rows are numbered for doors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    /// Set in a snapshot.
    slot: Option<u64>,
}

impl Numbers {
    /// Number under which doors know an inode of the rows.
    pub(crate) fn show(self, ino: InodeNo) -> Result<InodeNo> {
        match self.slot {
            None => Ok(ino),
            Some(_) if ino.0 > INO_MASK => Err(Error::TooLarge),
            Some(slot) => Ok(InodeNo(VIEW | slot << INO_BITS | ino.0)),
        }
    }
}

/// The rows to read an inode from, and its number there.
pub(crate) struct Sight {
    pub read: Box<dyn Read + Send>,
    /// Number in the rows.
    pub ino: InodeNo,
    numbers: Numbers,
    /// Root of the snapshot.
    pub root: Option<InodeNo>,
}

impl Sight {
    /// Whether it is one into a snapshot.
    pub(crate) fn is_view(&self) -> bool {
        self.numbers.slot.is_some()
    }

    /// How its inodes are numbered for doors.
    pub(crate) fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// Number under which doors know an inode of these rows.
    pub(crate) fn show(&self, ino: InodeNo) -> Result<InodeNo> {
        self.numbers.show(ino)
    }
}

impl Core {
    /// What the number names.
    pub(crate) fn place_of(&self, ino: InodeNo) -> Result<Place> {
        let inner = InodeNo(ino.0 & INO_MASK);
        if ino.0 & VIEW == 0 {
            Ok(Place::Live(ino))
        } else if ino.0 & LISTING != 0 {
            Ok(Place::Listing(inner))
        } else {
            let slot = (ino.0 & !VIEW) >> INO_BITS;
            let snapshot = self.slots.snapshot_in(slot)?;
            Ok(Place::View { snapshot, ino: inner })
        }
    }

    /// Where to read the inode; `NotFound` for the `.snapshots` of a directory, and in a snapshot that
    /// was deleted.
    pub(crate) fn sight(&self, ino: InodeNo) -> Result<Sight> {
        match self.place_of(ino)? {
            Place::Live(ino) => Ok(Sight {
                read: self.snapshot()?,
                ino,
                numbers: Numbers { slot: None },
                root: None,
            }),
            Place::Listing(_) => Err(Error::NotFound),
            Place::View { snapshot, ino } => {
                let rows = self.meta.snapshot()?;
                let snapshots = self.known.at(&*rows)?;
                let snapshot = snapshots.visible_numbered(snapshot).ok_or(Error::NotFound)?;
                let sight = self.sight_into(rows, snapshot)?;
                Ok(Sight { ino, ..sight })
            }
        }
    }

    /// A sight of the snapshot's root, over all committed rows.
    pub(crate) fn sight_into(&self, rows: Box<dyn Read + Send>, snapshot: &Snapshot) -> Result<Sight> {
        let then = AsOf::new(rows, snapshot.number, snapshot.record.mark);
        Ok(Sight {
            read: Box::new(WithOrigins::new(Box::new(then), self.known.clone(), None)),
            ino: snapshot.record.root,
            numbers: Numbers {
                slot: Some(self.slots.slot_of(snapshot.number)?),
            },
            root: Some(snapshot.record.root),
        })
    }

    /// Begins an operation on an inode, in a snapshot too.
    pub(crate) fn enter(&self, ino: InodeNo) -> Result<Guard> {
        self.nodes.enter(self.node_of(ino)?)
    }

    /// The number that what is in memory of the inode goes by.
    pub(crate) fn node_of(&self, ino: InodeNo) -> Result<InodeNo> {
        Ok(match self.place_of(ino)? {
            Place::View { ino, .. } => views_of(ino),
            Place::Live(_) | Place::Listing(_) => ino,
        })
    }

    /// `ReadOnly` for what lies in a snapshot, and for the `.snapshots` of a directory.
    pub(crate) fn writable(ino: InodeNo) -> Result<()> {
        if ino.0 & VIEW == 0 {
            Ok(())
        } else {
            Err(Error::ReadOnly)
        }
    }
}
