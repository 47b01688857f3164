//! The one public error of this crate.

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, grouped by what the caller can do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another transaction changed what this one read. [`crate::Meta::write`] retries it itself.
    #[error("transaction conflict")]
    Conflict,
    /// The engine's disk failed or is full. It is brought back by itself as soon as the disk is well;
    /// until then nothing is written, and reads go on. Nothing that was acknowledged is affected.
    #[error("metadata engine waits for its disk: {0}")]
    Recovering(String),
    /// The engine failed, and only a restart helps. Nothing that was acknowledged is affected.
    #[error("metadata engine: {0}")]
    Engine(String),
    /// The store on disk is not what it should be. Do not continue.
    #[error("metadata store damaged: {0}")]
    Damaged(String),
    /// Another gateway ended this opening of the store ([`crate::Engine::end`]): nothing that it writes is taken
    /// any more. Open it again.
    #[error("another gateway declared this one dead: nothing it writes is taken until it is started again")]
    Ended,
    /// The database is locked by another process.
    #[error("metadata store is in use by another process")]
    InUse,
}
