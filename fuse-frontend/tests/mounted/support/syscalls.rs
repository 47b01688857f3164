//! System calls that neither std nor nix offers here, made safe.
#![allow(unsafe_code)] // Each call takes pointers; all are made from owned, live values right here.
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::ptr::NonNull;

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no zero byte")
}

fn c_name(name: impl AsRef<OsStr>) -> CString {
    CString::new(name.as_ref().as_bytes()).expect("no zero byte")
}

fn check(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| Error::last_os_error())
}

/// lsetxattr(2).
pub(crate) fn setxattr(path: &Path, name: &str, value: &[u8], flags: i32) -> Result<()> {
    let (path, name) = (c_path(path), c_name(name));
    // SAFETY: both strings are zero-terminated and the value is as long as said.
    let result = unsafe {
        libc::lsetxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            flags,
        )
    };
    check(result as isize).map(|_| ())
}

/// lgetxattr(2) with room for `room` bytes; answers the length it tells, and the bytes.
pub(crate) fn getxattr_into(path: &Path, name: &str, room: usize) -> Result<(usize, Vec<u8>)> {
    let (path, name) = (c_path(path), c_name(name));
    let mut value = vec![0_u8; room];
    // SAFETY: both strings are zero-terminated and the buffer is `room` bytes long.
    let len =
        check(unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), room) })?;
    value.truncate(len);
    Ok((len, value))
}

/// lgetxattr(2) with plenty of room.
pub(crate) fn getxattr(path: &Path, name: &str) -> Result<Vec<u8>> {
    getxattr_into(path, name, 64 << 10).map(|(_, value)| value)
}

/// llistxattr(2), sorted.
pub(crate) fn listxattr(path: &Path) -> Result<Vec<String>> {
    let path = c_path(path);
    let mut list = vec![0_u8; 64 << 10];
    // SAFETY: the path is zero-terminated and the buffer as long as said.
    let len = check(unsafe { libc::llistxattr(path.as_ptr(), list.as_mut_ptr().cast(), list.len()) })?;
    let mut names: Vec<_> = list[..len]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8(name.to_vec()).expect("names are text here"))
        .collect();
    names.sort();
    Ok(names)
}

/// lremovexattr(2).
pub(crate) fn removexattr(path: &Path, name: &str) -> Result<()> {
    let (path, name) = (c_path(path), c_name(name));
    // SAFETY: both strings are zero-terminated.
    check(unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) } as isize).map(|_| ())
}

/// copy_file_range(2) with offsets of its own; answers how many bytes it copied.
pub(crate) fn copy_range(from: &File, from_at: i64, to: &File, to_at: i64, len: usize) -> Result<usize> {
    let (mut from_at, mut to_at) = (from_at, to_at);
    // SAFETY: both files are open and both offsets live through the call.
    check(unsafe {
        libc::copy_file_range(
            from.as_raw_fd(),
            &raw mut from_at,
            to.as_raw_fd(),
            &raw mut to_at,
            len,
            0,
        )
    })
}

/// A shared, writable mapping of the first `len` bytes of a file.
pub(crate) struct SharedMap {
    start: NonNull<u8>,
    len: usize,
}

impl SharedMap {
    /// mmap(2). The file must be at least `len` bytes long whenever the map is used.
    pub(crate) fn new(file: &File, len: usize) -> Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so no existing memory is replaced.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        Ok(Self {
            start: NonNull::new(start.cast()).expect("not at zero"),
            len,
        })
    }

    /// Copies bytes out.
    pub(crate) fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= self.len);
        let mut out = vec![0; len];
        // SAFETY: within the mapping, which lives as long as `self`; `out` is fresh.
        unsafe { std::ptr::copy_nonoverlapping(self.start.as_ptr().add(offset), out.as_mut_ptr(), len) };
        out
    }

    /// Copies bytes in.
    pub(crate) fn write(&self, offset: usize, data: &[u8]) {
        assert!(offset + data.len() <= self.len);
        // SAFETY: within the mapping, which lives as long as `self`; no reference to it exists.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.start.as_ptr().add(offset), data.len()) };
    }

    /// msync(2), `MS_SYNC`.
    pub(crate) fn sync(&self) -> Result<()> {
        // SAFETY: exactly the mapping.
        let result = unsafe { libc::msync(self.start.as_ptr().cast(), self.len, libc::MS_SYNC) };
        check(result as isize).map(|_| ())
    }
}

impl Drop for SharedMap {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping, and nothing refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// One entry as readdir(3) gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: OsString,
    pub(crate) ino: u64,
    pub(crate) kind: u8,
    /// Cookie to go on after it.
    pub(crate) next: i64,
}

/// A directory stream.
pub(crate) struct Directory(NonNull<libc::DIR>);

impl Directory {
    /// opendir(3).
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let path = c_path(path);
        // SAFETY: the path is zero-terminated.
        let stream = unsafe { libc::opendir(path.as_ptr()) };
        NonNull::new(stream).map(Self).ok_or_else(Error::last_os_error)
    }

    /// readdir(3).
    pub(crate) fn read(&mut self) -> Result<Option<Entry>> {
        // SAFETY: errno is this thread's own.
        unsafe { *libc::__errno_location() = 0 };
        // SAFETY: the stream is open and used by nobody else.
        let entry = unsafe { libc::readdir64(self.0.as_ptr()) };
        if entry.is_null() {
            let error = Error::last_os_error();
            return if error.raw_os_error() == Some(0) {
                Ok(None)
            } else {
                Err(error)
            };
        }
        // SAFETY: the entry is valid until the next call on the stream, and is copied before.
        unsafe {
            // The record is as long as its name, so only its fields may be touched, by raw place.
            let name = CStr::from_ptr((&raw const (*entry).d_name).cast());
            Ok(Some(Entry {
                name: OsString::from_vec(name.to_bytes().to_vec()),
                ino: (*entry).d_ino,
                kind: (*entry).d_type,
                next: (*entry).d_off,
            }))
        }
    }

    /// seekdir(3).
    pub(crate) fn seek(&mut self, cookie: i64) {
        // SAFETY: the stream is open.
        unsafe { libc::seekdir(self.0.as_ptr(), cookie) };
    }

    /// rewinddir(3).
    pub(crate) fn rewind(&mut self) {
        // SAFETY: the stream is open.
        unsafe { libc::rewinddir(self.0.as_ptr()) };
    }

    /// Everything from here on.
    pub(crate) fn rest(&mut self) -> Result<Vec<Entry>> {
        std::iter::from_fn(|| self.read().transpose()).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: open until here.
        unsafe { libc::closedir(self.0.as_ptr()) };
    }
}

/// Makes this thread alone run as another user, with none of root's rights.
pub(crate) fn become_user(user: u32) -> Result<()> {
    for call in [libc::SYS_setresgid, libc::SYS_setresuid] {
        // SAFETY: takes three numbers; the bare call changes this thread, unlike the one of libc,
        // which changes all threads of the process.
        check(unsafe { libc::syscall(call, user, user, user) } as isize)?;
    }
    Ok(())
}
