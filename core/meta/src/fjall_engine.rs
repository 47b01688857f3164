//! The default engine: fjall's optimistic transactions.
//!
//! fjall checks at commit what a transaction read (single keys and whole ranges) against what others
//! committed since it began; its log lives in one journal. It can sync that journal as part of a
//! commit, but does so under the journal's lock, one transaction after the other. So commits here
//! only reach the operating system, and [`Engine::sync`] syncs the journal for all of them at once.
use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use fjall::{
    KeyspaceCreateOptions, OptimisticTxDatabase, OptimisticTxKeyspace, PersistMode, Readable, Snapshot,
};

use crate::engine::{KEY_MAX, VALUE_MAX};
use crate::{Engine, Error, KeyValue, Read, Result, Transaction, directory};

mod journals;
mod scour;

/// Size at which the table of recent writes in memory is written out. Bounds how much of the
/// journal a restart replays.
const MEMTABLE_BYTES: u64 = 32 << 20;
/// Threads that write tables out and merge them. Two keep merging from delaying writing out.
const WORKERS: usize = 2;

/// fjall 3 in a directory of its own.
pub struct FjallEngine {
    path: PathBuf,
    db: OptimisticTxDatabase,
    rows: OptimisticTxKeyspace,
}

impl FjallEngine {
    /// Opens or creates the database in `path` with a block cache of `cache_bytes`.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self> {
        // Recovery meets whatever the disk holds and asserts some of it: a panic there is damage.
        std::panic::catch_unwind(AssertUnwindSafe(|| {
            let failed = |error: std::io::Error| Error::Engine(format!("{}: {error}", path.display()));
            journals::write_again(path).map_err(failed)?;
            let db = OptimisticTxDatabase::builder(path)
                .cache_size(cache_bytes)
                .worker_threads(WORKERS)
                .open()
                .map_err(from_fjall)?;
            let rows = db
                .keyspace("rows", || {
                    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
                })
                .map_err(from_fjall)?;
            // fjall syncs the names of its files, but not that of a keyspace it makes.
            directory::sync_tree(path).map_err(failed)?;
            Ok(Self {
                path: path.to_owned(),
                db,
                rows,
            })
        }))
        .unwrap_or_else(|_| Err(Error::Damaged(format!("{} cannot be recovered", path.display()))))
    }
}

impl Engine for FjallEngine {
    fn snapshot(&self) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(View {
            snapshot: self.db.read_tx(),
            rows: self.rows.clone(),
        }))
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>> {
        Ok(Box::new(Write {
            tx: self.db.write_tx().map_err(from_fjall)?,
            rows: &self.rows,
        }))
    }

    fn sync(&self) -> Result<()> {
        self.db.persist(PersistMode::SyncData).map_err(from_fjall)
    }

    fn scour(&self) -> Result<()> {
        scour::run(self)
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.db.disk_space().map_err(from_fjall)
    }
}

struct View {
    snapshot: Snapshot,
    rows: OptimisticTxKeyspace,
}

impl Read for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if key.is_empty() {
            return Ok(None);
        }
        Ok(self
            .snapshot
            .get(&self.rows, key)
            .map_err(from_fjall)?
            .map(|value| value.to_vec()))
    }

    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
        if is_empty_range(from, to) {
            return Ok(Box::new(std::iter::empty()));
        }
        Ok(rows(
            self.snapshot.range::<&[u8], _>(&self.rows, (from, to)),
            reverse,
        ))
    }
}

struct Write<'e> {
    tx: fjall::OptimisticWriteTx,
    rows: &'e OptimisticTxKeyspace,
}

impl Read for Write<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if key.is_empty() {
            return Ok(None);
        }
        Ok(self
            .tx
            .get(self.rows, key)
            .map_err(from_fjall)?
            .map(|value| value.to_vec()))
    }

    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
        // fjall's conflict check asserts that bounds do not cross.
        if is_empty_range(from, to) {
            return Ok(Box::new(std::iter::empty()));
        }
        Ok(rows(self.tx.range::<&[u8], _>(self.rows, (from, to)), reverse))
    }
}

impl Transaction for Write<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        check_key(key)?;
        if value.len() > VALUE_MAX {
            return Err(Error::Engine(format!(
                "value of {} bytes, at most {VALUE_MAX}",
                value.len()
            )));
        }
        self.tx.insert(self.rows, key, value);
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        check_key(key)?;
        self.tx.remove(self.rows, key);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<()> {
        match self.tx.commit().map_err(from_fjall)? {
            Ok(()) => Ok(()),
            Err(fjall::Conflict) => Err(Error::Conflict),
        }
    }
}

fn rows<'a>(iter: fjall::Iter, reverse: bool) -> Box<dyn Iterator<Item = Result<KeyValue>> + 'a> {
    let row = |guard: fjall::Guard| {
        let (key, value) = guard.into_inner().map_err(from_fjall)?;
        Ok((key.to_vec(), value.to_vec()))
    };
    if reverse {
        Box::new(iter.rev().map(row))
    } else {
        Box::new(iter.map(row))
    }
}

fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(Error::Engine(format!(
            "key of {} bytes, must be 1..={KEY_MAX}",
            key.len()
        )));
    }
    Ok(())
}

/// Whether no key can lie between the bounds.
fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from >= to
        }
    }
}

fn from_fjall(error: fjall::Error) -> Error {
    match &error {
        fjall::Error::Locked => Error::InUse,
        fjall::Error::JournalRecovery(_)
        | fjall::Error::InvalidVersion(_)
        | fjall::Error::Decompress(_)
        | fjall::Error::InvalidTrailer
        | fjall::Error::InvalidTag(_)
        | fjall::Error::Unrecoverable => Error::Damaged(error.to_string()),
        fjall::Error::Storage(inner) if !matches!(inner, fjall::LsmError::Io(_)) => {
            Error::Damaged(error.to_string())
        }
        _ => Error::Engine(error.to_string()),
    }
}
