//! The one map from [`vfs::Error`] to S3 error codes.
//!
//! Messages tell the client what it can do next. Texts of internal faults go to the log, not to the
//! client.
use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use s3s::{S3Error, S3ErrorCode};
use vfs::Error;

use crate::ack;

/// When to ask again for a level that did not come in time: a pack takes minutes.
const NOT_YET_RETRY: Duration = Duration::from_secs(30);

/// What the failed operation was about: it decides which code "not there" and "already there" get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A bucket.
    Bucket,
    /// An object.
    Object,
    /// A multipart upload.
    Upload,
}

/// An error with a message for people.
pub(crate) fn fail(code: S3ErrorCode, message: impl Into<Cow<'static, str>>) -> S3Error {
    S3Error::with_message(code, message)
}

/// An error whose code the s3s crate has no name for.
pub(crate) fn fail_custom(code: &'static str, status: StatusCode, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

/// Maps an error of the namespace.
pub(crate) fn from_vfs(error: Error, subject: Subject) -> S3Error {
    match error {
        Error::NotFound => match subject {
            Subject::Bucket => no_such_bucket(),
            Subject::Object => no_such_key(),
            Subject::Upload => no_such_upload(),
        },
        Error::NoSuchBucket => no_such_bucket(),
        Error::NoSuchUpload => no_such_upload(),
        Error::InvalidPart(number) => fail(
            S3ErrorCode::InvalidPart,
            format!(
                "Part {number} could not be found: it may not have been uploaded, or its entity tag differs."
            ),
        ),
        Error::Exists => match subject {
            Subject::Bucket => fail(
                S3ErrorCode::BucketAlreadyOwnedByYou,
                "The bucket you tried to create already exists, and you own it.",
            ),
            Subject::Object | Subject::Upload => fail(
                S3ErrorCode::OperationAborted,
                "The name was taken at the same moment. Try again.",
            ),
        },
        Error::NotEmpty => match subject {
            Subject::Bucket => fail(
                S3ErrorCode::BucketNotEmpty,
                "The bucket you tried to delete is not empty.",
            ),
            Subject::Object | Subject::Upload => fail(
                S3ErrorCode::InvalidRequest,
                "The object is a directory of the mount that still has entries.",
            ),
        },
        Error::NotDirectory => fail(
            S3ErrorCode::InvalidRequest,
            "The key leads through something that is not a directory.",
        ),
        Error::IsDirectory => fail(
            S3ErrorCode::InvalidRequest,
            "The key is a directory of the mount.",
        ),
        Error::InvalidName(why) => match subject {
            Subject::Bucket => fail(
                S3ErrorCode::InvalidBucketName,
                format!("Invalid bucket name: {why}."),
            ),
            Subject::Object | Subject::Upload => {
                fail(S3ErrorCode::InvalidArgument, format!("Invalid key: {why}."))
            }
        },
        Error::NameTooLong => fail(S3ErrorCode::KeyTooLongError, "Your key is too long."),
        Error::Invalid(why) => fail(S3ErrorCode::InvalidArgument, format!("Invalid argument: {why}.")),
        Error::TooLarge => fail(
            S3ErrorCode::MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed size.",
        ),
        Error::OutOfRange => fail(
            S3ErrorCode::InvalidRange,
            "The requested range cannot be satisfied.",
        ),
        Error::CrossBucket => fail(
            S3ErrorCode::InvalidRequest,
            "The operation cannot cross buckets, or the border of a quota: copy instead.",
        ),
        Error::NotPermitted => fail(S3ErrorCode::AccessDenied, "Access Denied"),
        Error::Locked => fail(
            S3ErrorCode::AccessDenied,
            "Access Denied because object protected by object lock.",
        ),
        Error::ReadOnly => fail(
            S3ErrorCode::MethodNotAllowed,
            "The key lies in a snapshot, where nothing can be changed.",
        ),
        Error::Superseded(why) => fail(
            S3ErrorCode::MethodNotAllowed,
            format!("Only reads are answered: {why}."),
        ),
        Error::Busy(why) => fail(
            S3ErrorCode::OperationAborted,
            format!("The object is in use ({why}). Try again later."),
        ),
        Error::TooManyLinks => fail(S3ErrorCode::InvalidRequest, "The object has too many hard links."),
        Error::PreconditionFailed => precondition_failed(None),
        Error::NoSpace => fail_custom(
            "InsufficientStorage",
            StatusCode::INSUFFICIENT_STORAGE,
            "No space left: the disk or the territory is full. What is stored stays readable.",
        ),
        Error::QuotaExceeded => fail_custom(
            "QuotaExceeded",
            StatusCode::FORBIDDEN,
            "The quota of the bucket or of a directory in it is used up. Delete something there, or have it raised.",
        ),
        Error::SlowDown { retry_after } => {
            let mut error = fail(
                S3ErrorCode::SlowDown,
                "Writes come faster than the network takes them. Reduce your request rate.",
            );
            error.set_headers(retry_headers(retry_after, None));
            error
        }
        Error::Unavailable(why) => fail(
            S3ErrorCode::ServiceUnavailable,
            format!("The bytes cannot be had now ({why}). Nothing is lost; try again later."),
        ),
        Error::Damaged(why) => {
            tracing::error!(why, "stored bytes failed verification everywhere");
            fail(
                S3ErrorCode::InternalError,
                "The stored bytes failed verification. Do not retry.",
            )
        }
        Error::WriteLost => fail(
            S3ErrorCode::InternalError,
            "An earlier write could not be made durable and is lost.",
        ),
        Error::NotYet(level) => {
            let mut error = fail(
                S3ErrorCode::ServiceUnavailable,
                format!(
                    "The bytes are stored and safe on the gateway but not yet {level}: the wait for that \
                     level ran out. They are on their way; ask HEAD for x-cess-state instead of sending them again."
                ),
            );
            error.set_headers(retry_headers(NOT_YET_RETRY, Some("staged")));
            error
        }
        Error::ShuttingDown => fail(
            S3ErrorCode::ServiceUnavailable,
            "The gateway is shutting down. Try again.",
        ),
        Error::Internal(why) => {
            tracing::error!(why, "internal fault");
            fail(
                S3ErrorCode::InternalError,
                "We encountered an internal error. Please try again.",
            )
        }
        Error::Conflict => fail(
            S3ErrorCode::OperationAborted,
            "A conflicting operation is in progress against this resource. Try again.",
        ),
    }
}

/// Headers of an error after which the client may come back, and the level that its bytes have.
fn retry_headers(after: Duration, state: Option<&'static str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    if let Some(state) = state {
        headers.insert(ack::STATE, HeaderValue::from_static(state));
    }
    headers
}

