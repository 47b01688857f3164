//! Errors of this crate, and the one map from [`vfs::Error`] to what NBD can say.
use std::time::Duration;

use crate::proto::Malformed;
use crate::proto::constants::{Errno, option_reply};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a connection ended, or why a request of the client failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// The peer does not speak the protocol.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The peer spoke out of turn.
    #[error("protocol violated: {0}")]
    Protocol(&'static str),
    /// The peer took longer than it may.
    #[error("timed out after {1:?}: {0}")]
    Timeout(&'static str, Duration),
    /// The server refused an option (client only): number of
    /// [`option_reply`] and the server's message.
    #[error("option refused ({code:#x}): {message}")]
    OptionRefused {
        /// Number of the reply.
        code: u32,
        /// The server's words.
        message: String,
    },
    /// The server failed a request (client only).
    #[error("request failed: {errno:?} {message}")]
    Failed {
        /// Kind.
        errno: Errno,
        /// The server's words; empty without structured replies.
        message: String,
    },
}

/// What a failed request answers.
///
/// `SlowDown` is `NoSpc` like a full disk: by then the door has waited as long as it may, and
/// hypervisors pause a guest on this error, where they would hand any other one to it.
pub fn errno(error: &vfs::Error) -> Errno {
    use vfs::Error as E;
    match error {
        E::NotPermitted | E::Locked | E::ReadOnly | E::Superseded(_) | E::Busy(_) => Errno::Perm,
        E::NoSpace | E::QuotaExceeded | E::SlowDown { .. } | E::TooLarge => Errno::NoSpc,
        E::OutOfRange | E::Invalid(_) | E::InvalidName(_) | E::NameTooLong | E::IsDirectory => Errno::Inval,
        E::ShuttingDown => Errno::Shutdown,
        E::NotFound
        | E::NoSuchBucket
        | E::NoSuchUpload
        | E::InvalidPart(_)
        | E::Exists
        | E::NotDirectory
        | E::NotEmpty
        | E::CrossBucket
        | E::TooManyLinks
        | E::PreconditionFailed
        | E::Unavailable(_)
        | E::Damaged(_)
        | E::WriteLost
        | E::NotYet(_)
        | E::Internal(_)
        | E::Conflict => Errno::Io,
    }
}

/// What an option answers that could not have its export.
pub fn option_error(error: &vfs::Error) -> u32 {
    use vfs::Error as E;
    match error {
        E::NotFound
        | E::NoSuchBucket
        | E::NotDirectory
        | E::IsDirectory
        | E::InvalidName(_)
        | E::NameTooLong
        | E::Invalid(_) => option_reply::ERR_UNKNOWN,
        E::NotPermitted | E::Locked | E::ReadOnly | E::Superseded(_) | E::Busy(_) => option_reply::ERR_POLICY,
        E::ShuttingDown => option_reply::ERR_SHUTDOWN,
        E::NoSuchUpload
        | E::InvalidPart(_)
        | E::Exists
        | E::NotEmpty
        | E::TooLarge
        | E::OutOfRange
        | E::CrossBucket
        | E::TooManyLinks
        | E::PreconditionFailed
        | E::NoSpace
        | E::QuotaExceeded
        | E::SlowDown { .. }
        | E::Unavailable(_)
        | E::Damaged(_)
        | E::WriteLost
        | E::NotYet(_)
        | E::Internal(_)
        | E::Conflict => option_reply::ERR_PLATFORM,
    }
}

/// What the client may read about a failure. The text of an internal fault stays in the log.
pub fn message(error: &vfs::Error) -> String {
    match error {
        vfs::Error::Internal(_) => "internal error; the gateway's log says more".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every error a door can be given, with the answers that the maps must find for it.
    fn table() -> Vec<(vfs::Error, Errno, u32)> {
        use option_reply::{ERR_PLATFORM, ERR_POLICY, ERR_SHUTDOWN, ERR_UNKNOWN};
        use vfs::Error as E;
        let slow = E::SlowDown {
            retry_after: Duration::from_secs(1),
        };
        vec![
            (E::NotFound, Errno::Io, ERR_UNKNOWN),
            (E::NoSuchBucket, Errno::Io, ERR_UNKNOWN),
            (E::NoSuchUpload, Errno::Io, ERR_PLATFORM),
            (E::InvalidPart(1), Errno::Io, ERR_PLATFORM),
            (E::Exists, Errno::Io, ERR_PLATFORM),
            (E::NotDirectory, Errno::Io, ERR_UNKNOWN),
            (E::IsDirectory, Errno::Inval, ERR_UNKNOWN),
            (E::NotEmpty, Errno::Io, ERR_PLATFORM),
            (E::InvalidName("x"), Errno::Inval, ERR_UNKNOWN),
            (E::Invalid("x"), Errno::Inval, ERR_UNKNOWN),
            (E::NameTooLong, Errno::Inval, ERR_UNKNOWN),
            (E::TooLarge, Errno::NoSpc, ERR_PLATFORM),
            (E::OutOfRange, Errno::Inval, ERR_PLATFORM),
            (E::CrossBucket, Errno::Io, ERR_PLATFORM),
            (E::NotPermitted, Errno::Perm, ERR_POLICY),
            (E::ReadOnly, Errno::Perm, ERR_POLICY),
            (E::Locked, Errno::Perm, ERR_POLICY),
            (E::Superseded("x".into()), Errno::Perm, ERR_POLICY),
            (E::Busy("x"), Errno::Perm, ERR_POLICY),
            (E::TooManyLinks, Errno::Io, ERR_PLATFORM),
            (E::PreconditionFailed, Errno::Io, ERR_PLATFORM),
            (E::NoSpace, Errno::NoSpc, ERR_PLATFORM),
            (E::QuotaExceeded, Errno::NoSpc, ERR_PLATFORM),
            (slow, Errno::NoSpc, ERR_PLATFORM),
            (E::Unavailable("x".into()), Errno::Io, ERR_PLATFORM),
            (E::Damaged("x".into()), Errno::Io, ERR_PLATFORM),
            (E::WriteLost, Errno::Io, ERR_PLATFORM),
            (E::NotYet(vfs::Level::Placed), Errno::Io, ERR_PLATFORM),
            (E::ShuttingDown, Errno::Shutdown, ERR_SHUTDOWN),
            (E::Internal("x".into()), Errno::Io, ERR_PLATFORM),
            (E::Conflict, Errno::Io, ERR_PLATFORM),
        ]
    }

    #[test]
    fn every_error_has_its_answer() {
        for (error, request, option) in table() {
            assert_eq!(errno(&error), request, "{error:?}");
            assert_eq!(option_error(&error), option, "{error:?}");
            assert_ne!(option & option_reply::ERROR_BIT, 0, "{error:?}");
        }
    }

    #[test]
    fn internal_faults_are_not_told() {
        assert!(!message(&vfs::Error::Internal("/var/lib/secret".into())).contains("secret"));
        assert_eq!(message(&vfs::Error::NotFound), "not found");
    }

    #[test]
    fn every_errno_survives_the_wire() {
        for errno in Errno::ALL {
            assert_eq!(Errno::from_wire(errno as u32), errno);
        }
        assert_eq!(Errno::from_wire(999), Errno::Inval);
    }
}
