//! What can be wrong with an order about identities.
use std::fmt;

use crate::policy::Malformed;

/// What there is in an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Account,
    User,
    Group,
    Role,
    Policy,
    Key,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "account",
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
            Self::Policy => "policy",
            Self::Key => "access key",
        })
    }
}

/// Why an order is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of that name.
    #[error("{0} {1} not found")]
    NotFound(Kind, String),
    /// There is one of that name.
    #[error("{0} {1} already exists")]
    Exists(Kind, String),
    /// It cannot be deleted while something depends on it.
    #[error("{kind} {name} is in use: {by}")]
    InUse {
        /// What it is.
        kind: Kind,
        /// Its name.
        name: String,
        /// What depends on it.
        by: String,
    },
    /// The order makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A policy document that cannot be understood.
    #[error("the policy document is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// The namespace.
    #[error(transparent)]
    Vfs(#[from] vfs::Error),
}

/// Outcome of an order.
pub type Result<T, E = Error> = std::result::Result<T, E>;
