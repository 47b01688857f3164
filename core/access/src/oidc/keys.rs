//! Public keys of a provider (JWKS, RFC 7517).
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::token::{Algorithm, Token};

#[derive(Deserialize)]
struct Document {
    keys: Vec<Entry>,
}

/// One key. Which fields there are depends on its kind.
#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

enum Material {
    /// Modulus and exponent, big-endian.
    Rsa(Vec<u8>, Vec<u8>),
    /// A point of P-256, uncompressed.
    P256(Vec<u8>),
}

struct Key {
    id: Option<String>,
    material: Material,
}

/// The keys of a provider that are understood.
#[derive(Default)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// Reads a document. Keys of other kinds are left out; the reason is for the log.
    pub(super) fn parse(document: &[u8]) -> Result<Self, String> {
        let document: Document =
            serde_json::from_slice(document).map_err(|error| format!("not a set of keys: {error}"))?;
        let keys: Vec<Key> = document.keys.into_iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err("no key for RS256 or ES256 in it".to_owned());
        }
        Ok(Self(keys))
    }

    /// Whether the key that a token names is there.
    pub(super) fn knows(&self, token: &Token<'_>) -> bool {
        self.fitting(token).next().is_some()
    }

    /// Whether one of them signed the token.
    pub(super) fn verify(&self, token: &Token<'_>) -> bool {
        self.fitting(token).any(|key| key.verify(token))
    }

    fn fitting<'a>(&'a self, token: &'a Token<'_>) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(|key| {
            let of_kind = matches!(
                (&key.material, token.algorithm),
                (Material::Rsa(..), Algorithm::Rs256) | (Material::P256(_), Algorithm::Es256)
            );
            // A token that names no key may be signed by any.
            of_kind && (token.key.is_none() || key.id == token.key)
        })
    }
}

fn key(entry: Entry) -> Option<Key> {
    if entry.purpose.is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let bytes = |text: Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text?).ok();
    let material = match (entry.kty.as_str(), entry.crv.as_deref()) {
        ("RSA", _) => Material::Rsa(bytes(entry.n)?, bytes(entry.e)?),
        ("EC", Some("P-256")) => {
            let (x, y) = (bytes(entry.x)?, bytes(entry.y)?);
            if x.len() != 32 || y.len() != 32 {
                return None;
            }
            Material::P256([&[4], x.as_slice(), y.as_slice()].concat())
        }
        _ => return None,
    };
    Some(Key {
        id: entry.kid,
        material,
    })
}

impl Key {
    fn verify(&self, token: &Token<'_>) -> bool {
        match &self.material {
            Material::Rsa(n, e) => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, token.signed, &token.signature)
                .is_ok(),
            Material::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(token.signed, &token.signature)
                .is_ok(),
        }
    }
}
