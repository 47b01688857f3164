//! Names and times as S3 writes them.
use s3s::dto::{ETag, EncodingType, Timestamp};

/// Longest key in bytes (AWS limit).
pub(crate) const MAX_KEY: usize = 1_024;

/// Whether S3 can show a bucket of this name. Buckets made with `mkdir` may have others.
pub(crate) fn is_bucket_name(name: &str) -> bool {
    s3s::path::check_bucket_name(name)
}

/// Whether a bucket may be made by this name: its labels, too, are those of a host name, so that it can
/// be a virtual host.
pub(crate) fn is_new_bucket_name(name: &str) -> bool {
    is_bucket_name(name) && !name.contains(".-") && !name.contains("-.")
}

/// An ETag for an answer.
pub(crate) fn etag(value: &str) -> ETag {
    ETag::Strong(value.to_owned())
}

/// A moment for an answer. Out of range for a calendar: the epoch.
pub(crate) fn timestamp(time: vfs::Timestamp) -> Timestamp {
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.0))
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
        .into()
}

/// Nanoseconds since 1970 of a moment that a request names.
pub(crate) fn nanos(time: &Timestamp) -> i128 {
    time::OffsetDateTime::from(time.clone()).unix_timestamp_nanos()
}

/// Seconds since 1970 of a moment that a request names.
pub(crate) fn seconds(time: &Timestamp) -> i64 {
    time::OffsetDateTime::from(time.clone()).unix_timestamp()
}

/// How names are written into a listing: `encoding-type=url` percent-encodes them, so that names
/// which XML or UTF-8 cannot carry come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameEncoding {
    url: bool,
}

impl NameEncoding {
    /// From the request. Unknown types: `None`.
    pub(crate) fn from_request(encoding: Option<&EncodingType>) -> Option<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Some(Self { url: false }),
            Some(EncodingType::URL) => Some(Self { url: true }),
            Some(_) => None,
        }
    }

    /// What the answer states.
    pub(crate) fn stated(self) -> Option<EncodingType> {
        self.url.then(|| EncodingType::from_static(EncodingType::URL))
    }

    /// The prefix that ListObjects was asked for. Clients do not decode this one element, so it is
    /// encoded only if XML could not carry it otherwise.
    pub(crate) fn echo(self, prefix: &str) -> String {
        let carried = |c: char| matches!(c, '\t' | '\n' | ' '..='\u{fffd}' | '\u{10000}'..);
        if prefix.chars().all(carried) {
            prefix.to_owned()
        } else {
            self.encode(prefix.as_bytes())
        }
    }

    /// A name in this encoding. Without `url`, bytes that are no UTF-8 are replaced by U+FFFD.
    pub(crate) fn encode(self, name: &[u8]) -> String {
        if !self.url {
            return String::from_utf8_lossy(name).into_owned();
        }
        let mut out = String::with_capacity(name.len());
        for &byte in name {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                    out.push(char::from(byte));
                }
                _ => {
                    const HEX: &[u8; 16] = b"0123456789ABCDEF";
                    out.push('%');
                    out.push(char::from(HEX[usize::from(byte >> 4)]));
                    out.push(char::from(HEX[usize::from(byte & 15)]));
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_encoding_keeps_slashes_and_escapes_the_rest() {
        let url = NameEncoding { url: true };
        assert_eq!(url.encode("a/b c+d%é".as_bytes()), "a/b%20c%2Bd%25%C3%A9");
        assert_eq!(url.encode(b"\xff\x01"), "%FF%01");
        assert_eq!(NameEncoding { url: false }.encode(b"a b"), "a b");
    }

    #[test]
    fn an_echo_is_encoded_only_where_xml_has_no_form() {
        let url = NameEncoding { url: true };
        for plain in ["", "a b/%é", "\n", "\u{10ffff}"] {
            assert_eq!(url.echo(plain), plain);
        }
        assert_eq!(url.echo("a\u{1}"), "a%01");
        assert_eq!(url.echo("\r"), "%0D");
    }

    #[test]
    fn new_names_have_labels_of_hosts() {
        for (name, fits) in [
            ("foo.bar", true),
            ("foo-bar", true),
            ("foo.-bar", false),
            ("foo-.bar", false),
        ] {
            assert_eq!(is_new_bucket_name(name), fits, "{name}");
        }
    }

    #[test]
    fn only_url_is_known() {
        assert!(NameEncoding::from_request(None).is_some());
        assert!(NameEncoding::from_request(Some(&EncodingType::from_static("url"))).is_some());
        assert!(NameEncoding::from_request(Some(&EncodingType::from_static("gzip"))).is_none());
    }

    #[test]
    fn times_outside_the_calendar_do_not_panic() {
        for nanos in [i64::MIN, -1, 0, i64::MAX] {
            let _ = timestamp(vfs::Timestamp(nanos));
        }
    }
}
