//! What a signature must be and cover, checked before s3s verifies it.
//!
//! s3s checks that the signature fits what it covers. This module checks that it is SigV4, that it
//! covers `host` and every `x-amz-*` header, that it was made for this region, and that a presigned
//! URL does not live longer than seven days. Requests without any signature pass: s3s refuses them
//! with `AccessDenied`.
use std::borrow::Cow;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::error::fail;
use crate::limits::MAX_PRESIGN_SECONDS;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How a request is signed, as far as this module looks.
struct Claim<'a> {
    credential: Cow<'a, str>,
    signed_headers: Cow<'a, str>,
    presigned: bool,
}

/// Checks a request's signature claims.
pub(crate) fn check(parts: &Parts, region: &str) -> S3Result<()> {
    if parts.headers.contains_key("x-amz-security-token") {
        return Err(no_sessions());
    }
    let Some(claim) = claim(parts)? else { return Ok(()) };
    check_scope(&claim, region)?;
    check_covered(&claim, &parts.headers)
}

fn claim(parts: &Parts) -> S3Result<Option<Claim<'_>>> {
    let query: Vec<(Cow<'_, str>, Cow<'_, str>)> =
        form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).collect();
    let value = |name: &str| {
        query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    if value("AWSAccessKeyId").is_some() || value("Signature").is_some() {
        return Err(sig_v2());
    }
    if value("X-Amz-Security-Token").is_some() {
        return Err(no_sessions());
    }
    let header = parts.headers.get(AUTHORIZATION);
    let presigned = value("X-Amz-Signature").is_some() || value("X-Amz-Algorithm").is_some();
    match (header, presigned) {
        (None, false) => Ok(None),
        (Some(_), true) => Err(fail(
            S3ErrorCode::InvalidArgument,
            "Only one auth mechanism allowed: either the query or the Authorization header.",
        )),
        (Some(header), false) => {
            let text = header.to_str().map_err(|_| malformed_header())?;
            Ok(Some(header_claim(text, &parts.headers)?))
        }
        (None, true) => {
            let needed = |name: &'static str| {
                value(name).ok_or_else(|| {
                    fail(
                        S3ErrorCode::AuthorizationQueryParametersError,
                        format!("Query-string authentication needs the {name} parameter."),
                    )
                })
            };
            for name in ["X-Amz-Algorithm", "X-Amz-Signature", "X-Amz-Date"] {
                needed(name)?;
            }
            let expires = needed("X-Amz-Expires")?;
            match expires.parse::<i64>() {
                Ok(seconds) if seconds >= 0 && seconds.unsigned_abs() <= MAX_PRESIGN_SECONDS => {}
                Ok(_) => {
                    let mut error = fail(
                        S3ErrorCode::AuthorizationQueryParametersError,
                        "X-Amz-Expires must be between 0 and a week (604800 seconds).",
                    );
                    // A URL that grants nothing at any time, and not one that is malformed.
                    error.set_status_code(StatusCode::FORBIDDEN);
                    return Err(error);
                }
                Err(_) => {
                    return Err(fail(
                        S3ErrorCode::AuthorizationQueryParametersError,
                        "X-Amz-Expires should be a number.",
                    ));
                }
            }
            Ok(Some(Claim {
                credential: needed("X-Amz-Credential")?,
                signed_headers: needed("X-Amz-SignedHeaders")?,
                presigned: true,
            }))
        }
    }
}

fn header_claim<'a>(text: &'a str, headers: &HeaderMap) -> S3Result<Claim<'a>> {
    if text.starts_with("AWS ") {
        return Err(sig_v2());
    }
    let Some(fields) = text.strip_prefix(ALGORITHM) else {
        return Err(fail(
            S3ErrorCode::InvalidArgument,
            "Unsupported Authorization type.",
        ));
    };
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(malformed_header)
    };
    field("Signature")?;
    if !headers.contains_key("x-amz-date") {
        return Err(fail(
            S3ErrorCode::AccessDenied,
            "AWS authentication requires a valid x-amz-date header.",
        ));
    }
    Ok(Claim {
        credential: field("Credential")?.into(),
        signed_headers: field("SignedHeaders")?.into(),
        presigned: false,
    })
}

/// The region of a credential: `KEY/DATE/REGION/SERVICE/aws4_request`. Keys may contain slashes.
fn credential_region(credential: &str) -> Option<&str> {
    let mut pieces = credential.rsplitn(5, '/');
    let (terminator, _service) = (pieces.next()?, pieces.next()?);
    let region = pieces.next()?;
    (terminator == "aws4_request" && pieces.count() == 2).then_some(region)
}

fn check_scope(claim: &Claim<'_>, region: &str) -> S3Result<()> {
    let code = || {
        if claim.presigned {
            S3ErrorCode::AuthorizationQueryParametersError
        } else {
            S3ErrorCode::AuthorizationHeaderMalformed
        }
    };
    match credential_region(&claim.credential) {
        Some(named) if named == region => Ok(()),
        Some(_) => Err(wrong_region(code(), region)),
        None => Err(fail(
            code(),
            "The credential is malformed; expecting \"<KEY>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
        )),
    }
}

fn wrong_region(code: S3ErrorCode, region: &str) -> S3Error {
    fail(
        code,
        format!("The authorization is malformed: the region is wrong; expecting '{region}'."),
    )
}

