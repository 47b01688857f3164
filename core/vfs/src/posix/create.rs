//! Making inodes.
use meta::{Durability, Transaction};

use crate::schema::InodeRecord;
use crate::version::History;
use crate::vfs::Core;
use crate::{
    Attr, Creator, Error, InodeNo, Kind, Result, Timestamp, Vfs, bucket, clock, dentry, inode, trash,
};

/// Longest target of a symlink (PATH_MAX with its NUL).
const TARGET_MAX: usize = 4095;
/// Set-group-ID: on a directory, what is made in it gets its group.
const SETGID: u32 = 0o2000;

/// What POSIX wants made.
#[derive(Clone)]
struct New {
    parent: InodeNo,
    name: Vec<u8>,
    kind: Kind,
    rdev: u32,
    target: Vec<u8>,
    creator: Creator,
}

impl Vfs {
    /// Makes a directory (in the root: a bucket).
    pub async fn mkdir(&self, parent: InodeNo, name: &[u8], creator: Creator) -> Result<Attr> {
        if parent == InodeNo::ROOT {
            let new = bucket::NewBucket::default();
            return bucket::make(&self.core, name, Some(creator), new, Durability::Buffered).await;
        }
        self.create(New {
            parent,
            name: name.to_vec(),
            kind: Kind::Directory,
            rdev: 0,
            target: Vec::new(),
            creator,
        })
        .await
    }

    /// Makes a file, fifo, socket or device node.
    pub async fn mknod(
        &self,
        parent: InodeNo,
        name: &[u8],
        kind: Kind,
        rdev: u32,
        creator: Creator,
    ) -> Result<Attr> {
        if matches!(kind, Kind::Directory | Kind::Symlink) {
            return Err(Error::Invalid("mknod makes neither directories nor symlinks"));
        }
        self.create(New {
            parent,
            name: name.to_vec(),
            kind,
            rdev,
            target: Vec::new(),
            creator,
        })
        .await
    }

    /// Makes a symlink.
    pub async fn symlink(
        &self,
        parent: InodeNo,
        name: &[u8],
        target: &[u8],
        creator: Creator,
    ) -> Result<Attr> {
        if target.len() > TARGET_MAX {
            return Err(Error::NameTooLong);
        }
        if target.is_empty() || target.contains(&0) {
            return Err(Error::InvalidName("target of a symlink"));
        }
        let creator = Creator {
            mode: 0o777,
            ..creator
        };
        let target = target.to_vec();
        self.create(New {
            parent,
            name: name.to_vec(),
            kind: Kind::Symlink,
            rdev: 0,
            target,
            creator,
        })
        .await
    }

    /// Target of a symlink.
    pub async fn readlink(&self, ino: InodeNo) -> Result<Vec<u8>> {
        let record = self.core.current_record(ino)?;
        if record.kind == Kind::Symlink {
            Ok(record.target)
        } else {
            Err(Error::Invalid("not a symlink"))
        }
    }

    async fn create(&self, new: New) -> Result<Attr> {
        Core::writable(new.parent)?;
        let ino = self.core.new_inodes(1).await?;
        let (core, now) = (self.core.clone(), clock::now());
        let record = self
            .core
            .write_short(Durability::Buffered, move |tx| create(tx, &core, ino, &new, now))
            .await?;
        self.core.count_inodes(1);
        Ok(inode::attr(ino, &record))
    }
}

fn create(
    tx: &mut dyn Transaction,
    core: &Core,
    ino: InodeNo,
    new: &New,
    now: Timestamp,
) -> Result<InodeRecord> {
    let mut parent = inode::live_directory(&*tx, new.parent)?;
    let suffix = dentry::free_name(&*tx, new.parent, &new.name, new.kind)?;
    if new.parent == InodeNo::ROOT {
        // Only buckets live there.
        return Err(Error::NotPermitted);
    }
    trash::refuse(&*tx, new.parent, &parent)?;
    let Creator {
        uid,
        mut gid,
        mut mode,
    } = new.creator;
    if parent.mode & SETGID != 0 {
        gid = parent.gid;
        if new.kind == Kind::Directory {
            mode |= SETGID;
        }
    }
    let mut record = inode::new(new.kind, mode, uid, gid, parent.domain, now);
    record.rdev = new.rdev;
    record.target.clone_from(&new.target);
    record.mtime_is_posix = true;
    let place = (new.parent, parent.quota);
    dentry::attach_counted(tx, place, &suffix, ino, &mut record)?;
    if new.kind == Kind::Directory {
        record.explicit = true;
        parent.nlink += 1;
        inode::put(tx, new.parent, &parent)?;
    } else {
        record.nlink = 1;
    }
    if new.kind == Kind::File
        && let Some(history) = History::at(&*tx, parent.domain, new.parent, &suffix)?
    {
        history.arrive(tx, &core.nodes, ino, now)?;
    }
    inode::put(tx, ino, &record)?;
    inode::touch_directory(tx, new.parent, now)?;
    Ok(record)
}
