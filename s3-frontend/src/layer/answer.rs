//! What every answer carries: `x-amz-request-id`, `x-amz-id-2`, and in error documents `Resource`,
//! `RequestId` and `HostId`.
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Method, Response, StatusCode, header};
use s3s::Body;

/// The ids of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId {
    /// 16 hex digits.
    request: String,
    /// Base64.
    host: String,
}

/// Makes ids: a counter under a keyed hash whose key is new in every process, so that ids neither
/// repeat in practice nor tell how many requests there were.
pub(crate) struct RequestIds {
    key: RandomState,
    count: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self {
            key: RandomState::new(),
            count: AtomicU64::new(0),
        }
    }

    pub(crate) fn next(&self) -> RequestId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let word = |salt: u8| self.key.hash_one((salt, count));
        let host: Vec<u8> = (1..=4).flat_map(|salt| word(salt).to_be_bytes()).collect();
        RequestId {
            request: format!("{:016X}", word(0)),
            host: BASE64_STANDARD.encode(host),
        }
    }
}

/// Completes an answer.
pub(crate) fn finish(
    mut response: Response<Body>,
    id: &RequestId,
    method: &Method,
    resource: &str,
) -> Response<Body> {
    if method == Method::HEAD
        && response.status() == StatusCode::OK
        && response.headers().contains_key(header::CONTENT_RANGE)
    {
        // s3s sets this for GET alone.
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let status = response.status();
    if method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
        if status.is_client_error() || status.is_server_error() || status == StatusCode::NOT_MODIFIED {
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
    } else if (status.is_client_error() || status.is_server_error())
        && let Some(document) = response.body().bytes()
        && let Some(document) = complete_document(&document, id, resource)
    {
        *response.body_mut() = Body::from(document);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    }
    let headers = response.headers_mut();
    for (name, value) in [("x-amz-request-id", &id.request), ("x-amz-id-2", &id.host)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers.insert(header::SERVER, HeaderValue::from_static("cess-gateway"));
    response
}

/// Takes the quotes off the ETag of an answer to GetObjectAttributes: nowhere else does S3 leave them out.
pub(crate) fn strip_quotes_of_etag(response: &mut Response<Body>) {
    let Some(document) = response.body().bytes() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(&document) else {
        return;
    };
    let Some((before, rest)) = text.split_once("<ETag>\"") else {
        return;
    };
    let Some((etag, behind)) = rest.split_once("\"</ETag>") else {
        return;
    };
    let bare = format!("{before}<ETag>{etag}</ETag>{behind}");
    *response.body_mut() = Body::from(bare);
    response.headers_mut().remove(header::CONTENT_LENGTH);
}

/// Whether an error document says no more than its code.
pub(crate) fn is_bare(response: &Response<Body>) -> bool {
    let document = response.body().bytes();
    document.is_some_and(|document| !document.windows(9).any(|window| window == b"<Message>"))
}

fn complete_document(document: &[u8], id: &RequestId, resource: &str) -> Option<String> {
    let document = std::str::from_utf8(document).ok()?;
    let open = document.strip_suffix("</Error>")?;
    let mut out = String::with_capacity(document.len() + resource.len() + 160);
    out.push_str(open);
    if !open.contains("<Message>") {
        out.push_str("<Message>");
        out.push_str(default_message(open));
        out.push_str("</Message>");
    }
    out.push_str("<Resource>");
    out.push_str(&escape(resource));
    out.push_str("</Resource><RequestId>");
    out.push_str(&id.request);
    out.push_str("</RequestId><HostId>");
    out.push_str(&id.host);
    out.push_str("</HostId></Error>");
    Some(out)
}

/// A text as XML and HTML have it.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// Messages for codes that s3s sends without one.
fn default_message(document: &str) -> &'static str {
    let code = document
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    match code.map(|(code, _)| code) {
        Some("SignatureDoesNotMatch") => {
            "The request signature we calculated does not match the signature you provided. \
             Check your key and signing method."
        }
        Some("InvalidBucketName") => "The specified bucket is not valid.",
        Some("KeyTooLongError") => "Your key is too long.",
        Some("MalformedXML") => "The XML you provided was not well-formed or did not validate.",
        Some("MissingRequestBodyError") => "Request Body is empty",
        Some("InvalidURI") => "Could not parse the specified URI.",
        Some("InvalidRange") => "The requested range is not satisfiable.",
        Some("MethodNotAllowed") => "The specified method is not allowed against this resource.",
        Some("NotImplemented") => "A header or operation you asked for is not implemented.",
        Some("MaxMessageLengthExceeded") => "Your request was too big.",
        Some("IncompleteBody") => "The request body does not have its declared length.",
        Some("InternalError") => "We encountered an internal error. Please try again.",
        _ => "The request was refused.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_quotes_go() {
        let quoted = "<A><ETag>\"0f-2\"</ETag><B>\"</B></A>";
        for (document, expected) in [(quoted, "<A><ETag>0f-2</ETag><B>\"</B></A>"), ("<A/>", "<A/>")] {
            let mut response = Response::new(Body::from(document.to_owned()));
            strip_quotes_of_etag(&mut response);
            assert_eq!(response.body().bytes().unwrap(), expected);
        }
    }

    #[test]
    fn ids_differ() {
        let ids = RequestIds::new();
        let some: std::collections::HashSet<String> = (0..1000).map(|_| ids.next().request).collect();
        assert_eq!(some.len(), 1000);
        assert!(some.iter().all(|id| id.len() == 16));
    }

    #[test]
    fn error_documents_are_completed() {
        let id = RequestIds::new().next();
        let body = "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code></Error>";
        let mut response = Response::new(Body::from(body.to_owned()));
        *response.status_mut() = StatusCode::FORBIDDEN;
        let response = finish(response, &id, &Method::GET, "/b/<k>&");
        assert_eq!(response.headers()["x-amz-request-id"], id.request.as_str());
        let text = String::from_utf8(response.body().bytes().unwrap().to_vec()).unwrap();
        assert!(text.contains("<Message>The request signature"), "{text}");
        assert!(text.contains("<Resource>/b/&lt;k&gt;&amp;</Resource>"), "{text}");
        assert!(
            text.contains(&format!("<RequestId>{}</RequestId>", id.request)),
            "{text}"
        );
    }

    #[test]
    fn head_and_304_have_no_body() {
        let id = RequestIds::new().next();
        for (method, status) in [
            (Method::HEAD, StatusCode::NOT_FOUND),
            (Method::GET, StatusCode::NOT_MODIFIED),
        ] {
            let mut response = Response::new(Body::from("<Error></Error>".to_owned()));
            *response.status_mut() = status;
            let response = finish(response, &id, &method, "/");
            assert!(response.body().bytes().unwrap().is_empty());
        }
    }
}
