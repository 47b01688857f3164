//! All staging files, and the one that is written.
//!
//! A new file is begun at every start and whenever the current one is full, so a file that a crash
//! may have torn is never appended to. A file is deleted when nothing in it is needed any more, the
//! one that is written included: holes punched for its records leave their last blocks.
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::staging::file::{StagingFile, record_len};
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
    all: RwLock<BTreeMap<u64, Arc<StagingFile>>>,
    current: Mutex<Option<Current>>,
    /// Records written, and how many of them the last sync covered.
    written: AtomicU64,
    synced: AtomicU64,
    /// Held by the sync under way itself: whoever asked for it may go away before it has ended.
    syncing: Arc<tokio::sync::Mutex<()>>,
    failed: AtomicBool,
}

impl Files {
    /// Opens `directory` with the files that are in it. Nothing counts as live yet.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let mut all = BTreeMap::new();
        meta::directory::make(directory).map_err(|error| disk(&error))?;
        for entry in std::fs::read_dir(directory).map_err(|error| disk(&error))? {
            let name = entry.map_err(|error| disk(&error))?.file_name();
            if let Some(number) = name.to_str().and_then(StagingFile::number_of) {
                let file = StagingFile::open(directory, number).map_err(|error| disk(&error))?;
                all.insert(number, Arc::new(file));
            }
        }
        Ok(Self {
            directory: directory.to_owned(),
            all: RwLock::new(all),
            current: Mutex::new(None),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            syncing: Arc::default(),
            failed: AtomicBool::new(false),
        })
    }

    /// Appends a record; answers the file and the offset. It counts as live. Blocks on the disk.
    pub(crate) fn append(&self, chunk: ChunkId, frame: &[u8]) -> Result<(u64, u64)> {
        self.check()?;
        steps::reach(steps::STAGING_APPEND)?;
        let len = record_len(frame.len());
        let (file, offset) = {
            let mut current = self.current.lock();
            if current
                .as_ref()
                .is_none_or(|current| current.end + len > FILE_MAX)
            {
                steps::reach(steps::STAGING_CREATE)?;
                // The id of its first chunk: like those, it never comes twice.
                let file = StagingFile::create(&self.directory, chunk.0).map_err(|error| disk(&error))?;
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
        match file.write(offset, chunk, frame) {
            Ok(()) => {
                self.written.fetch_add(1, Ordering::SeqCst);
                Ok((file.number, offset))
            }
            Err(error) => {
                self.discount(file.number, len);
                Err(disk(&error))
            }
        }
    }

    /// Makes every record that was appended before the call durable. Callers share one sync: the
    /// first syncs for all that are there, the others find it done.
    pub(crate) async fn sync(self: &Arc<Self>) -> Result<()> {
        self.check()?;
        let wanted = self.written.load(Ordering::SeqCst);
        if self.synced.load(Ordering::SeqCst) >= wanted {
            return Ok(());
        }
        let syncing = self.syncing.clone().lock_owned().await;
        self.check()?;
        if self.synced.load(Ordering::SeqCst) >= wanted {
            return Ok(());
        }
        let files = self.clone();
        let covered = self.written.load(Ordering::SeqCst);
        let result = tokio::task::spawn_blocking(move || {
            let _syncing = syncing;
            let all: Vec<_> = files.all.read().values().cloned().collect();
            let result = steps::STAGING_SYNC
                .reach()
                .and_then(|()| all.iter().try_for_each(|file| file.sync()))
                .and_then(|()| steps::STAGING_SYNCED.reach());
            match &result {
                Ok(()) => files.synced.store(covered, Ordering::SeqCst),
                Err(error) => {
                    // The kernel may have dropped the pages: a later success would prove nothing.
                    tracing::error!(%error, "staging sync failed; nothing is accepted until a restart");
                    files.failed.store(true, Ordering::SeqCst);
                }
            }
            result
        })
        .await;
        match result {
            Ok(result) => result.map_err(|error| disk(&error)),
            Err(_) => Err(Error::ShuttingDown),
        }
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
        match file.read(offset, chunk, frame_len) {
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
        match file.read_into(offset, chunk, room) {
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

    /// Whether a sync has failed: then nothing new may be acknowledged.
    pub(crate) fn check(&self) -> Result<()> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(Error::Disk(
                "an earlier sync of staging failed; restart when the disk is well".into(),
            ));
        }
        Ok(())
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
        let files = Arc::new(Files::open(dir.path()).unwrap());
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
}
