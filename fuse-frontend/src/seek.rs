//! `lseek` for data and holes.
use fuser::Errno;
use vfs::{InodeNo, Vfs};

use crate::errno::Failure;

/// Extents asked for at a time.
const PAGE: usize = 256;

/// What `lseek` looks for. The kernel answers the other three by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seek {
    /// `SEEK_DATA`.
    Data,
    /// `SEEK_HOLE`; the end of the file counts as one.
    Hole,
}

impl Seek {
    /// From `whence`.
    pub(crate) fn new(whence: i32) -> Option<Self> {
        match whence {
            libc::SEEK_DATA => Some(Self::Data),
            libc::SEEK_HOLE => Some(Self::Hole),
            _ => None,
        }
    }
}

/// The first offset at or after `offset` that is what is looked for. `ENXIO` at or past the end of
/// the file, and where no data follows.
pub(crate) async fn seek(vfs: &Vfs, ino: InodeNo, offset: u64, what: Seek) -> Result<u64, Failure> {
    let size = vfs.getattr(ino).await?.size;
    if offset >= size {
        return Err(Errno::ENXIO.into());
    }
    let mut at = offset;
    while at < size {
        let extents = vfs.extents(ino, at, size - at, PAGE).await?;
        if let Some(found) = extents.iter().find(|extent| extent.hole == (what == Seek::Hole)) {
            return Ok(found.offset.max(offset));
        }
        match extents.last() {
            Some(last) if last.offset + last.len > at => at = last.offset + last.len,
            // The file got shorter meanwhile.
            _ => break,
        }
    }
    match what {
        Seek::Hole => Ok(size),
        Seek::Data => Err(Errno::ENXIO.into()),
    }
}
