//! Keeps requests about one thing from being taken for requests about another.
//!
//! S3 names what a request is about in its query (`?acl`, `?renameObject`), and whoever does not know a name
//! ignores it: then `DELETE /bucket?acl` deletes the bucket, and `PUT /key?renameObject` replaces the object
//! by nothing. s3s 0.14 routes by the names that it knows for a method and passes the rest on like that. So
//! every name that S3 has is known here: with a method that it does not go with it is refused with
//! `MethodNotAllowed`, and as an operation that this door does not have with `NotImplemented` and that
//! operation's name.
use http::Method;
use http::request::Parts;
use s3s::{S3Error, S3ErrorCode};

use crate::error::{fail, not_implemented};

/// What a request is about, before its query is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Bucket,
    Object,
}

/// Names that go with a method, for the operations that s3s routes, and `renameObject`, which it takes for
/// PutObject and [`crate::ops::rename`] tells apart.
const ROUTED: [(Method, Level, &[&str]); 8] = [
    (
        Method::GET,
        Level::Bucket,
        &[
            "accelerate",
            "acl",
            "analytics",
            "cors",
            "encryption",
            "intelligent-tiering",
            "inventory",
            "lifecycle",
            "location",
            "logging",
            "metadataTable",
            "metrics",
            "notification",
            "object-lock",
            "ownershipControls",
            "policy",
            "policyStatus",
            "publicAccessBlock",
            "replication",
            "requestPayment",
            "session",
            "tagging",
            "uploads",
            "versioning",
            "versions",
            "website",
        ],
    ),
    (
        Method::PUT,
        Level::Bucket,
        &[
            "accelerate",
            "acl",
            "analytics",
            "cors",
            "encryption",
            "intelligent-tiering",
            "inventory",
            "lifecycle",
            "logging",
            "metrics",
            "notification",
            "object-lock",
            "ownershipControls",
            "policy",
            "publicAccessBlock",
            "replication",
            "requestPayment",
            "tagging",
            "versioning",
            "website",
        ],
    ),
    (
        Method::DELETE,
        Level::Bucket,
        &[
            "analytics",
            "cors",
            "encryption",
            "intelligent-tiering",
            "inventory",
            "lifecycle",
            "metadataTable",
            "metrics",
            "ownershipControls",
            "policy",
            "publicAccessBlock",
            "replication",
            "tagging",
            "website",
        ],
    ),
    (Method::POST, Level::Bucket, &["delete", "metadataTable"]),
    (
        Method::GET,
        Level::Object,
        &[
            "acl",
            "attributes",
            "legal-hold",
            "retention",
            "tagging",
            "torrent",
            "uploadId",
        ],
    ),
    (
        Method::PUT,
        Level::Object,
        &[
            "acl",
            "legal-hold",
            "renameObject",
            "retention",
            "tagging",
            "uploadId",
        ],
    ),
    (Method::DELETE, Level::Object, &["tagging", "uploadId"]),
    (
        Method::POST,
        Level::Object,
        &["restore", "select", "uploadId", "uploads"],
    ),
];

/// Operations that s3s does not route.
const NOT_OFFERED: [(Method, Level, &str, &str); 8] = [
    (Method::GET, Level::Bucket, "abac", "GetBucketAbac"),
    (Method::PUT, Level::Bucket, "abac", "PutBucketAbac"),
    (
        Method::POST,
        Level::Bucket,
        "metadataConfiguration",
        "CreateBucketMetadataConfiguration",
    ),
    (
        Method::GET,
        Level::Bucket,
        "metadataConfiguration",
        "GetBucketMetadataConfiguration",
    ),
    (
        Method::DELETE,
        Level::Bucket,
        "metadataConfiguration",
        "DeleteBucketMetadataConfiguration",
    ),
    (
        Method::PUT,
        Level::Bucket,
        "metadataInventoryTable",
        "UpdateBucketMetadataInventoryTableConfiguration",
    ),
    (
        Method::PUT,
        Level::Bucket,
        "metadataJournalTable",
        "UpdateBucketMetadataJournalTableConfiguration",
    ),
    (Method::PUT, Level::Object, "encryption", "UpdateObjectEncryption"),
];

