//! Listing what lies in the trash, and bringing it back.
use meta::{Durability, Transaction};
use serde::{Deserialize, Serialize};

use super::row::{self, Trashed};
use crate::buffer::Nodes;
use crate::object::Key;
use crate::object::place::make_directories;
use crate::schema;
use crate::version::History;
use crate::{Error, InodeNo, Kind, Result, Timestamp, Vfs, bucket, clock, dentry, inode, quota};

/// Entries restored between two looks at the table.
const BATCH: usize = 100;

/// Something in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashEntry {
    /// The key that it had.
    pub key: String,
    /// The key that it has now: `.trash/…`.
    pub now: String,
    /// When it was deleted: nanoseconds since 1970-01-01 UTC.
    pub deleted: Timestamp,
    /// Bytes.
    pub size: u64,
}

/// What restoring did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Entries that have their key again.
    pub restored: u64,
    /// Entries that stay in the trash because something else has their key; the first of those keys.
    pub taken: u64,
    /// One of the keys that are taken.
    pub first_taken: Option<String>,
}

/// Whether an entry is asked for: by its old key, by a directory (`…/`, or nothing for all), or by
/// the name that it has in the trash.
fn is_meant(entry: &Trashed, name: &[u8], wanted: &[u8]) -> bool {
    if wanted.is_empty() || wanted.ends_with(b"/") {
        entry.key.starts_with(wanted)
    } else {
        entry.key == wanted || name == wanted.strip_prefix(row::NAME).unwrap_or(wanted)
    }
}

impl Vfs {
    /// What lies in a bucket's trash, the newest first, at most `max`: what `wanted` names, which is a
    /// key as it was, a directory of such keys (`…/`, or nothing for all), or an entry by its name in
    /// the trash.
    pub async fn trashed(&self, bucket: &str, wanted: &[u8], max: usize) -> Result<Vec<TrashEntry>> {
        let snapshot = self.core.snapshot()?;
        let bucket = bucket::find(&*snapshot, bucket)?;
        let mut found = Vec::new();
        for entry in row::newest(&*snapshot, bucket, None)? {
            if found.len() == max {
                break;
            }
            let entry = entry?;
            let Some(record) = inode::load_timeless(&*snapshot, entry.ino)? else {
                continue;
            };
            if is_meant(&entry, &record.name, wanted) {
                let now = [row::NAME, &record.name].concat();
                found.push(TrashEntry {
                    key: String::from_utf8_lossy(&entry.key).into_owned(),
                    now: String::from_utf8_lossy(&now).into_owned(),
                    deleted: entry.at,
                    size: record.size,
                });
            }
        }
        Ok(found)
    }

    /// Gives what `wanted` names ([`Self::trashed`]) its key back, directories included. Of several that
    /// had one key the newest gets it; a key that is taken stays as it is. `NotFound` when nothing is
    /// named. Durable when it returns.
    pub async fn restore(&self, bucket: &str, wanted: &[u8]) -> Result<Restored> {
        let bucket = bucket::find(&*self.core.snapshot()?, bucket)?;
        let (mut done, mut met, mut last) = (Restored::default(), false, None::<Trashed>);
        loop {
            let (batch, next) = {
                let snapshot = self.core.snapshot()?;
                let mut batch = Vec::new();
                let mut next = None;
                for entry in row::newest(&*snapshot, bucket, last.as_ref())? {
                    let entry = entry?;
                    let name = inode::load_timeless(&*snapshot, entry.ino)?.map(|record| record.name);
                    if name.is_some_and(|name| is_meant(&entry, &name, wanted)) {
                        batch.push((entry.ino, entry.key.clone()));
                    }
                    let full = batch.len() == BATCH;
                    next = Some(entry);
                    if full {
                        break;
                    }
                }
                (batch, next)
            };
            let Some(next) = next else { break };
            last = Some(next);
            for (ino, key) in batch {
                met = true;
                match self.restore_one(bucket, ino, &key).await {
                    Ok(true) => done.restored += 1,
                    Ok(false) => {}
                    Err(Error::Exists | Error::NotDirectory) => {
                        done.taken += 1;
                        let key = String::from_utf8_lossy(&key).into_owned();
                        done.first_taken.get_or_insert(key);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        if !met {
            return Err(Error::NotFound);
        }
        self.core.meta.sync().await?;
        Ok(done)
    }

    /// Answers whether it was still there.
    async fn restore_one(&self, bucket: InodeNo, ino: InodeNo, key: &[u8]) -> Result<bool> {
        let key = Key::of_path(key);
        let spare = self.core.new_inodes(key.depth()).await?;
        let (nodes, now) = (self.core.nodes.clone(), clock::now());
        let made = self
            .core
            .write(Durability::Buffered, move |tx| {
                restore(tx, &nodes, bucket, ino, &key, spare, now)
            })
            .await?;
        self.core.count_inodes(made.unwrap_or(0));
        Ok(made.is_some())
    }
}

/// Answers how many directories it made; `None` when the entry is not in the trash any more.
fn restore(
    tx: &mut dyn Transaction,
    nodes: &Nodes,
    bucket: InodeNo,
    ino: InodeNo,
    key: &Key,
    spare: InodeNo,
    now: Timestamp,
) -> Result<Option<i64>> {
    if !row::forget(tx, bucket, ino)? {
        return Ok(None);
    }
    let mut record = inode::get(&*tx, ino)?;
    let trash = record.parent;
    let mut made = 0;
    let (parent, taken) = make_directories(tx, bucket, key, spare, now, &mut made)?;
    if taken.is_some() {
        return Err(Error::Exists);
    }
    let leaf = key
        .suffixes()
        .last()
        .ok_or_else(|| schema::damaged("an empty key"))?;
    let from = quota::of_directory(&*tx, trash)?;
    let to = quota::of_directory(&*tx, parent)?;
    quota::adopt(tx, ino, &mut record, from, to)?;
    let name = record.name.clone();
    dentry::detach(tx, trash, &name, ino, &mut record)?;
    dentry::attach(tx, parent, leaf, ino, &mut record)?;
    record.ctime = now;
    inode::put(tx, ino, &record)?;
    if record.kind == Kind::File
        && let Some(history) = History::of(&*tx, bucket, key.bytes())?
    {
        history.arrive(tx, nodes, ino, now)?;
    }
    inode::touch_directory(tx, trash, now)?;
    inode::touch_directory(tx, parent, now)?;
    Ok(Some(made))
}
