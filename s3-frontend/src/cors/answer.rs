//! What a browser is told.
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use s3s::{Body, S3Error, S3ErrorCode};

use super::{Rule, Rules};
use crate::error::{fail, fail_custom};

/// Request headers that an answer depends on, for caches.
const VARIES: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

/// A browser's question before a request.
#[derive(Debug)]
pub(crate) struct Preflight {
    origin: String,
    method: String,
    headers: Vec<String>,
}

impl Preflight {
    /// Reads the question. Browsers sign nothing and send no more than these headers.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, S3Error> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(origin) = text(ORIGIN) else {
            return Err(bad_request(
                "Insufficient information. Origin request header needed.",
            ));
        };
        let Some(method) = text(ACCESS_CONTROL_REQUEST_METHOD) else {
            return Err(bad_request("Invalid Access-Control-Request-Method: null"));
        };
        Ok(Self {
            origin: origin.to_owned(),
            method: method.to_owned(),
            headers: asked_headers(headers),
        })
    }

    /// Answers it by the rules of the bucket; `None`: it has none.
    pub(crate) fn answer(&self, rules: Option<&Rules>) -> Result<Response<Body>, S3Error> {
        let Some(rules) = rules else {
            return Err(forbidden("CORSResponse: CORS is not enabled for this bucket."));
        };
        let Some(rule) = rules.find(&self.origin, &self.method, &self.headers) else {
            return Err(forbidden(
                "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, \
                 request method / Access-Control-Request-Method or Access-Control-Request-Headers are not \
                 whitelisted by the resource's CORS spec.",
            ));
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::OK;
        tell(response.headers_mut(), rule, &self.origin);
        put(
            response.headers_mut(),
            ACCESS_CONTROL_ALLOW_HEADERS,
            &self.headers.join(", "),
        );
        Ok(response)
    }
}

/// Adds to the answer of a real request what a browser must see to hand it to a page of another origin.
pub(crate) fn annotate(answer: &mut HeaderMap, rules: &Rules, request: &HeaderMap, method: &Method) {
    let text = |name: HeaderName| request.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(ORIGIN) else { return };
    let method = text(ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(method.as_str());
    match rules.find(origin, method, &asked_headers(request)) {
        Some(rule) => tell(answer, rule, origin),
        // Another origin may be told something else: caches must know.
        None => {
            answer.append(VARY, VARIES);
        }
    }
}

fn asked_headers(headers: &HeaderMap) -> Vec<String> {
    let lists = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).into_iter();
    lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect()
}

fn tell(answer: &mut HeaderMap, rule: &Rule, origin: &str) {
    if rule.origins.iter().any(|pattern| pattern == "*") {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else {
        put(answer, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    put(answer, ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
    put(answer, ACCESS_CONTROL_EXPOSE_HEADERS, &rule.expose.join(", "));
    if let Some(seconds) = rule.max_age {
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds));
    }
    answer.append(VARY, VARIES);
}

/// Sets a header, unless it would say nothing.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Some(value) = HeaderValue::from_str(value)
        .ok()
        .filter(|value| !value.is_empty())
    {
        headers.insert(name, value);
    }
}

fn bad_request(message: &'static str) -> S3Error {
    let mut error = fail(S3ErrorCode::Custom("BadRequest".into()), message);
    error.set_status_code(StatusCode::BAD_REQUEST);
    error
}

fn forbidden(message: &'static str) -> S3Error {
    fail_custom("AccessForbidden", StatusCode::FORBIDDEN, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            rules: vec![Rule {
                id: None,
                origins: vec!["https://*.example".into()],
                methods: vec!["GET".into(), "PUT".into()],
                headers: vec!["x-amz-*".into()],
                expose: vec!["etag".into(), "x-amz-request-id".into()],
                max_age: Some(600),
            }],
        }
    }

    fn question(headers: &[(HeaderName, &str)]) -> HeaderMap {
        headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn questions_are_answered_by_the_rule() {
        let headers = question(&[
            (ORIGIN, "https://a.example"),
            (ACCESS_CONTROL_REQUEST_METHOD, "PUT"),
            (ACCESS_CONTROL_REQUEST_HEADERS, "X-Amz-Date, x-amz-acl"),
        ]);
        let answer = Preflight::read(&headers).unwrap().answer(Some(&rules())).unwrap();
        let header = |name: HeaderName| answer.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header(ACCESS_CONTROL_ALLOW_ORIGIN), Some("https://a.example"));
        assert_eq!(header(ACCESS_CONTROL_ALLOW_CREDENTIALS), Some("true"));
        assert_eq!(header(ACCESS_CONTROL_ALLOW_METHODS), Some("GET, PUT"));
        assert_eq!(
            header(ACCESS_CONTROL_ALLOW_HEADERS),
            Some("x-amz-date, x-amz-acl")
        );
        assert_eq!(
            header(ACCESS_CONTROL_EXPOSE_HEADERS),
            Some("etag, x-amz-request-id")
        );
        assert_eq!(header(ACCESS_CONTROL_MAX_AGE), Some("600"));
        assert!(header(VARY).is_some());
    }

    #[test]
    fn questions_without_an_answer() {
        let code = |headers: &[(HeaderName, &str)], rules: Option<&Rules>| {
            let asked = Preflight::read(&question(headers));
            let error = asked.and_then(|asked| asked.answer(rules)).unwrap_err();
            error.status_code().unwrap().as_u16()
        };
        let origin = (ORIGIN, "https://a.example");
        let get = (ACCESS_CONTROL_REQUEST_METHOD, "GET");
        assert_eq!(code(&[], None), 400);
        assert_eq!(code(std::slice::from_ref(&origin), Some(&rules())), 400);
        assert_eq!(code(&[origin.clone(), get.clone()], None), 403);
        let delete = (ACCESS_CONTROL_REQUEST_METHOD, "DELETE");
        assert_eq!(code(&[origin.clone(), delete], Some(&rules())), 403);
        let range = (ACCESS_CONTROL_REQUEST_HEADERS, "range");
        assert_eq!(code(&[origin, get.clone(), range], Some(&rules())), 403);
        assert_eq!(code(&[(ORIGIN, "https://example"), get], Some(&rules())), 403);
    }

    #[test]
    fn real_answers_say_who_may_see_them() {
        let told = |origin: Option<&str>, method: Method| {
            let headers = origin
                .map(|origin| question(&[(ORIGIN, origin)]))
                .unwrap_or_default();
            let mut answer = HeaderMap::new();
            annotate(&mut answer, &rules(), &headers, &method);
            let allowed = answer.get(ACCESS_CONTROL_ALLOW_ORIGIN);
            (
                allowed.map(|value| value.to_str().unwrap().to_owned()),
                answer.contains_key(VARY),
            )
        };
        assert_eq!(told(None, Method::GET), (None, false));
        assert_eq!(
            told(Some("https://a.example"), Method::GET),
            (Some("https://a.example".into()), true)
        );
        assert_eq!(told(Some("https://a.example"), Method::DELETE), (None, true));
        assert_eq!(told(Some("https://b"), Method::GET), (None, true));
    }
}
