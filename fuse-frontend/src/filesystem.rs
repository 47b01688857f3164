//! Each kernel request as an operation of the vfs.
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use vfs::posix::Allocate;
use vfs::{Attr, Creator, Kind, SetAttr, StatFs, Vfs};

use crate::attributes::{BLOCK_SIZE, GENERATION, TTL, file_attr, inode, node_kind, time_change};
use crate::directory::Directories;
use crate::errno::Failure;
use crate::kernel;
use crate::listing::list;
use crate::locks::{self, Wanted};
use crate::request::{OpenInode, Requests, SYNC_DEADLINE, patiently};
use crate::seek::{Seek, seek};
use crate::xattr;

/// Permission bits of a mode.
const PERMISSIONS: u32 = 0o7777;

/// Longest name that a directory shows, in bytes.
const NAME_MAX: u32 = 255;

/// Inodes that `statfs` reports as free where no quota limits them: there is no fixed number, and
/// programs that look at it only want to see that there are many.
const FREE_INODES: u64 = 1 << 40;

/// Most bytes that one `copy_file_range` copies: between buckets the bytes are sealed anew, and a
/// request must end well before its deadline. Callers go on where it stopped.
const COPY_MAX: u64 = 256 << 20;

/// What the kernel talks to.
pub(crate) struct Door {
    vfs: Vfs,
    requests: Requests,
    directories: Arc<Directories>,
}

impl Door {
    /// A door to `vfs` whose requests run in `requests`.
    pub(crate) fn new(vfs: Vfs, requests: Requests) -> Self {
        Self {
            vfs,
            requests,
            directories: Arc::default(),
        }
    }

    fn vfs(&self) -> Vfs {
        self.vfs.clone()
    }
}

fn name_of(name: &OsStr) -> Vec<u8> {
    name.as_bytes().to_vec()
}

fn creator(request: &Request, mode: u32, umask: u32) -> Creator {
    Creator {
        uid: request.uid(),
        gid: request.gid(),
        mode: mode & !umask & PERMISSIONS,
    }
}

fn answer_entry(reply: ReplyEntry, attr: Attr) {
    reply.entry(&TTL, &file_attr(&attr), GENERATION);
}

fn answer_attr(reply: ReplyAttr, attr: Attr) {
    reply.attr(&TTL, &file_attr(&attr));
}

fn answer_empty(reply: ReplyEmpty, (): ()) {
    reply.ok();
}

