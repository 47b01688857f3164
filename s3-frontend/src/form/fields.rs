//! The fields of a form, up to its file.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http_body_util::BodyDataStream;
use hyper::body::Body;
use s3s::dto::Tagging;
use s3s::xml::{Deserialize as _, Deserializer};
use s3s::{S3Error, S3ErrorCode};

use crate::error::{fail, fail_custom};
use crate::layer::BodyFault;
use crate::limits;

/// What stands for the name of the file in a field.
const FILENAME: &str = "${filename}";
/// Fields in which it means itself.
const VERBATIM: [&str; 3] = ["policy", "signature", "x-amz-signature"];

/// Fields by name, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// A field's value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn add(&mut self, name: &str, value: String) -> Result<(), S3Error> {
        match self.0.entry(name.to_ascii_lowercase()) {
            Entry::Vacant(entry) => {
                entry.insert(value);
                Ok(())
            }
            // Which of two was meant, and which one the policy was held against, nobody could say.
            Entry::Occupied(entry) => Err(fail(
                S3ErrorCode::InvalidArgument,
                format!(
                    "POST has more than one field named '{}'.",
                    entry.key().escape_default()
                ),
            )),
        }
    }

    /// Puts the name of the file where fields ask for it.
    fn expand(&mut self, filename: &str) {
        // Browsers may send a whole path.
        let filename = filename.rsplit(['/', '\\']).next().unwrap_or_default();
        for (name, value) in &mut self.0 {
            if !VERBATIM.contains(&name.as_str()) && value.contains(FILENAME) {
                *value = value.replace(FILENAME, filename);
            }
        }
    }
}

#[cfg(test)]
impl FromIterator<(&'static str, &'static str)> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'static str, &'static str)>>(fields: I) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self(fields.into_iter().map(owned).collect())
    }
}

/// A form up to its file.
pub(crate) struct Upload {
    pub(crate) fields: Fields,
    /// What the file is read from.
    pub(crate) form: multer::Multipart<'static>,
    pub(crate) file: multer::Field<'static>,
}

/// Reads `body` up to the file.
pub(crate) async fn read<B>(body: B, boundary: String) -> Result<Upload, S3Error>
where
    B: Body<Data = Bytes, Error = BodyFault> + Send + Unpin + 'static,
{
    read_stream(BodyDataStream::new(body), boundary).await
}

async fn read_stream<S>(stream: S, boundary: String) -> Result<Upload, S3Error>
where
    S: Stream<Item = Result<Bytes, BodyFault>> + Send + 'static,
{
    if boundary.is_empty() {
        return Err(malformed());
    }
    let at_file = Arc::new(AtomicBool::new(false));
    let mut form = multer::Multipart::new(until_file(stream, at_file.clone()), boundary);
    let mut fields = Fields::default();
    let mut left = limits::MAX_FORM_FIELDS;
    loop {
        let Some(mut field) = form.next_field().await.map_err(|_| malformed())? else {
            return Err(fail(
                S3ErrorCode::InvalidArgument,
                "POST requires exactly one file upload per request.",
            ));
        };
        let name = field.name().ok_or_else(malformed)?.to_owned();
        if name.eq_ignore_ascii_case("file") {
            at_file.store(true, Ordering::Relaxed);
            let filename = field.file_name().unwrap_or_default();
            let places = fields.0.values().map(|value| value.matches(FILENAME).count());
            take(&mut left, places.sum::<usize>().saturating_mul(filename.len()))?;
            fields.expand(filename);
            return Ok(Upload {
                fields,
                form,
                file: field,
            });
        }
        let mut value = Vec::new();
        take(&mut left, name.len())?;
        while let Some(piece) = field.chunk().await.map_err(|_| malformed())? {
            take(&mut left, piece.len())?;
            value.extend_from_slice(&piece);
        }
        let value = String::from_utf8(value).map_err(|_| malformed())?;
        fields.add(&name, value)?;
    }
}

/// Most bytes that come before the file is found, which `multer` holds in memory: the fields, and what of
/// the file is read along with them.
const BEFORE_FILE: usize = 4 << 20;

/// Breaks a body off that has no file within [`BEFORE_FILE`].
fn until_file<S>(stream: S, at_file: Arc<AtomicBool>) -> impl Stream<Item = Result<Bytes, BodyFault>> + Send
where
    S: Stream<Item = Result<Bytes, BodyFault>> + Send + 'static,
{
    let mut come = 0usize;
    stream.map(move |piece| {
        if let Ok(piece) = &piece
            && !at_file.load(Ordering::Relaxed)
        {
            come = come.saturating_add(piece.len());
            if come > BEFORE_FILE {
                return Err(BodyFault::TooLarge);
            }
        }
        piece
    })
}

fn take(left: &mut usize, len: usize) -> Result<(), S3Error> {
    *left = left.checked_sub(len).ok_or_else(|| {
        fail_custom(
            "MaxPostPreDataLengthExceeded",
            http::StatusCode::BAD_REQUEST,
            "Your POST request fields preceding the upload file were too large.",
        )
    })?;
    Ok(())
}