fn check_covered(claim: &Claim<'_>, headers: &HeaderMap) -> S3Result<()> {
    let covered = |name: &str| {
        claim
            .signed_headers
            .split(';')
            .any(|signed| signed.trim().eq_ignore_ascii_case(name))
    };
    if !covered("host") {
        return Err(fail(S3ErrorCode::AccessDenied, "The host header must be signed."));
    }
    for name in headers.keys().map(http::HeaderName::as_str) {
        // A presigned URL cannot know the hash of the body that will come.
        let exempt = claim.presigned && name == "x-amz-content-sha256";
        if name.starts_with("x-amz-") && !exempt && !covered(name) {
            return Err(fail(
                S3ErrorCode::AccessDenied,
                format!("There were headers present in the request which were not signed: {name}."),
            ));
        }
    }
    Ok(())
}

fn sig_v2() -> S3Error {
    fail(
        S3ErrorCode::InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )
}

fn no_sessions() -> S3Error {
    fail(
        S3ErrorCode::InvalidToken,
        "The provided token is malformed or otherwise invalid.",
    )
}

fn malformed_header() -> S3Error {
    fail(
        S3ErrorCode::AuthorizationHeaderMalformed,
        "The authorization header you provided is invalid.",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request, \
                        SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=00";

    fn run(uri: &str, headers: &[(&str, &str)]) -> Result<(), String> {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts, "us-east-1").map_err(|error| error.code().as_str().to_owned())
    }

    fn err(code: &str) -> Result<(), String> {
        Err(code.to_owned())
    }

    #[test]
    fn header_signatures() {
        let date = ("x-amz-date", "20260101T000000Z");
        assert_eq!(run("/b/k", &[("authorization", GOOD), date]), Ok(()));
        assert_eq!(run("/b/k", &[]), Ok(()));
        assert_eq!(run("/b/k", &[("authorization", GOOD)]), err("AccessDenied"));
        let unsigned = ("x-amz-acl", "private");
        assert_eq!(
            run("/b/k", &[("authorization", GOOD), date, unsigned]),
            err("AccessDenied")
        );
        let elsewhere = GOOD.replace("us-east-1", "eu-west-9");
        assert_eq!(
            run("/b/k", &[("authorization", &elsewhere), date]),
            err("AuthorizationHeaderMalformed")
        );
        let hostless = GOOD.replace("host;", "");
        assert_eq!(
            run("/b/k", &[("authorization", &hostless), date]),
            err("AccessDenied")
        );
        for (bad, code) in [
            ("AWS AK:sig", "InvalidRequest"),
            ("Basic dXNlcg==", "InvalidArgument"),
            ("AWS4-HMAC-SHA256", "AuthorizationHeaderMalformed"),
            (
                "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host",
                "AuthorizationHeaderMalformed",
            ),
            (
                "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=0",
                "AuthorizationHeaderMalformed",
            ),
            ("AWS4-ECDSA-P256-SHA256 Credential=x", "InvalidArgument"),
        ] {
            assert_eq!(run("/b/k", &[("authorization", bad), date]), err(code), "{bad}");
        }
        let session = ("x-amz-security-token", "t");
        assert_eq!(
            run("/b/k", &[("authorization", GOOD), date, session]),
            err("InvalidToken")
        );
    }

    #[test]
    fn presigned_urls() {
        let url = |change: &dyn Fn(String) -> String| {
            change(
                "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request\
                 &X-Amz-Date=20260101T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Signature=00"
                    .to_owned(),
            )
        };
        assert_eq!(run(&url(&|u| u), &[]), Ok(()));
        assert_eq!(
            run(&url(&|u| u), &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]),
            Ok(())
        );
        assert_eq!(run(&url(&|u| u), &[("x-amz-meta-a", "b")]), err("AccessDenied"));
        let wrong = err("AuthorizationQueryParametersError");
        for (from, to) in [
            ("604800", "604801"),
            ("604800", "-1"),
            ("604800", "soon"),
            ("us-east-1", "eu"),
            ("&X-Amz-Signature=00", ""),
            ("&X-Amz-Date=20260101T000000Z", ""),
            ("aws4_request", "aws5"),
        ] {
            assert_eq!(run(&url(&|u| u.replace(from, to)), &[]), wrong, "{from} → {to}");
        }
        assert_eq!(
            run(&url(&|u| u), &[("authorization", GOOD)]),
            err("InvalidArgument")
        );
        assert_eq!(
            run("/b/k?AWSAccessKeyId=AK&Expires=1&Signature=x", &[]),
            err("InvalidRequest")
        );
    }

    #[test]
    fn access_keys_may_contain_slashes() {
        assert_eq!(credential_region("a/b/c/20260101/r/s3/aws4_request"), Some("r"));
        assert_eq!(credential_region("a/20260101/r/s3"), None);
        assert_eq!(credential_region(""), None);
    }

    proptest! {
        #[test]
        fn any_claim_is_judged(
            authorization in "(AWS4-HMAC-SHA256 )?[ -~]{0,120}",
            query in "[a-zA-Z0-9%&=+_-]{0,120}",
            credential in "[!-~]{0,60}",
        ) {
            let date = ("x-amz-date", "20260101T000000Z");
            let _ = run("/b/k", &[("authorization", &authorization), date]);
            let _ = run(&format!("/b/k?{query}"), &[]);
            let claim = format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=00");
            let good = credential_region(&credential) == Some("us-east-1");
            prop_assert!(good || run("/b/k", &[("authorization", &claim), date]).is_err());
        }
    }
}
