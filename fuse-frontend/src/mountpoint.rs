//! The mountpoint: made ready, mounted on, unmounted.
//!
//! With the right to mount (root), mount(2) is called here rather than by `fuser`: it lets the type
//! be `fuse.cess`, by which a dead mount is known to be ours, and it leaves unmounting to us.
//! `fuser` unmounts by path without looking what is there; on a directory that is itself the root of
//! a file system that would unmount the one below. Without the right, `fuser` asks the setuid helper
//! `fusermount3`.
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::kernel::READ_AHEAD;
use crate::mount_table::{mounted_at, resolve};

/// Shown as the source of the mount and as its subtype.
pub(crate) const NAME: &str = "cess";

/// File system type in the mount table.
const KIND: &str = "fuse.cess";

/// How long a directory may take to answer before it is called dead. A mount whose server is
/// stopped, not dead, would otherwise hold up the start for ever.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Dead mounts found on top of each other before giving up.
const MAX_STALE: usize = 16;

/// Makes `path` ready: an empty directory with no dead mount of ours on it. Answers its real path.
pub(crate) fn prepare(path: &Path) -> io::Result<PathBuf> {
    if let Some(parent) = std::path::absolute(path)?.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let path = resolve(path)?;
    for _ in 0..MAX_STALE {
        match probe(&path) {
            Ok(directory) if !directory => {
                return Err(refused(ErrorKind::NotADirectory, &path, "is not a directory"));
            }
            Ok(_) => {
                check_free(&path)?;
                return Ok(path);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => std::fs::create_dir(&path)?,
            Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => remove_stale(&path)?,
            Err(error) => return Err(error),
        }
    }
    Err(refused(
        ErrorKind::ResourceBusy,
        &path,
        "carries too many dead mounts",
    ))
}

/// Whether `path` is a directory, asked in a thread of its own since a dead server may never answer.
fn probe(path: &Path) -> io::Result<bool> {
    let (sender, receiver) = mpsc::channel();
    let asked = path.to_path_buf();
    std::thread::Builder::new()
        .name("mountpoint-probe".into())
        .spawn(move || {
            let _ = sender.send(std::fs::symlink_metadata(asked).map(|metadata| metadata.is_dir()));
        })?;
    receiver.recv_timeout(PROBE_TIMEOUT).unwrap_or_else(|_| {
        Err(refused(
            ErrorKind::TimedOut,
            path,
            "does not answer: is its server stopped?",
        ))
    })
}

/// Refuses a directory that is in use.
fn check_free(path: &Path) -> io::Result<()> {
    if mounted_at(path)?.is_some_and(|entry| entry.kind == KIND) {
        return Err(refused(
            ErrorKind::ResourceBusy,
            path,
            "is mounted and served by another gateway",
        ));
    }
    if std::fs::read_dir(path)?.next().is_some() {
        return Err(refused(
            ErrorKind::DirectoryNotEmpty,
            path,
            "is not empty; a mount would hide what is in it",
        ));
    }
    Ok(())
}

/// Detaches a dead mount that a killed gateway left; refuses anybody else's.
fn remove_stale(path: &Path) -> io::Result<()> {
    match mounted_at(path)? {
        Some(entry) if entry.kind == KIND => {}
        _ => {
            return Err(refused(
                ErrorKind::ResourceBusy,
                path,
                "carries a dead mount of something else; unmount it",
            ));
        }
    }
    tracing::warn!(path = %path.display(), "removing the dead mount of an earlier gateway");
    match umount2(path, MntFlags::MNT_DETACH) {
        Err(Errno::EPERM) => {
            let status = Command::new("fusermount3")
                .args(["-u", "-z", "--"])
                .arg(path)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            if status.success() {
                Ok(())
            } else {
                Err(refused(
                    ErrorKind::PermissionDenied,
                    path,
                    "carries a dead mount; unmount it with fusermount3 -uz",
                ))
            }
        }
        result => Ok(result?),
    }
}

fn refused(kind: ErrorKind, path: &Path, why: &str) -> io::Error {
    io::Error::new(kind, format!("{} {why}", path.display()))
}

/// What became of an attempt to unmount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmount {
    /// Nothing is mounted there any more.
    Done,
    /// A process uses it.
    Busy,
}

/// A mount made with mount(2). Dropping it takes it away by force, so that a program that ends early
/// leaves no dead mount behind.
#[derive(Debug)]
pub(crate) struct Mounted {
    path: PathBuf,
    /// `MAJOR:MINOR`, which tells our mount from one that somebody put in its place.
    device: String,
}