/// Maps errors of bucket operations.
pub(crate) fn bucket(error: Error) -> S3Error {
    from_vfs(error, Subject::Bucket)
}

/// Maps errors of object operations.
pub(crate) fn object(error: Error) -> S3Error {
    from_vfs(error, Subject::Object)
}

/// Maps errors of multipart operations.
pub(crate) fn upload(error: Error) -> S3Error {
    from_vfs(error, Subject::Upload)
}

pub(crate) fn no_such_bucket() -> S3Error {
    fail(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist.")
}

pub(crate) fn no_such_key() -> S3Error {
    fail(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
}

pub(crate) fn no_such_upload() -> S3Error {
    fail(
        S3ErrorCode::NoSuchUpload,
        "The specified multipart upload does not exist: it may have been aborted or completed.",
    )
}

pub(crate) fn malformed_xml() -> S3Error {
    fail(
        S3ErrorCode::MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

/// 412, naming the condition where it is known.
pub(crate) fn precondition_failed(condition: Option<&'static str>) -> S3Error {
    let message = match condition {
        None => Cow::Borrowed("At least one of the pre-conditions you specified did not hold."),
        Some(name) => Cow::Owned(format!("The pre-condition {name} did not hold.")),
    };
    fail(S3ErrorCode::PreconditionFailed, message)
}

/// 501 with what is missing.
pub(crate) fn not_implemented(what: &'static str) -> S3Error {
    fail(S3ErrorCode::NotImplemented, format!("{what} is not implemented."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every variant with the code and status per subject. A variant that is added makes
    /// [`from_vfs`] fail to compile; this table fails when one changes its meaning.
    #[test]
    fn every_variant_has_its_code() {
        type Row = (Error, [(&'static str, u16); 3]);
        let same = |code, status| [(code, status); 3];
        let rows: Vec<Row> = vec![
            (
                Error::NotFound,
                [("NoSuchBucket", 404), ("NoSuchKey", 404), ("NoSuchUpload", 404)],
            ),
            (Error::NoSuchBucket, same("NoSuchBucket", 404)),
            (Error::NoSuchUpload, same("NoSuchUpload", 404)),
            (Error::InvalidPart(3), same("InvalidPart", 400)),
            (
                Error::Exists,
                [
                    ("BucketAlreadyOwnedByYou", 409),
                    ("OperationAborted", 409),
                    ("OperationAborted", 409),
                ],
            ),
            (Error::NotDirectory, same("InvalidRequest", 400)),
            (Error::IsDirectory, same("InvalidRequest", 400)),
            (
                Error::NotEmpty,
                [
                    ("BucketNotEmpty", 409),
                    ("InvalidRequest", 400),
                    ("InvalidRequest", 400),
                ],
            ),
            (
                Error::InvalidName("x"),
                [
                    ("InvalidBucketName", 400),
                    ("InvalidArgument", 400),
                    ("InvalidArgument", 400),
                ],
            ),
            (Error::Invalid("x"), same("InvalidArgument", 400)),
            (Error::NameTooLong, same("KeyTooLongError", 400)),
            (Error::TooLarge, same("MetadataTooLarge", 400)),
            (Error::OutOfRange, same("InvalidRange", 416)),
            (Error::CrossBucket, same("InvalidRequest", 400)),
            (Error::NotPermitted, same("AccessDenied", 403)),
            (Error::Locked, same("AccessDenied", 403)),
            (Error::ReadOnly, same("MethodNotAllowed", 405)),
            (Error::Superseded("x".into()), same("MethodNotAllowed", 405)),
            (Error::Busy("x"), same("OperationAborted", 409)),
            (Error::TooManyLinks, same("InvalidRequest", 400)),
            (Error::PreconditionFailed, same("PreconditionFailed", 412)),
            (Error::NoSpace, same("InsufficientStorage", 507)),
            (Error::QuotaExceeded, same("QuotaExceeded", 403)),
            (
                Error::SlowDown {
                    retry_after: Duration::from_secs(7),
                },
                same("SlowDown", 503),
            ),
            (Error::Unavailable("x".into()), same("ServiceUnavailable", 503)),
            (Error::Damaged("x".into()), same("InternalError", 500)),
            (Error::WriteLost, same("InternalError", 500)),
            (Error::NotYet(vfs::Level::Placed), same("ServiceUnavailable", 503)),
            (Error::ShuttingDown, same("ServiceUnavailable", 503)),
            (
                Error::Internal("secret detail".into()),
                same("InternalError", 500),
            ),
            (Error::Conflict, same("OperationAborted", 409)),
        ];
        for (error, expected) in rows {
            for (subject, (code, status)) in [Subject::Bucket, Subject::Object, Subject::Upload]
                .into_iter()
                .zip(expected)
            {
                let mapped = from_vfs(error.clone(), subject);
                assert_eq!(mapped.code().as_str(), code, "{error:?} {subject:?}");
                assert_eq!(
                    mapped.status_code().map(|s| s.as_u16()),
                    Some(status),
                    "{error:?} {subject:?}"
                );
                assert!(
                    mapped.message().is_some_and(|m| !m.contains("secret detail")),
                    "{error:?}"
                );
            }
        }
    }

    #[test]
    fn slow_down_says_when_to_come_back() {
        let error = object(Error::SlowDown {
            retry_after: Duration::from_secs(7),
        });
        assert_eq!(error.headers().unwrap()[header::RETRY_AFTER], "7");
    }
}
