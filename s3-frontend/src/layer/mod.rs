//! The strict layer in front of s3s: closes what that crate leaves open.
//!
//! | left open by s3s 0.14 | closed in |
//! |---|---|
//! | the ETag of GetObjectAttributes, which S3 gives without quotes | [`answer`] |
//! | request ids, `Resource` and `RequestId` in error documents | [`answer`] |
//! | old signature versions, unsigned `x-amz-*` headers, region, presigned lifetime, session tokens | [`signature`] |
//! | `OPTIONS` (CORS preflight) | here |
//! | forms of strangers held in memory | here |
//! | answers to `Expect: 100-continue` that come without the `100` (hyper sends none for an empty body) | here |
//! | idle bodies, aws-chunked chunks of any size held in memory, why a body broke off | [`body`], [`chunked`] |
mod answer;
mod body;
mod chunked;
mod signature;

pub(crate) use body::BodyFaults;
pub(crate) use signature::check_form_region;

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode};
use tokio::sync::Semaphore;

use self::answer::RequestIds;
use self::body::GuardedBody;
use crate::error::{fail, fail_custom};
use crate::limits;

/// Takes requests off the wire and hands the acceptable ones to s3s.
pub(crate) struct Front {
    s3: S3Service,
    region: String,
    ids: RequestIds,
    forms: Semaphore,
}

impl Front {
    /// In front of `s3`; signatures must name `region`.
    pub(crate) fn new(s3: S3Service, region: String) -> Self {
        Self {
            s3,
            region,
            ids: RequestIds::new(),
            forms: Semaphore::new(limits::MAX_FORMS),
        }
    }

    /// Answers one request. Every outcome is an answer.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let id = self.ids.next();
        let method = request.method().clone();
        let resource = request.uri().path().to_owned();
        let attributes = method == Method::GET && asks_for(&request, "attributes");
        let expects = expects_continue(&request);
        let empty = request.body().is_end_stream();
        let response = match self.admit(request) {
            Ok(admitted) if admitted.form => match self.forms.acquire().await {
                Ok(_permit) => self.answer(admitted).await,
                Err(_) => refusal(S3Error::new(S3ErrorCode::ServiceUnavailable)),
            },
            Ok(admitted) => self.answer(admitted).await,
            Err(error) => refusal(error),
        };
        let mut response = answer::finish(response, &id, &method, &resource);
        if attributes {
            answer::strip_quotes_of_etag(&mut response);
        }
        // A final answer where `100` was expected: botocore would take its status for that of the
        // next request on this connection.
        if expects && (empty || !response.status().is_success()) {
            response
                .headers_mut()
                .insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
        }
        response
    }

    async fn answer(&self, admitted: Admitted) -> Response<Body> {
        let Admitted {
            request,
            faults,
            document,
            form: _,
        } = admitted;
        let response = match self.s3.call(request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::error!(error = %s3s::StdError::from(error), "request could not be answered");
                return refusal(S3Error::new(S3ErrorCode::InternalError));
            }
        };
        // s3s calls every failure to read an XML body an internal error.
        if document && response.status() == StatusCode::INTERNAL_SERVER_ERROR {
            if let Some(fault) = faults.get() {
                return refusal(fault.to_s3());
            }
            if answer::is_bare(&response) {
                return refusal(fail(
                    S3ErrorCode::InvalidRequest,
                    "The request body does not match the hash, signature or length that its headers state.",
                ));
            }
        }
        response
    }

    fn admit(&self, request: Request<Incoming>) -> Result<Admitted, S3Error> {
        let (mut parts, body) = request.into_parts();
        if parts.method == Method::OPTIONS {
            return Err(fail_custom(
                "AccessForbidden",
                StatusCode::FORBIDDEN,
                "CORSResponse: CORS is not enabled for this bucket.",
            ));
        }
        signature::check(&parts, &self.region)?;
        let faults = Arc::new(BodyFaults::default());
        parts.extensions.insert(Arc::clone(&faults));
        let framing = chunked::Framing::of(&parts.headers);
        let form = is_form(&parts);
        let document = !form && takes_document(&parts);
        let mut body = GuardedBody::new(body, framing, limits::BODY_IDLE_TIMEOUT, Arc::clone(&faults));
        if document {
            body = body.limited(limits::MAX_XML_BODY as u64);
        }
        let request = Request::from_parts(parts, Body::http_body_unsync(body));
        Ok(Admitted {
            request,
            faults,
            document,
            form,
        })
    }
}

/// A request that may go to s3s.
struct Admitted {
    request: Request<Body>,
    faults: Arc<BodyFaults>,
    /// Whether its body is a document that s3s holds in memory, not an object's bytes.
    document: bool,
    /// Whether it is a browser form.
    form: bool,
}

/// Whether the query names a sub-resource.
fn asks_for(request: &Request<Incoming>, resource: &str) -> bool {
    let query = request.uri().query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == resource)
}

/// Whether the client holds its body back until it is asked for it.
fn expects_continue(request: &Request<Incoming>) -> bool {
    let expect = request.headers().get(http::header::EXPECT);
    request.version() == http::Version::HTTP_11
        && expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// A browser form (POST Object).
fn is_form(parts: &Parts) -> bool {
    let content_type = parts
        .headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    parts.method == Method::POST
        && content_type.is_some_and(|value| {
            value
                .trim_start()
                .to_ascii_lowercase()
                .starts_with("multipart/form-data")
        })
}

/// Sub-resources whose PUT carries a document.
const DOCUMENTS: [&str; 23] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "logging",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "retention",
    "tagging",
    "versioning",
    "website",
];

/// Bodies are documents where the query names such a sub-resource, and in every POST but a form.
fn takes_document(parts: &Parts) -> bool {
    parts.method == Method::POST
        || form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .any(|(name, _)| DOCUMENTS.contains(&&*name))
}

fn refusal(error: S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_from_objects() {
        let takes = |method: Method, uri: &str, content_type: &str| {
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .header("content-type", content_type);
            let parts = request.body(()).unwrap().into_parts().0;
            !is_form(&parts) && takes_document(&parts)
        };
        for object in [
            "/b/k",
            "/b/k?partNumber=1&uploadId=x&x-id=UploadPart",
            "/b/k?X-Amz-Signature=0&other=1",
        ] {
            assert!(!takes(Method::PUT, object, "text/xml"), "{object}");
        }
        for document in ["/b?cors", "/b/k?tagging", "/b/k?acl="] {
            assert!(takes(Method::PUT, document, ""), "{document}");
        }
        assert!(takes(Method::POST, "/b/k?uploadId=x", "application/xml"));
        assert!(!takes(Method::POST, "/b", "Multipart/form-data; boundary=x"));
    }
}
