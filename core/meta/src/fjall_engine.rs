//! The default engine: fjall's optimistic transactions.
//!
//! fjall checks at commit what a transaction read (single keys and whole ranges) against what others
//! committed since it began; its log lives in one journal. It can sync that journal as part of a
//! commit, but does so under the journal's lock, one transaction after the other. So commits here
//! only reach the operating system, and [`Engine::sync`] syncs the journal for all of them at once.
//!
//! After a failed write to its disk fjall refuses everything until it is opened anew: [`recovery`].
mod bare;
mod journals;
mod recovery;
mod scour;
mod view;

use std::ops::Bound;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use fjall::{KeyspaceCreateOptions, OptimisticTxDatabase, OptimisticTxKeyspace, PersistMode, Readable};
use parking_lot::{Mutex, RwLock};

pub use self::bare::BareFjall;
use self::recovery::{Attempt, Closed};
use self::view::Views;
use crate::bounds::{check_key, check_value, is_empty_range};
use crate::changes::{Changes, Publisher, Subscribers};
use crate::{Engine, Error, KeyValue, Read, Result, Transaction, directory};

/// Size at which the table of recent writes in memory is written out. Bounds how much of the
/// journal a restart replays.
const MEMTABLE_BYTES: u64 = 32 << 20;
/// Threads that write tables out and merge them. Two keep merging from delaying writing out.
const WORKERS: usize = 2;

/// Views that are closed with each commit. fjall keeps what transactions wrote, for those that began before
/// to be compared with, and every commit goes through all of it to see what it may forget. Up to which
/// transaction that is, it finds out only once in ten thousand closed views (a transaction is one): with
/// none but transactions, a commit would go through five thousand others on average. Closing a view takes
/// a fraction of a microsecond.
const VIEWS_PER_COMMIT: usize = 8;

/// The row that holds the number of the last commit (u64 BE): each commit writes another one, so that
/// two states of the store with the same number are the same.
const COMMIT_KEY: &[u8] = &[0x00, b'n'];

/// fjall 3 in a directory of its own.
pub struct FjallEngine {
    path: PathBuf,
    cache_bytes: u64,
    /// `None` while it is being opened anew, or could not be.
    open: RwLock<Option<Arc<Open>>>,
    /// Who reads it.
    views: Arc<Views>,
    /// Attempts in a row to open it anew that readers stood in the way of.
    held_up: AtomicU32,
    /// What an attempt to open it anew must find.
    closed: Mutex<Option<Closed>>,
    /// Number of the next commit.
    next_commit: AtomicU64,
    /// Held by a commit until its change is published: fjall lets one commit through at a time anyway.
    feed: Mutex<Publisher>,
    /// The commit whose write failed: nobody knows how much of it is in the journal.
    doubtful: Mutex<Option<Attempt>>,
}

/// An open database.
struct Open {
    rows: OptimisticTxKeyspace,
    db: OptimisticTxDatabase,
}

impl FjallEngine {
    /// Opens or creates the database in `path` with a block cache of `cache_bytes`.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self> {
        let open = open(path, cache_bytes)?;
        let last = number(&open)?;
        let engine = Self {
            path: path.to_owned(),
            cache_bytes,
            open: RwLock::new(Some(Arc::new(open))),
            views: Arc::default(),
            held_up: AtomicU32::new(0),
            closed: Mutex::new(None),
            next_commit: AtomicU64::new(last.wrapping_add(1)),
            feed: Mutex::default(),
            doubtful: Mutex::new(None),
        };
        scour::remove_filler(&engine);
        Ok(engine)
    }

    fn current(&self) -> Result<Arc<Open>> {
        let open = self.open.read();
        open.clone()
            .ok_or_else(|| Error::Engine("the metadata cannot be opened again yet".into()))
    }
}

fn open(path: &Path, cache_bytes: u64) -> Result<Open> {
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
        Ok(Open { rows, db })
    }))
    .unwrap_or_else(|_| Err(Error::Damaged(format!("{} cannot be recovered", path.display()))))
}

