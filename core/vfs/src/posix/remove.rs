//! Taking names away.
use meta::{Durability, Transaction};

use crate::buffer::Nodes;
use crate::schema::InodeRecord;
use crate::version::History;
use crate::vfs::Core;
use crate::{
    Error, InodeNo, Kind, Result, Timestamp, Vfs, bucket, clock, dentry, inode, object_lock, purge, setting,
    trash, version,
};

impl Vfs {
    /// Removes a non-directory's name; the inode lives until the last [`Self::close`], becomes a
    /// version, or goes to the bucket's trash.
    pub async fn unlink(&self, parent: InodeNo, name: &[u8]) -> Result<()> {
        Core::writable(parent)?;
        let (core, name) = (self.core.clone(), name.to_vec());
        let now = clock::now();
        self.core
            .write_short(Durability::Buffered, move |tx| {
                let directory = inode::live_directory(&*tx, parent)?;
                let entry = dentry::resolve(&*tx, parent, &name)?.ok_or(Error::NotFound)?;
                if entry.kind == Kind::Directory {
                    return Err(Error::IsDirectory);
                }
                let history = match entry.kind {
                    Kind::File => History::at(&*tx, directory.domain, parent, &entry.suffix)?,
                    _ => None,
                };
                let kept = match &history {
                    Some(history) => history.keep(tx, parent, &entry.suffix, entry.ino, now)?,
                    None => false,
                };
                if !kept && !trash::keep(tx, parent, &entry.suffix, entry.ino, now)? {
                    remove_file(tx, &core.nodes, parent, &entry.suffix, entry.ino, now)?;
                }
                if let Some(history) = &history {
                    history.mark(tx, &core.nodes, now)?;
                }
                emptied_by_mount(tx, parent, directory)?;
                inode::touch_directory(tx, parent, now)
            })
            .await?;
        self.core.purge_wanted.notify_one();
        Ok(())
    }

    /// Removes an empty directory.
    pub async fn rmdir(&self, parent: InodeNo, name: &[u8]) -> Result<()> {
        Core::writable(parent)?;
        let (core, name) = (self.core.clone(), name.to_vec());
        let now = clock::now();
        self.core
            .write(Durability::Buffered, move |tx| {
                let mut directory = inode::live_directory(&*tx, parent)?;
                let entry = dentry::resolve(&*tx, parent, &name)?.ok_or(Error::NotFound)?;
                if entry.kind != Kind::Directory {
                    return Err(Error::NotDirectory);
                }
                if parent == InodeNo::ROOT {
                    bucket::without_snapshots(&*tx, entry.ino)?;
                    bucket::drop_uploads(tx, entry.ino)?;
                    version::drop_bucket(tx, entry.ino)?;
                    setting::drop_bucket(tx, entry.ino)?;
                    trash::drop_empty(tx, &core.nodes, entry.ino, now)?;
                }
                if entry.suffix == trash::NAME {
                    let record = inode::live_directory(&*tx, entry.ino)?;
                    trash::refuse(&*tx, entry.ino, &record)?;
                }
                remove_directory(tx, &core.nodes, parent, &entry.suffix, entry.ino, now)?;
                directory.nlink -= 1;
                inode::put(tx, parent, &directory)?;
                emptied_by_mount(tx, parent, directory)?;
                inode::touch_directory(tx, parent, now)
            })
            .await?;
        self.core.purge_wanted.notify_one();
        Ok(())
    }
}

/// Takes a name from a non-directory; the inode is orphaned when it was the last. What is held keeps
/// its names.
pub(crate) fn remove_file(
    tx: &mut dyn Transaction,
    nodes: &Nodes,
    parent: InodeNo,
    suffix: &[u8],
    ino: InodeNo,
    now: Timestamp,
) -> Result<()> {
    let mut record = inode::get(&*tx, ino)?;
    object_lock::refuse(&*tx, ino, &record)?;
    dentry::detach(tx, parent, suffix, ino, &mut record)?;
    record.nlink = record.nlink.saturating_sub(1);
    record.ctime = now;
    if record.nlink == 0 {
        lose(tx, nodes, ino, &mut record)?;
    }
    inode::put(tx, ino, &record)
}

/// Takes its name from an empty directory. The caller counts the links of `parent`.
pub(crate) fn remove_directory(
    tx: &mut dyn Transaction,
    nodes: &Nodes,
    parent: InodeNo,
    suffix: &[u8],
    ino: InodeNo,
    now: Timestamp,
) -> Result<()> {
    if !dentry::is_empty(&*tx, ino)? {
        return Err(Error::NotEmpty);
    }
    let mut record = inode::get(&*tx, ino)?;
    dentry::detach(tx, parent, suffix, ino, &mut record)?;
    record.nlink = 0;
    lose(tx, nodes, ino, &mut record)?;
    inode::put(tx, ino, &record)?;
    inode::put_directory_times(tx, ino, record.mtime, now)
}

/// The inode lost its last name. What nobody has open stops to count for quotas at once, not only
/// when it is purged: whoever deletes to make room has it when the deletion is answered.
pub(crate) fn lose(
    tx: &mut dyn Transaction,
    nodes: &Nodes,
    ino: InodeNo,
    record: &mut InodeRecord,
) -> Result<()> {
    if nodes.opens(ino) == 0 {
        record.quota = InodeNo(0);
    }
    purge::orphan(tx, ino)
}

/// A mount took a name from `parent`: if nothing is left and only S3 implied the directory, it
/// becomes explicit. `record` is the parent's, as far as this transaction changed it.
pub(crate) fn emptied_by_mount(
    tx: &mut dyn Transaction,
    parent: InodeNo,
    mut record: InodeRecord,
) -> Result<()> {
    if !record.explicit && dentry::is_empty(&*tx, parent)? {
        record.explicit = true;
        inode::put(tx, parent, &record)?;
    }
    Ok(())
}
