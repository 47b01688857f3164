//! Pages for errors that no document of the site stands for.
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response, StatusCode};
use s3s::{Body, S3Error};

use crate::layer::escape;

/// A page that says what went wrong.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let title = format!(
        "{} {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default()
    );
    let page = format!(
        "<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n<li>Code: {}</li>\n\
         <li>Message: {}</li>\n</ul>\n</body>\n</html>\n",
        escape(code),
        escape(message)
    );
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = status;
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

/// A page for a refusal.
pub(crate) fn refused(refused: &S3Error) -> Response<Body> {
    let status = refused.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    error(
        status,
        refused.code().as_str(),
        refused.message().unwrap_or("The request was refused."),
    )
}

/// Sends a visitor elsewhere.
pub(super) fn redirect(status: StatusCode, location: &str) -> Response<Body> {
    let Ok(location) = HeaderValue::from_str(location) else {
        return error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            "The place to which this page leads cannot be named.",
        );
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, location);
    response
}
