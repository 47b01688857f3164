//! The trash: what is deleted from a bucket stays restorable for a time.
//!
//! A bucket that keeps a trash has a directory `.trash/`, an ordinary one but for what may be done
//! with it. Taking the last name of a file through any door moves the file there, with all that it
//! is: the transaction gives it the name `TIME-INODE-NAME` in it, and writes the key that it had to
//! the TRASHED table, whose order is that of the deletions. What leaves the directory by a name (a
//! rename, a deletion for good) leaves the tables in the same transaction.
//!
//! - What goes to the trash: everything but directories, which are empty when they go; a file that is
//!   restored finds its directories made again. What is *replaced* (a PUT or rename over it) does not:
//!   that is what versions are for. In a versioned bucket ([`crate::version`]) what is deleted becomes
//!   a version and stays out of the trash.
//! - A mount shows `.trash`, where everybody can take out what is theirs and nothing can be put in.
//!   S3 reads and deletes `.trash/…` like other keys, and lists them only to who asks for that prefix.
//! - What lies in the trash takes space, and counts to the bucket's quota, no longer to that of its
//!   directory.
//! - A worker deletes what has been there for the retention time. Turning the trash off keeps what
//!   lies in it until it is emptied.
mod entries;
mod row;

use std::sync::Arc;
use std::time::Duration;

use meta::{Durability, Transaction};

pub use self::entries::{Restored, TrashEntry};
use self::row::TrashRecord;
pub(crate) use self::row::{NAME, drop_empty, forget, get, is_trash, keep, refuse};
use crate::schema::{self, TRASH};
use crate::vfs::Core;
use crate::{Error, InodeNo, Kind, Result, Timestamp, Vfs, bucket, clock, dentry, inode, posix};

/// Pause between two looks at what is due.
const TICK: Duration = Duration::from_mins(1);
/// Entries deleted in one transaction.
const BATCH: usize = 100;
/// Who may use the directory: everybody, each for what is theirs.
const MODE: u32 = 0o1777;

impl Vfs {
    /// How long a bucket keeps what is deleted; `None`: not at all.
    pub async fn trash(&self, bucket: &str) -> Result<Option<Duration>> {
        let snapshot = self.core.snapshot()?;
        let bucket = bucket::find(&*snapshot, bucket)?;
        Ok(row::get(&*snapshot, bucket)?
            .and_then(|trash| trash.retention)
            .map(Duration::from_secs))
    }

    /// Sets how long a bucket keeps what is deleted, in whole seconds; `None`: not at all, from now
    /// on. What lies in the trash already is kept for the new time, or until it is emptied. `Exists`
    /// when the bucket has something else of the name `.trash`.
    pub async fn set_trash(&self, bucket: &str, retention: Option<Duration>) -> Result<()> {
        let ino = self.core.new_inodes(1).await?;
        let (name, now) = (bucket.to_owned(), clock::now());
        let retention = retention.map(|time| time.as_secs());
        let made = self
            .core
            .write(Durability::Synced, move |tx| {
                let bucket = bucket::find(&*tx, &name)?;
                let (trash, made) = match row::get(&*tx, bucket)? {
                    Some(known) => (TrashRecord { retention, ..known }, false),
                    None if retention.is_none() => return Ok(false),
                    None => {
                        make(tx, bucket, ino, now)?;
                        (TrashRecord { dir: ino, retention }, true)
                    }
                };
                tx.put(&schema::inode_key(TRASH, bucket), &schema::encode(&trash)?)?;
                Ok(made)
            })
            .await?;
        self.core.count_inodes(i64::from(made));
        Ok(())
    }

    /// Deletes all that lies in a bucket's trash for good. Answers how many entries that were.
    pub async fn empty_trash(&self, bucket: &str) -> Result<u64> {
        let bucket = bucket::find(&*self.core.snapshot()?, bucket)?;
        delete_until(&self.core, bucket, None).await
    }

    /// Deletes what has been in the trash of any bucket for as long as it keeps it, as the worker
    /// `trash` does by itself. Answers how many entries that were.
    pub async fn expire_trash(&self) -> Result<u64> {
        expire(&self.core).await
    }
}

/// Makes the directory.
fn make(tx: &mut dyn Transaction, bucket: InodeNo, ino: InodeNo, now: Timestamp) -> Result<()> {
    let mut record = inode::live_directory(&*tx, bucket)?;
    // In the way is a file of the name, too: the directory would hide it in a mount.
    let name = crate::names::without_slash(NAME);
    if dentry::get(&*tx, bucket, NAME)?.is_some() || dentry::get(&*tx, bucket, name)?.is_some() {
        return Err(Error::Exists);
    }
    let mut dir = inode::new(Kind::Directory, MODE, record.uid, record.gid, bucket.0, now);
    // It does not go with its last entry.
    dir.explicit = true;
    dentry::attach(tx, bucket, NAME, ino, &mut dir)?;
    inode::put(tx, ino, &dir)?;
    record.nlink += 1;
    inode::put(tx, bucket, &record)?;
    inode::touch_directory(tx, bucket, now)
}

