//! What a failed request means.
use tokio_postgres::error::SqlState;

use crate::Error;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database could not put the transaction into an order with others: it has to run again.
    Conflict,
    /// The row is there already.
    Exists,
    /// Another gateway ended this start.
    Ended,
    /// No answer, or not from a server that can be worked with at the moment. Nobody knows what it did.
    Lost(String),
    /// The server does not know the setting that it was asked to change.
    UnknownSetting,
    /// The server refused it.
    Refused(String),
}

impl Failure {
    /// No answer in time.
    pub(super) fn late() -> Self {
        Self::Lost("the database does not answer in time".into())
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                text = format!("{text}: {inner}");
                cause = inner.source();
            }
            return Self::Lost(text);
        };
        let code = answer.code();
        let text = format!("{} ({})", answer.message(), code.code());
        if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED {
            Self::Conflict
        } else if *code == SqlState::UNIQUE_VIOLATION {
            Self::Exists
        } else if *code == SqlState::NOT_NULL_VIOLATION {
            // A commit tells of itself in the name of a start that is there, or of none.
            Self::Ended
        } else if *code == SqlState::UNDEFINED_OBJECT || *code == SqlState::INVALID_PARAMETER_VALUE {
            Self::UnknownSetting
        } else if passing(code.code()) {
            Self::Lost(text)
        } else {
            Self::Refused(text)
        }
    }
}

/// Whether it may well succeed later: the server starts, stops, is full, cut the request off, only
/// reads at the moment (it became a standby), or the outcome of a transaction is not known (40003).
fn passing(code: &str) -> bool {
    ["08", "53", "57", "58"].contains(&code.get(..2).unwrap_or_default())
        || ["25006", "25P03", "40003"].contains(&code)
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Conflict => Self::Conflict,
            Failure::Lost(reason) => Self::Recovering(reason),
            Failure::Ended => Self::Ended,
            Failure::Refused(reason) => Self::Engine(reason),
            Failure::Exists => Self::Engine("a row is there already".into()),
            Failure::UnknownSetting => Self::Engine("the database does not know a setting".into()),
        }
    }
}
