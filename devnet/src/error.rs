//! The one public error of this crate.

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk, or a port.
    #[error("{context}: {source}")]
    Io {
        /// What was being done.
        context: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The block log holds something that this program did not write.
    #[error("block log: {0}")]
    Log(String),
    /// The caller's input cannot be used.
    #[error("invalid: {0}")]
    Invalid(String),
    /// A chain or an admin endpoint could not be reached, or refused.
    #[error("unreachable: {0}")]
    Unreachable(String),
}

impl Error {
    /// Wraps an I/O error with what was being done.
    pub fn io(context: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source }
    }
}
