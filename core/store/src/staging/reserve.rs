//! A part of the disk that stays free.
//!
//! The budget of staging counts what this gateway keeps; the disk may be smaller, and others write to
//! it. A metadata engine that meets a full disk stops until there is room again. So content is refused
//! before: when less than the reserve would be left on the disk of staging or of the metadata. What
//! grows the metadata alone (names, attributes) is refused at half of it, and what frees space never.
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::{Error, Result};

/// How long an answer of the disk is believed; what is admitted meanwhile is taken off it.
const FRESH: Duration = Duration::from_millis(250);

/// What the disks said last.
struct Seen {
    at: Option<Instant>,
    free: u64,
}

/// Watches the disks of some directories.
pub(crate) struct Reserve {
    directories: Vec<PathBuf>,
    bytes: u64,
    seen: Mutex<Seen>,
}

impl Reserve {
    /// Leaves `bytes` free on the disk of each of `directories`.
    pub(crate) fn new(directories: Vec<PathBuf>, bytes: u64) -> Self {
        Self {
            directories,
            bytes,
            seen: Mutex::new(Seen { at: None, free: 0 }),
        }
    }

    /// Lets `len` bytes of content in, or says when to come back.
    pub(crate) fn admit(&self, len: u64, retry_after: impl FnOnce() -> Duration) -> Result<()> {
        let mut seen = self.look();
        match seen.free.checked_sub(len) {
            Some(left) if left >= self.bytes => {
                seen.free = left;
                Ok(())
            }
            _ => Err(Error::StagingFull {
                retry_after: retry_after(),
            }),
        }
    }

    /// Lets something in that is small.
    pub(crate) fn require_half(&self, retry_after: impl FnOnce() -> Duration) -> Result<()> {
        if self.look().free >= self.bytes / 2 {
            return Ok(());
        }
        Err(Error::StagingFull {
            retry_after: retry_after(),
        })
    }

    /// Says that the disk is full, if it is.
    pub(crate) fn trouble(&self) -> Option<String> {
        let free = self.look().free;
        (free < self.bytes).then(|| {
            format!(
                "the disk is full: {free} bytes are free, {} are kept in reserve",
                self.bytes
            )
        })
    }

    fn look(&self) -> parking_lot::MutexGuard<'_, Seen> {
        let mut seen = self.seen.lock();
        if seen.at.is_none_or(|at| at.elapsed() >= FRESH) {
            seen.free = self.free();
            seen.at = Some(Instant::now());
        }
        seen
    }

    /// Free bytes of the fullest disk. One that does not answer does not stop anything: it will
    /// refuse by itself.
    fn free(&self) -> u64 {
        let of = |directory: &PathBuf| match nix::sys::statvfs::statvfs(directory) {
            Ok(found) => found.blocks_available().saturating_mul(found.fragment_size()),
            Err(error) => {
                tracing::warn!(directory = %directory.display(), %error, "cannot ask how full the disk is");
                u64::MAX
            }
        };
        self.directories.iter().map(of).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(7);

    fn reserve(bytes: impl FnOnce(u64) -> u64) -> (Reserve, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let free = Reserve::new(vec![dir.path().to_owned()], 0).free();
        (Reserve::new(vec![dir.path().to_owned()], bytes(free)), dir)
    }

    #[test]
    fn content_stops_at_the_reserve_and_names_at_half_of_it() {
        let (roomy, _dir) = reserve(|_| 0);
        roomy.admit(1, || SOON).unwrap();
        roomy.require_half(|| SOON).unwrap();
        assert_eq!(roomy.trouble(), None);
        // Others use this disk, too: far from both edges.
        let (tight, _dir) = reserve(|free| free + free / 2);
        assert!(matches!(
            tight.admit(1, || SOON),
            Err(Error::StagingFull { retry_after }) if retry_after == SOON
        ));
        tight.require_half(|| SOON).unwrap();
        assert!(tight.trouble().is_some());
        let (full, _dir) = reserve(|free| free.saturating_mul(4));
        assert!(full.require_half(|| SOON).is_err());
    }

    #[test]
    fn what_was_admitted_since_the_last_look_counts() {
        let (reserve, _dir) = reserve(|free| free / 2);
        let free = reserve.look().free;
        reserve.admit(free / 4, || SOON).unwrap();
        let left = reserve.seen.lock().free;
        assert_eq!(left, free - free / 4);
        assert!(reserve.admit(free / 2, || SOON).is_err());
    }

    #[test]
    fn a_directory_that_is_gone_stops_nothing() {
        let reserve = Reserve::new(vec!["/does/not/exist".into()], 1 << 40);
        reserve.admit(1 << 30, || SOON).unwrap();
    }
}
