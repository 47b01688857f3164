//! Keys that have names (SSE-KMS).
//!
//! An object that is encrypted so has a random data key of its own, which a [`KeyService`] wraps under the
//! key that the request names. Reading it asks the service to unwrap it: who disables a named key there
//! makes everything under it unreadable, and who destroys it does so for good. The data key never leaves
//! this process unwrapped, and no named key ever comes into an operation.
//!
//! [`LocalKeys`] is the service that is there without another one.
mod local;

use std::fmt;

use http::StatusCode;
use s3s::S3Error;
use zeroize::Zeroizing;

pub use self::local::{LocalKeyInfo, LocalKeys};
use super::cipher::KEY;
use crate::error::fail_custom;

/// The key of requests that name none.
pub(crate) const DEFAULT_KEY: &str = "alias/aws/s3";

/// A data key.
pub(crate) type DataKey = Zeroizing<[u8; KEY]>;

/// What a service cannot do, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no key of that name.
    #[error("there is no key of that name")]
    NotFound,
    /// The key is disabled.
    #[error("the key is disabled")]
    Disabled,
    /// What it was given is no data key that it wrapped for this purpose.
    #[error("the wrapped key cannot be opened")]
    Invalid,
    /// The service does not answer now. The text is for the log.
    #[error("the key service does not answer: {0}")]
    Unavailable(String),
}

impl KeyError {
    /// As S3 answers it.
    pub(crate) fn to_s3(&self) -> S3Error {
        match self {
            Self::NotFound => fail_custom(
                "KMS.NotFoundException",
                StatusCode::BAD_REQUEST,
                "The key that the request or the object names does not exist.",
            ),
            Self::Disabled => fail_custom(
                "KMS.DisabledException",
                StatusCode::BAD_REQUEST,
                "The key that the request or the object names is disabled.",
            ),
            Self::Invalid => fail_custom(
                "KMS.InvalidCiphertextException",
                StatusCode::BAD_REQUEST,
                "The data key of the object was not wrapped by the key that it names.",
            ),
            Self::Unavailable(why) => {
                tracing::warn!(why, "the key service does not answer");
                fail_custom(
                    "KMS.KMSInternalException",
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The key service does not answer. Try again later.",
                )
            }
        }
    }
}

/// Wraps and unwraps data keys under keys that have names.
#[async_trait::async_trait]
pub(crate) trait KeyService: fmt::Debug + Send + Sync {
    /// Wraps a data key. `purpose` says what for, and must be said again to unwrap it.
    async fn wrap(&self, name: &str, purpose: &[u8], key: &DataKey) -> Result<Vec<u8>, KeyError>;

    /// Unwraps what [`Self::wrap`] made.
    async fn unwrap(&self, name: &str, purpose: &[u8], wrapped: &[u8]) -> Result<DataKey, KeyError>;
}
