//! GetObject and HeadObject.
use std::ops;

use futures::StreamExt as _;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;
use s3s::dto::*;
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use vfs::ObjectInfo;

use crate::ack;
use crate::condition::{self, ReadConditions};
use crate::door::Door;
use crate::encryption::customer::customer_key;
use crate::encryption::kept::{Shown, show_encryption};
use crate::encryption::wish::refuse_in_read;
use crate::error::{self, fail};
use crate::integrity::algorithm::set_checksum;
use crate::integrity::record::{Checksum, Coverage, PartChecksums, PartSizes};
use crate::lock::show_lock;
use crate::metadata::show_metadata;
use crate::naming;
use crate::ops::version;
use crate::tags::Tags;

/// How many tags there are: s3s has no place for it in a HEAD's answer.
const TAG_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");

/// The bytes of an object that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Selection {
    range: ops::Range<u64>,
    /// Whether to answer 206.
    partial: bool,
}

impl Selection {
    fn content_range(&self, size: u64) -> Option<String> {
        let ops::Range { start, end } = self.range;
        // A part without bytes has no first and last byte to name.
        (self.partial && end > start).then(|| format!("bytes {start}-{}/{size}", end - 1))
    }
}

fn select(info: &ObjectInfo, range: Option<&Range>, part: Option<i32>) -> S3Result<Selection> {
    match (range, part) {
        (Some(_), Some(_)) => Err(fail(
            S3ErrorCode::InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter.",
        )),
        (None, None) => Ok(Selection {
            range: 0..info.size,
            partial: false,
        }),
        (Some(range), None) => {
            let range = range
                .check(info.size)
                .ok()
                .filter(|range| range.start < range.end);
            range
                .map(|range| Selection { range, partial: true })
                .ok_or_else(|| unsatisfiable(info.size))
        }
        (None, Some(number)) => select_part(info, number),
    }
}

fn select_part(info: &ObjectInfo, number: i32) -> S3Result<Selection> {
    let index = usize::try_from(number)
        .ok()
        .and_then(|number| number.checked_sub(1))
        .ok_or_else(|| {
            fail(
                S3ErrorCode::InvalidArgument,
                "Part number must be an integer between 1 and 10000, inclusive",
            )
        })?;
    let sizes = PartSizes::of(info).map_or_else(|| vec![info.size], |sizes| sizes.0);
    let Some(size) = sizes.get(index) else {
        let mut error = S3Error::new(S3ErrorCode::Custom("InvalidPartNumber".into()));
        error.set_status_code(http::StatusCode::RANGE_NOT_SATISFIABLE);
        error.set_message("The requested partnumber is not satisfiable.");
        return Err(error);
    };
    let start: u64 = sizes.iter().take(index).sum();
    Ok(Selection {
        range: start..start + size,
        partial: true,
    })
}

fn unsatisfiable(size: u64) -> S3Error {
    let mut error = fail(
        S3ErrorCode::InvalidRange,
        "The requested range is not satisfiable.",
    );
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
        headers.insert(http::header::CONTENT_RANGE, value);
    }
    error.set_headers(headers);
    error
}

