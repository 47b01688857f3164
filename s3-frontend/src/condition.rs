//! Conditional requests.
//!
//! Conditions on writes are handed to the namespace, which decides them inside the transaction.
//! Conditions on reads are decided here against one point-in-time view, in the order of RFC 9110
//! §13.2.2: `If-Match` (or, without it, `If-Unmodified-Since`) and then `If-None-Match` (or, without
//! it, `If-Modified-Since`). Times compare in whole seconds, as they travel.
use http::{HeaderMap, HeaderValue, header};
use s3s::dto::Timestamp;
use s3s::{S3Error, S3ErrorCode, S3Result};
use vfs::{ObjectInfo, Precondition};

use crate::error::{fail, precondition_failed};
use crate::naming;

/// The entity tags of a header: `*`, or a list with or without quotes. Weak marks are dropped.
fn tags(headers: &HeaderMap, name: &str) -> Option<Vec<String>> {
    let tags: Vec<String> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(split_tags)
        .collect();
    (!tags.is_empty()).then_some(tags)
}

/// Commas inside quotes belong to the tag.
fn split_tags(text: &str) -> Vec<String> {
    let mut quoted = false;
    text.split(|c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"').to_owned())
    .filter(|tag| !tag.is_empty())
    .collect()
}

fn matches(tags: &[String], etag: &str) -> bool {
    tags.iter().any(|tag| tag == "*" || tag == etag)
}

/// The condition of a write.
pub(crate) fn of_write(headers: &HeaderMap) -> Precondition {
    Precondition {
        if_match: tags(headers, "if-match"),
        if_none_match: tags(headers, "if-none-match"),
        ..Precondition::default()
    }
}

/// The condition of a deletion: on top of its tags, a time and a size.
pub(crate) fn of_deletion(
    if_match: Option<Vec<String>>,
    modified: Option<&Timestamp>,
    size: Option<i64>,
) -> S3Result<Precondition> {
    let if_size = match size {
        None => None,
        Some(size) => Some(
            u64::try_from(size)
                .map_err(|_| fail(S3ErrorCode::InvalidArgument, "A size cannot be negative."))?,
        ),
    };
    Ok(Precondition {
        if_match,
        if_none_match: None,
        if_modified_at: modified.map(naming::seconds),
        if_size,
    })
}

/// Names of the four headers of a conditional read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadHeaders {
    if_match: &'static str,
    if_none_match: &'static str,
}

/// Of GET and HEAD.
pub(crate) const DIRECT: ReadHeaders = ReadHeaders {
    if_match: "if-match",
    if_none_match: "if-none-match",
};
/// Of the source of a copy.
pub(crate) const COPY_SOURCE: ReadHeaders = ReadHeaders {
    if_match: "x-amz-copy-source-if-match",
    if_none_match: "x-amz-copy-source-if-none-match",
};

/// Of the source of a rename.
pub(crate) const RENAME_SOURCE: ReadHeaders = ReadHeaders {
    if_match: "x-amz-rename-source-if-match",
    if_none_match: "x-amz-rename-source-if-none-match",
};

/// The conditions of a read.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadConditions {
    if_match: Option<Vec<String>>,
    if_none_match: Option<Vec<String>>,
    if_unmodified_since: Option<i64>,
    if_modified_since: Option<i64>,
}

/// What conditions say about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    Proceed,
    /// The client has it already.
    NotModified,
    /// The named condition does not hold.
    Failed(&'static str),
}

impl ReadConditions {
    /// From the headers of a request; the dates are those that s3s parsed.
    pub(crate) fn new(
        names: ReadHeaders,
        headers: &HeaderMap,
        unmodified_since: Option<&Timestamp>,
        modified_since: Option<&Timestamp>,
    ) -> Self {
        Self {
            if_match: tags(headers, names.if_match),
            if_none_match: tags(headers, names.if_none_match),
            if_unmodified_since: unmodified_since.map(naming::seconds),
            if_modified_since: modified_since.map(naming::seconds),
        }
    }