fn malformed() -> S3Error {
    fail(
        S3ErrorCode::MalformedPOSTRequest,
        "The body of your POST request is not well-formed multipart/form-data.",
    )
}

/// A text that headers cannot carry, in the form that stands for it there (RFC 2047).
pub(crate) fn encoded_word(text: &str) -> String {
    format!("=?UTF-8?B?{}?=", BASE64_STANDARD.encode(text))
}

/// Tags as the header has them, from the XML document that a form has.
pub(crate) fn tags(document: &str) -> Result<String, S3Error> {
    let malformed = |_| {
        fail(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
    };
    let mut xml = Deserializer::new(document.as_bytes());
    let tagging = Tagging::deserialize(&mut xml).map_err(malformed)?;
    xml.expect_eof().map_err(malformed)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    for tag in tagging.tag_set {
        query.append_pair(
            tag.key.as_deref().unwrap_or_default(),
            tag.value.as_deref().unwrap_or_default(),
        );
    }
    Ok(query.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(parts: &[(&str, &str)]) -> String {
        let mut body = String::new();
        for (disposition, value) in parts {
            body.push_str(&format!(
                "--XX\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n"
            ));
        }
        body + "--XX--\r\n"
    }

    fn run(body: &[u8], cut: usize) -> Result<Fields, String> {
        let pieces: Vec<_> = body
            .chunks(cut.max(1))
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let read = read_stream(futures::stream::iter(pieces), "XX".to_owned());
        let upload = futures::executor::block_on(read);
        upload
            .map(|upload| upload.fields)
            .map_err(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn a_form_without_an_end_or_with_names_without_end_is_broken_off() {
        let endless = "x".repeat(BEFORE_FILE + 100_000);
        let head = format!("--XX\r\nContent-Disposition: form-data; name=\"{endless}\"\r\n\r\n");
        assert!(run(endless.as_bytes(), 8192).is_err());
        assert!(run(head.as_bytes(), 8192).is_err());
        let places = "${filename}".repeat(1_000);
        let long = format!("name=\"file\"; filename=\"{}\"", "y".repeat(100_000));
        let body = form(&[("name=\"key\"", &places), (&long, "bytes")]);
        assert_eq!(
            run(body.as_bytes(), 8192),
            Err("MaxPostPreDataLengthExceeded".to_owned())
        );
    }

    #[test]
    fn fields_before_the_file_count() {
        let body = form(&[
            ("name=\"KeY\"", "a/${filename}"),
            ("name=\"policy\"", "${filename}"),
            ("name=\"file\"; filename=\"C:\\dir\\pic.jpg\"", "bytes"),
            ("name=\"late\"", "x"),
        ]);
        let expected = Fields::from_iter([("key", "a/pic.jpg"), ("policy", "${filename}")]);
        for cut in [1, 7, 1000] {
            assert_eq!(run(body.as_bytes(), cut), Ok(expected.clone()));
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let long = "v".repeat(limits::MAX_FORM_FIELDS + 1);
        for (body, code) in [
            (form(&[("name=\"key\"", "k")]), "InvalidArgument"),
            (
                form(&[
                    ("name=\"key\"", "k"),
                    ("name=\"Key\"", "l"),
                    ("name=\"file\"", ""),
                ]),
                "InvalidArgument",
            ),
            (form(&[("filename=\"f\"", "k")]), "MalformedPOSTRequest"),
            (form(&[("name=\"a\"", &long)]), "MaxPostPreDataLengthExceeded"),
            ("--XX\r\n".to_owned(), "MalformedPOSTRequest"),
            (String::new(), "MalformedPOSTRequest"),
        ] {
            assert_eq!(run(body.as_bytes(), 64), Err(code.to_owned()), "{code}");
        }
        let mut bytes = form(&[("name=\"key\"", "k"), ("name=\"file\"", "")]).into_bytes();
        let at = bytes.iter().position(|byte| *byte == b'k').unwrap();
        bytes[at + 6] = 0xff;
        assert!(run(&bytes, 64).is_err());
    }

    #[test]
    fn tags_become_a_header() {
        let document = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag></TagSet></Tagging>";
        assert_eq!(tags(document).unwrap(), "a+b=1%262");
        for rubbish in ["", "<Tagging>", "a=b", "<Tagging></Tagging><x/>"] {
            assert!(tags(rubbish).is_err(), "{rubbish}");
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300), cut in 1usize..50) {
            let _ = run(&body, cut);
            let mut started = b"--XX\r\nContent-Disposition: form-data; name=\"".to_vec();
            started.extend_from_slice(&body);
            let _ = run(&started, cut);
        }

        #[test]
        fn fields_come_through_whatever_the_cut(value in "[ -~é]{0,60}", cut in 1usize..30) {
            prop_assume!(!value.contains("${filename}"));
            let body = form(&[("name=\"x-amz-meta-a\"", &value), ("name=\"file\"", "f")]);
            let fields = run(body.as_bytes(), cut).unwrap();
            prop_assert_eq!(fields.get("x-amz-meta-a"), Some(value.as_str()));
        }
    }
}
