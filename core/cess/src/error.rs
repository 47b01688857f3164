//! The one public error of this crate.

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, grouped by what the caller can do next.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No RPC endpoint or miner could be reached, or it did not answer in time. Retry later.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The chain refused the extrinsic. `pallet` and `name` are the dispatch error's own.
    #[error("the chain refused: {pallet}.{name}")]
    Dispatch {
        /// Pallet that raised the error.
        pallet: String,
        /// Error variant, e.g. `InsufficientAvailableSpace`.
        name: String,
    },
    /// The live metadata lacks a call, item or field this client needs. Do not continue.
    #[error("unsupported runtime: {0}")]
    UnsupportedRuntime(String),
    /// A miner answered with an error code of its own (`code`, `msg` of its JSON envelope).
    #[error("miner answered {code}: {message}")]
    Miner {
        /// Code in the body (the HTTP status is 200 whatever happens).
        code: i64,
        /// Text in the body.
        message: String,
    },
    /// Bytes that came back have the wrong length or digest. Ask another miner.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// The caller could not note what was about to be sent, so nothing was. The text is its reason.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The caller's input cannot be used.
    #[error("invalid: {0}")]
    Invalid(String),
}
