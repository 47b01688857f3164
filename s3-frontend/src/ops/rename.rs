//! RenameObject, which s3s takes for a PutObject: it knows nothing of its query.
//!
//! The source is a key of the same bucket, URL-encoded, alone or behind the name of the bucket.
use http::Uri;
use http::header::HeaderMap;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Response, S3Result};
use vfs::{ObjectInfo, Precondition};

use crate::condition::{self, ReadConditions, ReadHeaders, Verdict};
use crate::door::Door;
use crate::error::{self, fail, precondition_failed};

/// What the query of a rename has.
const QUERY: &str = "renameObject";
const SOURCE: &str = "x-amz-rename-source";
/// Dates of the four conditions: of the source, and of the target.
const OF_SOURCE: [&str; 2] = [
    "x-amz-rename-source-if-unmodified-since",
    "x-amz-rename-source-if-modified-since",
];
const OF_TARGET: [&str; 2] = ["if-unmodified-since", "if-modified-since"];

/// Whether the request is a rename.
pub(crate) fn is_asked(uri: &Uri) -> bool {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).any(|(name, _)| name == QUERY)
}

/// The keys that the source of a rename may stand for: the one that it names, and that one without the
/// name of the bucket before it.
pub(crate) fn sources(bucket: &str, headers: &HeaderMap) -> S3Result<Vec<String>> {
    let Some(encoded) = headers.get(SOURCE) else {
        return Ok(Vec::new());
    };
    let decoded = percent_encoding::percent_decode(encoded.as_bytes())
        .decode_utf8()
        .map_err(|_| {
            fail(
                S3ErrorCode::InvalidRequest,
                "The source of a rename must be URL-encoded UTF-8.",
            )
        })?;
    let bare = decoded.strip_prefix('/').unwrap_or(&decoded);
    let key = bare.strip_prefix(bucket).and_then(|rest| rest.strip_prefix('/'));
    let whole = (!decoded.starts_with('/')).then(|| bare.to_owned());
    Ok(whole.into_iter().chain(key.map(str::to_owned)).collect())
}

impl Door {
    /// Renames. Nothing comes in that would be stored.
    pub(crate) async fn rename(
        &self,
        bucket: &str,
        to: &str,
        headers: &HeaderMap,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let from = self.renamed(bucket, headers).await?;
        if from.ends_with('/') || to.ends_with('/') || from == to {
            return Err(fail(
                S3ErrorCode::InvalidRequest,
                "Source and target of a rename are two keys that do not end in a slash.",
            ));
        }
        let source = self
            .vfs
            .head_object(bucket, from.as_bytes())
            .await
            .map_err(error::object)?;
        let of_source = held_source(&source, headers)?;
        let target = match self.vfs.head_object(bucket, to.as_bytes()).await {
            Err(vfs::Error::NotFound) => None,
            found => Some(found.map_err(error::object)?),
        };
        let of_target = held_target(target.as_ref(), headers)?;
        match self
            .vfs
            .rename_object(bucket, from.as_bytes(), to.as_bytes(), of_source, of_target)
            .await
        {
            Err(vfs::Error::Invalid(why)) => Err(fail(
                S3ErrorCode::InvalidRequest,
                format!("The object cannot be renamed: {why}."),
            )),
            done => done.map_err(error::object),
        }?;
        Ok(S3Response::new(PutObjectOutput::default()))
    }

    /// The key that is to get another one.
    async fn renamed(&self, bucket: &str, headers: &HeaderMap) -> S3Result<String> {
        let invalid = |message| fail(S3ErrorCode::InvalidRequest, message);
        let encoded = headers
            .get(SOURCE)
            .ok_or_else(|| invalid("A rename needs the header x-amz-rename-source."))?;
        let decoded = percent_encoding::percent_decode(encoded.as_bytes())
            .decode_utf8()
            .map_err(|_| invalid("The source of a rename must be URL-encoded UTF-8."))?;
        let (decoded, slash) = match decoded.strip_prefix('/') {
            Some(rest) => (rest, true),
            None => (&*decoded, false),
        };
        let Some(key) = decoded
            .strip_prefix(bucket)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            return if slash {
                Err(invalid("An object is renamed within its bucket."))
            } else {
                Ok(decoded.to_owned())
            };
        };
        // A key may well begin like that.
        let whole = !slash && self.vfs.head_object(bucket, decoded.as_bytes()).await.is_ok();
        Ok(if whole { decoded } else { key }.to_owned())
    }
}

/// Decides the conditions of the source, and has the namespace see that it is still this one.
fn held_source(source: &ObjectInfo, headers: &HeaderMap) -> S3Result<Precondition> {
    let conditions = conditions(condition::RENAME_SOURCE, headers, OF_SOURCE)?;
    if conditions.judge(&source.etag, source.modified) != Verdict::Proceed {
        return Err(precondition_failed(Some("x-amz-rename-source-if-*")));
    }
    Ok(Precondition {
        if_match: Some(vec![source.etag.clone()]),
        ..Precondition::default()
    })
}

/// Decides the conditions of the target. Where there are any, the namespace sees that it is still what
/// they were decided on.
fn held_target(target: Option<&ObjectInfo>, headers: &HeaderMap) -> S3Result<Precondition> {
    let conditions = conditions(condition::DIRECT, headers, OF_TARGET)?;
    let mut precondition = condition::of_write(headers);
    if let Some(target) = target {
        if conditions.judge(&target.etag, target.modified) != Verdict::Proceed {
            return Err(precondition_failed(None));
        }
        if OF_TARGET.iter().any(|name| headers.contains_key(*name)) {
            precondition.if_match = Some(vec![target.etag.clone()]);
        }
    }
    Ok(precondition)
}

fn conditions(names: ReadHeaders, headers: &HeaderMap, dates: [&str; 2]) -> S3Result<ReadConditions> {
    let date = |name: &str| -> S3Result<Option<Timestamp>> {
        let Some(value) = headers.get(name) else {
            return Ok(None);
        };
        let text = value.to_str().unwrap_or_default();
        Timestamp::parse(TimestampFormat::HttpDate, text)
            .map(Some)
            .map_err(|_| {
                fail(
                    S3ErrorCode::InvalidArgument,
                    "A date of a condition cannot be read.",
                )
            })
    };
    let [unmodified, modified] = dates;
    let (unmodified, modified) = (date(unmodified)?, date(modified)?);
    Ok(ReadConditions::new(
        names,
        headers,
        unmodified.as_ref(),
        modified.as_ref(),
    ))
}
