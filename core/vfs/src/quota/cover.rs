//! How much a write makes a file grow.
//!
//! Bytes that are stored or buffered already count; so what is written over them takes no room.
use std::ops::Range;
use std::sync::Arc;

use super::record::Amounts;
use super::room::Room;
use crate::buffer::{Piece, State};
use crate::vfs::Core;
use crate::{Error, InodeNo, Result, extent, inode};

/// Parts of a range that hold no bytes yet.
struct Holes(Vec<Range<u64>>);

impl Holes {
    /// `range` holds bytes.
    fn fill(&mut self, range: &Range<u64>) {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        for hole in self.0.drain(..) {
            for rest in [
                hole.start..hole.end.min(range.start),
                hole.start.max(range.end)..hole.end,
            ] {
                if !rest.is_empty() {
                    left.push(rest);
                }
            }
        }
        self.0 = left;
    }

    /// `range` holds none.
    fn dig(&mut self, range: &Range<u64>) {
        self.fill(range);
        self.0.push(range.clone());
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|hole| hole.end - hole.start).sum()
    }
}

impl Core {
    /// Sets aside what writing `len` bytes at `offset` (`None`: at the end) takes of the quotas that the
    /// inode counts to. [`crate::Error::QuotaExceeded`] when they do not leave it.
    ///
    /// First all of it is asked for, which costs nothing. If that does not fit, only what the write
    /// really adds; and if that does not either, everything buffered is stored first: what was set
    /// aside for it may have been too much.
    pub(crate) async fn room_for(
        self: &Arc<Self>,
        ino: InodeNo,
        offset: Option<u64>,
        len: u64,
    ) -> Result<Room> {
        Self::writable(ino)?;
        if !self.quotas.may_exist() {
            return Ok(Room::default());
        }
        let quota = inode::get(&self.rows(), ino)?.quota;
        if quota.0 == 0 {
            return Ok(Room::default());
        }
        let bytes = |bytes| Amounts { bytes, inodes: 0 };
        match self.quotas.reserve_around(quota, bytes(len)) {
            Err(Error::QuotaExceeded) => {}
            done => return done,
        }
        let guard = self.nodes.enter(ino)?;
        let added = || match offset.and_then(|offset| Some(offset..offset.checked_add(len)?)) {
            Some(range) => self.uncovered(ino, &guard.node.state.lock(), &range),
            None => Ok(len),
        };
        match self.quotas.reserve_around(quota, bytes(added()?)) {
            Err(Error::QuotaExceeded) => {}
            done => return done,
        }
        self.flush_dirty().await?;
        self.quotas.reserve_around(quota, bytes(added()?))
    }

    /// Whether `bytes` more would fit into the directory now.
    pub(crate) fn check_room(&self, dir: InodeNo, bytes: u64) -> Result<()> {
        if !self.quotas.may_exist() {
            return Ok(());
        }
        let quota = super::of_directory(&self.rows(), dir)?;
        self.quotas
            .reserve_around(quota, Amounts { bytes, inodes: 0 })
            .map(drop)
    }

    /// Bytes of `range` that neither an extent nor the write buffer holds.
    fn uncovered(&self, ino: InodeNo, state: &State, range: &Range<u64>) -> Result<u64> {
        let mut holes = Holes(vec![range.clone()]);
        for found in extent::overlapping(&*self.snapshot()?, ino, range, usize::MAX)? {
            holes.fill(&(found.offset..found.end()));
        }
        for layer in state.layers() {
            for (offset, piece) in layer.pieces_in(range) {
                let piece_range = offset..offset + piece.len();
                match piece {
                    Piece::Data(_) => holes.fill(&piece_range),
                    Piece::Zero(_) => holes.dig(&piece_range),
                }
            }
        }
        Ok(holes.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_covered_is_no_hole_until_it_is_dug() {
        let mut holes = Holes(Vec::new());
        holes.dig(&(100..200));
        holes.fill(&(0..50));
        assert_eq!(holes.bytes(), 100);
        holes.fill(&(120..130));
        holes.fill(&(190..300));
        assert_eq!(holes.bytes(), 80);
        holes.dig(&(125..140));
        assert_eq!(holes.bytes(), 85);
        holes.fill(&(0..1000));
        assert_eq!(holes.bytes(), 0);
    }
}