/// Number of the last commit.
fn number(open: &Open) -> Result<u64> {
    let Some(row) = open.rows.get(COMMIT_KEY).map_err(from_fjall)? else {
        return Ok(0);
    };
    let bytes: [u8; 8] = row[..]
        .try_into()
        .map_err(|_| Error::Damaged("the row of commits has a wrong length".into()))?;
    Ok(u64::from_be_bytes(bytes))
}

impl Engine for FjallEngine {
    fn snapshot(&self) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.views.begin(self.current()?)))
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>> {
        let open = self.current()?;
        Ok(Box::new(Write {
            tx: open.db.write_tx().map_err(from_fjall)?,
            open,
            engine: self,
            keys: Vec::new(),
        }))
    }

    fn sync(&self) -> Result<()> {
        self.current()?
            .db
            .persist(PersistMode::SyncData)
            .map_err(from_fjall)
    }

    fn is_quick(&self) -> bool {
        true
    }

    fn recovers(&self) -> bool {
        true
    }

    fn recover(&self) -> Result<()> {
        recovery::recover(self)
    }

    fn scour(&self) -> Result<()> {
        scour::run(self)
    }

    // A commit holds the feed until it is told.
    fn tells_before_subscribing(&self) -> bool {
        true
    }

    fn subscribe(&self) -> Result<Changes> {
        Ok(self.feed.lock().subscribe())
    }

    fn hand_over(&self) -> Subscribers {
        self.feed.lock().hand_over()
    }

    fn take_over(&self, subscribers: Subscribers) {
        self.feed.lock().take_over(subscribers);
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.current()?.db.disk_space().map_err(from_fjall)
    }
}

// The database closes with the last of these: what holds on to it comes before it.
struct Write<'e> {
    tx: fjall::OptimisticWriteTx,
    open: Arc<Open>,
    engine: &'e FjallEngine,
    /// What it writes to.
    keys: Vec<Vec<u8>>,
}

impl Read for Write<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if key.is_empty() {
            return Ok(None);
        }
        Ok(self
            .tx
            .get(&self.open.rows, key)
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
        Ok(rows(
            self.tx.range::<&[u8], _>(&self.open.rows, (from, to)),
            reverse,
        ))
    }
}

impl Transaction for Write<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        check_key(key)?;
        check_value(value)?;
        self.keys.push(key.to_vec());
        self.tx.insert(&self.open.rows, key, value);
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        check_key(key)?;
        self.keys.push(key.to_vec());
        self.tx.remove(&self.open.rows, key);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let Self {
            mut tx,
            open,
            engine,
            keys,
        } = *self;
        if keys.is_empty() {
            // What it read is one state, and it changes nothing.
            return Ok(());
        }
        let feed = engine.feed.lock();
        let number = engine.next_commit.fetch_add(1, Ordering::Relaxed);
        tx.insert(&open.rows, COMMIT_KEY, number.to_be_bytes());
        match tx.commit() {
            Ok(Ok(())) => {
                feed.publish(number, keys);
                drop(feed);
                for _ in 0..VIEWS_PER_COMMIT {
                    drop(open.db.read_tx());
                }
                Ok(())
            }
            Ok(Err(fjall::Conflict)) => Err(Error::Conflict),
            Err(error) => {
                // One that was refused because another had failed has written nothing.
                if !matches!(error, fjall::Error::Poisoned) {
                    let attempt = Attempt { number, keys };
                    engine.doubtful.lock().get_or_insert(attempt);
                }
                Err(from_fjall(error))
            }
        }
    }
}

fn rows<'a>(iter: fjall::Iter, reverse: bool) -> Box<dyn Iterator<Item = Result<KeyValue>> + 'a> {
    if reverse {
        Box::new(iter.rev().map(row).filter(shown))
    } else {
        Box::new(iter.map(row).filter(shown))
    }
}

fn row(guard: fjall::Guard) -> Result<KeyValue> {
    let (key, value) = guard.into_inner().map_err(from_fjall)?;
    Ok((key.to_vec(), value.to_vec()))
}

/// The number of the last commit is this engine's own.
fn shown(row: &Result<KeyValue>) -> bool {
    !matches!(row, Ok((key, _)) if key == COMMIT_KEY)
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
