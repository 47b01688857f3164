//! All staging files, and the one that is written.
//!
//! A new file is begun at every start, whenever the current one is full, and when writing or syncing
//! it has failed, so a file that a crash or the disk may have torn is never appended to. A file is
//! deleted when nothing in it is needed any more, the one that is written included: holes punched for
//! its records leave their last blocks.
//!
//! Records are numbered as their writes end. A sync covers all that were numbered before it began.
//! When it fails in one file, the records of that file that no earlier sync covered are lost for good
//! ([`Appended::require_safe`]): their writers have to put them again, into a new file.
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::staging::file::{StagingFile, record_len};
use crate::staging::row::{Place, first_file, member_of_file};
use crate::{ChunkId, Error, Result, steps};

/// A file is full at this many bytes.
const FILE_MAX: u64 = 256 << 20;

/// The file that is written, and where its next record goes.
struct Current {
    file: Arc<StagingFile>,
    end: u64,
}

/// The set of staging files.
pub(crate) struct Files {
    directory: PathBuf,
    /// Whose files they are: their numbers say so.
    member: u16,
    all: RwLock<BTreeMap<u64, Arc<StagingFile>>>,
    current: Mutex<Option<Current>>,
    /// Records written, and how many of them the last sync covered.
    written: AtomicU64,
    synced: AtomicU64,
    /// Held by the sync under way itself: whoever asked for it may go away before it has ended.
    syncing: Arc<tokio::sync::Mutex<()>>,
    /// What goes wrong, in tests.
    #[cfg(test)]
    pub(crate) broken: Broken,
}

/// A disk that fails on demand.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Broken {
    /// Writes fail.
    pub writes: std::sync::atomic::AtomicBool,
    /// Syncs fail.
    pub syncs: std::sync::atomic::AtomicBool,
    /// Reads of the records of these chunks fail.
    pub reads: Mutex<std::collections::BTreeSet<ChunkId>>,
}

#[cfg(test)]
impl Broken {
    fn check(switch: &std::sync::atomic::AtomicBool) -> io::Result<()> {
        if switch.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(nix::errno::Errno::EIO as i32));
        }
        Ok(())
    }
}

/// A record that was appended: where it lies, and its number.
#[derive(Clone, Debug)]
pub(crate) struct Appended {
    pub file: Arc<StagingFile>,
    pub offset: u64,
    record: u64,
}

impl Appended {
    /// As rows name it.
    pub(crate) fn place(&self) -> Place {
        Place::File {
            file: self.file.number,
            offset: self.offset,
        }
    }

    /// Fails when the record may have been lost by a failed sync. Asked before a row names it.
    pub(crate) fn require_safe(&self) -> Result<()> {
        if self.file.may_have_lost(self.record) {
            return Err(Error::Disk(
                "the disk lost a staged chunk that was not durable yet; write it again".into(),
            ));
        }
        Ok(())
    }
}

impl Files {
    /// Opens `directory` with the files that `member` has in it. Nothing counts as live yet. Files of another one,
    /// which this gateway may have been before its identity was lost, are left alone.
    pub(crate) fn open(directory: &Path, member: u16) -> Result<Self> {
        let mut all = BTreeMap::new();
        meta::directory::make(directory).map_err(|error| disk(&error))?;
        for entry in std::fs::read_dir(directory).map_err(|error| disk(&error))? {
            let name = entry.map_err(|error| disk(&error))?.file_name();
            if let Some(number) = name.to_str().and_then(StagingFile::number_of)
                && member_of_file(number) == member
            {
                let file = StagingFile::open(directory, number).map_err(|error| disk(&error))?;
                all.insert(number, Arc::new(file));
            }
        }
        Ok(Self {
            directory: directory.to_owned(),
            member,
            all: RwLock::new(all),
            current: Mutex::new(None),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            syncing: Arc::default(),
            #[cfg(test)]
            broken: Broken::default(),
        })
    }

    /// Appends a record. It counts as live. Blocks on the disk.
    pub(crate) fn append(&self, chunk: ChunkId, frame: &[u8]) -> Result<Appended> {
        steps::reach(steps::STAGING_APPEND)?;
        let len = record_len(frame.len());
        let (file, offset) = {
            let mut current = self.current.lock();
            if current
                .as_ref()
                .is_none_or(|current| current.end + len > FILE_MAX || current.file.has_failed())
            {
                steps::reach(steps::STAGING_CREATE)?;
                // The id of its first chunk; more when that one was in staging before.
                let last = self.all.read().keys().next_back().copied();
                let first = first_file(self.member) | chunk.0;
                let number = first.max(last.map_or(0, |last| last + 1));
                let file = StagingFile::create(&self.directory, number).map_err(|error| disk(&error))?;
                let file = Arc::new(file);
                self.all.write().insert(file.number, file.clone());
                if let Some(full) = current.replace(Current { file, end: 0 }) {
                    self.delete_if_dead(&full.file, &mut current);
                }
            }
            let current = current.as_mut().expect("was just put there");
            let offset = current.end;
            current.end += len;
            current.file.live.fetch_add(len, Ordering::SeqCst);
            (current.file.clone(), offset)
        };
        let written = self.break_write().and_then(|()| file.write(offset, chunk, frame));
        match written {
            Ok(()) => Ok(Appended {
                file,
                offset,
                record: self.written.fetch_add(1, Ordering::SeqCst),
            }),
            Err(error) => {
                self.leave(&file);
                self.discount(file.number, len);
                Err(disk(&error))
            }
        }
    }

