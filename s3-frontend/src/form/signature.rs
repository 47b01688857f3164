//! Who signed a form's policy, and the signature of the PUT that the form stands for.
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::auth::SecretKey;
use s3s::{S3Error, S3ErrorCode};
use sha2::{Digest as _, Sha256};
use time::format_description::FormatItem;
use time::macros::format_description;

use super::{Fields, Forms};
use crate::error::fail;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Seconds for which the PUT is signed: it is sent at once.
const LIFETIME: u32 = 60;
/// What stays as it is in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
const MOMENT: &[FormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// Whose key signed a form.
pub(super) struct Signer {
    access_key: String,
    secret: SecretKey,
    region: String,
}

/// Checks the signature of a form; `None`: it has none, and no policy.
pub(super) async fn verify(forms: &Forms, fields: &Fields) -> Result<Option<Signer>, S3Error> {
    let v4 = [
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-signature",
    ];
    let v2 = ["awsaccesskeyid", "signature"];
    let has = |names: &[&str]| names.iter().any(|name| fields.get(name).is_some());
    if has(&v2) && !has(&v4) {
        if !forms.signed_v2 {
            return Err(fail(
                S3ErrorCode::InvalidRequest,
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
            ));
        }
        return verify_v2(forms, fields).await.map(Some);
    }
    if has(&v4) || fields.get("policy").is_some() {
        return verify_v4(forms, fields).await.map(Some);
    }
    Ok(None)
}

fn needed<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, S3Error> {
    fields.get(name).ok_or_else(|| {
        fail(
            S3ErrorCode::InvalidArgument,
            format!(
                "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
            ),
        )
    })
}

async fn verify_v2(forms: &Forms, fields: &Fields) -> Result<Signer, S3Error> {
    let access_key = needed(fields, "awsaccesskeyid")?;
    let signature = needed(fields, "signature")?;
    let policy = needed(fields, "policy")?;
    let secret = forms.auth.get_secret_key(access_key).await?;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes());
    let signature = BASE64_STANDARD.decode(signature).map_err(|_| mismatch())?;
    hmac::verify(&key, policy.as_bytes(), &signature).map_err(|_| mismatch())?;
    Ok(Signer {
        access_key: access_key.to_owned(),
        secret,
        region: forms.region.clone(),
    })
}

async fn verify_v4(forms: &Forms, fields: &Fields) -> Result<Signer, S3Error> {
    let malformed = |what: &str| {
        fail(
            S3ErrorCode::AuthorizationQueryParametersError,
            format!("The form field {what} is malformed."),
        )
    };
    if needed(fields, "x-amz-algorithm")? != ALGORITHM {
        return Err(fail(
            S3ErrorCode::InvalidArgument,
            "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\".",
        ));
    }
    let credential = needed(fields, "x-amz-credential")?;
    let moment = needed(fields, "x-amz-date")?;
    let signature = needed(fields, "x-amz-signature")?;
    let policy = needed(fields, "policy")?;
    // Keys may contain slashes.
    let mut pieces = credential.rsplitn(5, '/');
    let (Some("aws4_request"), Some("s3"), Some(region), Some(day), Some(access_key)) = (
        pieces.next(),
        pieces.next(),
        pieces.next(),
        pieces.next(),
        pieces.next(),
    ) else {
        return Err(malformed("x-amz-credential"));
    };
    if region != forms.region {
        return Err(fail(
            S3ErrorCode::AuthorizationQueryParametersError,
            format!(
                "The authorization is malformed: the region is wrong; expecting '{}'.",
                forms.region
            ),
        ));
    }
    if moment.split('T').next() != Some(day) || day.len() != 8 {
        return Err(malformed("x-amz-date"));
    }
    let secret = forms.auth.get_secret_key(access_key).await?;
    let signature = hex::decode(signature).map_err(|_| mismatch())?;
    let key = signing_key(&secret, day, region);
    hmac::verify(&key, policy.as_bytes(), &signature).map_err(|_| mismatch())?;
    Ok(Signer {
        access_key: access_key.to_owned(),
        secret,
        region: region.to_owned(),
    })
}

fn mismatch() -> S3Error {
    fail(
        S3ErrorCode::SignatureDoesNotMatch,
        "The request signature we calculated does not match the signature you provided. \
         Check your key and signing method.",
    )
}

fn signing_key(secret: &SecretKey, day: &str, region: &str) -> hmac::Key {
    let secret = zeroize::Zeroizing::new(format!("AWS4{}", secret.expose()));
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    for piece in [day, region, "s3", "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, piece.as_bytes()).as_ref());
    }
    key
}

impl Signer {
    /// The query that signs a PUT of `path` with these headers. (A signature in a header would demand a
    /// length of the body.)
    pub(super) fn sign(&self, path: &str, headers: &HeaderMap) -> Result<String, S3Error> {
        let moment = crate::clock::now().format(MOMENT).map_err(|_| mismatch())?;
        let day = moment.split('T').next().unwrap_or_default();
        let mut signed: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .filter(|(name, _)| *name == "host" || name.starts_with("x-amz-"))
            .collect();
        signed.sort_unstable();
        let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let credential = format!("{}/{scope}", self.access_key);
        let query = format!(
            "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={moment}&X-Amz-Expires={LIFETIME}\
             &X-Amz-SignedHeaders={}",
            utf8_percent_encode(&credential, QUERY),
            utf8_percent_encode(&names, QUERY),
        );
        let mut canonical = format!("PUT\n{path}\n{query}\n").into_bytes();
        for (name, value) in &signed {
            canonical.extend_from_slice(name.as_bytes());
            canonical.push(b':');
            // As whoever checks it does: one space for several.
            let words: Vec<&[u8]> = value
                .split(|byte| *byte == b' ')
                .filter(|word| !word.is_empty())
                .collect();
            canonical.extend_from_slice(&words.join(&b' '));
            canonical.push(b'\n');
        }
        canonical.extend_from_slice(format!("\n{names}\nUNSIGNED-PAYLOAD").as_bytes());
        let digest = hex::encode(Sha256::digest(&canonical));
        let text = format!("{ALGORITHM}\n{moment}\n{scope}\n{digest}");
        let key = signing_key(&self.secret, day, &self.region);
        let signature = hex::encode(hmac::sign(&key, text.as_bytes()));
        Ok(format!("{query}&X-Amz-Signature={signature}"))
    }
}
