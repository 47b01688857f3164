//! A token (JWT, RFC 7519) as it comes, and what must be true of it beside its signature.
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Rejected;

/// Largest token, in bytes.
const TOKEN_MAX: usize = 20_000;
/// How far the provider's clock may be off, in seconds.
const LEEWAY: i64 = 60;

/// Algorithms that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// ECDSA on P-256, SHA-256.
    Es256,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// A token taken apart. Nothing of it is believed yet.
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    /// Which key signed it.
    pub(super) key: Option<String>,
    /// What is signed.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
    pub(super) claims: Claims,
}

/// What it says.
pub(super) struct Claims {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) all: Map<String, Value>,
}

impl<'a> Token<'a> {
    /// Takes one apart.
    pub(super) fn parse(text: &'a str) -> Result<Self, Rejected> {
        let invalid = Rejected::Invalid("it is not a token");
        if text.len() > TOKEN_MAX {
            return Err(Rejected::Invalid("the token is too large"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(invalid)?;
        let (header, claims) = signed.split_once('.').ok_or(invalid)?;
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| invalid);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| invalid)?;
        if header.crit.is_some() {
            return Err(Rejected::Invalid(
                "the token needs an extension that is not understood",
            ));
        }
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::Rs256,
            "ES256" => Algorithm::Es256,
            _ => return Err(Rejected::Invalid("the token must be signed by RS256 or ES256")),
        };
        let all: Map<String, Value> = serde_json::from_slice(&decode(claims)?).map_err(|_| invalid)?;
        let text = |claim: &str| {
            let text = all
                .get(claim)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty());
            text.map(str::to_owned).ok_or(invalid)
        };
        Ok(Self {
            algorithm,
            key: header.kid,
            signed: signed.as_bytes(),
            signature: decode(signature)?,
            claims: Claims {
                issuer: text("iss")?,
                subject: text("sub")?,
                all,
            },
        })
    }

    /// Whether it counts now, and for which of the audiences.
    pub(super) fn check_claims(&self, audiences: &[String], now: i64) -> Result<String, Rejected> {
        let moment = |claim: &str| self.claims.all.get(claim).map(Value::as_f64);
        let now = now as f64;
        match moment("exp") {
            Some(Some(end)) if end + LEEWAY as f64 > now => {}
            Some(Some(_)) => return Err(Rejected::Expired),
            _ => return Err(Rejected::Invalid("the token does not say when it ends")),
        }
        match moment("nbf") {
            None => {}
            Some(Some(begin)) if begin - LEEWAY as f64 <= now => {}
            Some(_) => return Err(Rejected::Invalid("the token does not count yet")),
        }
        let named = match self.claims.all.get("aud") {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one.as_str()],
            _ => Vec::new(),
        };
        audiences
            .iter()
            .find(|audience| named.contains(&audience.as_str()))
            .cloned()
            .ok_or(Rejected::Invalid("the token is for another audience"))
    }
}