/// Fills what GET and HEAD answers share.
macro_rules! describe {
    ($output:expr, $info:expr, $input:expr, $selection:expr) => {{
        let (info, selection): (&ObjectInfo, &Selection) = ($info, $selection);
        show_metadata!($output, &info.meta);
        $output.accept_ranges = Some("bytes".to_owned());
        $output.content_length = Some((selection.range.end - selection.range.start) as i64);
        $output.content_range = selection.content_range(info.size);
        $output.e_tag = Some(naming::etag(&info.etag));
        $output.last_modified = Some(naming::timestamp(info.modified));
        $output.version_id = version::shown(info.version);
        show_lock!($output, &info.meta);
        if $input.part_number.is_some() {
            $output.parts_count = info.parts.map(|parts| parts as i32);
        }
        let wanted = $input
            .checksum_mode
            .as_ref()
            .is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        let part = $input
            .part_number
            .and_then(|number| usize::try_from(number - 1).ok());
        if wanted && let Some(checksum) = Checksum::of(info) {
            let of_parts = part.and_then(|index| {
                let checksums = PartChecksums::of(info)?;
                Some((checksums.algorithm, checksums.values.get(index)?.clone()))
            });
            // Of a part of the bytes, a checksum over all of them says nothing; composite ones are
            // marked as such and SDKs do not compare them.
            let whole = selection.range == (0..info.size);
            if let Some((algorithm, value)) = of_parts {
                $output.checksum_type = Some(checksum.coverage.to_dto());
                set_checksum!($output, algorithm, value);
            } else if whole || checksum.coverage == Coverage::Composite {
                $output.checksum_type = Some(checksum.coverage.to_dto());
                set_checksum!($output, checksum.algorithm, checksum.value);
            }
        }
        if let Some(value) = $input.response_cache_control.clone() {
            $output.cache_control = Some(value);
        }
        if let Some(value) = $input.response_content_disposition.clone() {
            $output.content_disposition = Some(value);
        }
        if let Some(value) = $input.response_content_encoding.clone() {
            $output.content_encoding = Some(value);
        }
        if let Some(value) = $input.response_content_language.clone() {
            $output.content_language = Some(value);
        }
        if let Some(value) = $input.response_content_type.clone() {
            $output.content_type = Some(value);
        }
        if let Some(value) = $input.response_expires.clone() {
            $output.expires = Some(value);
        }
    }};
}

/// Who is unknown gets an answer as it is: somebody else's link could make anything of it.
fn refuse_overrides(input: &GetObjectInput) -> S3Result<()> {
    let overrides = input.response_cache_control.is_some()
        || input.response_content_disposition.is_some()
        || input.response_content_encoding.is_some()
        || input.response_content_language.is_some()
        || input.response_content_type.is_some()
        || input.response_expires.is_some();
    if overrides {
        return Err(fail(
            S3ErrorCode::InvalidRequest,
            "Request specific response headers cannot be used for anonymous GET requests.",
        ));
    }
    Ok(())
}

impl Door {
    pub(crate) async fn get(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let version = version::asked(input.version_id.as_deref())?;
        if req.credentials.is_none() {
            refuse_overrides(&input)?;
        }
        refuse_in_read(&req.headers)?;
        let customer = customer_key!(input)?;
        let reader = self.open(&input.bucket, &input.key, version).await?;
        let info = reader.info().clone();
        let reading = self.reading(&info, customer.as_ref(), &req.extensions).await?;
        ReadConditions::new(
            condition::DIRECT,
            &req.headers,
            input.if_unmodified_since.as_ref(),
            input.if_modified_since.as_ref(),
        )
        .check_read(&info)?;
        let selection = select(&info, input.range.as_ref(), input.part_number)?;
        let mut output = GetObjectOutput::default();
        describe!(output, &info, input, &selection);
        output.tag_count = Tags::of(&info.meta).count();
        show_encryption!(output, reading.shown(customer.as_ref()));
        if version.is_none() {
            output.expiration = self.expiration(&input.bucket, &info).await;
        }
        if !selection.range.is_empty() {
            let key = info.key;
            let mut pieces = reading.stream(reader, selection.range)?;
            // Bytes that cannot be had from the first on are an answer of their own.
            let first = match pieces.next().await {
                Some(Err(error)) => return Err(error::object(error)),
                first => first,
            };
            let pieces = futures::stream::iter(first)
                .chain(pieces)
                .map(move |piece| match piece {
                    Ok(bytes) => Ok(Frame::data(bytes)),
                    Err(error) => {
                        // The status is out already: cutting the body short is the only way to say so.
                        tracing::warn!(key = %String::from_utf8_lossy(&key), %error, "GET broke off");
                        Err(error)
                    }
                });
            output.body = Some(StreamingBlob::from(Body::http_body_unsync(StreamBody::new(
                pieces,
            ))));
        }
        Ok(S3Response::new(output))
    }

