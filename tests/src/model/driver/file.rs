//! Operations of the mount, as system calls.
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, RenameFlags, XattrFlags, fallocate, fsync,
    ftruncate, lgetxattr, linkat, llistxattr, lremovexattr, lsetxattr, lstat, mkdir, open, readlink,
    renameat_with, rmdir, symlink, unlink,
};
use rustix::io::{Errno, pread, pwrite, write};

use crate::model::operation::{FileOperation, Place, RenameHow, XATTRS};
use crate::model::outcome::Outcome;
use crate::model::reference::Seen;
use crate::model::xattr_value;

/// Longest value or list of extended attributes that the test makes.
const XATTR_ROOM: usize = 4096;

/// Carries an operation out.
pub fn execute(mount: &Path, operation: &FileOperation) -> Outcome {
    attempt(mount, operation).unwrap_or_else(|errno| Outcome::Posix(errno.raw_os_error()))
}

fn attempt(mount: &Path, operation: &FileOperation) -> Result<Outcome, Errno> {
    use FileOperation as F;
    let path = |at: &Place| -> PathBuf { mount.join(at.full()) };
    match operation {
        F::Create { at } => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            open(path(at), flags, Mode::from_raw_mode(0o644))?;
        }
        F::Write { at, offset, body } => {
            let file = open_file(&path(at), OFlags::WRONLY)?;
            let (bytes, mut done) = (body.bytes(), 0);
            while done < bytes.len() {
                done += pwrite(&file, &bytes[done..], offset + done as u64)?;
            }
        }
        F::Append { at, body } => {
            let file = open_file(&path(at), OFlags::WRONLY | OFlags::APPEND)?;
            let (bytes, mut done) = (body.bytes(), 0);
            while done < bytes.len() {
                done += write(&file, &bytes[done..])?;
            }
        }
        F::Read { at, offset, len } => {
            let file = open_file(&path(at), OFlags::RDONLY)?;
            return Ok(Outcome::Bytes(read(&file, *offset, *len)?));
        }
        F::Truncate { at, len } => ftruncate(open_file(&path(at), OFlags::WRONLY)?, *len)?,
        F::Punch { at, offset, len } => {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(open_file(&path(at), OFlags::WRONLY)?, flags, *offset, *len)?;
        }
        F::Rename { from, to, how } => {
            let flags = match how {
                RenameHow::Replace => RenameFlags::empty(),
                RenameHow::NoReplace => RenameFlags::NOREPLACE,
                RenameHow::Exchange => RenameFlags::EXCHANGE,
            };
            renameat_with(CWD, path(from), CWD, path(to), flags)?;
        }
        F::Link { from, to } => linkat(CWD, path(from), CWD, path(to), AtFlags::empty())?,
        F::Unlink { at } => unlink(path(at))?,
        F::Mkdir { at } => mkdir(path(at), Mode::from_raw_mode(0o755))?,
        F::Rmdir { at } => rmdir(path(at))?,
        F::Readdir { at } => return Ok(Outcome::Names(names(&path(at))?)),
        F::Symlink { at, target } => symlink(target.as_str(), path(at))?,
        F::Readlink { at } => {
            let target = readlink(path(at), Vec::new())?;
            return Ok(Outcome::Text(target.to_string_lossy().into_owned()));
        }
        F::SetXattr { at, name, value } => {
            lsetxattr(path(at), XATTRS[*name], &xattr_value(*value), XattrFlags::empty())?;
        }
        F::GetXattr { at, name } => return Ok(Outcome::Bytes(xattr(&path(at), XATTRS[*name])?)),
        F::RemoveXattr { at, name } => lremovexattr(path(at), XATTRS[*name])?,
        F::ListXattr { at } => return Ok(Outcome::Names(xattrs(&path(at))?.into_keys().collect())),
        F::Stat { at } => {
            let stat = lstat(path(at))?;
            let (kind, size) = match FileType::from_raw_mode(stat.st_mode) {
                // What a directory's size is, is nobody's business.
                FileType::Directory => ('d', 0),
                FileType::RegularFile => ('f', stat.st_size as u64),
                FileType::Symlink => ('l', stat.st_size as u64),
                _ => ('?', 0),
            };
            return Ok(Outcome::Stat {
                size,
                links: stat.st_nlink as u64,
                kind,
            });
        }
        F::Fsync { at } => fsync(open_file(&path(at), OFlags::RDONLY)?)?,
    }
    Ok(Outcome::Done)
}

fn open_file(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    open(path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn read(file: &OwnedFd, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done < len {
        match pread(file, &mut bytes[done..], offset + done as u64)? {
            0 => break,
            read => done += read,
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

fn names(path: &Path) -> Result<BTreeSet<String>, Errno> {
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    std::fs::read_dir(path)
        .map_err(errno)?
        .map(|entry| Ok(String::from_utf8_lossy(entry.map_err(errno)?.file_name().as_bytes()).into_owned()))
        .collect()
}

fn xattr(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; XATTR_ROOM];
    let len = lgetxattr(path, name, &mut value[..])?;
    value.truncate(len);
    Ok(value)
}

/// The attributes that the test sets.
fn xattrs(path: &Path) -> Result<BTreeMap<String, Vec<u8>>, Errno> {
    let mut list = vec![0; XATTR_ROOM];
    let len = llistxattr(path, &mut list[..])?;
    list[..len]
        .split(|byte| *byte == 0)
        .filter_map(|name| XATTRS.into_iter().find(|own| own.as_bytes() == name))
        .map(|name| Ok((name.to_owned(), xattr(path, name)?)))
        .collect()
}

/// All that is at `path` and below.
pub fn walk(path: &Path) -> anyhow::Result<Seen> {
    use anyhow::Context as _;
    let named = || path.display().to_string();
    let stat = lstat(path).with_context(named)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let mut entries = BTreeMap::new();
            for name in names(path).with_context(named)? {
                let seen = walk(&path.join(&name))?;
                entries.insert(name, seen);
            }
            Seen::Directory {
                xattrs: xattrs(path).with_context(named)?,
                entries,
            }
        }
        FileType::RegularFile => {
            let file = open_file(path, OFlags::RDONLY).with_context(named)?;
            Seen::File {
                ino: stat.st_ino,
                links: stat.st_nlink as u64,
                xattrs: xattrs(path).with_context(named)?,
                bytes: read(&file, 0, stat.st_size as usize).with_context(named)?,
            }
        }
        _ => {
            let target = readlink(path, Vec::new()).with_context(named)?;
            Seen::Symlink {
                target: target.to_string_lossy().into_owned(),
            }
        }
    })
}