impl Mounted {
    /// Mounts on `path`, as made by [`prepare`]; also answers the channel to the kernel. `Ok(None)`
    /// when this process has no right to mount.
    pub(crate) fn new(
        path: &Path,
        allow_other: bool,
        read_only: bool,
    ) -> io::Result<Option<(Self, OwnedFd)>> {
        let channel = match OpenOptions::new().read(true).write(true).open("/dev/fuse") {
            Ok(channel) => channel,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
            Err(error) => {
                let why = format!("cannot open /dev/fuse (is the fuse module loaded?): {error}");
                return Err(io::Error::new(error.kind(), why));
            }
        };
        let root = std::fs::metadata(path)?;
        let mut options = format!(
            "fd={},rootmode={:o},user_id={},group_id={},default_permissions",
            channel.as_raw_fd(),
            root.mode() & libc::S_IFMT,
            nix::unistd::geteuid(),
            nix::unistd::getegid(),
        );
        if allow_other {
            options.push_str(",allow_other");
        }
        // Set-user-id programs and device nodes can come in through the other doors too, which know
        // nothing of who may make them.
        let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        if read_only {
            flags |= MsFlags::MS_RDONLY;
        }
        match mount(Some(NAME), path, Some(KIND), flags, Some(options.as_str())) {
            Ok(()) => {}
            Err(Errno::EPERM) => return Ok(None),
            Err(error) => {
                return Err(io::Error::new(
                    io::Error::from(error).kind(),
                    format!("cannot mount on {}: {error}", path.display()),
                ));
            }
        }
        let device = match mounted_at(path) {
            Ok(Some(entry)) if entry.kind == KIND => entry.device,
            other => {
                let _ = umount2(path, MntFlags::MNT_DETACH);
                other?;
                return Err(refused(
                    ErrorKind::Other,
                    path,
                    "was mounted but is not in the table of mounts",
                ));
            }
        };
        Ok(Some((
            Self {
                path: path.to_path_buf(),
                device,
            },
            channel.into(),
        )))
    }

    /// Lets the kernel read ahead further than its default. A mount works without it.
    pub(crate) fn raise_read_ahead(&self) {
        let setting = format!("/sys/class/bdi/{}/read_ahead_kb", self.device);
        if let Err(error) = std::fs::write(&setting, (READ_AHEAD >> 10).to_string()) {
            tracing::debug!(setting, %error, "read-ahead stays at the kernel's default");
        }
    }

    /// Unmounts if nobody uses the mount; the kernel writes back what it holds first, so the event
    /// loops must still be serving. Blocks.
    pub(crate) fn unmount(&self) -> io::Result<Unmount> {
        if !self.is_ours() {
            return Ok(Unmount::Done);
        }
        match umount2(&self.path, MntFlags::empty()) {
            Ok(()) | Err(Errno::EINVAL) => Ok(Unmount::Done),
            Err(Errno::EBUSY) => Ok(Unmount::Busy),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the kernel to write back what it holds. Blocks.
    pub(crate) fn write_back(&self) -> io::Result<()> {
        let directory = std::fs::File::open(&self.path)?;
        Ok(nix::unistd::syncfs(directory)?)
    }

    /// Takes the mount out of the namespace and cuts the connection: whoever still uses it gets
    /// `ENOTCONN`, and the event loops end.
    pub(crate) fn tear_off(&self) {
        if !self.is_ours() {
            return;
        }
        // MNT_FORCE alone would cut the connection and then refuse a busy mount.
        if let Err(error) = umount2(&self.path, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH) {
            tracing::warn!(path = %self.path.display(), %error, "cannot unmount");
        }
    }

    fn is_ours(&self) -> bool {
        matches!(mounted_at(&self.path), Ok(Some(entry)) if entry.device == self.device)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.tear_off();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_mountpoint_is_made() {
        let dir = tempfile::tempdir().expect("dir");
        let path = prepare(&dir.path().join("a/b/c")).expect("prepare");
        assert!(path.is_dir());
        assert_eq!(prepare(&path).expect("again"), path);
    }

    #[test]
    fn a_directory_in_use_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::write(dir.path().join("file"), "x").expect("write");
        let error = prepare(dir.path()).expect_err("not empty");
        assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty);
        assert!(error.to_string().contains("not empty"), "{error}");
        let error = prepare(&dir.path().join("file")).expect_err("a file");
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
        // A file in the way of a parent directory.
        prepare(&dir.path().join("file/x")).expect_err("below a file");
    }
}
