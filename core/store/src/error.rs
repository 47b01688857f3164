//! The one public error of this crate.
use std::time::Duration;

use crate::ChunkId;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, grouped by what the caller can do next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Staging is full: the network does not take bytes as fast as they come. Retry after `retry_after`.
    #[error("staging is full; retry in about {retry_after:?}")]
    StagingFull {
        /// Estimate from the current drain rate.
        retry_after: Duration,
    },
    /// Fewer than four fragments can be had now. Retry later; nothing is lost by itself.
    #[error("chunk {chunk:?} cannot be read now: {reason}")]
    Unavailable {
        /// The chunk asked for.
        chunk: ChunkId,
        /// Why, for the operator.
        reason: String,
    },
    /// No such chunk: the metadata and the store disagree. Do not retry.
    #[error("chunk {0:?} is unknown")]
    UnknownChunk(ChunkId),
    /// Bytes failed authentication everywhere they were found. Do not retry.
    #[error("chunk {0:?} is damaged in every copy")]
    Damaged(ChunkId),
    /// Another gateway of the namespace has it, or does it; the text says which.
    #[error("{0}")]
    Elsewhere(String),
    /// The key domain was destroyed, or the passphrase is not the one this store was made with.
    #[error("key unavailable: {0}")]
    Key(String),
    /// The local disk failed or is full.
    #[error("local disk: {0}")]
    Disk(String),
    /// Waiting for a level took longer than the caller allowed. The data is still on its way.
    #[error("not yet {0}")]
    NotYet(crate::Level),
    /// The namespace was restored elsewhere, and this gateway may only read. Do not retry.
    #[error("{0}")]
    Superseded(String),
    /// A restore into this directory was not finished: run it again.
    #[error("a restore of this directory is not finished: run it again")]
    Restoring,
    /// What the network has is not enough for a restore; the text says what is missing.
    #[error("cannot restore: {0}")]
    CannotRestore(String),
    /// The gateway is shutting down.
    #[error("shutting down")]
    ShuttingDown,
    /// From the metadata engine. `Conflict` inside a transaction is retried by `Meta::write`.
    #[error("{0}")]
    Meta(std::sync::Arc<meta::Error>),
    /// From the network.
    #[error("{0}")]
    Network(std::sync::Arc<cess::Error>),
}

impl From<meta::Error> for Error {
    fn from(error: meta::Error) -> Self {
        Self::Meta(std::sync::Arc::new(error))
    }
}

impl From<cess::Error> for Error {
    fn from(error: cess::Error) -> Self {
        Self::Network(std::sync::Arc::new(error))
    }
}
