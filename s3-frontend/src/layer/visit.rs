//! Visits of web sites: which bucket, and the objects that its pages are.
use std::sync::Arc;

use http::header::{
    HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, REFERER,
    USER_AGENT,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::{percent_decode_str, utf8_percent_encode};
use s3s::{Body, S3Error, S3ErrorCode};

use super::{Admitted, BodyFaults, Client, Front, refusal};
use crate::error::{fail, fail_custom};
use crate::form::PATH;
use crate::host::{host, without_port};
use crate::setting;
use crate::website::{self, Fetch, Objects, SETTING, Site, Visit};

/// Headers of a visit that its requests for objects carry: those that policies may look at.
const ALWAYS: [HeaderName; 2] = [REFERER, USER_AGENT];
/// And those that say which part is wanted, and when.
const OF_THE_ASKED: [HeaderName; 6] = [
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
];

impl Front {
    /// The bucket that a visit is to; `None`: it is no visit.
    pub(super) fn site(&self, parts: &Parts, client: Client) -> Option<String> {
        let host = host(parts)?;
        match self.website_domains.hosted(host) {
            Some(bucket) => Some(bucket),
            None if client.visitor => Some(without_port(host).to_ascii_lowercase()),
            None => None,
        }
    }

    /// Shows a page of a bucket's site.
    pub(super) async fn visit(&self, bucket: &str, parts: &Parts, client: Client) -> Response<Body> {
        let site: Site = match setting::read(&self.vfs, bucket, SETTING).await {
            Ok(Some(site)) => site,
            Ok(None) => return website::refused(&no_site()),
            Err(error) => return website::refused(&error),
        };
        let path = parts.uri.path();
        let Ok(key) = percent_decode_str(path.strip_prefix('/').unwrap_or(path)).decode_utf8() else {
            return website::refused(&unusable());
        };
        let visit = Visit {
            method: &parts.method,
            host: host(parts).unwrap_or_default(),
            key: &key,
            secure: client.secure,
        };
        let objects = Anonymous {
            front: self,
            bucket,
            parts,
        };
        website::serve(&site, visit, &objects).await
    }
}

/// Asks this door for objects, as somebody without a name.
struct Anonymous<'a> {
    front: &'a Front,
    bucket: &'a str,
    /// The visit.
    parts: &'a Parts,
}

impl Objects for Anonymous<'_> {
    async fn fetch(&self, fetch: Fetch<'_>) -> Response<Body> {
        let (method, key, asked) = match fetch {
            Fetch::Asked(key) => (self.parts.method.clone(), key, true),
            Fetch::Probe(key) => (Method::HEAD, key, false),
            Fetch::Whole(key) => (self.parts.method.clone(), key, false),
        };
        let uri = format!("/{}/{}", self.bucket, utf8_percent_encode(key, PATH));
        let Ok(request) = Request::builder().method(method).uri(uri).body(()) else {
            return refusal(unusable());
        };
        let (mut parts, ()) = request.into_parts();
        parts.extensions = self.parts.extensions.clone();
        // A name that stands for no bucket.
        parts.headers.insert(HOST, HeaderValue::from_static("localhost"));
        let of_the_asked = OF_THE_ASKED.iter().filter(|_| asked);
        for name in ALWAYS.iter().chain(of_the_asked) {
            if let Some(value) = self.parts.headers.get(name) {
                parts.headers.insert(name.clone(), value.clone());
            }
        }
        let faults = Arc::new(BodyFaults::default());
        let request = Admitted::new(parts, Body::empty(), faults, false);
        self.front.answer(request).await
    }
}

fn unusable() -> S3Error {
    fail(S3ErrorCode::InvalidURI, "Could not parse the specified URI.")
}

fn no_site() -> S3Error {
    fail_custom(
        "NoSuchWebsiteConfiguration",
        StatusCode::NOT_FOUND,
        "The specified bucket does not have a website configuration",
    )
}
