//! The security token service on the S3 door's own listener: `POST /` with a form that names an
//! `Action`.
//!
//! s3s checks the signature (its scope may name the service `sts`) and hands such requests here.
//! [`form`] reads them, [`action`] and [`web_identity`] carry them out, [`answer`] writes AWS's documents.
mod action;
mod answer;
mod form;
mod web_identity;

use access::oidc::Providers;
use http::{Extensions, HeaderMap, Method, StatusCode, Uri, header};
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result};

use self::answer::{Done, Refusal};
use self::form::Form;
use crate::auth::{Keys, token};
use crate::layer::{Proven, RequestId};

/// Largest form: a session policy and a token of an identity provider.
const FORM_MAX: usize = 64 << 10;
/// Body type of the forms.
const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// Answers the forms.
pub(crate) struct Sts {
    keys: Keys,
    providers: Providers,
}

impl Sts {
    /// For these keys and identity providers.
    pub(crate) fn new(keys: Keys, providers: Providers) -> Self {
        Self { keys, providers }
    }

    async fn answer(&self, request: &mut S3Request<Body>) -> Result<Done, Refusal> {
        let too_large = |_| Refusal::new("ValidationError", "The request is too large.");
        let body = request
            .input
            .store_all_limited(FORM_MAX)
            .await
            .map_err(too_large)?;
        let form = Form::parse(&body)?;
        if form.action()? == "AssumeRoleWithWebIdentity" {
            return web_identity::assume(self.keys.registry(), &self.providers, &form).await;
        }
        let token = token::of(&request.headers, &request.uri).map_err(Refusal::from)?;
        let access_key = request
            .credentials
            .as_ref()
            .map(|credentials| credentials.access_key.as_str());
        let caller = self
            .keys
            .who(access_key, token.as_deref())
            .map_err(Refusal::from)?;
        action::carry_out(self.keys.registry(), &caller, &form)
    }
}

/// Whether a request is for this service.
pub(crate) fn is_for(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let form = content_type.is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case(FORM_TYPE)
    });
    *method == Method::POST && uri.path() == "/" && form
}

#[async_trait::async_trait]
impl S3Route for Sts {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, _: &mut Extensions) -> bool {
        is_for(method, uri, headers)
    }

    /// Each action says itself whom it answers.
    async fn check_access(&self, _: &mut S3Request<Body>) -> S3Result<()> {
        Ok(())
    }

    async fn call(&self, mut request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let id = request.extensions.get::<RequestId>().cloned();
        let id = id.as_ref().map(RequestId::as_str).unwrap_or_default();
        if request.credentials.is_some()
            && let Some(proven) = request.extensions.get::<Proven>()
        {
            proven.set();
        }
        let (status, document) = match self.answer(&mut request).await {
            Ok(result) => (StatusCode::OK, answer::document(&result, id)),
            Err(refusal) => (refusal.status, refusal.document(id)),
        };
        let mut response = S3Response::with_status(Body::from(document), status);
        response
            .headers
            .insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/xml"));
        Ok(response)
    }
}

/// The answer to a request for this service that was refused before it came here: in its own form.
pub(crate) fn refused(document: &[u8], status: StatusCode, id: &str) -> Option<String> {
    let text = std::str::from_utf8(document).ok()?;
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    let code = element("Code")?;
    // As the services of AWS but S3 call it.
    let code = match code.as_str() {
        "InvalidAccessKeyId" | "InvalidToken" => "InvalidClientTokenId",
        "RequestTimeTooSkewed" => "SignatureDoesNotMatch",
        code => code,
    };
    Some(answer::error_document(
        code,
        &element("Message").unwrap_or_default(),
        status,
        id,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_to_the_root_are_for_it() {
        let is = |method: Method, path: &str, content_type: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            is_for(&method, &path.parse().unwrap(), &headers)
        };
        assert!(is(
            Method::POST,
            "/",
            "application/x-www-form-urlencoded; charset=utf-8"
        ));
        assert!(!is(Method::POST, "/b", FORM_TYPE));
        assert!(!is(Method::PUT, "/", FORM_TYPE));
        assert!(!is(Method::POST, "/", "multipart/form-data; boundary=x"));
    }

    #[test]
    fn errors_of_s3_are_told_in_the_form_of_this_service() {
        let document = b"<Error><Code>InvalidAccessKeyId</Code><Message>a &lt; b</Message></Error>";
        let told = refused(document, StatusCode::FORBIDDEN, "ID").unwrap();
        assert!(told.contains("<Code>InvalidClientTokenId</Code>"), "{told}");
        assert!(told.contains("<Message>a &lt; b</Message>"), "{told}");
        assert!(told.contains("<Type>Sender</Type>") && told.contains("<RequestId>ID</RequestId>"));
        assert!(refused(b"", StatusCode::FORBIDDEN, "ID").is_none());
    }
}
