//! Locks that the kernel leaves to this door, because other gateways may want them as well.
//!
//! A process that waits for a lock can be interrupted. The kernel says so with a request of its own, which
//! `fuser` does not pass on; so this door looks every [`LOOK`] whether a signal waits for the process.
use std::time::Duration;

use fuser::Errno;
use vfs::{LockHeld, LockRequest, Locked, Vfs};

use crate::errno::Failure;
use crate::request::Requests;

/// Pause between two looks at whether a process that waits was interrupted.
const LOOK: Duration = Duration::from_millis(200);

/// Longest wait for a lock; then it is as if a signal had come. Shorter than the deadline of the request.
const WAIT_MAX: Duration = Duration::from_mins(50);

/// What fcntl(2) calls a lock in the way.
pub(crate) struct Found {
    pub start: u64,
    pub end: u64,
    pub kind: i32,
    pub pid: u32,
}

/// A request for a lock as the kernel puts it.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub ino: vfs::InodeNo,
    pub owner: u64,
    pub start: u64,
    pub end: u64,
    /// `F_RDLCK`, `F_WRLCK` or `F_UNLCK`.
    pub kind: i32,
    pub pid: u32,
}

impl Wanted {
    /// `None` for an unlock.
    fn lock(self) -> Result<Option<LockRequest>, Failure> {
        let exclusive = match self.kind {
            libc::F_UNLCK => return Ok(None),
            libc::F_RDLCK => false,
            libc::F_WRLCK => true,
            _ => return Err(Errno::EINVAL.into()),
        };
        if self.start > self.end {
            return Err(Errno::EINVAL.into());
        }
        Ok(Some(LockRequest {
            owner: self.owner,
            first: self.start,
            last: self.end,
            exclusive,
            pid: self.pid,
        }))
    }
}

/// `F_GETLK`.
pub(crate) async fn find(vfs: Vfs, wanted: Wanted) -> Result<Found, Failure> {
    let Some(lock) = wanted.lock()? else {
        return Err(Errno::EINVAL.into());
    };
    let found = vfs.find_lock(wanted.ino, lock).await?;
    Ok(match found {
        None => Found {
            start: wanted.start,
            end: wanted.end,
            kind: libc::F_UNLCK,
            pid: 0,
        },
        Some(LockHeld {
            first,
            last,
            exclusive,
            pid,
        }) => Found {
            start: first,
            end: last,
            kind: if exclusive { libc::F_WRLCK } else { libc::F_RDLCK },
            // Processes of other machines have no number here.
            pid: pid.unwrap_or(0),
        },
    })
}

/// `F_SETLK`, and with `waits` `F_SETLKW`. `thread` is who waits.
pub(crate) async fn set(
    vfs: Vfs,
    requests: Requests,
    wanted: Wanted,
    waits: bool,
    thread: u32,
) -> Result<(), Failure> {
    let Some(lock) = wanted.lock()? else {
        return Ok(vfs
            .unlock(wanted.ino, wanted.owner, wanted.start, wanted.end)
            .await?);
    };
    let locked = if waits {
        let interrupted = interrupted(requests, thread);
        vfs.lock_patiently(wanted.ino, lock, interrupted).await?
    } else {
        vfs.lock(wanted.ino, lock).await?
    };
    match locked {
        Locked::Done => Ok(()),
        Locked::Held if waits => Err(Errno::EINTR.into()),
        Locked::Held => Err(Errno::EAGAIN.into()),
        Locked::Deadlock => Err(Errno::EDEADLK.into()),
    }
}

/// Returns when `thread` need not wait any more: a signal came, or it is gone, or the mount is.
async fn interrupted(requests: Requests, thread: u32) {
    let watch = async {
        while !requests.is_closed() && !is_signalled(thread) {
            tokio::time::sleep(LOOK).await;
        }
    };
    let _ = tokio::time::timeout(WAIT_MAX, watch).await;
}

/// Whether a signal waits to be delivered to a thread, or there is no such thread any more. One of
/// another namespace of processes, which shows as 0, is taken for never signalled.
fn is_signalled(thread: u32) -> bool {
    if thread == 0 {
        return false;
    }
    match std::fs::read_to_string(format!("/proc/{thread}/status")) {
        Ok(status) => has_signal(&status),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Whether a status names a signal that waits and is not blocked. Signals that are ignored never wait.
fn has_signal(status: &str) -> bool {
    let set = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
            .unwrap_or(0)
    };
    (set("SigPnd:") | set("ShdPnd:")) & !set("SigBlk:") != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_blocked_does_not_interrupt() {
        let status = |own, all, blocked| {
            format!(
                "Name:\tcat\nSigQ:\t1/2\nSigPnd:\t{own:016x}\nShdPnd:\t{all:016x}\nSigBlk:\t{blocked:016x}\n"
            )
        };
        assert!(!has_signal(&status(0, 0, 0)));
        assert!(has_signal(&status(1 << 8, 0, 0)));
        assert!(has_signal(&status(0, 1 << 1, 1 << 8)));
        assert!(!has_signal(&status(0, 1 << 1, 1 << 1)));
        assert!(!has_signal("nothing of the kind"));
    }

    #[test]
    fn a_thread_that_is_gone_waits_no_more() {
        assert!(!is_signalled(std::process::id()));
        assert!(!is_signalled(0));
        // Beyond the greatest number that the kernel gives.
        assert!(is_signalled(u32::MAX));
    }
}
