//! The one place where an error of the vfs becomes an errno.
use fuser::Errno;

/// Why a request was not done: an error of the vfs, or an answer this door gives by itself.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// From the vfs.
    Vfs(vfs::Error),
    /// Decided here.
    Plain(Errno),
}

impl Failure {
    /// What the caller of the system call sees.
    pub(crate) fn errno(&self) -> Errno {
        match self {
            Self::Vfs(error) => errno(error),
            Self::Plain(errno) => *errno,
        }
    }
}

impl From<vfs::Error> for Failure {
    fn from(error: vfs::Error) -> Self {
        Self::Vfs(error)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Plain(errno)
    }
}

/// The errno of a vfs error. Extended attributes have their own words for two of them; see `xattr`.
///
/// * What may succeed later and lost nothing is `ETIMEDOUT` (data out of reach, level not reached in
///   time) or `EAGAIN` (staging full, after this door has waited in vain): programs treat both as
///   temporary.
/// * What was lost or is damaged is `EIO`, which no program takes for success.
pub(crate) fn errno(error: &vfs::Error) -> Errno {
    use vfs::Error;
    match error {
        Error::NotFound | Error::NoSuchBucket | Error::NoSuchUpload => Errno::ENOENT,
        Error::Exists => Errno::EEXIST,
        Error::NotDirectory => Errno::ENOTDIR,
        Error::IsDirectory => Errno::EISDIR,
        Error::NotEmpty => Errno::ENOTEMPTY,
        Error::InvalidName(_) | Error::Invalid(_) | Error::InvalidPart(_) => Errno::EINVAL,
        Error::NameTooLong => Errno::ENAMETOOLONG,
        Error::TooLarge | Error::OutOfRange => Errno::EFBIG,
        // Makes mv and cp fall back to copying.
        Error::CrossBucket => Errno::EXDEV,
        // What Linux answers for a file that is immutable.
        Error::NotPermitted | Error::Locked => Errno::EPERM,
        Error::ReadOnly | Error::Superseded(_) => Errno::EROFS,
        Error::Busy(_) => Errno::EBUSY,
        Error::TooManyLinks => Errno::EMLINK,
        Error::NoSpace => Errno::ENOSPC,
        Error::QuotaExceeded => Errno::EDQUOT,
        Error::SlowDown { .. } | Error::Conflict => Errno::EAGAIN,
        Error::Unavailable(_) | Error::NotYet(_) => Errno::ETIMEDOUT,
        // What the kernel itself answers on a mount that is gone.
        Error::ShuttingDown => Errno::ENOTCONN,
        // No POSIX request carries a precondition.
        Error::PreconditionFailed | Error::Damaged(_) | Error::WriteLost | Error::Internal(_) => Errno::EIO,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vfs::{Error, Level};

    use super::*;

    /// The match in [`errno`] has no catch-all, so the compiler holds that every error has an errno;
    /// this holds that each has the right one.
    #[test]
    fn every_error_has_its_errno() {
        let table = [
            (Error::NotFound, libc::ENOENT),
            (Error::NoSuchBucket, libc::ENOENT),
            (Error::NoSuchUpload, libc::ENOENT),
            (Error::InvalidPart(3), libc::EINVAL),
            (Error::Exists, libc::EEXIST),
            (Error::NotDirectory, libc::ENOTDIR),
            (Error::IsDirectory, libc::EISDIR),
            (Error::NotEmpty, libc::ENOTEMPTY),
            (Error::InvalidName("x"), libc::EINVAL),
            (Error::Invalid("x"), libc::EINVAL),
            (Error::NameTooLong, libc::ENAMETOOLONG),
            (Error::TooLarge, libc::EFBIG),
            (Error::OutOfRange, libc::EFBIG),
            (Error::CrossBucket, libc::EXDEV),
            (Error::NotPermitted, libc::EPERM),
            (Error::ReadOnly, libc::EROFS),
            (Error::Locked, libc::EPERM),
            (Error::Superseded("x".into()), libc::EROFS),
            (Error::Busy("x"), libc::EBUSY),
            (Error::TooManyLinks, libc::EMLINK),
            (Error::PreconditionFailed, libc::EIO),
            (Error::NoSpace, libc::ENOSPC),
            (Error::QuotaExceeded, libc::EDQUOT),
            (
                Error::SlowDown {
                    retry_after: Duration::from_secs(1),
                },
                libc::EAGAIN,
            ),
            (Error::Unavailable("x".into()), libc::ETIMEDOUT),
            (Error::Damaged("x".into()), libc::EIO),
            (Error::WriteLost, libc::EIO),
            (Error::NotYet(Level::Placed), libc::ETIMEDOUT),
            (Error::ShuttingDown, libc::ENOTCONN),
            (Error::Internal("x".into()), libc::EIO),
            (Error::Conflict, libc::EAGAIN),
        ];
        for (error, expected) in table {
            assert_eq!(errno(&error).code(), expected, "{error:?}");
        }
    }
}
