//! Removing directories with all below them.
//!
//! One transaction takes the directory's name: nothing below it is found by any path from then on. What
//! it holds goes in the background, name by name, as everything without a name does ([`crate::purge`]).
//! A clone that is folded, or a part of one, goes without its names having ever been taken over.
use meta::{Durability, Transaction};

use crate::object::{Key, find, split_path};
use crate::schema::{self, DENTRY, DentryRecord};
use crate::{
    Error, InodeNo, Kind, Result, Vfs, bucket, clock, clone, dentry, inode, names, posix, purge, snapshot,
    trash, version,
};

impl Vfs {
    /// Removes the directory at `bucket/directory` with all below it, for good: past the trash. Snapshots
    /// keep what they have. Whoever has something of it open keeps that. Durable when it returns. Refused in
    /// a bucket with versions, which keeps what is deleted.
    pub async fn remove_tree(&self, path: &str) -> Result<()> {
        let (bucket, key) = split_path(path.as_bytes())?;
        let key = Key::new(&names::suffix(names::without_slash(key.bytes()), true))?;
        let (core, bucket, now) = (self.core.clone(), bucket.to_owned(), clock::now());
        self.core
            .write(Durability::Synced, move |tx| {
                let bucket = bucket::find(&*tx, &bucket)?;
                if version::row::state(&*tx, bucket)?.is_some() {
                    return Err(Error::Invalid(
                        "the bucket is versioned: delete its objects, which keeps them as versions",
                    ));
                }
                snapshot::refuse_change(&*tx, &core.known, bucket, key.bytes())?;
                let found = find(&*tx, bucket, &key)?.ok_or(Error::NotFound)?;
                let mut record = inode::get(&*tx, found.ino)?;
                trash::refuse(&*tx, found.ino, &record)?;
                let mut parent = inode::live_directory(&*tx, found.parent)?;
                let name = record.name.clone();
                dentry::detach(tx, found.parent, &name, found.ino, &mut record)?;
                record.nlink = 0;
                inode::put(tx, found.ino, &record)?;
                purge::orphan(tx, found.ino)?;
                parent.nlink = parent.nlink.saturating_sub(1);
                inode::put(tx, found.parent, &parent)?;
                posix::remove::emptied_by_mount(tx, found.parent, parent)?;
                inode::touch_directory(tx, found.parent, now)
            })
            .await?;
        self.core.purge_wanted.notify_one();
        Ok(())
    }
}

/// Takes up to `budget` names from a directory that has none itself. What loses its last name with that is
/// an orphan. Answers whether names are left.
pub(crate) fn shed(tx: &mut dyn Transaction, dir: InodeNo, budget: &mut usize) -> Result<bool> {
    clone::fold::let_go(tx, dir)?;
    let rows: Vec<_> = schema::scan(&*tx, &schema::inode_key(DENTRY, dir))?
        .take(*budget)
        .collect::<meta::Result<_>>()?;
    *budget -= rows.len();
    for (key, value) in rows {
        let suffix = key.get(9..).ok_or_else(|| schema::damaged("short dentry key"))?;
        let child = schema::decode::<DentryRecord>(&value)?.ino;
        let Some(mut record) = inode::load(&*tx, child)? else {
            tx.delete(&key)?;
            continue;
        };
        dentry::detach(tx, dir, suffix, child, &mut record)?;
        record.nlink = match record.kind {
            Kind::Directory => 0,
            _ => record.nlink.saturating_sub(1),
        };
        if record.nlink == 0 {
            purge::orphan(tx, child)?;
        }
        inode::put(tx, child, &record)?;
    }
    Ok(*budget == 0)
}
