//! The one public error of this crate. Each door has exactly one file that maps it.
use std::time::Duration;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// When to come back while the metadata wait for their disk.
const RECOVERY: Duration = Duration::from_secs(2);

/// What went wrong; the doc of each says what the caller can do next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No such inode, name, key or attribute.
    #[error("not found")]
    NotFound,
    /// No such bucket.
    #[error("no such bucket")]
    NoSuchBucket,
    /// No such multipart upload.
    #[error("no such upload")]
    NoSuchUpload,
    /// A part named in a completion is missing, differs, or is out of order.
    #[error("invalid part {0}")]
    InvalidPart(u32),
    /// The name is taken.
    #[error("already exists")]
    Exists,
    /// A directory was needed.
    #[error("not a directory")]
    NotDirectory,
    /// A directory cannot be used here.
    #[error("is a directory")]
    IsDirectory,
    /// The directory or bucket has entries.
    #[error("not empty")]
    NotEmpty,
    /// The name or key cannot be used: too long, or bytes no door can carry.
    #[error("invalid name: {0}")]
    InvalidName(&'static str),
    /// The arguments make no sense together.
    #[error("invalid argument: {0}")]
    Invalid(&'static str),
    /// The name is longer than 255 bytes.
    #[error("name too long")]
    NameTooLong,
    /// An attribute value or list is larger than allowed.
    #[error("too large")]
    TooLarge,
    /// The range lies outside the file or volume.
    #[error("out of range")]
    OutOfRange,
    /// The operation would cross buckets, or the border of a directory with a quota: copy instead.
    #[error("crosses buckets or quotas")]
    CrossBucket,
    /// The caller may not do that.
    #[error("not permitted")]
    NotPermitted,
    /// An object lock holds it, or something below it. Not before the lock ends.
    #[error("held by an object lock")]
    Locked,
    /// It lies in a snapshot, or where snapshots are shown: nothing changes there.
    #[error("read-only: part of a snapshot")]
    ReadOnly,
    /// The namespace was restored elsewhere; this gateway changes nothing of it any more. The text says
    /// since what. Do not retry: use the other gateway.
    #[error("read-only: {0}")]
    Superseded(String),
    /// The file or export is open elsewhere in a way that excludes this.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// Too many links to one inode.
    #[error("too many links")]
    TooManyLinks,
    /// A precondition did not hold.
    #[error("precondition failed")]
    PreconditionFailed,
    /// No space: the disk, the volume or the territory is full.
    #[error("no space")]
    NoSpace,
    /// A quota of the bucket or of a directory is used up: delete something there, or have it raised.
    #[error("quota exceeded")]
    QuotaExceeded,
    /// Writes come faster than the network takes them, or the disk is full. Retry after the time given.
    #[error("slow down; retry in about {retry_after:?}")]
    SlowDown {
        /// Estimate.
        retry_after: Duration,
    },
    /// The bytes cannot be had now (miners or chain unreachable). Retry later; nothing is lost.
    #[error("unavailable now: {0}")]
    Unavailable(String),
    /// The bytes failed verification everywhere. Do not retry.
    #[error("data damaged: {0}")]
    Damaged(String),
    /// An earlier write of this inode could not be made durable; it is gone. Told once per opener.
    #[error("an earlier write was lost")]
    WriteLost,
    /// The wait for a level ran out. The data is still on its way.
    #[error("not yet {0}; the data is safe here and on its way")]
    NotYet(store::Level),
    /// The gateway is shutting down.
    #[error("shutting down")]
    ShuttingDown,
    /// A fault of this program or its disk. The text is for the log.
    #[error("internal: {0}")]
    Internal(String),
    /// Transaction conflict, retried inside this crate: a door never sees it.
    #[error("conflict")]
    Conflict,
}

impl From<meta::Error> for Error {
    fn from(error: meta::Error) -> Self {
        match error {
            meta::Error::Conflict => Self::Conflict,
            meta::Error::Recovering(_) => Self::SlowDown {
                retry_after: RECOVERY,
            },
            meta::Error::Engine(text) => Self::Internal(format!("metadata engine: {text}")),
            meta::Error::Damaged(text) => Self::Damaged(format!("metadata: {text}")),
            ended @ meta::Error::Ended => Self::Internal(ended.to_string()),
            meta::Error::InUse => Self::Busy("the metadata store is in use by another process"),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::StagingFull { retry_after } => Self::SlowDown { retry_after },
            store::Error::Unavailable { reason, .. } => Self::Unavailable(reason),
            store::Error::Elsewhere(text) => Self::Unavailable(text),
            store::Error::UnknownChunk(chunk) => Self::Damaged(format!("chunk {} is unknown", chunk.0)),
            store::Error::Damaged(chunk) => Self::Damaged(format!("chunk {} fails everywhere", chunk.0)),
            store::Error::Key(text) => Self::Damaged(format!("key: {text}")),
            store::Error::Disk(text) => Self::Internal(format!("local disk: {text}")),
            store::Error::NotYet(level) => Self::NotYet(level),
            store::Error::Superseded(text) => Self::Superseded(text),
            store::Error::Restoring => Self::Busy("a restore of this directory is not finished"),
            store::Error::CannotRestore(text) => Self::Internal(text),
            store::Error::ShuttingDown => Self::ShuttingDown,
            store::Error::Meta(error) => match &*error {
                meta::Error::Conflict => Self::Conflict,
                meta::Error::Recovering(_) => Self::SlowDown {
                    retry_after: RECOVERY,
                },
                meta::Error::Engine(text) => Self::Internal(format!("metadata engine: {text}")),
                meta::Error::Damaged(text) => Self::Damaged(format!("metadata: {text}")),
                ended @ meta::Error::Ended => Self::Internal(ended.to_string()),
                meta::Error::InUse => Self::Busy("the metadata store is in use by another process"),
            },
            store::Error::Network(error) => Self::Unavailable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn errors_below_say_what_the_caller_can_do() {
        let full = store::Error::StagingFull {
            retry_after: Duration::from_secs(3),
        };
        assert!(matches!(Error::from(full), Error::SlowDown { retry_after } if retry_after.as_secs() == 3));
        let conflict = store::Error::Meta(Arc::new(meta::Error::Conflict));
        assert!(matches!(Error::from(conflict), Error::Conflict));
        let late = store::Error::NotYet(store::Level::Placed);
        assert!(matches!(Error::from(late), Error::NotYet(store::Level::Placed)));
        let waiting = meta::Error::Recovering("no space left".into());
        assert!(matches!(Error::from(waiting), Error::SlowDown { .. }));
        let unknown = store::Error::UnknownChunk(store::ChunkId(7));
        assert!(matches!(Error::from(unknown), Error::Damaged(_)));
    }
}