    /// Writes no more to `file`: what it holds stays, the next record begins another one.
    fn leave(&self, file: &StagingFile) {
        let mut current = self.current.lock();
        if current
            .as_ref()
            .is_some_and(|current| current.file.number == file.number)
        {
            *current = None;
        }
        self.delete_if_dead(file, &mut current);
    }

    /// Makes every record that was appended before the call durable. Callers share one sync: the
    /// first syncs for all that are there, the others find it done, and learn from
    /// [`Self::require_safe`] whether it failed in their file.
    pub(crate) async fn sync(self: &Arc<Self>) -> Result<()> {
        let wanted = self.written.load(Ordering::SeqCst);
        if self.synced.load(Ordering::SeqCst) >= wanted {
            return Ok(());
        }
        let syncing = self.syncing.clone().lock_owned().await;
        if self.synced.load(Ordering::SeqCst) >= wanted {
            return Ok(());
        }
        let files = self.clone();
        let result = tokio::task::spawn_blocking(move || {
            let _syncing = syncing;
            files.sync_now()
        })
        .await;
        match result {
            Ok(result) => result.map_err(|error| disk(&error)),
            Err(_) => Err(Error::ShuttingDown),
        }
    }

    /// Every file is synced, those behind one that fails too. The first error is answered.
    fn sync_now(&self) -> io::Result<()> {
        let covered = self.written.load(Ordering::SeqCst);
        let before = self.synced.load(Ordering::SeqCst);
        let written = |file: &&Arc<StagingFile>| file.is_dirty() && !file.has_failed();
        let files: Vec<_> = self.all.read().values().filter(written).cloned().collect();
        let mut first = Ok(());
        for file in files {
            let synced = self.sync_file(&file, before);
            if let Err(error) = synced {
                tracing::error!(file = file.number, %error, "staging cannot be synced; what was not durable in this file has to be written again");
                self.leave(&file);
                if first.is_ok() {
                    first = Err(error);
                }
            }
        }
        // What was lost is known by its file; all else is durable.
        self.synced.store(covered, Ordering::SeqCst);
        first
    }

    fn sync_file(&self, file: &StagingFile, before: u64) -> io::Result<()> {
        let result = self.break_sync().and_then(|()| file.sync());
        if result.is_err() {
            file.fail(before);
        }
        result.and_then(|()| steps::STAGING_SYNCED.reach())
    }

