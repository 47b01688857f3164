//! What a browser is answered after its form was stored.
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, Uri};
use percent_encoding::utf8_percent_encode;
use s3s::Body;

use super::{Fields, PATH};

/// The answer that a form asks for.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    redirect: Option<String>,
    status: StatusCode,
    bucket: String,
    key: String,
    /// Where the object is.
    location: String,
}

impl Answer {
    pub(super) fn new(fields: &Fields, bucket: &str, key: &str, host: &str, parts: &Parts) -> Self {
        let redirect = fields
            .get("success_action_redirect")
            .or_else(|| fields.get("redirect"));
        let status = match fields.get("success_action_status") {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            // Other values mean the default.
            _ => StatusCode::NO_CONTENT,
        };
        let secure = parts
            .extensions
            .get::<crate::layer::Client>()
            .is_some_and(|client| client.secure);
        let scheme = if secure { "https" } else { "http" };
        let path = parts.uri.path().trim_end_matches('/');
        Self {
            redirect: redirect.filter(|url| is_url(url)).map(str::to_owned),
            status,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            location: format!("{scheme}://{host}{path}/{}", utf8_percent_encode(key, PATH)),
        }
    }

    /// Turns the answer of the PUT into it; failures stay what they are.
    pub(crate) fn finish(&self, mut response: Response<Body>) -> Response<Body> {
        if response.status() != StatusCode::OK {
            return response;
        }
        let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok());
        let etag = etag.unwrap_or_default().to_owned();
        let (status, location) = match &self.redirect {
            Some(url) => (StatusCode::SEE_OTHER, self.extended(url, &etag)),
            None => (self.status, self.location.clone()),
        };
        *response.status_mut() = status;
        *response.body_mut() = Body::empty();
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        if let Ok(location) = HeaderValue::from_str(&location) {
            headers.insert(LOCATION, location);
        }
        if status == StatusCode::CREATED {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            *response.body_mut() = Body::from(self.document(&etag));
        }
        response
    }

    /// The page to go to, told what was stored.
    fn extended(&self, url: &str, etag: &str) -> String {
        let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
        let joint = if url.contains('?') { '&' } else { '?' };
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("bucket", &self.bucket)
            .append_pair("key", &self.key)
            .append_pair("etag", etag)
            .finish();
        let mut extended = format!("{url}{joint}{query}");
        if !fragment.is_empty() {
            extended.push('#');
            extended.push_str(fragment);
        }
        extended
    }

    fn document(&self, etag: &str) -> String {
        let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse>".to_owned();
        for (name, value) in [
            ("Location", self.location.as_str()),
            ("Bucket", &self.bucket),
            ("Key", &self.key),
            ("ETag", etag),
        ] {
            let value = crate::layer::escape(value);
            out.push_str(&format!("<{name}>{value}</{name}>"));
        }
        out + "</PostResponse>"
    }
}

/// What cannot be gone to is as if it had not been named.
fn is_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(fields: &[(&'static str, &'static str)]) -> Response<Body> {
        let fields: Fields = fields.iter().copied().collect();
        let (parts, ()) = http::Request::builder().uri("/b").body(()).unwrap().into_parts();
        let mut response = Response::new(Body::empty());
        response
            .headers_mut()
            .insert(ETAG, HeaderValue::from_static("\"e\""));
        Answer::new(&fields, "b", "a b&c", "h:1", &parts).finish(response)
    }

    fn location(response: &Response<Body>) -> &str {
        response.headers()[LOCATION].to_str().unwrap()
    }

    #[test]
    fn a_form_chooses_its_answer() {
        for (asked, status) in [("200", 200), ("201", 201), ("204", 204), ("404", 204), ("x", 204)] {
            let response = finish(&[("success_action_status", asked)]);
            assert_eq!(response.status().as_u16(), status, "{asked}");
            assert_eq!(location(&response), "http://h:1/b/a%20b%26c");
        }
        let created = finish(&[("success_action_status", "201")]);
        let document = String::from_utf8(created.body().bytes().unwrap().to_vec()).unwrap();
        assert!(
            document.contains("<Key>a b&amp;c</Key><ETag>&quot;e&quot;</ETag>"),
            "{document}"
        );
    }

    #[test]
    fn a_page_to_go_to_is_told_what_was_stored() {
        let told = "bucket=b&key=a+b%26c&etag=%22e%22";
        for (url, expected) in [
            ("http://x/y", format!("http://x/y?{told}")),
            ("https://x/y?z=1", format!("https://x/y?z=1&{told}")),
            ("https://x/y#part", format!("https://x/y?{told}#part")),
        ] {
            let response = finish(&[("success_action_redirect", url), ("success_action_status", "201")]);
            assert_eq!(
                (response.status().as_u16(), location(&response)),
                (303, expected.as_str())
            );
        }
        for nowhere in ["", "x/y", "javascript:alert(1)", "http://", "http://a b/"] {
            assert_eq!(
                finish(&[("success_action_redirect", nowhere)]).status(),
                204,
                "{nowhere}"
            );
        }
    }
}
