//! The strict layer in front of s3s: closes what that crate leaves open.
//!
//! | left open by s3s 0.14 | closed in |
//! |---|---|
//! | the ETag of GetObjectAttributes, which S3 gives without quotes | [`answer`] |
//! | clients that ask for more than their share | [`client`] |
//! | heads of any size | here |
//! | request ids, `Resource` and `RequestId` in error documents | [`answer`] |
//! | old signature versions, unsigned `x-amz-*` headers, region, presigned lifetime | [`signature`] |
//! | session tokens | [`crate::auth`] |
//! | CORS, with the question before a request (`OPTIONS`) | [`crate::cors`], called here |
//! | browser forms, held in memory and read by rules of their own | [`crate::form`], called here |
//! | requests about one thing taken for requests about another | [`subresource`] |
//! | `Content-MD5` of documents | [`body`] |
//! | web sites | [`crate::website`], called in [`visit`] |
//! | answers to `Expect: 100-continue` that come without the `100` (hyper sends none for an empty body) | here |
//! | idle bodies, aws-chunked chunks of any size held in memory, why a body broke off | [`body`], [`chunked`] |
mod answer;
mod body;
mod chunked;
mod client;
mod signature;
mod subresource;
mod visit;

pub(crate) use answer::{RequestId, escape};
pub(crate) use body::{BodyFault, BodyFaults, GuardedBody};
pub(crate) use chunked::Framing;
pub(crate) use client::{Client, Proven};

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use s3s::service::S3Service;
use s3s::{Body, S3Error, S3ErrorCode};
use vfs::Vfs;

use self::answer::RequestIds;
use self::client::Share;
use self::subresource::Level;
use crate::auth::Keys;
use crate::error::{fail, fail_custom};
use crate::form::{self, Forms};
use crate::host::{Domains, Place};
use crate::{S3Config, cors, limits, setting, sts};

/// Takes requests off the wire and hands the acceptable ones to s3s.
pub(crate) struct Front {
    s3: S3Service,
    vfs: Vfs,
    domains: Domains,
    website_domains: Domains,
    region: String,
    ids: RequestIds,
    share: Share,
    forms: Forms,
}

impl Front {
    /// In front of `s3`, which works on `vfs`; forms are signed with `keys`.
    pub(crate) fn new(s3: S3Service, vfs: Vfs, domains: Domains, keys: Keys, config: &S3Config) -> Self {
        Self {
            s3,
            vfs,
            domains,
            website_domains: Domains::new(&config.website_domains),
            region: config.region.clone(),
            ids: RequestIds::new(),
            share: Share::new(&config.clients),
            forms: Forms {
                region: config.region.clone(),
                signed_v2: config.forms_signed_v2,
                auth: Box::new(keys),
            },
        }
    }