/// Refuses a request whose query names something that its method does not go with.
pub(crate) fn check(parts: &Parts, level: Level) -> Result<(), S3Error> {
    let Some(query) = parts.uri.query() else {
        return Ok(());
    };
    // HEAD has no operations but its own.
    if parts.method == Method::HEAD {
        return Ok(());
    }
    let here = |method: &Method, at: Level| *method == parts.method && at == level;
    let names: Vec<_> = form_urlencoded::parse(query.as_bytes())
        .map(|(name, _)| name)
        .collect();
    for name in &names {
        let mut refused = NOT_OFFERED.iter();
        if let Some((.., operation)) = refused.find(|(method, at, of, _)| here(method, *at) && of == name) {
            return Err(not_implemented(operation));
        }
        let mut routed = ROUTED.iter();
        let goes = routed.any(|(method, at, of)| here(method, *at) && of.contains(&&**name));
        if !goes && is_known(name) {
            return Err(fail(
                S3ErrorCode::MethodNotAllowed,
                "The specified method is not allowed against this resource.",
            ));
        }
    }
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if parts.method == Method::PUT && level == Level::Object {
        if has("uploadId") != has("partNumber") {
            return Err(fail(
                S3ErrorCode::InvalidArgument,
                "A part needs both partNumber and uploadId.",
            ));
        }
        let of_a_version = ["acl", "legal-hold", "retention", "tagging"]
            .iter()
            .any(|name| has(name));
        if has("versionId") && !of_a_version {
            return Err(fail(
                S3ErrorCode::InvalidArgument,
                "This operation does not accept a version-id.",
            ));
        }
    }
    Ok(())
}

fn is_known(name: &str) -> bool {
    ROUTED.iter().any(|(_, _, names)| names.contains(&name))
        || NOT_OFFERED.iter().any(|(_, _, of, _)| *of == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(method: Method, level: Level, query: &str) -> Result<(), (String, String)> {
        let request = http::Request::builder().method(method).uri(format!("/b?{query}"));
        let parts = request.body(()).unwrap().into_parts().0;
        check(&parts, level).map_err(|error| {
            let message = error.message().unwrap_or_default().to_owned();
            (error.code().as_str().to_owned(), message)
        })
    }

    fn code(method: Method, level: Level, query: &str) -> String {
        run(method, level, query).err().unwrap_or_default().0
    }

    #[test]
    fn names_go_with_their_methods_alone() {
        for (method, level, names) in &ROUTED {
            for name in *names {
                let query = match *name {
                    "uploadId" => "uploadId=x&partNumber=1".to_owned(),
                    name => format!("{name}="),
                };
                assert_eq!(code(method.clone(), *level, &query), "", "{method} {query}");
            }
        }
        for (method, level, query) in [
            (Method::DELETE, Level::Bucket, "acl"),
            (Method::DELETE, Level::Bucket, "versioning"),
            (Method::DELETE, Level::Bucket, "delete"),
            (Method::DELETE, Level::Bucket, "location"),
            (Method::PUT, Level::Bucket, "policyStatus"),
            (Method::PUT, Level::Bucket, "versions"),
            (Method::DELETE, Level::Object, "acl"),
            (Method::DELETE, Level::Object, "retention&versionId=x"),
            (Method::DELETE, Level::Object, "renameObject"),
            (Method::PUT, Level::Object, "torrent"),
            (Method::PUT, Level::Object, "uploads"),
            (Method::PUT, Level::Object, "%72estore"),
            (Method::GET, Level::Object, "policy"),
        ] {
            assert_eq!(code(method, level, query), "MethodNotAllowed", "{query}");
        }
    }

    #[test]
    fn operations_that_are_not_offered_are_named() {
        for (method, level, name, operation) in &NOT_OFFERED {
            let (code, message) = run(method.clone(), *level, name).unwrap_err();
            assert_eq!(code, "NotImplemented");
            assert!(message.contains(operation), "{message}");
        }
    }

    #[test]
    fn other_parameters_pass() {
        for query in [
            "list-type=2&prefix=acl",
            "X-Amz-Signature=x",
            "x-id=GetObject",
            "versionid",
        ] {
            assert_eq!(code(Method::GET, Level::Bucket, query), "", "{query}");
        }
        assert_eq!(code(Method::HEAD, Level::Object, "acl"), "");
        assert_eq!(
            code(Method::PUT, Level::Object, "partNumber=1"),
            "InvalidArgument"
        );
        assert_eq!(code(Method::PUT, Level::Object, "uploadId=x"), "InvalidArgument");
        assert_eq!(code(Method::PUT, Level::Object, "versionId=x"), "InvalidArgument");
        assert_eq!(code(Method::PUT, Level::Object, "acl&versionId=x"), "");
    }
}