    pub(crate) async fn head(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let version = version::asked(input.version_id.as_deref())?;
        refuse_in_read(&req.headers)?;
        let customer = customer_key!(input)?;
        let reader = self.open(&input.bucket, &input.key, version).await?;
        let info = reader.info().clone();
        drop(reader);
        let kept = self.facts(&info, customer.as_ref(), &req.extensions)?;
        ReadConditions::new(
            condition::DIRECT,
            &req.headers,
            input.if_unmodified_since.as_ref(),
            input.if_modified_since.as_ref(),
        )
        .check_read(&info)?;
        let selection = select(&info, input.range.as_ref(), input.part_number)?;
        let mut output = HeadObjectOutput::default();
        describe!(output, &info, input, &selection);
        show_encryption!(output, Shown::of(kept.as_ref(), customer.as_ref()));
        if version.is_none() {
            output.expiration = self.expiration(&input.bucket, &info).await;
        }
        let mut headers = HeaderMap::new();
        headers.insert(ack::STATE, HeaderValue::from_static(self.state(&info).await?));
        if let Some(count) = Tags::of(&info.meta).count() {
            headers.insert(TAG_COUNT, HeaderValue::from(count));
        }
        Ok(S3Response::with_headers(output, headers))
    }

    async fn state(&self, info: &ObjectInfo) -> S3Result<&'static str> {
        let level = self.vfs.level(info.ino).await.map_err(error::object)?;
        Ok(ack::state_name(level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::record::internal_headers;

    fn info(size: u64, parts: Option<&[u64]>) -> ObjectInfo {
        let parts = parts.map(|sizes| PartSizes(sizes.to_vec()));
        ObjectInfo {
            ino: vfs::InodeNo(2),
            key: b"k".to_vec(),
            size,
            etag: "t".into(),
            modified: vfs::Timestamp(0),
            meta: vfs::ObjectMeta {
                headers: internal_headers("t", None, parts.as_ref()),
                ..vfs::ObjectMeta::default()
            },
            parts: parts.map(|parts| parts.0.len() as u32),
            version: None,
        }
    }

    #[test]
    fn ranges() {
        let object = info(10, None);
        let run = |range: &str| select(&object, Some(&Range::parse(range).unwrap()), None);
        for (range, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=3-", 3..10),
            ("bytes=3-99", 3..10),
            ("bytes=-4", 6..10),
            ("bytes=-99", 0..10),
        ] {
            assert_eq!(
                run(range).unwrap(),
                Selection {
                    range: expected,
                    partial: true
                },
                "{range}"
            );
        }
        assert_eq!(
            run("bytes=2-4").unwrap().content_range(10).as_deref(),
            Some("bytes 2-4/10")
        );
        for range in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            let error = run(range).unwrap_err();
            assert_eq!(error.code(), &S3ErrorCode::InvalidRange, "{range}");
            assert_eq!(
                error.headers().unwrap()[http::header::CONTENT_RANGE],
                "bytes */10"
            );
        }
        let empty = info(0, None);
        for range in ["bytes=0-", "bytes=-5"] {
            assert!(
                select(&empty, Some(&Range::parse(range).unwrap()), None).is_err(),
                "{range}"
            );
        }
        assert_eq!(
            select(&empty, None, None).unwrap(),
            Selection {
                range: 0..0,
                partial: false
            }
        );
    }

    #[test]
    fn parts() {
        let object = info(13, Some(&[5, 5, 3]));
        assert_eq!(select(&object, None, Some(2)).unwrap().range, 5..10);
        assert_eq!(select(&object, None, Some(3)).unwrap().range, 10..13);
        for number in [0, -1, 4, i32::MAX] {
            assert!(select(&object, None, Some(number)).is_err(), "{number}");
        }
        let simple = info(7, None);
        assert_eq!(select(&simple, None, Some(1)).unwrap().range, 0..7);
        assert!(select(&simple, None, Some(2)).is_err());
        let range = Range::parse("bytes=0-1").unwrap();
        assert!(select(&simple, Some(&range), Some(1)).is_err());
    }
}