    /// Answers one request of `client`. Every outcome is an answer.
    pub(crate) async fn handle(&self, mut request: Request<Incoming>, client: Client) -> Response<Body> {
        let id = self.ids.next();
        request.extensions_mut().insert(id.clone());
        let of_sts = sts::is_for(request.method(), request.uri(), request.headers());
        let method = request.method().clone();
        let resource = request.uri().path().to_owned();
        let attributes = method == Method::GET && asks_for(&request, "attributes");
        let expects = expects_continue(&request);
        let empty = request.body().is_end_stream();
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(client);
        let proven = Proven::default();
        parts.extensions.insert(proven.clone());
        let response = match self.share.grant(client, &parts) {
            Err(error) => refusal(error),
            Ok(granted) => {
                let response = self.respond(parts, body, client).await;
                self.share.answered(granted, proven.get());
                response
            }
        };
        let mut response = answer::finish(response, &id, &method, &resource, of_sts);
        if attributes {
            answer::strip_quotes_of_etag(&mut response);
        }
        // A final answer where `100` was expected: botocore would take its status for that of the
        // next request on this connection.
        if expects && (empty || !response.status().is_success()) {
            response
                .headers_mut()
                .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn respond(&self, mut parts: Parts, body: Incoming, client: Client) -> Response<Body> {
        // Whoever says nothing about himself is anonymous.
        if parts
            .headers
            .get(AUTHORIZATION)
            .is_some_and(HeaderValue::is_empty)
        {
            parts.headers.remove(AUTHORIZATION);
        }
        if head_len(&parts) > limits::MAX_HEAD {
            return refusal(fail_custom(
                "RequestHeaderSectionTooLarge",
                StatusCode::BAD_REQUEST,
                "Your request header section exceeds the maximum allowed size.",
            ));
        }
        if let Some(bucket) = self.site(&parts, client) {
            return self.visit(&bucket, &parts, client).await;
        }
        let place = self.domains.place(&parts);
        if parts.method == Method::OPTIONS {
            let answer = self.preflight(&parts, place.as_ref()).await;
            return answer.unwrap_or_else(refusal);
        }
        // A browser makes it for a page of another origin.
        let foreign = parts.headers.contains_key(http::header::ORIGIN);
        let asked = foreign.then(|| (parts.method.clone(), parts.headers.clone()));
        let response = self.carry_out(parts, body, place.as_ref()).await;
        let mut response = response.unwrap_or_else(refusal);
        if let (Some((method, headers)), Some(place)) = (asked, place)
            // The request is answered already; without the headers the browser keeps the answer to itself.
            && let Ok(Some(rules)) = self.cors_rules(&place.bucket).await
        {
            cors::annotate(response.headers_mut(), &rules, &headers, &method);
        }
        response
    }

    /// Answers a browser's question.
    async fn preflight(&self, parts: &Parts, place: Option<&Place>) -> Result<Response<Body>, S3Error> {
        let asked = cors::Preflight::read(&parts.headers)?;
        let rules = match place {
            Some(place) => self.cors_rules(&place.bucket).await?,
            None => None,
        };
        asked.answer(rules.as_ref())
    }

    /// Of a bucket that is not there nobody may learn so here.
    async fn cors_rules(&self, bucket: &str) -> Result<Option<cors::Rules>, S3Error> {
        match setting::read(&self.vfs, bucket, cors::SETTING).await {
            Err(error) if *error.code() == S3ErrorCode::NoSuchBucket => Ok(None),
            rules => rules,
        }
    }

    async fn carry_out(
        &self,
        parts: Parts,
        body: Incoming,
        place: Option<&Place>,
    ) -> Result<Response<Body>, S3Error> {
        if let Some(boundary) = form::boundary(&parts) {
            let put = self.forms.read(&parts, place, boundary, body).await?;
            let (parts, file) = put.request.into_parts();
            signature::check(&parts, &self.region)?;
            let response = self
                .answer(Admitted::new(
                    parts,
                    Body::http_body_unsync(file),
                    put.faults,
                    false,
                ))
                .await;
            return Ok(put.answer.finish(response));
        }
        if let Some(place) = place {
            let level = if place.key.is_empty() {
                Level::Bucket
            } else {
                Level::Object
            };
            subresource::check(&parts, level)?;
        }
        let admitted = self.admit(parts, body)?;
        Ok(self.answer(admitted).await)
    }

    async fn answer(&self, admitted: Admitted) -> Response<Body> {
        let Admitted {
            request,
            faults,
            document,
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

    fn admit(&self, parts: Parts, body: Incoming) -> Result<Admitted, S3Error> {
        signature::check(&parts, &self.region)?;
        let faults = Arc::new(BodyFaults::default());
        let framing = Framing::of(&parts.headers);
        let document = takes_document(&parts);
        let mut body = GuardedBody::new(body, framing, limits::BODY_IDLE_TIMEOUT, Arc::clone(&faults));
        // s3s takes an empty one for none.
        let md5 = content_md5(&parts.headers)?;
        if document {
            body = body.limited(limits::MAX_XML_BODY as u64).with_md5(md5);
        }
        Ok(Admitted::new(
            parts,
            Body::http_body_unsync(body),
            faults,
            document,
        ))
    }
}

/// A request that may go to s3s.
struct Admitted {
    request: Request<Body>,
    faults: Arc<BodyFaults>,
    /// Whether its body is a document that s3s holds in memory, not an object's bytes.
    document: bool,
}

impl Admitted {
    fn new(mut parts: Parts, body: Body, faults: Arc<BodyFaults>, document: bool) -> Self {
        parts.extensions.insert(Arc::clone(&faults));
        Self {
            request: Request::from_parts(parts, body),
            faults,
            document,
        }
    }
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

/// Bytes of a request's target and headers.
fn head_len(parts: &Parts) -> usize {
    let headers = parts.headers.iter();
    let headers: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    headers
        + parts
            .uri
            .path_and_query()
            .map_or(0, |target| target.as_str().len())
}

/// The MD5 that a body must have.
fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, S3Error> {
    let Some(value) = headers.get("content-md5") else {
        return Ok(None);
    };
    let digest = BASE64_STANDARD.decode(value.as_bytes()).ok();
    let digest = digest.and_then(|digest| <[u8; 16]>::try_from(digest).ok());
    digest.map(Some).ok_or_else(|| {
        fail(
            S3ErrorCode::InvalidDigest,
            "The Content-MD5 you specified is not valid.",
        )
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

/// Bodies are documents where the query names such a sub-resource, and in every POST; forms are not looked at
/// here.
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
            takes_document(&request.body(()).unwrap().into_parts().0)
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
    }
}
