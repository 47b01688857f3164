//! POSIX operations. Permission checks are the kernel's (`default_permissions`); names are as a
//! mount shows them. Every call here is visible to every door when it returns.
use bytes::Bytes;

use crate::{
    Attr, Creator, DirEntry, DirPosition, ExtentInfo, InodeNo, Kind, Level, RenameFlags, Result, SetAttr,
    StatFs, Vfs, XattrSet,
};

/// What `fallocate` does to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Make sure writes will fit; extend the file unless `keep_size`.
    Reserve {
        /// Leave the size alone.
        keep_size: bool,
    },
    /// Turn the range into a hole; the size stays.
    Punch,
    /// Make the range read as zeroes (a hole here); extend unless `keep_size`.
    Zero {
        /// Leave the size alone.
        keep_size: bool,
    },
}

impl Vfs {
    /// Attributes of the entry `name` in `parent`.
    pub async fn lookup(&self, parent: InodeNo, name: &[u8]) -> Result<Attr> {
        let _ = (parent, name);
        todo!()
    }
    /// The directory that holds the directory `ino` (root: itself).
    pub async fn parent(&self, ino: InodeNo) -> Result<InodeNo> {
        let _ = ino;
        todo!()
    }
    /// Attributes.
    pub async fn getattr(&self, ino: InodeNo) -> Result<Attr> {
        let _ = ino;
        todo!()
    }
    /// Changes attributes; answers the new ones.
    pub async fn setattr(&self, ino: InodeNo, change: SetAttr) -> Result<Attr> {
        let _ = (ino, change);
        todo!()
    }
    /// Makes a directory (in the root: a bucket).
    pub async fn mkdir(&self, parent: InodeNo, name: &[u8], creator: Creator) -> Result<Attr> {
        let _ = (parent, name, creator);
        todo!()
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
        let _ = (parent, name, kind, rdev, creator);
        todo!()
    }
    /// Makes a symlink.
    pub async fn symlink(
        &self,
        parent: InodeNo,
        name: &[u8],
        target: &[u8],
        creator: Creator,
    ) -> Result<Attr> {
        let _ = (parent, name, target, creator);
        todo!()
    }
    /// Target of a symlink.
    pub async fn readlink(&self, ino: InodeNo) -> Result<Vec<u8>> {
        let _ = ino;
        todo!()
    }
    /// Gives a non-directory one more name.
    pub async fn link(&self, ino: InodeNo, parent: InodeNo, name: &[u8]) -> Result<Attr> {
        let _ = (ino, parent, name);
        todo!()
    }
    /// Removes a non-directory's name; the inode lives until the last [`Self::close`].
    pub async fn unlink(&self, parent: InodeNo, name: &[u8]) -> Result<()> {
        let _ = (parent, name);
        todo!()
    }
    /// Removes an empty directory.
    pub async fn rmdir(&self, parent: InodeNo, name: &[u8]) -> Result<()> {
        let _ = (parent, name);
        todo!()
    }
    /// Renames. Across buckets: [`crate::Error::CrossBucket`].
    pub async fn rename(
        &self,
        from: InodeNo,
        from_name: &[u8],
        to: InodeNo,
        to_name: &[u8],
        flags: RenameFlags,
    ) -> Result<()> {
        let _ = (from, from_name, to, to_name, flags);
        todo!()
    }
    /// Up to `max` entries after `after`, without `.` and `..`, in a stable order.
    pub async fn readdir(
        &self,
        dir: InodeNo,
        after: Option<DirPosition>,
        max: usize,
    ) -> Result<Vec<DirEntry>> {
        let _ = (dir, after, max);
        todo!()
    }

    /// Keeps the inode alive while it is open.
    pub async fn open_inode(&self, ino: InodeNo) -> Result<Attr> {
        let _ = ino;
        todo!()
    }
    /// Undoes one [`Self::open_inode`].
    pub async fn close(&self, ino: InodeNo) -> Result<()> {
        let _ = ino;
        todo!()
    }
    /// Bytes at `offset`, fewer at the end of the file. Sees every acknowledged write.
    pub async fn read(&self, ino: InodeNo, offset: u64, len: u32) -> Result<Bytes> {
        let _ = (ino, offset, len);
        todo!()
    }
    /// Writes into the inode's write buffer; waits when too much is dirty.
    pub async fn write(&self, ino: InodeNo, offset: u64, data: Bytes) -> Result<()> {
        let _ = (ino, offset, data);
        todo!()
    }
    /// Appends atomically; answers the offset written at.
    pub async fn append(&self, ino: InodeNo, data: Bytes) -> Result<u64> {
        let _ = (ino, data);
        todo!()
    }
    /// Makes everything written before the call durable at `level` (the configured one if `None`).
    pub async fn fsync(&self, ino: InodeNo, level: Option<Level>) -> Result<()> {
        let _ = (ino, level);
        todo!()
    }
    /// Makes every namespace change before the call durable.
    pub async fn sync_namespace(&self) -> Result<()> {
        todo!()
    }
    /// fallocate.
    pub async fn allocate(&self, ino: InodeNo, offset: u64, len: u64, what: Allocate) -> Result<()> {
        let _ = (ino, offset, len, what);
        todo!()
    }
    /// Copies a range by sharing extents (within a bucket; else by bytes). Answers bytes copied.
    pub async fn copy_range(
        &self,
        from: InodeNo,
        from_offset: u64,
        to: InodeNo,
        to_offset: u64,
        len: u64,
    ) -> Result<u64> {
        let _ = (from, from_offset, to, to_offset, len);
        todo!()
    }
    /// Data and holes of a range, in order, without gaps, at most `max` of them.
    pub async fn extents(&self, ino: InodeNo, offset: u64, len: u64, max: usize) -> Result<Vec<ExtentInfo>> {
        let _ = (ino, offset, len, max);
        todo!()
    }

    /// Value of an extended attribute. `user.cess.state` and other `user.cess.*` are computed.
    pub async fn getxattr(&self, ino: InodeNo, name: &[u8]) -> Result<Vec<u8>> {
        let _ = (ino, name);
        todo!()
    }
    /// Names of extended attributes.
    pub async fn listxattr(&self, ino: InodeNo) -> Result<Vec<Vec<u8>>> {
        let _ = ino;
        todo!()
    }
    /// Sets one.
    pub async fn setxattr(&self, ino: InodeNo, name: &[u8], value: &[u8], how: XattrSet) -> Result<()> {
        let _ = (ino, name, value, how);
        todo!()
    }
    /// Removes one.
    pub async fn removexattr(&self, ino: InodeNo, name: &[u8]) -> Result<()> {
        let _ = (ino, name);
        todo!()
    }
    /// Space and inodes.
    pub async fn statfs(&self) -> Result<StatFs> {
        todo!()
    }
}