impl Filesystem for Door {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        kernel::negotiate(config, self.vfs.is_shared())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (vfs, name) = (self.vfs(), name_of(name));
        let work = async move { Ok(vfs.lookup(inode(parent), &name).await?) };
        self.requests.serve("lookup", reply, work, answer_entry);
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let vfs = self.vfs();
        self.requests.serve(
            "getattr",
            reply,
            async move { Ok(vfs.getattr(inode(ino)).await?) },
            answer_attr,
        );
    }

    fn setattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let vfs = self.vfs();
        let change = SetAttr {
            mode: mode.map(|mode| mode & PERMISSIONS),
            uid,
            gid,
            size,
            atime: atime.map(time_change),
            mtime: mtime.map(time_change),
        };
        let work = async move { Ok(patiently(|| vfs.setattr(inode(ino), change)).await?) };
        self.requests.serve("setattr", reply, work, answer_attr);
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        let vfs = self.vfs();
        let work = async move { Ok(vfs.readlink(inode(ino)).await?) };
        self.requests
            .serve("readlink", reply, work, |reply, target: Vec<u8>| {
                reply.data(&target);
            });
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let Some(kind) = node_kind(mode) else {
            return reply.error(Errno::EINVAL);
        };
        let (vfs, name, creator) = (self.vfs(), name_of(name), creator(request, mode, umask));
        let work = async move { Ok(vfs.mknod(inode(parent), &name, kind, rdev, creator).await?) };
        self.requests.serve("mknod", reply, work, answer_entry);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let (vfs, name, creator) = (self.vfs(), name_of(name), creator(request, mode, umask));
        let work = async move { Ok(vfs.mkdir(inode(parent), &name, creator).await?) };
        self.requests.serve("mkdir", reply, work, answer_entry);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, name) = (self.vfs(), name_of(name));
        let work = async move { Ok(vfs.unlink(inode(parent), &name).await?) };
        self.requests.serve("unlink", reply, work, answer_empty);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (vfs, name) = (self.vfs(), name_of(name));
        let work = async move { Ok(vfs.rmdir(inode(parent), &name).await?) };
        self.requests.serve("rmdir", reply, work, answer_empty);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (vfs, name, target) = (self.vfs(), name_of(name), name_of(target.as_os_str()));
        let creator = creator(request, 0o777, 0);
        let work = async move { Ok(vfs.symlink(inode(parent), &name, &target, creator).await?) };
        self.requests.serve("symlink", reply, work, answer_entry);
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        // Whiteouts belong to overlay file systems; the kernel may also come to know new flags.
        if !(RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE).contains(flags) {
            return reply.error(Errno::EINVAL);
        }
        let flags = vfs::RenameFlags {
            no_replace: flags.contains(RenameFlags::RENAME_NOREPLACE),
            exchange: flags.contains(RenameFlags::RENAME_EXCHANGE),
        };
        let (vfs, name, to_name) = (self.vfs(), name_of(name), name_of(to_name));
        let work = async move {
            Ok(vfs
                .rename(inode(parent), &name, inode(to), &to_name, flags)
                .await?)
        };
        self.requests.serve("rename", reply, work, answer_empty);
    }

    fn link(&self, _request: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (vfs, name) = (self.vfs(), name_of(name));
        let work = async move { Ok(vfs.link(inode(ino), inode(parent), &name).await?) };
        self.requests.serve("link", reply, work, answer_entry);
    }

    /// `O_TRUNC` never comes here: the kernel sends a `setattr` of its own.
    fn open(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let (vfs, requests) = (self.vfs(), self.requests.clone());
        let work = async move { Ok(OpenInode::open(&vfs, &requests, inode(ino)).await?) };
        self.requests.serve("open", reply, work, |reply, open| {
            open.hand_over();
            reply.opened(FileHandle(0), FopenFlags::empty());
        });
    }

    /// The kernel asks only where it just found no such name. If another door made it since, the
    /// kernel must look again, because only it checks permissions: `ESTALE` makes it do so.
    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (vfs, requests) = (self.vfs(), self.requests.clone());
        let (name, creator) = (name_of(name), creator(request, mode, umask));
        let exclusive = flags & libc::O_EXCL != 0;
        let work = async move {
            let attr = match vfs.mknod(inode(parent), &name, Kind::File, 0, creator).await {
                Err(vfs::Error::Exists) if !exclusive => return Err(Errno::ESTALE.into()),
                result => result?,
            };
            let open = OpenInode::open(&vfs, &requests, attr.ino).await?;
            Ok((attr, open))
        };
        self.requests.serve("create", reply, work, |reply, (attr, open)| {
            open.hand_over();
            reply.created(
                &TTL,
                &file_attr(&attr),
                GENERATION,
                FileHandle(0),
                FopenFlags::empty(),
            );
        });
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let vfs = self.vfs();
        let work = async move { Ok(vfs.read(inode(ino), offset, size).await?) };
        self.requests
            .serve("read", reply, work, |reply, data: Bytes| reply.data(&data));
    }

    /// A write through a file opened with `O_APPEND` goes where the file ends *now*, which may be
    /// further than the kernel knows when other doors append as well. Write-back of a mapped page
    /// has its own offset whatever the flags of the file that the kernel guesses for it.
    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let append = flags.0 & libc::O_APPEND != 0 && !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let (vfs, ino, data) = (self.vfs(), inode(ino), Bytes::copy_from_slice(data));
        let work = async move {
            if append {
                patiently(|| vfs.append(ino, data.clone())).await?;
            } else {
                patiently(|| vfs.write(ino, offset, data.clone())).await?;
            }
            // No more than MAX_IO.
            Ok(data.len() as u32)
        };
        self.requests.serve("write", reply, work, ReplyWrite::written);
    }

    /// Where this is the only gateway, closing a file promises nothing, and all it wrote is with the vfs
    /// already; `ENOSYS` tells the kernel to save the round trip from now on (it still writes back
    /// mapped pages first). Other gateways see what was written once it is stored.
    fn flush(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        let vfs = self.vfs();
        if !vfs.is_shared() {
            return reply.error(Errno::ENOSYS);
        }
        let work = async move {
            let stored = patiently(|| vfs.publish(inode(ino))).await;
            // Closing a file ends the process's record locks on it.
            vfs.unlock_all(inode(ino), owner.0).await?;
            Ok(stored?)
        };
        self.requests.serve("flush", reply, work, answer_empty);
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let vfs = self.vfs();
        let work = async move {
            let unlocked = match lock_owner {
                // It had been locked with flock(2).
                Some(owner) => vfs.unlock_all(inode(ino), owner.0).await,
                None => Ok(()),
            };
            vfs.close(inode(ino)).await?;
            Ok(unlocked?)
        };
        self.requests.serve("release", reply, work, answer_empty);
    }

    fn getlk(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        kind: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        let wanted = Wanted {
            ino: inode(ino),
            owner: owner.0,
            start,
            end,
            kind,
            pid,
        };
        let work = locks::find(self.vfs(), wanted);
        self.requests.serve("getlk", reply, work, |reply, found| {
            reply.locked(found.start, found.end, found.kind, found.pid);
        });
    }

    fn setlk(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        kind: i32,
        pid: u32,
        sleep: bool,
        reply: ReplyEmpty,
    ) {
        let wanted = Wanted {
            ino: inode(ino),
            owner: owner.0,
            start,
            end,
            kind,
            pid,
        };
        let work = locks::set(self.vfs(), self.requests.clone(), wanted, sleep, request.pid());
        self.requests
            .serve_within(SYNC_DEADLINE, "setlk", reply, work, answer_empty);
    }

    fn fsync(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let vfs = self.vfs();
        let work = async move { Ok(patiently(|| vfs.fsync(inode(ino), None)).await?) };
        self.requests
            .serve_within(SYNC_DEADLINE, "fsync", reply, work, answer_empty);
    }

    fn opendir(&self, _request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let (vfs, requests, directories) = (self.vfs(), self.requests.clone(), self.directories.clone());
        let work = async move { Ok(OpenInode::open(&vfs, &requests, inode(ino)).await?) };
        self.requests.serve("opendir", reply, work, move |reply, open| {
            open.hand_over();
            reply.opened(FileHandle(directories.open()), FopenFlags::empty());
        });
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        match self.directories.get(handle.0) {
            Some(cookies) => list(self.vfs(), &self.requests, inode(ino), cookies, offset, reply),
            None => reply.error(Errno::EBADF),
        }
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        match self.directories.get(handle.0) {
            Some(cookies) => list(self.vfs(), &self.requests, inode(ino), cookies, offset, reply),
            None => reply.error(Errno::EBADF),
        }
    }

    fn releasedir(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.directories.close(handle.0);
        let vfs = self.vfs();
        self.requests.serve(
            "releasedir",
            reply,
            async move { Ok(vfs.close(inode(ino)).await?) },
            answer_empty,
        );
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let vfs = self.vfs();
        let work = async move { Ok(vfs.sync_namespace().await?) };
        self.requests
            .serve_within(SYNC_DEADLINE, "fsyncdir", reply, work, answer_empty);
    }

    fn statfs(&self, _request: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let vfs = self.vfs();
        let work = async move { Ok(vfs.statfs_at(inode(ino)).await?) };
        self.requests
            .serve("statfs", reply, work, |reply, space: StatFs| {
                let block = u64::from(BLOCK_SIZE);
                let free = space.free_bytes / block;
                let free_inodes = space.free_inodes.unwrap_or(FREE_INODES);
                reply.statfs(
                    space.total_bytes / block,
                    free,
                    free,
                    space.inodes.saturating_add(free_inodes),
                    free_inodes,
                    BLOCK_SIZE,
                    NAME_MAX,
                    BLOCK_SIZE,
                );
            });
    }

    fn setxattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        if xattr::is_refused(name.as_bytes()) {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let how = match xattr::how(flags) {
            Ok(how) => how,
            Err(errno) => return reply.error(errno),
        };
        let (vfs, name, value) = (self.vfs(), name_of(name), value.to_vec());
        let work = async move {
            vfs.setxattr(inode(ino), &name, &value, how)
                .await
                .map_err(xattr::failure)
        };
        self.requests.serve("setxattr", reply, work, answer_empty);
    }

    fn getxattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if xattr::is_refused(name.as_bytes()) {
            return reply.error(xattr::refused_read(name.as_bytes()));
        }
        let (vfs, name) = (self.vfs(), name_of(name));
        let work = async move { vfs.getxattr(inode(ino), &name).await.map_err(xattr::failure) };
        self.requests.serve("getxattr", reply, work, move |reply, value| {
            xattr::answer(reply, &value, size);
        });
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let vfs = self.vfs();
        let work = async move { Ok(xattr::list(&vfs.listxattr(inode(ino)).await?)?) };
        self.requests
            .serve("listxattr", reply, work, move |reply, list: Vec<u8>| {
                xattr::answer(reply, &list, size);
            });
    }

    fn removexattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if xattr::is_refused(name.as_bytes()) {
            return reply.error(xattr::refused_read(name.as_bytes()));
        }
        let (vfs, name) = (self.vfs(), name_of(name));
        let work = async move { vfs.removexattr(inode(ino), &name).await.map_err(xattr::failure) };
        self.requests.serve("removexattr", reply, work, answer_empty);
    }

    /// With `default_permissions` the kernel decides by itself and does not ask.
    fn access(&self, _request: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn ioctl(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn fallocate(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let Some(what) = allocation(mode) else {
            return reply.error(Errno::EOPNOTSUPP);
        };
        let vfs = self.vfs();
        let work = async move { Ok(patiently(|| vfs.allocate(inode(ino), offset, length, what)).await?) };
        self.requests.serve("fallocate", reply, work, answer_empty);
    }

    fn lseek(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let Some(what) = Seek::new(whence) else {
            return reply.error(Errno::EINVAL);
        };
        let Ok(offset) = u64::try_from(offset) else {
            return reply.error(Errno::ENXIO);
        };
        let vfs = self.vfs();
        let work = async move { seek(&vfs, inode(ino), offset, what).await };
        self.requests
            .serve("lseek", reply, work, |reply, found| match i64::try_from(found) {
                Ok(found) => reply.offset(found),
                Err(_) => reply.error(Errno::EOVERFLOW),
            });
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        from: INodeNo,
        _from_handle: FileHandle,
        from_offset: u64,
        to: INodeNo,
        _to_handle: FileHandle,
        to_offset: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let vfs = self.vfs();
        let len = len.min(COPY_MAX);
        let work = async move {
            let copied =
                patiently(|| vfs.copy_range(inode(from), from_offset, inode(to), to_offset, len)).await?;
            u32::try_from(copied).map_err(|_| Failure::from(Errno::EIO))
        };
        self.requests
            .serve("copy_file_range", reply, work, ReplyWrite::written);
    }
}

/// What a mode of fallocate(2) asks for; `None` for those that shift data around or unshare it.
fn allocation(mode: i32) -> Option<Allocate> {
    let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
    match mode & !libc::FALLOC_FL_KEEP_SIZE {
        0 => Some(Allocate::Reserve { keep_size }),
        libc::FALLOC_FL_PUNCH_HOLE if keep_size => Some(Allocate::Punch),
        libc::FALLOC_FL_ZERO_RANGE => Some(Allocate::Zero { keep_size }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocation_modes() {
        let keep = libc::FALLOC_FL_KEEP_SIZE;
        assert_eq!(allocation(0), Some(Allocate::Reserve { keep_size: false }));
        assert_eq!(allocation(keep), Some(Allocate::Reserve { keep_size: true }));
        assert_eq!(
            allocation(libc::FALLOC_FL_PUNCH_HOLE | keep),
            Some(Allocate::Punch)
        );
        assert_eq!(allocation(libc::FALLOC_FL_PUNCH_HOLE), None);
        assert_eq!(
            allocation(libc::FALLOC_FL_ZERO_RANGE),
            Some(Allocate::Zero { keep_size: false })
        );
        assert_eq!(
            allocation(libc::FALLOC_FL_ZERO_RANGE | keep),
            Some(Allocate::Zero { keep_size: true })
        );
        assert_eq!(allocation(libc::FALLOC_FL_COLLAPSE_RANGE), None);
        assert_eq!(allocation(libc::FALLOC_FL_INSERT_RANGE), None);
        assert_eq!(allocation(libc::FALLOC_FL_UNSHARE_RANGE), None);
    }
}
