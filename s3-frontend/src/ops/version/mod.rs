//! Versions of objects: naming them, opening them, and what is said of delete markers.
mod list;
mod setting;

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use s3s::{S3Error, S3ErrorCode, S3Result};
use vfs::object::ObjectReader;
use vfs::{FoundVersion, VersionId};

use crate::door::Door;
use crate::error::{self, fail};

const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// The version that a request names; `None`: whatever is there now.
pub(crate) fn asked(version: Option<&str>) -> S3Result<Option<VersionId>> {
    let invalid = |message| Err(fail(S3ErrorCode::InvalidArgument, message));
    match version {
        None => Ok(None),
        Some("") => invalid("Version id cannot be the empty string."),
        Some(text) => match VersionId::parse(text) {
            Some(id) => Ok(Some(id)),
            None => invalid("Invalid version id specified"),
        },
    }
}

/// A version as answers name it; nothing in a bucket that was never versioned.
pub(crate) fn shown(version: Option<VersionId>) -> Option<String> {
    version.map(|id| id.to_string())
}

/// What a version id leads to, if it is not there.
pub(crate) fn no_such_version() -> S3Error {
    fail(
        S3ErrorCode::NoSuchVersion,
        "The specified version does not exist.",
    )
}

/// Has the error say that a delete marker is why.
fn because_of_marker(mut error: S3Error, id: VersionId, allow: Option<&Method>) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    headers.insert(DELETE_MARKER, HeaderValue::from_static("true"));
    let values = [
        (VERSION_ID, Some(id.to_string())),
        (header::ALLOW, allow.map(Method::to_string)),
    ];
    for (name, value) in values {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(name, value);
        }
    }
    error.set_headers(headers);
    error
}

impl Door {
    /// Opens an object, or one version of it. A delete marker that is asked for by its id is 405; one
    /// that makes an object go missing is told of in the headers of the 404.
    pub(crate) async fn open(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
    ) -> S3Result<ObjectReader> {
        let key = key.as_bytes();
        let Some(id) = version else {
            return match self.vfs.get_object(bucket, key).await {
                Err(vfs::Error::NotFound) => Err(self.missing(bucket, key).await),
                opened => opened.map_err(error::object),
            };
        };
        match self.vfs.get_version(bucket, key, id).await {
            Ok(FoundVersion::Object(reader)) => Ok(reader),
            Ok(FoundVersion::Marker(marker)) => {
                let error = fail(
                    S3ErrorCode::MethodNotAllowed,
                    "The specified method is not allowed against this resource.",
                );
                Err(because_of_marker(error, marker.id, Some(&Method::DELETE)))
            }
            Err(vfs::Error::NotFound) => Err(no_such_version()),
            Err(error) => Err(error::object(error)),
        }
    }

    async fn missing(&self, bucket: &str, key: &[u8]) -> S3Error {
        match self.vfs.delete_marker(bucket, key).await {
            Ok(Some(id)) => because_of_marker(error::no_such_key(), id, None),
            Ok(None) => {
                let mut error = error::no_such_key();
                let headers = [
                    (header::CONTENT_TYPE, HeaderValue::from_static("application/xml")),
                    (DELETE_MARKER, HeaderValue::from_static("false")),
                ];
                error.set_headers(headers.into_iter().collect());
                error
            }
            Err(_) => error::no_such_key(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_never_were_one_are_named_as_such() {
        assert_eq!(asked(None).unwrap(), None);
        assert_eq!(asked(Some("null")).unwrap(), Some(VersionId::NULL));
        assert_eq!(
            shown(asked(Some("0123456789abcdef")).unwrap()).as_deref(),
            Some("0123456789abcdef")
        );
        for strange in ["", "v1", "NULL", "0123456789ABCDEF"] {
            assert_eq!(
                asked(Some(strange)).unwrap_err().code(),
                &S3ErrorCode::InvalidArgument,
                "{strange}"
            );
        }
    }
}
