//! Browser forms (POST Object): an upload in a `multipart/form-data` body.
//!
//! A form is a PutObject in other clothes: its fields are what a PUT has as headers. So it is read up to
//! its file ([`fields`]), held against its policy ([`policy`]) and its signature ([`signature`]), and then
//! sent on as that PUT, signed anew with the key that signed the form. Whatever holds for a PUT (who may,
//! checksums, tags, levels, conditions) holds for a form without being written twice. The file is not held
//! in memory: it streams, and the limits of the policy are kept while it does ([`file`]).
//!
//! The PUT has no length, since a form states none for its file; that is the one thing in which it differs.
mod answer;
mod fields;
mod file;
mod policy;
mod signature;

pub(crate) use fields::Fields;

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HOST, REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::auth::S3Auth;
use s3s::{S3Error, S3ErrorCode};

use self::fields::Upload;
use self::policy::Policy;
use crate::error::fail;
use crate::host::{self, Place};
use crate::layer::{BodyFaults, GuardedBody};
use crate::limits;

/// What AWS leaves as it is in paths.
pub(crate) const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// Fields that say how the form is to be judged, not what the object is to be.
const CONSUMED: [&str; 14] = [
    "key",
    "bucket",
    "policy",
    "signature",
    "awsaccesskeyid",
    "x-amz-signature",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "success_action_redirect",
    "success_action_status",
    "redirect",
    "submit",
    "tagging",
];

/// How the door takes forms.
pub(crate) struct Forms {
    pub(crate) region: String,
    /// Whether a policy may be signed with HMAC-SHA1, as forms were before SigV4.
    pub(crate) signed_v2: bool,
    pub(crate) auth: Box<dyn S3Auth>,
}

/// A form as the PUT that it is.
pub(crate) struct Put {
    /// The PUT, to be checked and answered as every other one.
    pub(crate) request: Request<file::FileBody>,
    /// What its answer becomes.
    pub(crate) answer: answer::Answer,
    /// Why its body breaks off.
    pub(crate) faults: Arc<BodyFaults>,
}

/// Whether a request carries a form, and its boundary.
pub(crate) fn boundary(parts: &Parts) -> Option<String> {
    let content_type = parts.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    if parts.method != Method::POST {
        return None;
    }
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    // A form without a usable boundary is a form all the same; its body then makes no sense.
    Some(multer::parse_boundary(content_type).unwrap_or_default())
}

impl Forms {
    /// Reads a form up to its file and judges it.
    pub(crate) async fn read(
        &self,
        parts: &Parts,
        place: Option<&Place>,
        boundary: String,
        body: Incoming,
    ) -> Result<Put, S3Error> {
        let Some(Place { bucket, key, hosted }) = place else {
            return Err(fail(
                S3ErrorCode::MethodNotAllowed,
                "The specified method is not allowed against this resource.",
            ));
        };
        if !key.is_empty() {
            return Err(fail(
                S3ErrorCode::MethodNotAllowed,
                "The specified method is not allowed against this resource.",
            ));
        }
        let faults = Arc::new(BodyFaults::open_ended());
        let body = GuardedBody::new(
            body,
            crate::layer::Framing::Plain,
            limits::BODY_IDLE_TIMEOUT,
            Arc::clone(&faults),
        );
        let Upload { fields, form, file } = fields::read(body, boundary)
            .await
            .map_err(|error| faults.get().map_or(error, crate::layer::BodyFault::to_s3))?;
        let key = fields.get("key").filter(|key| !key.is_empty()).ok_or_else(|| {
            fail(
                S3ErrorCode::InvalidArgument,
                "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.",
            )
        })?;
        let signer = signature::verify(self, &fields).await?;
        let size = match fields.get("policy") {
            Some(text) => {
                let policy = Policy::parse(text)?;
                policy.check(&fields, bucket, crate::clock::now())?
            }
            None => 0..=limits::MAX_SINGLE_PUT,
        };
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !hosted && !bucket.bytes().all(letters) {
            return Err(fail(
                S3ErrorCode::InvalidBucketName,
                "The specified bucket is not valid.",
            ));
        }
        let host = host::host(parts).unwrap_or_default();
        let encoded = utf8_percent_encode(key, PATH);
        let path = if *hosted {
            format!("/{encoded}")
        } else {
            format!("/{bucket}/{encoded}")
        };
        let mut headers = put_headers(&fields)?;
        headers.insert(HOST, header("host", host)?);
        // Policies ask for them.
        for name in [REFERER, USER_AGENT] {
            if let Some(value) = parts.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let target = match signer {
            Some(signer) => format!("{path}?{}", signer.sign(&path, &headers)?),
            None => path,
        };
        let uri: Uri = target
            .parse()
            .map_err(|_| fail(S3ErrorCode::InvalidURI, "Could not parse the specified URI."))?;
        let answer = answer::Answer::new(&fields, bucket, key, host, parts);
        let mut request = Request::new(file::FileBody::new(form, file, size, Arc::clone(&faults)));
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        *request.extensions_mut() = parts.extensions.clone();
        Ok(Put {
            request,
            answer,
            faults,
        })
    }
}

/// The headers that a form's fields stand for.
fn put_headers(fields: &Fields) -> Result<HeaderMap, S3Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter() {
        if CONSUMED.contains(&name) || name.starts_with("x-ignore-") {
            continue;
        }
        let name = match name {
            "acl" => "x-amz-acl",
            name if name.starts_with("x-amz-") => name,
            "cache-control"
            | "content-disposition"
            | "content-encoding"
            | "content-language"
            | "content-type"
            | "expires" => name,
            // What the policy lets through and no PUT knows means nothing.
            _ => continue,
        };
        let value = if name.starts_with("x-amz-meta-") && !value.is_ascii() {
            fields::encoded_word(value)
        } else {
            value.to_owned()
        };
        let known = HeaderName::from_bytes(name.as_bytes());
        let known = known.map_err(|_| bad_field(name))?;
        headers.insert(known, header(name, value.trim())?);
    }
    if let Some(document) = fields.get("tagging") {
        let tags = fields::tags(document)?;
        headers.insert("x-amz-tagging", header("tagging", &tags)?);
    }
    Ok(headers)
}

fn header(name: &str, value: &str) -> Result<HeaderValue, S3Error> {
    HeaderValue::from_str(value).map_err(|_| bad_field(name))
}

fn bad_field(name: &str) -> S3Error {
    fail(
        S3ErrorCode::InvalidArgument,
        format!(
            "The form field {} cannot be used as a header.",
            name.escape_default()
        ),
    )
}
