//! The kernel's requests, answered by a [`Volume`].
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use parking_lot::Mutex;

use super::volume::{Attributes, Volume};

/// Nobody else changes the volume: the kernel may remember what it was told.
const TTL: Duration = Duration::from_secs(60);
/// Inode numbers are never used twice.
const GENERATION: Generation = Generation(0);
/// Blocks that `statfs` reports, used or not.
const BLOCKS: u64 = 1 << 30;
const BLOCK: u32 = 4096;

/// What the kernel talks to.
pub(super) struct Door {
    pub(super) volume: Arc<Mutex<Volume>>,
}

fn errno(errno: nix::errno::Errno) -> Errno {
    Errno::from_i32(errno as i32)
}

fn shown(attributes: Attributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(attributes.inode),
        size: attributes.size,
        blocks: attributes.space / 512,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: kind(attributes),
        perm: attributes.mode as u16,
        nlink: 1 + u32::from(attributes.directory),
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

fn kind(attributes: Attributes) -> FileType {
    if attributes.directory {
        FileType::Directory
    } else {
        FileType::RegularFile
    }
}

fn answer(reply: ReplyEmpty, result: Result<(), nix::errno::Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

fn answer_entry(reply: ReplyEntry, result: Result<Attributes, nix::errno::Errno>) {
    match result {
        Ok(attributes) => reply.entry(&TTL, &shown(attributes), GENERATION),
        Err(error) => reply.error(errno(error)),
    }
}

impl Filesystem for Door {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        answer_entry(reply, self.volume.lock().lookup(parent.0, name));
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.volume.lock().attributes(ino.0) {
            Ok(attributes) => reply.attr(&TTL, &shown(attributes)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut volume = self.volume.lock();
        let changed = mode
            .map_or(Ok(()), |mode| volume.set_mode(ino.0, mode))
            .and_then(|()| size.map_or(Ok(()), |size| volume.resize(ino.0, size)))
            .and_then(|()| volume.attributes(ino.0));
        match changed {
            Ok(attributes) => reply.attr(&TTL, &shown(attributes)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn mkdir(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        answer_entry(
            reply,
            self.volume.lock().make(parent.0, name, true, mode & !umask),
        );
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.volume.lock().remove(parent.0, name, false));
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.volume.lock().remove(parent.0, name, true));
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        answer(
            reply,
            self.volume.lock().rename(parent.0, name, new_parent.0, new_name),
        );
    }

    fn create(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mut volume = self.volume.lock();
        let made = volume
            .make(parent.0, name, false, mode & !umask)
            .and_then(|made| {
                volume.open(made.inode)?;
                Ok(made)
            });
        match made {
            Ok(made) => reply.created(&TTL, &shown(made), GENERATION, FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn open(&self, _request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let mut volume = self.volume.lock();
        let opened = volume.open(ino.0).and_then(|()| {
            if flags.0 & libc::O_TRUNC != 0 {
                volume.resize(ino.0, 0)?;
            }
            Ok(())
        });
        match opened {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.volume.lock().release(ino.0);
        reply.ok();
    }

    fn flush(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.volume.lock().read(ino.0, offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.volume.lock().write(ino.0, offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn fsync(&self, _request: &Request, ino: INodeNo, _handle: FileHandle, _data: bool, reply: ReplyEmpty) {
        answer(reply, self.volume.lock().sync(ino.0));
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _data: bool,
        reply: ReplyEmpty,
    ) {
        answer(reply, self.volume.lock().sync(ino.0));
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
        let mut volume = self.volume.lock();
        let keeps_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let result = if mode & libc::FALLOC_FL_PUNCH_HOLE != 0 && keeps_size {
            volume.punch(ino.0, offset, length)
        } else if mode == 0 {
            volume
                .attributes(ino.0)
                .and_then(|attributes| volume.resize(ino.0, attributes.size.max(offset + length)))
        } else if mode == libc::FALLOC_FL_KEEP_SIZE {
            Ok(())
        } else {
            Err(nix::errno::Errno::EOPNOTSUPP)
        };
        answer(reply, result);
    }

    fn readdir(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let names = match self.volume.lock().list(ino.0) {
            Ok(names) => names,
            Err(error) => return reply.error(errno(error)),
        };
        let itself = [(".", ino.0), ("..", ino.0)]
            .into_iter()
            .map(|(name, inode)| (name.into(), inode, FileType::Directory));
        let all = itself.chain(
            names
                .into_iter()
                .map(|(name, found)| (name, found.inode, kind(found))),
        );
        for (index, (name, inode, kind)) in all.enumerate().skip(offset as usize) {
            if reply.add(INodeNo(inode), index as u64 + 1, kind, &name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCK, 255, BLOCK);
    }
}