    /// Decides.
    pub(crate) fn judge(&self, etag: &str, modified: vfs::Timestamp) -> Verdict {
        let modified = modified.0.div_euclid(1_000_000_000);
        if let Some(tags) = &self.if_match {
            if !matches(tags, etag) {
                return Verdict::Failed("If-Match");
            }
        } else if self.if_unmodified_since.is_some_and(|since| modified > since) {
            return Verdict::Failed("If-Unmodified-Since");
        }
        if let Some(tags) = &self.if_none_match {
            if matches(tags, etag) {
                return Verdict::NotModified;
            }
        } else if self.if_modified_since.is_some_and(|since| modified <= since) {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Decides for GET and HEAD: 304 or 412.
    pub(crate) fn check_read(&self, info: &ObjectInfo) -> S3Result<()> {
        match self.judge(&info.etag, info.modified) {
            Verdict::Proceed => Ok(()),
            Verdict::Failed(name) => Err(precondition_failed(Some(name))),
            Verdict::NotModified => Err(not_modified(info)),
        }
    }

    /// Decides for the source of a copy: always 412.
    pub(crate) fn check_copy_source(&self, info: &ObjectInfo) -> S3Result<()> {
        match self.judge(&info.etag, info.modified) {
            Verdict::Proceed => Ok(()),
            Verdict::Failed(_) | Verdict::NotModified => {
                Err(precondition_failed(Some("x-amz-copy-source-if-*")))
            }
        }
    }
}

/// 304 with the headers a cache needs.
fn not_modified(info: &ObjectInfo) -> S3Error {
    let mut error = fail(S3ErrorCode::NotModified, "Not Modified");
    let mut headers = HeaderMap::new();
    if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", info.etag)) {
        headers.insert(header::ETAG, etag);
    }
    let mut date = Vec::new();
    let format = s3s::dto::TimestampFormat::HttpDate;
    if naming::timestamp(info.modified).format(format, &mut date).is_ok()
        && let Ok(date) = HeaderValue::try_from(date)
    {
        headers.insert(header::LAST_MODIFIED, date);
    }
    error.set_headers(headers);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(
        pairs: &[(&'static str, &'static str)],
        unmodified: Option<i64>,
        modified: Option<i64>,
    ) -> Verdict {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let mut conditions = ReadConditions::new(DIRECT, &headers, None, None);
        conditions.if_unmodified_since = unmodified;
        conditions.if_modified_since = modified;
        // The object: tag "abc", changed half a second after second 100.
        conditions.judge("abc", vfs::Timestamp(100_500_000_000))
    }

    #[test]
    fn single_conditions() {
        assert_eq!(judge(&[], None, None), Verdict::Proceed);
        for matching in ["\"abc\"", "abc", "*", "\"x\", \"abc\"", "W/\"abc\""] {
            let matching: &'static str = matching;
            assert_eq!(
                judge(&[("if-match", matching)], None, None),
                Verdict::Proceed,
                "{matching}"
            );
            assert_eq!(
                judge(&[("if-none-match", matching)], None, None),
                Verdict::NotModified,
                "{matching}"
            );
        }
        assert_eq!(
            judge(&[("if-match", "\"x\"")], None, None),
            Verdict::Failed("If-Match")
        );
        assert_eq!(judge(&[("if-none-match", "\"x\"")], None, None), Verdict::Proceed);
        assert_eq!(judge(&[], Some(99), None), Verdict::Failed("If-Unmodified-Since"));
        assert_eq!(judge(&[], Some(100), None), Verdict::Proceed);
        assert_eq!(judge(&[], None, Some(99)), Verdict::Proceed);
        assert_eq!(judge(&[], None, Some(100)), Verdict::NotModified);
    }

    #[test]
    fn tags_win_over_dates() {
        assert_eq!(judge(&[("if-match", "abc")], Some(1), None), Verdict::Proceed);
        assert_eq!(
            judge(&[("if-none-match", "x")], None, Some(200)),
            Verdict::Proceed
        );
        assert_eq!(
            judge(&[("if-none-match", "abc")], None, Some(1)),
            Verdict::NotModified
        );
        assert_eq!(
            judge(&[("if-match", "x"), ("if-none-match", "abc")], None, None),
            Verdict::Failed("If-Match")
        );
    }

    #[test]
    fn lists_split_outside_quotes_only() {
        assert_eq!(split_tags("\"a,b\" , c,,\"\""), ["a,b", "c"]);
    }
}
