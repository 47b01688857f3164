//! What a visitor of a site is shown.
use http::{Method, Response, StatusCode};
use percent_encoding::utf8_percent_encode;
use s3s::Body;

use super::document::{RoutingRule, Scheme, Site};
use super::page;
use crate::form::PATH;

/// What a visitor asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit<'a> {
    pub(crate) method: &'a Method,
    /// The host that was asked, with its port.
    pub(crate) host: &'a str,
    /// The path without its first slash, decoded.
    pub(crate) key: &'a str,
    /// Whether it came by TLS.
    pub(crate) secure: bool,
}

/// An object that a site wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetch<'a> {
    /// What the visitor asks for, with the method, range and conditions of the visit.
    Asked(&'a str),
    /// Whether it is there.
    Probe(&'a str),
    /// All of it, for an error.
    Whole(&'a str),
}

/// Where a site's objects come from.
pub(crate) trait Objects: Sync {
    /// The answer to an anonymous request for one.
    fn fetch(&self, fetch: Fetch<'_>) -> impl Future<Output = Response<Body>> + Send;
}

/// Shows `site` to a visitor.
pub(crate) async fn serve<O: Objects>(site: &Site, visit: Visit<'_>, objects: &O) -> Response<Body> {
    if ![Method::GET, Method::HEAD].contains(visit.method) {
        return page::error(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
        );
    }
    if let Some(all) = &site.redirect_all {
        let scheme = all.scheme.unwrap_or(Scheme::of(visit.secure)).as_str();
        let location = format!("{scheme}://{}/{}", all.host, encode(visit.key));
        return page::redirect(StatusCode::MOVED_PERMANENTLY, &location);
    }
    if let Some(rule) = site.route(visit.key, None) {
        return follow(rule, visit);
    }
    let shown = site.shown(visit.key);
    let response = objects.fetch(Fetch::Asked(&shown)).await;
    if let Some(location) = response.headers().get("x-amz-website-redirect-location") {
        let location = location.to_str().unwrap_or_default().to_owned();
        return page::redirect(StatusCode::MOVED_PERMANENTLY, &location);
    }
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error()
        || [StatusCode::PRECONDITION_FAILED, StatusCode::RANGE_NOT_SATISFIABLE].contains(&status)
    {
        return response;
    }
    if [StatusCode::NOT_FOUND, StatusCode::FORBIDDEN].contains(&status) && shown == visit.key {
        // A directory without its slash: links in its index would lead astray.
        let index = site.shown(&format!("{}/", visit.key));
        if objects.fetch(Fetch::Probe(&index)).await.status().is_success() {
            return page::redirect(StatusCode::FOUND, &format!("/{}/", encode(visit.key)));
        }
    }
    if let Some(rule) = site.route(visit.key, Some(status.as_u16())) {
        return follow(rule, visit);
    }
    if let Some(error) = &site.error {
        let mut document = objects.fetch(Fetch::Whole(error)).await;
        if document.status() == StatusCode::OK {
            *document.status_mut() = status;
            return document;
        }
    }
    let (code, message) = said(&response);
    page::error(status, &code, &message)
}

fn follow(rule: &RoutingRule, visit: Visit<'_>) -> Response<Body> {
    let scheme = rule.redirect.scheme.unwrap_or(Scheme::of(visit.secure)).as_str();
    let host = rule.redirect.host.as_deref().unwrap_or(visit.host);
    let location = format!("{scheme}://{host}/{}", encode(&rule.target(visit.key)));
    let status = rule
        .redirect
        .code
        .and_then(|code| StatusCode::from_u16(code).ok());
    page::redirect(status.unwrap_or(StatusCode::MOVED_PERMANENTLY), &location)
}

fn encode(key: &str) -> String {
    utf8_percent_encode(key, PATH).to_string()
}

/// Code and message of an error document.
fn said(response: &Response<Body>) -> (String, String) {
    let text = response.body().bytes().unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let tag = |name: &str, absent: &str| {
        let inner = text
            .split_once(&format!("<{name}>"))
            .and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
        inner.map_or(absent, |(inner, _)| inner).to_owned()
    };
    let status = response.status().canonical_reason().unwrap_or("Error");
    (tag("Code", status), tag("Message", "The request was refused."))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::HeaderValue;
    use http::header::LOCATION;

    use super::super::document::{Condition, Redirect, RedirectAll};
    use super::*;

    /// Objects by key that anybody may read; `None`: nobody may.
    struct Shelf(BTreeMap<&'static str, Option<&'static str>>);

    impl Shelf {
        fn new() -> Self {
            let objects = [
                ("index.html", Some("home")),
                ("docs/index.html", Some("docs")),
                ("page", Some("page")),
                ("secret", None),
                ("moved", Some("=>/page")),
                ("error.html", Some("sorry")),
            ];
            Self(objects.into())
        }
    }

    impl Objects for Shelf {
        async fn fetch(&self, fetch: Fetch<'_>) -> Response<Body> {
            let (Fetch::Asked(key) | Fetch::Probe(key) | Fetch::Whole(key)) = fetch;
            let mut response = Response::new(Body::empty());
            match self.0.get(key) {
                None => {
                    *response.status_mut() = StatusCode::NOT_FOUND;
                    *response.body_mut() = Body::from("<Error><Code>NoSuchKey</Code></Error>".to_owned());
                }
                Some(None) => *response.status_mut() = StatusCode::FORBIDDEN,
                Some(Some(text)) => match text.strip_prefix("=>") {
                    None => *response.body_mut() = Body::from((*text).to_owned()),
                    Some(location) => {
                        let location = HeaderValue::from_static(location);
                        response
                            .headers_mut()
                            .insert("x-amz-website-redirect-location", location);
                    }
                },
            }
            response
        }
    }

    fn site() -> Site {
        Site {
            index: Some("index.html".into()),
            ..Site::default()
        }
    }

    fn visit(site: &Site, key: &str) -> (u16, String) {
        let visit = Visit {
            method: &Method::GET,
            host: "www.example",
            key,
            secure: true,
        };
        let response = futures::executor::block_on(serve(site, visit, &Shelf::new()));
        let location = response.headers().get(LOCATION);
        let text = match location {
            Some(location) => location.to_str().unwrap().to_owned(),
            None => String::from_utf8(response.body().bytes().unwrap().to_vec()).unwrap(),
        };
        (response.status().as_u16(), text)
    }

    #[test]
    fn directories_show_their_index() {
        assert_eq!(visit(&site(), ""), (200, "home".into()));
        assert_eq!(visit(&site(), "docs/"), (200, "docs".into()));
        assert_eq!(visit(&site(), "docs"), (302, "/docs/".into()));
        assert_eq!(visit(&site(), "page"), (200, "page".into()));
        assert_eq!(visit(&site(), "moved"), (301, "/page".into()));
    }

    #[test]
    fn errors_are_pages() {
        let (status, page) = visit(&site(), "none");
        assert_eq!(status, 404);
        assert!(page.contains("<li>Code: NoSuchKey</li>"), "{page}");
        let (status, page) = visit(&site(), "secret");
        assert_eq!(status, 403);
        assert!(page.contains("403 Forbidden"), "{page}");
        let own = Site {
            error: Some("error.html".into()),
            ..site()
        };
        assert_eq!(visit(&own, "none"), (404, "sorry".into()));
        assert_eq!(visit(&own, "secret"), (403, "sorry".into()));
        let lost = Site {
            error: Some("secret".into()),
            ..site()
        };
        assert_eq!(visit(&lost, "none").0, 404);
    }

    #[test]
    fn rules_send_visitors_elsewhere() {
        let all = Site {
            redirect_all: Some(RedirectAll {
                host: "other.example".into(),
                scheme: Some(Scheme::Http),
            }),
            ..Site::default()
        };
        assert_eq!(visit(&all, "a b"), (301, "http://other.example/a%20b".into()));
        let rules = Site {
            rules: vec![
                RoutingRule {
                    condition: Condition {
                        prefix: Some("old/".into()),
                        error: None,
                    },
                    redirect: Redirect {
                        prefix: Some("new/".into()),
                        code: Some(307),
                        ..Redirect::default()
                    },
                },
                RoutingRule {
                    condition: Condition {
                        prefix: None,
                        error: Some(404),
                    },
                    redirect: Redirect {
                        host: Some("archive.example".into()),
                        ..Redirect::default()
                    },
                },
            ],
            ..site()
        };
        assert_eq!(visit(&rules, "old/x"), (307, "https://www.example/new/x".into()));
        assert_eq!(
            visit(&rules, "none"),
            (301, "https://archive.example/none".into())
        );
        assert_eq!(visit(&rules, "page"), (200, "page".into()));
        assert_eq!(visit(&rules, "secret").0, 403);
    }
}
