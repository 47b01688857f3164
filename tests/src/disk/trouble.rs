//! Full disks and failing ones.
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// What goes wrong below a path of the disk (`store/staging`, say; empty: everywhere).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is room for so many bytes; what needs more fails with `ENOSPC`.
    Full {
        /// Where.
        below: PathBuf,
        /// Bytes that everything there may take together.
        limit: u64,
    },
    /// Writes fail with `EIO`, and so does making and resizing files.
    Writes {
        /// Where.
        below: PathBuf,
    },
    /// Syncs fail with `EIO`, and what they should have written is lost.
    Syncs {
        /// Where.
        below: PathBuf,
    },
    /// Reads fail with `EIO`.
    Reads {
        /// Where.
        below: PathBuf,
    },
}

/// What a request is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Read,
    /// Takes at most so many bytes more.
    Write(u64),
    Sync,
}

impl Trouble {
    /// Whether it stops a request to `path`; `used` counts the bytes below a path.
    pub(super) fn stops(&self, request: Request, path: &Path, used: impl Fn(&Path) -> u64) -> Option<Errno> {
        match (self, request) {
            (Self::Full { below, limit }, Request::Write(more)) if path.starts_with(below) => {
                // What takes nothing, such as removing a file, works on a full disk.
                (more > 0 && used(below) + more > *limit).then_some(Errno::ENOSPC)
            }
            (Self::Writes { below }, Request::Write(_))
            | (Self::Syncs { below }, Request::Sync)
            | (Self::Reads { below }, Request::Read)
                if path.starts_with(below) =>
            {
                Some(Errno::EIO)
            }
            _ => None,
        }
    }
}
