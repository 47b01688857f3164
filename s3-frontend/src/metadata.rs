//! Content headers and user metadata: S3's fields ⇄ [`vfs::ObjectMeta`].
use std::collections::{BTreeMap, HashMap};

use s3s::dto::{Metadata, Timestamp, TimestampFormat};
use s3s::{S3ErrorCode, S3Result};
use vfs::ObjectMeta;

use crate::error::fail;
use crate::limits;

/// Content type of objects made without one (AWS).
pub(crate) const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

/// Where a website sends who asks for the object.
pub(crate) const REDIRECT: &str = "x-amz-website-redirect-location";

/// The content headers of a request that makes an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContentHeaders {
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) website_redirect_location: Option<String>,
}

/// Collects the content headers out of one of s3s's inputs.
macro_rules! content_headers {
    ($input:expr) => {
        $crate::metadata::ContentHeaders {
            cache_control: $input.cache_control.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $input.content_encoding.clone(),
            content_language: $input.content_language.clone(),
            content_type: $input.content_type.clone(),
            expires: $input.expires.clone(),
            website_redirect_location: $input.website_redirect_location.clone(),
        }
    };
}

/// Refuses what a request asks for and nobody would do: an ignored lock, tag or key would be a lie.
macro_rules! refuse_unsupported {
    ($input:expr) => {
        $crate::metadata::refuse(&$crate::metadata::Wishes {
            storage_class: $input.storage_class.as_ref().map(|class| class.as_str()),
        })
    };
}

/// Fills the content headers and user metadata of an answer.
macro_rules! show_metadata {
    ($output:expr, $meta:expr) => {{
        let meta: &vfs::ObjectMeta = $meta;
        let header = |name: &str| {
            meta.headers
                .get(name)
                .filter(|value| $crate::metadata::is_header_value(value))
                .cloned()
        };
        $output.cache_control = header("cache-control");
        $output.content_disposition = header("content-disposition");
        $output.content_encoding = header("content-encoding");
        $output.content_language = header("content-language");
        $output.content_type =
            Some(header("content-type").unwrap_or_else(|| $crate::metadata::DEFAULT_CONTENT_TYPE.to_owned()));
        $output.expires = header("expires")
            .and_then(|text| s3s::dto::Timestamp::parse(s3s::dto::TimestampFormat::HttpDate, &text).ok());
        $output.website_redirect_location = header("x-amz-website-redirect-location");
        $output.metadata = Some($crate::metadata::user_metadata(meta));
    }};
}

pub(crate) use {content_headers, refuse_unsupported, show_metadata};

/// Extras of a request that makes an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes<'a> {
    pub(crate) storage_class: Option<&'a str>,
}

/// Refuses wishes that would not be fulfilled.
pub(crate) fn refuse(wishes: &Wishes<'_>) -> S3Result<()> {
    match wishes.storage_class {
        None | Some("STANDARD") => {}
        Some(_) => {
            return Err(fail(
                S3ErrorCode::InvalidStorageClass,
                "The storage class you specified is not valid.",
            ));
        }
    }
    Ok(())
}

/// Metadata of a new object.
pub(crate) fn object_meta(content: ContentHeaders, user: Option<Metadata>) -> S3Result<ObjectMeta> {
    let mut headers = BTreeMap::new();
    let mut keep = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            headers.insert(name.to_owned(), value);
        }
    };
    keep("cache-control", content.cache_control);
    keep("content-disposition", content.content_disposition);
    keep(
        "content-encoding",
        content.content_encoding.map(|value| without_aws_chunked(&value)),
    );
    keep("content-language", content.content_language);
    keep("content-type", content.content_type);
    keep(
        "x-amz-website-redirect-location",
        content.website_redirect_location,
    );
    keep("expires", content.expires.and_then(|time| http_date(&time)));

    let user: BTreeMap<String, String> = user
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let size: usize = user.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > limits::MAX_USER_METADATA {
        return Err(fail(
            S3ErrorCode::MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size of 2 KB.",
        ));
    }
    Ok(ObjectMeta {
        headers,
        user,
        ..ObjectMeta::default()
    })
}

/// `aws-chunked` describes the transfer, not the object. Whatever else is said stays as it was written.
fn without_aws_chunked(encoding: &str) -> String {
    let codings = || encoding.split(',').map(str::trim);
    let describes_transfer = |coding: &&str| coding.eq_ignore_ascii_case("aws-chunked");
    if !codings().any(|coding| describes_transfer(&coding)) {
        return encoding.to_owned();
    }
    let kept: Vec<&str> = codings()
        .filter(|coding| !coding.is_empty() && !describes_transfer(coding))
        .collect();
    kept.join(", ")
}

fn http_date(time: &Timestamp) -> Option<String> {
    let mut text = Vec::new();
    time.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// Whether HTTP can carry the value in a header: what a mount sets need not be so.
pub(crate) fn is_header_value(value: &str) -> bool {
    !value.bytes().any(|byte| byte < 0x20 || byte == 0x7f)
}

/// User metadata as an answer shows it. What a mount set and HTTP cannot carry is left out.
pub(crate) fn user_metadata(meta: &ObjectMeta) -> HashMap<String, String> {
    meta.user
        .iter()
        .filter(|(name, value)| {
            http::HeaderName::from_bytes(name.as_bytes()).is_ok() && is_header_value(value)
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_done_is_refused() {
        let refuse = |storage_class| refuse(&Wishes { storage_class });
        assert!(refuse(None).is_ok() && refuse(Some("STANDARD")).is_ok());
        let error = refuse(Some("GLACIER")).unwrap_err();
        assert_eq!(error.code().as_str(), "InvalidStorageClass");
    }

    #[test]
    fn transfer_coding_is_not_kept() {
        let content = |encoding: &str| {
            let content = ContentHeaders {
                content_encoding: Some(encoding.into()),
                ..ContentHeaders::default()
            };
            object_meta(content, None)
                .unwrap()
                .headers
                .remove("content-encoding")
        };
        assert_eq!(content("aws-chunked"), None);
        assert_eq!(content("gzip, AWS-chunked").as_deref(), Some("gzip"));
        assert_eq!(content("gzip,br").as_deref(), Some("gzip,br"));
    }

    #[test]
    fn user_metadata_is_bounded_and_lower_case() {
        let make = |value_len: usize| {
            let user = [("Name".to_owned(), "v".repeat(value_len))].into();
            object_meta(ContentHeaders::default(), Some(user))
        };
        assert!(
            make(limits::MAX_USER_METADATA - 4)
                .unwrap()
                .user
                .contains_key("name")
        );
        assert_eq!(
            make(limits::MAX_USER_METADATA - 3).unwrap_err().code(),
            &S3ErrorCode::MetadataTooLarge
        );
    }

    #[test]
    fn metadata_that_http_cannot_carry_is_left_out() {
        let user = [("ok", "é"), ("bad name", "x"), ("bad-value", "a\nb")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let shown = user_metadata(&ObjectMeta {
            user: user.into(),
            ..ObjectMeta::default()
        });
        assert_eq!(shown.into_keys().collect::<Vec<_>>(), ["ok"]);
    }
}
