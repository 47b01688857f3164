//! The session token of a request: in the header `x-amz-security-token`, or in the query parameter
//! `X-Amz-Security-Token` of a presigned URL.
use std::borrow::Cow;

use http::{HeaderMap, Uri};
use s3s::S3Result;

use access::identity::Refusal;

use super::refused;

const HEADER: &str = "x-amz-security-token";
const PARAMETER: &str = "X-Amz-Security-Token";

/// The token that a request shows. `InvalidToken` for more than one.
pub(crate) fn of<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> S3Result<Option<Cow<'a, str>>> {
    let invalid = || refused(Refusal::InvalidToken);
    let mut shown = Vec::new();
    for value in headers.get_all(HEADER) {
        shown.push(Cow::Borrowed(value.to_str().map_err(|_| invalid())?));
    }
    let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    shown.extend(
        query
            .filter(|(name, _)| name == PARAMETER)
            .map(|(_, value)| value),
    );
    match shown.len() {
        0 | 1 => Ok(shown.pop()),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_is_found_wherever_it_is() {
        let found = |uri: &str, header: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(HEADER, header.parse().unwrap());
            }
            let uri: Uri = uri.parse().unwrap();
            of(&headers, &uri)
                .map(|token| token.map(Cow::into_owned))
                .map_err(|error| error.code().as_str().to_owned())
        };
        assert_eq!(found("/b/k", None), Ok(None));
        assert_eq!(found("/b/k", Some("t+=")), Ok(Some("t+=".into())));
        assert_eq!(
            found("/b/k?X-Amz-Security-Token=t%2B%3D", None),
            Ok(Some("t+=".into()))
        );
        assert_eq!(
            found("/b/k?X-Amz-Security-Token=t", Some("t")),
            Err("InvalidToken".into())
        );
    }
}
