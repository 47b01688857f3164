//! Answers to questions about settings that this gateway does not have.
//!
//! Tools probe a bucket's settings before they work with it. Each probe is answered as AWS answers it
//! for a bucket where the setting was never made: a bucket without a policy is a fact here too.
//! *Making* such a setting is refused with `NotImplemented`; removing what is not there succeeds.
use http::StatusCode;
use s3s::{S3Error, S3ErrorCode};

use crate::error::{fail, fail_custom};

/// A setting that S3 reports as absent by an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    Configuration,
    Cors,
    Lifecycle,
    ObjectLock,
    ObjectLockOfObject,
    Policy,
    PublicAccessBlock,
    Replication,
    Tagging,
    Website,
}

impl Absent {
    /// The error for it.
    pub(crate) fn error(self) -> S3Error {
        match self {
            Self::Configuration => fail_custom(
                "NoSuchConfiguration",
                StatusCode::NOT_FOUND,
                "The specified configuration does not exist.",
            ),
            Self::Cors => fail(
                S3ErrorCode::NoSuchCORSConfiguration,
                "The CORS configuration does not exist",
            ),
            Self::Lifecycle => fail(
                S3ErrorCode::NoSuchLifecycleConfiguration,
                "The lifecycle configuration does not exist",
            ),
            Self::ObjectLock => fail(
                S3ErrorCode::ObjectLockConfigurationNotFoundError,
                "Object Lock configuration does not exist for this bucket",
            ),
            Self::ObjectLockOfObject => fail(
                S3ErrorCode::InvalidRequest,
                "Bucket is missing Object Lock Configuration",
            ),
            Self::Policy => fail(
                S3ErrorCode::NoSuchBucketPolicy,
                "The bucket policy does not exist",
            ),
            Self::PublicAccessBlock => fail_custom(
                "NoSuchPublicAccessBlockConfiguration",
                StatusCode::NOT_FOUND,
                "The public access block configuration was not found",
            ),
            Self::Replication => fail(
                S3ErrorCode::ReplicationConfigurationNotFoundError,
                "The replication configuration was not found",
            ),
            Self::Tagging => fail(S3ErrorCode::NoSuchTagSet, "The TagSet does not exist"),
            Self::Website => fail(
                S3ErrorCode::NoSuchWebsiteConfiguration,
                "The specified bucket does not have a website configuration",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_settings_have_aws_codes() {
        for (absent, code, status) in [
            (Absent::Configuration, "NoSuchConfiguration", 404),
            (Absent::Cors, "NoSuchCORSConfiguration", 404),
            (Absent::Lifecycle, "NoSuchLifecycleConfiguration", 404),
            (Absent::ObjectLock, "ObjectLockConfigurationNotFoundError", 404),
            (Absent::ObjectLockOfObject, "InvalidRequest", 400),
            (Absent::Policy, "NoSuchBucketPolicy", 404),
            (
                Absent::PublicAccessBlock,
                "NoSuchPublicAccessBlockConfiguration",
                404,
            ),
            (Absent::Replication, "ReplicationConfigurationNotFoundError", 404),
            (Absent::Tagging, "NoSuchTagSet", 404),
            (Absent::Website, "NoSuchWebsiteConfiguration", 404),
        ] {
            let error = absent.error();
            assert_eq!(error.code().as_str(), code);
            assert_eq!(error.status_code().map(|s| s.as_u16()), Some(status), "{code}");
        }
    }
}
