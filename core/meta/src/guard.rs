//! The guard against a log that lost acknowledged commits.
//!
//! An engine takes a broken record in its log for the end of what was written before a crash, and
//! drops it with everything after it. That is right for the torn tail of an unacknowledged commit
//! and wrong for a block in the middle that the disk has lost. To tell them apart, every group sync
//! commits a counter row before it syncs, and the guard file keeps the highest counter whose group
//! was acknowledged. At open, a row behind the file means that acknowledged commits are gone.
//!
//! The file is written before the group is acknowledged and synced when the sync thread falls idle
//! or after [`UNSYNCED_MAX`] groups: one flush instead of two on the path of a waiter. A guard that
//! lags after a power cut misses damage to the last groups only; it never raises a false alarm.
//!
//! Format: two slots of 512 bytes, written in turn, so that a torn write spoils one at most. A slot
//! is magic `CGMGUARD`, counter u64 BE, CRC-32 u32 BE of the 16 bytes before it, zeros.
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::{Error, Result};

/// The row that holds the counter (u64 BE).
pub(crate) const COUNTER_KEY: &[u8] = &[0x00, b'g'];

const MAGIC: [u8; 8] = *b"CGMGUARD";
const SLOT: u64 = 512;
const RECORD: usize = 20;
/// Groups that may be acknowledged before the guard file is synced.
const UNSYNCED_MAX: u32 = 16;

pub(crate) struct Guard {
    file: File,
    acknowledged: u64,
    unsynced: u32,
}

impl Guard {
    /// Opens or creates the file and compares it with the counter row `in_store`.
    pub(crate) fn open(path: &Path, in_store: u64) -> Result<Self> {
        let failed = |error: io::Error| Error::Engine(format!("{}: {error}", path.display()));
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if in_store > 0 {
                    tracing::warn!(path = %path.display(), "guard file of the metadata store was missing; made a new one");
                }
                return Self::make(path, in_store).map_err(failed);
            }
            Err(error) => return Err(failed(error)),
        };
        let mut guard = Self {
            file,
            acknowledged: 0,
            unsynced: 0,
        };
        // What cannot be of use to anybody, and holds nothing that a group left.
        if guard.file.metadata().map_err(failed)?.len() == 0 || (in_store == 0 && guard.is_blank()) {
            return Self::make(path, in_store).map_err(failed);
        }
        let Some(acknowledged) = [0, SLOT].into_iter().filter_map(|at| guard.slot(at)).max() else {
            return Err(Error::Damaged(format!(
                "guard file {} is unreadable; remove it to open the store without its check",
                path.display()
            )));
        };
        if in_store < acknowledged {
            return Err(Error::Damaged(format!(
                "acknowledged commits are missing: the store ends at group {in_store}, \
                 {acknowledged} was acknowledged (remove {} to open what is left)",
                path.display()
            )));
        }
        guard.acknowledged = acknowledged;
        Ok(guard)
    }

    /// Makes the file. It has its name only once what is in it is on disk: a power cut that left one
    /// without its record would look like damage.
    fn make(path: &Path, counter: u64) -> io::Result<Self> {
        let new = path.with_extension("new");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&new)?;
        file.set_len(2 * SLOT)?;
        file.write_all_at(&record_of(counter), (counter % 2) * SLOT)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(Self {
            file,
            acknowledged: counter,
            unsynced: 0,
        })
    }

    /// Highest counter known to be acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Notes that group `counter` is about to be acknowledged.
    pub(crate) fn record(&mut self, counter: u64) -> Result<()> {
        self.file
            .write_all_at(&record_of(counter), (counter % 2) * SLOT)
            .map_err(|error| Error::Engine(format!("guard file: {error}")))?;
        self.acknowledged = counter;
        self.unsynced += 1;
        if self.unsynced >= UNSYNCED_MAX {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes the last record durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        if self.unsynced > 0 {
            self.file
                .sync_data()
                .map_err(|error| Error::Engine(format!("guard file: {error}")))?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Whether the file was never written: its making was cut off.
    fn is_blank(&self) -> bool {
        let mut slots = [0; 2 * SLOT as usize];
        self.file.read_exact_at(&mut slots, 0).is_ok() && slots.iter().all(|byte| *byte == 0)
    }

    fn slot(&self, at: u64) -> Option<u64> {
        let mut record = [0; RECORD];
        self.file.read_exact_at(&mut record, at).ok()?;
        let crc = u32::from_be_bytes(record[16..].try_into().ok()?);
        if record[..8] != MAGIC || crc != crc32fast::hash(&record[..16]) {
            return None;
        }
        Some(u64::from_be_bytes(record[8..16].try_into().ok()?))
    }
}

/// What a slot holds.
fn record_of(counter: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&MAGIC);
    record[8..16].copy_from_slice(&counter.to_be_bytes());
    let crc = crc32fast::hash(&record[..16]);
    record[16..].copy_from_slice(&crc.to_be_bytes());
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_highest_group_across_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard");
        let mut guard = Guard::open(&path, 0).unwrap();
        for counter in 1..=5 {
            guard.record(counter).unwrap();
        }
        drop(guard);
        assert_eq!(Guard::open(&path, 5).unwrap().acknowledged(), 5);
        assert_eq!(Guard::open(&path, 9).unwrap().acknowledged(), 5);
        assert!(matches!(Guard::open(&path, 4), Err(Error::Damaged(_))));
    }

    #[test]
    fn one_torn_slot_is_survived_and_two_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard");
        let mut guard = Guard::open(&path, 0).unwrap();
        guard.record(1).unwrap();
        guard.record(2).unwrap();
        guard.file.write_all_at(&[0xff; 4], 10).unwrap();
        assert_eq!(Guard::open(&path, 2).unwrap().acknowledged(), 1);
        guard.file.write_all_at(&[0xff; 4], SLOT + 10).unwrap();
        assert!(matches!(Guard::open(&path, 2), Err(Error::Damaged(_))));
    }

    #[test]
    fn a_file_whose_making_was_cut_off_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard");
        std::fs::write(&path, [0; 2 * SLOT as usize]).unwrap();
        Guard::open(&path, 0).unwrap().record(1).unwrap();
        assert_eq!(Guard::open(&path, 1).unwrap().acknowledged(), 1);
        // In a store with acknowledged commits it is damage.
        std::fs::write(&path, [0; 2 * SLOT as usize]).unwrap();
        assert!(matches!(Guard::open(&path, 1), Err(Error::Damaged(_))));
        // One that was being made for such a store has no name yet.
        std::fs::rename(&path, path.with_extension("new")).unwrap();
        assert_eq!(Guard::open(&path, 7).unwrap().acknowledged(), 7);
        assert_eq!(Guard::open(&path, 7).unwrap().acknowledged(), 7);
        assert!(!path.with_extension("new").exists());
    }
}
