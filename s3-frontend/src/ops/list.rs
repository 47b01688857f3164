//! ListObjects and ListObjectsV2: one page from the namespace, two forms.
//!
//! Continuation tokens are the last name of the page in base64: opaque to clients, and good for ever
//! because the gateway keeps no state of a listing.
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use vfs::{ListPage, ListRequest, ObjectInfo};

use crate::door::Door;
use crate::error::{self, fail};
use crate::naming::NameEncoding;
use crate::{limits, naming};

/// A page size that a request asks for: 0 to 1,000, larger ones are cut as AWS does.
pub(crate) fn page_size(asked: Option<i32>, name: &'static str) -> S3Result<usize> {
    match asked {
        None => Ok(limits::MAX_PAGE),
        Some(max) => usize::try_from(max)
            .map(|max| max.min(limits::MAX_PAGE))
            .map_err(|_| {
                fail(
                    S3ErrorCode::InvalidArgument,
                    format!("Argument {name} must be an integer between 0 and 2147483647"),
                )
            }),
    }
}

/// The encoding that a request asks for.
pub(crate) fn name_encoding(asked: Option<&EncodingType>) -> S3Result<NameEncoding> {
    NameEncoding::from_request(asked).ok_or_else(|| {
        fail(
            S3ErrorCode::InvalidArgument,
            "Invalid Encoding Method specified in Request",
        )
    })
}

fn token(last: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(last)
}

fn from_token(token: &str) -> S3Result<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .filter(|last| !last.is_empty())
        .ok_or_else(|| {
            fail(
                S3ErrorCode::InvalidArgument,
                "The continuation token provided is incorrect",
            )
        })
}

/// What the two operations ask for.
struct Question {
    bucket: String,
    prefix: Option<String>,
    delimiter: Option<String>,
    start_after: Option<Vec<u8>>,
    max: usize,
}

/// Rolled-up prefixes as answers have them.
pub(crate) fn common_prefixes(prefixes: &[Vec<u8>], names: NameEncoding) -> Option<Vec<CommonPrefix>> {
    let prefixes: Vec<CommonPrefix> = prefixes
        .iter()
        .map(|prefix| CommonPrefix {
            prefix: Some(names.encode(prefix)),
        })
        .collect();
    (!prefixes.is_empty()).then_some(prefixes)
}

fn object(info: &ObjectInfo, names: NameEncoding, owner: Option<&Owner>) -> Object {
    Object {
        // Kept in the object's metadata, which a listing does not read.
        checksum_algorithm: None,
        checksum_type: None,
        e_tag: Some(naming::etag(&info.etag)),
        key: Some(names.encode(&info.key)),
        last_modified: Some(naming::timestamp(info.modified)),
        owner: owner.cloned(),
        restore_status: None,
        size: Some(info.size as i64),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
    }
}

impl Door {
    async fn page(&self, question: &Question) -> S3Result<ListPage> {
        self.require_bucket(&question.bucket).await?;
        if question.max == 0 {
            return Ok(ListPage::default());
        }
        let request = ListRequest {
            prefix: question.prefix.clone().unwrap_or_default().into_bytes(),
            delimiter: question
                .delimiter
                .clone()
                .filter(|d| !d.is_empty())
                .map(String::into_bytes),
            start_after: question.start_after.clone().filter(|after| !after.is_empty()),
            max: question.max,
        };
        self.vfs
            .list_objects(&question.bucket, request)
            .await
            .map_err(error::bucket)
    }

    pub(crate) async fn list_v1(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = req.input;
        let names = name_encoding(input.encoding_type.as_ref())?;
        let question = Question {
            bucket: input.bucket,
            prefix: input.prefix,
            delimiter: input.delimiter,
            start_after: input.marker.clone().map(String::into_bytes),
            max: page_size(input.max_keys, "max-keys")?,
        };
        let page = self.page(&question).await?;
        let owner = self.owner_of(&question.bucket).await?;
        let encode = |name: &String| names.encode(name.as_bytes());
        let delimited = question.delimiter.as_ref().is_some_and(|d| !d.is_empty());
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(question.bucket.clone()),
            prefix: Some(names.echo(question.prefix.as_deref().unwrap_or_default())),
            marker: Some(encode(input.marker.as_ref().unwrap_or(&String::new()))),
            max_keys: Some(question.max as i32),
            is_truncated: Some(page.next.is_some()),
            contents: Some(
                page.objects
                    .iter()
                    .map(|info| object(info, names, Some(&owner)))
                    .collect(),
            ),
            common_prefixes: common_prefixes(&page.prefixes, names),
            delimiter: question.delimiter.as_ref().filter(|d| !d.is_empty()).map(encode),
            // Without a delimiter the last key serves, and AWS sends no marker.
            next_marker: page
                .next
                .as_ref()
                .filter(|_| delimited)
                .map(|next| names.encode(next)),
            encoding_type: names.stated(),
            ..ListObjectsOutput::default()
        }))
    }

    pub(crate) async fn list_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let names = name_encoding(input.encoding_type.as_ref())?;
        let start_after = match input.continuation_token.as_deref() {
            Some(token) if !token.is_empty() => Some(from_token(token)?),
            _ => input.start_after.clone().map(String::into_bytes),
        };
        let question = Question {
            bucket: input.bucket,
            prefix: input.prefix,
            delimiter: input.delimiter,
            start_after,
            max: page_size(input.max_keys, "max-keys")?,
        };
        let page = self.page(&question).await?;
        let owner = match input.fetch_owner {
            Some(true) => Some(self.owner_of(&question.bucket).await?),
            _ => None,
        };
        let encode = |name: &String| names.encode(name.as_bytes());
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(question.bucket.clone()),
            prefix: Some(encode(question.prefix.as_ref().unwrap_or(&String::new()))),
            max_keys: Some(question.max as i32),
            key_count: Some((page.objects.len() + page.prefixes.len()) as i32),
            continuation_token: input.continuation_token,
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_deref().map(token),
            contents: Some(
                page.objects
                    .iter()
                    .map(|info| object(info, names, owner.as_ref()))
                    .collect(),
            ),
            common_prefixes: common_prefixes(&page.prefixes, names),
            delimiter: question.delimiter.as_ref().filter(|d| !d.is_empty()).map(encode),
            encoding_type: names.stated(),
            start_after: input.start_after.as_ref().map(encode),
            ..ListObjectsV2Output::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes() {
        for (asked, expected) in [(None, 1000), (Some(0), 0), (Some(7), 7), (Some(5000), 1000)] {
            assert_eq!(page_size(asked, "max-keys").unwrap(), expected);
        }
        assert_eq!(
            page_size(Some(-1), "max-keys").unwrap_err().code(),
            &S3ErrorCode::InvalidArgument
        );
    }

    #[test]
    fn tokens_round_trip_and_rubbish_is_refused() {
        for last in [&b"a"[..], b"a/b//\xff", "é".as_bytes()] {
            assert_eq!(from_token(&token(last)).unwrap(), last);
        }
        for rubbish in ["", "!", "a=b", "é"] {
            assert_eq!(
                from_token(rubbish).unwrap_err().code(),
                &S3ErrorCode::InvalidArgument,
                "{rubbish}"
            );
        }
    }
}