    /// Where tests have a write fail.
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)] // outside tests there is nothing to look at
    fn break_write(&self) -> io::Result<()> {
        #[cfg(test)]
        Broken::check(&self.broken.writes)?;
        Ok(())
    }

    /// Where tests have the read of a record fail.
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, unused_variables)] // as above
    fn break_read(&self, chunk: ChunkId) -> io::Result<()> {
        #[cfg(test)]
        if self.broken.reads.lock().contains(&chunk) {
            return Err(io::Error::from_raw_os_error(nix::errno::Errno::EIO as i32));
        }
        Ok(())
    }

    /// Where tests have a sync fail.
    #[allow(clippy::unused_self)] // outside tests there is nothing to look at
    fn break_sync(&self) -> io::Result<()> {
        #[cfg(test)]
        Broken::check(&self.broken.syncs)?;
        steps::STAGING_SYNC.reach()
    }

    /// The frame of `chunk` in the record at `offset` of `file`. `Ok(None)` when the file is gone.
    /// Blocks on the disk.
    pub(crate) fn read(
        &self,
        file: u64,
        offset: u64,
        chunk: ChunkId,
        frame_len: u32,
    ) -> Result<Option<Bytes>> {
        let Some(file) = self.get(file) else {
            return Ok(None);
        };
        match self
            .break_read(chunk)
            .and_then(|()| file.read(offset, chunk, frame_len))
        {
            Ok(frame) => Ok(Some(frame)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::error!(chunk = chunk.0, file = file.number, offset, %error, "staged record is damaged");
                Err(Error::Damaged(chunk))
            }
            Err(error) => Err(disk(&error)),
        }
    }

    /// As [`Self::read`], written to `room`; false when the file is gone or holds something else.
    pub(crate) fn read_into(&self, file: u64, offset: u64, chunk: ChunkId, room: &mut [u8]) -> Result<bool> {
        let Some(file) = self.get(file) else {
            return Ok(false);
        };
        match self
            .break_read(chunk)
            .and_then(|()| file.read_into(offset, chunk, room))
        {
            Ok(()) => Ok(true),
            // Whoever reads it the other way says what is wrong with it.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(false),
            Err(error) => Err(disk(&error)),
        }
    }

    /// Gives the disk space of a record back. Blocks on the disk.
    pub(crate) fn punch(&self, file: u64, offset: u64, len: u64) {
        let Some(file) = self.get(file) else { return };
        if let Err(error) = file.punch(offset, len) {
            tracing::warn!(file = file.number, offset, %error, "staging space cannot be given back before its file goes");
        }
    }

    /// Counts `len` bytes of `file` as needed.
    pub(crate) fn count(&self, file: u64, len: u64) -> bool {
        let found = self.get(file);
        if let Some(file) = &found {
            file.live.fetch_add(len, Ordering::SeqCst);
        }
        found.is_some()
    }

    /// Counts `len` bytes of `file` as not needed any more, and deletes it when none are.
    pub(crate) fn discount(&self, file: u64, len: u64) {
        let Some(file) = self.get(file) else { return };
        file.live.fetch_sub(len, Ordering::SeqCst);
        self.delete_if_dead(&file, &mut self.current.lock());
    }

    /// Deletes every file that nothing needs.
    pub(crate) fn delete_dead(&self) {
        let mut current = self.current.lock();
        let all: Vec<_> = self.all.read().values().cloned().collect();
        for file in all {
            self.delete_if_dead(&file, &mut current);
        }
    }

    /// Number of files.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.all.read().len()
    }

    fn get(&self, number: u64) -> Option<Arc<StagingFile>> {
        self.all.read().get(&number).cloned()
    }

    /// Called with `current` locked, so that no record can be reserved in between.
    fn delete_if_dead(&self, file: &StagingFile, current: &mut Option<Current>) {
        if file.live.load(Ordering::SeqCst) > 0 {
            return;
        }
        current.take_if(|current| current.file.number == file.number);
        if self.all.write().remove(&file.number).is_some()
            && let Err(error) = file.delete()
        {
            tracing::warn!(file = file.number, %error, "dead staging file stays until the next start");
        }
    }
}

/// An error of the local disk, as callers see it.
pub(crate) fn disk(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::StagingFull {
            retry_after: std::time::Duration::from_secs(30),
        },
        _ => Error::Disk(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_sync_whose_caller_went_away_still_keeps_others_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(Files::open(dir.path(), 0).unwrap());
        files.append(ChunkId(1), &[1; 100]).unwrap();
        {
            // Keeps the sync from getting anywhere.
            let _held = files.all.write();
            let mut cancelled = Box::pin(files.sync());
            assert!(cancelled.as_mut().now_or_never().is_none());
            drop(cancelled);
            // Another would find the file clean, and acknowledge what is not on disk yet.
            assert!(files.syncing.try_lock().is_err());
        }
        files.sync().await.unwrap();
        assert_eq!(files.synced.load(Ordering::SeqCst), 1);
    }
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_failed_sync_loses_what_it_was_to_cover_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(Files::open(dir.path(), 0).unwrap());
        let safe = files.append(ChunkId(1), &[1; 100]).unwrap();
        files.sync().await.unwrap();
        let lost = files.append(ChunkId(2), &[2; 100]).unwrap();
        files.broken.syncs.store(true, Ordering::SeqCst);
        assert!(matches!(files.sync().await, Err(Error::Disk(_))));
        files.broken.syncs.store(false, Ordering::SeqCst);
        // One that comes late finds the sync done, and its record lost.
        files.sync().await.unwrap();
        assert!(safe.require_safe().is_ok());
        assert!(lost.require_safe().is_err());
        // Written again it lies in another file.
        let again = files.append(ChunkId(3), &[2; 100]).unwrap();
        assert_ne!(again.file.number, lost.file.number);
        files.sync().await.unwrap();
        assert!(again.require_safe().is_ok());
        assert!(lost.require_safe().is_err());
        assert_eq!(
            files
                .read(safe.file.number, safe.offset, ChunkId(1), 100)
                .unwrap()
                .unwrap(),
            [1; 100].as_slice()
        );
    }

    #[test]
    fn a_failed_write_takes_nothing_and_the_next_file_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path(), 0).unwrap();
        let first = files.append(ChunkId(1), &[1; 100]).unwrap();
        files.broken.writes.store(true, Ordering::SeqCst);
        assert!(matches!(files.append(ChunkId(2), &[2; 100]), Err(Error::Disk(_))));
        files.broken.writes.store(false, Ordering::SeqCst);
        let next = files.append(ChunkId(3), &[3; 100]).unwrap();
        assert_ne!(next.file.number, first.file.number);
        assert_eq!(files.len(), 2);
        files.discount(first.file.number, record_len(100));
        assert_eq!(files.len(), 1, "nothing but the first record needed its file");
    }
}
