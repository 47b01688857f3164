//! Content headers and user metadata: S3's fields ⇄ [`vfs::ObjectMeta`].
use std::collections::{BTreeMap, HashMap};

use http::{HeaderMap, StatusCode};
use s3s::dto::{Metadata, Timestamp, TimestampFormat};
use s3s::{S3ErrorCode, S3Result};
use vfs::ObjectMeta;

use crate::error::{fail, fail_custom, not_implemented};
use crate::limits;

/// Content type of objects made without one (AWS).
pub(crate) const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

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
            object_lock: $input
                .object_lock_legal_hold_status
                .as_ref()
                .is_some_and(|s| s.as_str() != "OFF")
                || $input.object_lock_mode.is_some()
                || $input.object_lock_retain_until_date.is_some(),
            customer_key: $input.sse_customer_algorithm.is_some()
                || $input.sse_customer_key.is_some()
                || $input.sse_customer_key_md5.is_some(),
            encryption: $input.server_side_encryption.as_ref().map(|sse| sse.as_str()),
            kms_key: $input.ssekms_key_id.is_some(),
            storage_class: $input.storage_class.as_ref().map(|class| class.as_str()),
            tagging: $input.tagging.as_ref().is_some_and(|tags| !tags.is_empty()),
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
    pub(crate) object_lock: bool,
    pub(crate) customer_key: bool,
    pub(crate) encryption: Option<&'a str>,
    pub(crate) kms_key: bool,
    pub(crate) storage_class: Option<&'a str>,
    pub(crate) tagging: bool,
}

/// Refuses wishes that would not be fulfilled. Everything is encrypted at rest, so `AES256` is.
pub(crate) fn refuse(wishes: &Wishes<'_>) -> S3Result<()> {
    if wishes.object_lock {
        return Err(not_implemented("Object Lock"));
    }
    if wishes.customer_key {
        return Err(not_implemented("Encryption with customer-provided keys"));
    }
    match wishes.encryption {
        None | Some("AES256") if !wishes.kms_key => {}
        Some("AES256" | "aws:kms" | "aws:kms:dsse") | None => {
            return Err(not_implemented("Encryption with KMS keys"));
        }
        Some(_) => {
            return Err(fail(
                S3ErrorCode::InvalidEncryptionAlgorithmError,
                "The encryption request you specified is not valid.",
            ));
        }
    }
    match wishes.storage_class {
        None | Some("STANDARD") => {}
        Some(_) => {
            return Err(fail(
                S3ErrorCode::InvalidStorageClass,
                "The storage class you specified is not valid.",
            ));
        }
    }
    if wishes.tagging {
        return Err(not_implemented("Object tagging"));
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

/// `aws-chunked` describes the transfer, not the object.
fn without_aws_chunked(encoding: &str) -> String {
    let kept: Vec<&str> = encoding
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    kept.join(",")
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

/// This gateway has one account: a request that expects another owner expects another bucket.
pub(crate) fn check_expected_owner(headers: &HeaderMap) -> S3Result<()> {
    for name in [
        "x-amz-expected-bucket-owner",
        "x-amz-source-expected-bucket-owner",
    ] {
        if headers
            .get(name)
            .is_some_and(|value| value.as_bytes() != crate::owner::ID.as_bytes())
        {
            return Err(fail_custom(
                "AccessDenied",
                StatusCode::FORBIDDEN,
                "Access Denied",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Wishes<'static> = Wishes {
        object_lock: false,
        customer_key: false,
        encryption: None,
        kms_key: false,
        storage_class: None,
        tagging: false,
    };

    #[test]
    fn what_is_not_done_is_refused() {
        let fulfilled = Wishes {
            encryption: Some("AES256"),
            storage_class: Some("STANDARD"),
            ..NOTHING
        };
        assert!(refuse(&NOTHING).is_ok() && refuse(&fulfilled).is_ok());
        for (wishes, code) in [
            (
                Wishes {
                    object_lock: true,
                    ..NOTHING
                },
                "NotImplemented",
            ),
            (
                Wishes {
                    customer_key: true,
                    ..NOTHING
                },
                "NotImplemented",
            ),
            (
                Wishes {
                    encryption: Some("aws:kms"),
                    ..NOTHING
                },
                "NotImplemented",
            ),
            (
                Wishes {
                    kms_key: true,
                    ..NOTHING
                },
                "NotImplemented",
            ),
            (
                Wishes {
                    encryption: Some("ROT13"),
                    ..NOTHING
                },
                "InvalidEncryptionAlgorithmError",
            ),
            (
                Wishes {
                    storage_class: Some("GLACIER"),
                    ..NOTHING
                },
                "InvalidStorageClass",
            ),
            (
                Wishes {
                    tagging: true,
                    ..NOTHING
                },
                "NotImplemented",
            ),
        ] {
            assert_eq!(refuse(&wishes).unwrap_err().code().as_str(), code, "{wishes:?}");
        }
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
