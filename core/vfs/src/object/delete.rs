//! Deleting objects.
use meta::{Durability, Transaction};

use super::key::{Key, find, leaf};
use super::place;
use crate::vfs::Core;
use crate::{
    Error, InodeNo, Kind, Precondition, Result, Timestamp, Vfs, bucket, clock, dentry, extent, inode, posix,
    snapshot, trash, xattrs,
};

impl Vfs {
    /// Removes an object. Answers whether there was one. `if_match` without an object is `NotFound`.
    pub async fn delete_object(&self, bucket: &str, key: &[u8], precondition: Precondition) -> Result<bool> {
        let key = Key::new(key)?;
        let (bucket, core, now) = (bucket.to_owned(), self.core.clone(), clock::now());
        let found = self
            .core
            .write(Durability::Synced, move |tx| {
                let bucket = bucket::find(&*tx, &bucket)?;
                delete(tx, &core, bucket, &key, &precondition, now)
            })
            .await?;
        self.core.purge_wanted.notify_one();
        self.core.release_wanted.notify_one();
        Ok(found)
    }
}

fn delete(
    tx: &mut dyn Transaction,
    core: &Core,
    bucket: InodeNo,
    key: &Key,
    precondition: &Precondition,
    now: Timestamp,
) -> Result<bool> {
    snapshot::refuse_change(&*tx, &core.known, bucket, key.bytes())?;
    let found = find(&*tx, bucket, key)?;
    place::check(tx, core, found.map(|found| found.ino), precondition)?;
    let Some(found) = found else { return Ok(false) };
    let mut record = inode::get(&*tx, found.ino)?;
    if !place::is_object(&record) {
        return Ok(false);
    }
    if record.fixed_size && core.is_attached(&*tx, found.ino)? {
        return Err(Error::Busy("attached as a block device"));
    }
    if found.kind == Kind::Directory {
        trash::refuse(&*tx, found.ino, &record)?;
        extent::remove(tx, &core.store, found.ino, &(0..u64::MAX))?;
        for (name, _) in xattrs::with_prefix(&*tx, found.ino, xattrs::S3)? {
            xattrs::remove(tx, found.ino, &name)?;
        }
        record.explicit = false;
        record.size = 0;
        record.allocated = 0;
        record.etag = None;
        record.generation += 1;
        inode::put(tx, found.ino, &record)?;
        prune(tx, core, bucket, found.ino, now)?;
    } else {
        if !trash::keep(tx, found.parent, leaf(key), found.ino, now)? {
            posix::remove::remove_file(tx, &core.nodes, found.parent, leaf(key), found.ino, now)?;
        }
        inode::touch_directory(tx, found.parent, now)?;
        prune(tx, core, bucket, found.parent, now)?;
    }
    Ok(true)
}

/// Removes `directory` and the directories above it, as long as they are implicit and empty.
fn prune(
    tx: &mut dyn Transaction,
    core: &Core,
    bucket: InodeNo,
    directory: InodeNo,
    now: Timestamp,
) -> Result<()> {
    let mut at = directory;
    while at != bucket {
        let record = inode::live_directory(&*tx, at)?;
        if record.explicit || !dentry::is_empty(&*tx, at)? {
            return Ok(());
        }
        let above = record.parent;
        posix::remove::remove_directory(tx, &core.nodes, above, &record.name, at, now)?;
        let mut parent = inode::live_directory(&*tx, above)?;
        parent.nlink -= 1;
        inode::put(tx, above, &parent)?;
        inode::touch_directory(tx, above, now)?;
        at = above;
    }
    Ok(())
}
