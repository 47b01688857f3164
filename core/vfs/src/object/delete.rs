//! Deleting objects.
use meta::{Read, Transaction};

use super::key::{Found, Key, find, leaf};
use super::place;
use crate::schema::InodeRecord;
use crate::version::History;
use crate::vfs::Core;
use crate::{
    Deleted, Error, InodeNo, Kind, Precondition, Result, Timestamp, Vfs, dentry, extent, inode, posix,
    snapshot, trash, version, xattrs,
};

impl Vfs {
    /// Removes an object; in a versioned bucket it leaves a delete marker. Answers whether there was
    /// one. A precondition that wants an object is `NotFound` without one.
    pub async fn delete_object(&self, bucket: &str, key: &[u8], precondition: Precondition) -> Result<bool> {
        let deleted = self.delete_version(bucket, key, None, precondition).await?;
        Ok(deleted.existed)
    }
}

/// Removes the present object of a key.
pub(crate) fn delete(
    tx: &mut dyn Transaction,
    core: &Core,
    bucket: InodeNo,
    key: &Key,
    precondition: &Precondition,
    now: Timestamp,
) -> Result<Deleted> {
    snapshot::refuse_change(&*tx, &core.known, bucket, key.bytes())?;
    let history = History::of(&*tx, bucket, key.bytes())?;
    let found = find(&*tx, bucket, key)?;
    match place::check(tx, core, found.map(|found| found.ino), precondition) {
        Err(Error::NotFound) if has_marker(&*tx, bucket, key)? => place::check_marker(precondition)?,
        checked => checked?,
    }
    let existed = match found {
        Some(found) => remove(tx, core, bucket, key, history.as_ref(), found, now)?,
        None => false,
    };
    let marker = match history {
        Some(history) => Some(history.mark(tx, &core.nodes, now)?),
        None => None,
    };
    Ok(Deleted {
        existed,
        version: marker,
        marker: marker.is_some(),
    })
}

/// Whether a delete marker is what there is of the key.
fn has_marker(read: &(impl Read + ?Sized), bucket: InodeNo, key: &Key) -> Result<bool> {
    let newest = version::row::newest(read, bucket, key.bytes())?;
    Ok(newest.is_some_and(|newest| newest.record.is_marker()))
}

/// Takes the key from what it leads to; answers whether that is an object.
fn remove(
    tx: &mut dyn Transaction,
    core: &Core,
    bucket: InodeNo,
    key: &Key,
    history: Option<&History>,
    found: Found,
    now: Timestamp,
) -> Result<bool> {
    let mut record = inode::get(&*tx, found.ino)?;
    if !place::is_object(&record) {
        return Ok(false);
    }
    refuse_attached(&*tx, core, found.ino, &record)?;
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
        return Ok(true);
    }
    let kept = match history {
        Some(history) => history.keep(tx, found.parent, leaf(key), found.ino, now)?,
        None => false,
    };
    if !kept && !trash::keep(tx, found.parent, leaf(key), found.ino, now)? {
        posix::remove::remove_file(tx, &core.nodes, found.parent, leaf(key), found.ino, now)?;
    }
    inode::touch_directory(tx, found.parent, now)?;
    prune(tx, core, bucket, found.parent, now)?;
    Ok(true)
}

/// `Busy` for a volume that is attached.
pub(crate) fn refuse_attached(
    read: &dyn Read,
    core: &Core,
    ino: InodeNo,
    record: &InodeRecord,
) -> Result<()> {
    if record.fixed_size && core.is_attached(read, ino)? {
        return Err(Error::Busy("attached as a block device"));
    }
    Ok(())
}

/// Removes `directory` and the directories above it, as long as they are implicit and empty.
pub(crate) fn prune(
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