/// The background worker.
pub(crate) async fn run(core: Arc<Core>) {
    let worker = core.store.workers().register("trash");
    loop {
        worker.waits(TICK);
        tokio::select! {
            () = core.stopped() => return,
            () = tokio::time::sleep(TICK) => {}
        }
        tokio::select! {
            () = core.stopped() => return,
            () = worker.turn() => {}
        }
        let _work = worker.working("what has been in the trash long enough");
        match expire(&core).await {
            Ok(deleted) => worker.count("entries deleted", deleted),
            Err(error) => {
                worker.failed(&error);
                tracing::warn!(%error, "emptying the trash failed; it will be tried again");
            }
        }
    }
}

async fn expire(core: &Core) -> Result<u64> {
    let now = clock::now();
    let mut trashes = Vec::new();
    for row in schema::scan(&*core.snapshot()?, &[TRASH])? {
        let (key, value) = row?;
        let trash: TrashRecord = schema::decode(&value)?;
        if let Some(retention) = trash.retention {
            let age = i64::try_from(u128::from(retention) * 1_000_000_000).unwrap_or(i64::MAX);
            let until = Timestamp(now.0.saturating_sub(age));
            trashes.push((InodeNo(schema::number_at(&key, 1)?), until));
        }
    }
    let (mut deleted, mut failed) = (0, None);
    for (bucket, until) in trashes {
        match delete_until(core, bucket, Some(until)).await {
            Ok(here) => deleted += here,
            Err(error) => {
                tracing::warn!(%error, bucket = bucket.0, "the trash of a bucket cannot be emptied now");
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(deleted),
    }
}

/// Deletes what came into the trash at `until` or before (`None`: ever).
async fn delete_until(core: &Core, bucket: InodeNo, until: Option<Timestamp>) -> Result<u64> {
    let mut deleted = 0;
    loop {
        let batch: Vec<_> = row::oldest(&*core.snapshot()?, bucket)?
            .take(BATCH)
            .collect::<Result<_>>()?;
        let due: Vec<InodeNo> = batch
            .iter()
            .filter(|entry| until.is_none_or(|until| entry.at <= until))
            .map(|entry| entry.ino)
            .collect();
        if due.is_empty() || core.is_stopping() {
            return Ok(deleted);
        }
        let all = due.len() == BATCH;
        deleted += match delete_all(core, bucket, due.clone()).await {
            Ok(here) => here,
            // One of them cannot be deleted: the others can.
            Err(_) => one_by_one(core, bucket, due).await?,
        };
        core.purge_wanted.notify_one();
        if !all {
            return Ok(deleted);
        }
    }
}

/// Deletes entries one by one. The first failure is told when all were tried.
async fn one_by_one(core: &Core, bucket: InodeNo, entries: Vec<InodeNo>) -> Result<u64> {
    let (mut deleted, mut failed) = (0, None);
    for ino in entries {
        match delete_all(core, bucket, vec![ino]).await {
            Ok(here) => deleted += here,
            Err(error) => {
                tracing::warn!(%error, ino = ino.0, "something in the trash cannot be deleted now");
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(deleted),
    }
}

/// Deletes entries in one transaction. Answers how many were still there.
async fn delete_all(core: &Core, bucket: InodeNo, entries: Vec<InodeNo>) -> Result<u64> {
    let (nodes, now) = (core.nodes.clone(), clock::now());
    core.write(Durability::Buffered, move |tx| {
        let mut deleted = 0;
        for &ino in &entries {
            deleted += u64::from(delete(tx, &nodes, bucket, ino, now)?);
        }
        Ok(deleted)
    })
    .await
}

/// Deletes one entry, if it is still there.
fn delete(
    tx: &mut dyn Transaction,
    nodes: &crate::buffer::Nodes,
    bucket: InodeNo,
    ino: InodeNo,
    now: Timestamp,
) -> Result<bool> {
    if !forget(tx, bucket, ino)? {
        return Ok(false);
    }
    let Some(record) = inode::load_timeless(&*tx, ino)? else {
        return Ok(false);
    };
    posix::remove::remove_file(tx, nodes, record.parent, &record.name, ino, now)?;
    inode::touch_directory(tx, record.parent, now)?;
    Ok(true)
}
