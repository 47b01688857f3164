//! Tokens of identity providers: which count, and which do not.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
use std::path::Path;

use access::oidc::{Issuer, Providers, Rejected, WebIdentity};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKey, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ISSUER: &str = "https://id.example/realm";
const NOW: i64 = 1_800_000_000;

fn ec_key() -> EcdsaKeyPair {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap()
}

fn ec_jwk(key: &EcdsaKeyPair, id: &str) -> Value {
    let point = key.public_key().as_ref();
    json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig",
        "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..65])})
}

/// Modulus and exponent out of a DER `RSAPublicKey` of 2,048 bits.
fn rsa_jwk(key: &RsaKey, id: &str) -> Value {
    let der = key.public_key().as_ref();
    assert_eq!(
        &der[4..9],
        [2, 0x82, 1, 1, 0],
        "an integer of 257 bytes comes first"
    );
    json!({"kty": "RSA", "kid": id, "n": B64.encode(&der[9..265]), "e": B64.encode(&der[267..])})
}

fn claims() -> Value {
    json!({"iss": ISSUER, "sub": "repo:acme/site", "aud": ["other", "gateway"], "exp": NOW + 60,
        "nbf": NOW, "ref": "main", "groups": ["a", "b"], "level": 3, "deep": {"not": "kept"}})
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut claims = claims();
    for (claim, value) in changes {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(*claim);
        } else {
            claims[*claim] = value.clone();
        }
    }
    claims
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| B64.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn es256(key: &EcdsaKeyPair, id: &str, claims: &Value) -> String {
    let text = unsigned(&json!({"alg": "ES256", "kid": id, "typ": "JWT"}), claims);
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    format!("{text}.{}", B64.encode(signature.as_ref()))
}

fn rs256(key: &RsaKey, claims: &Value) -> String {
    let text = unsigned(&json!({"alg": "RS256"}), claims);
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .unwrap();
    format!("{text}.{}", B64.encode(signature))
}

fn issuer(file: Option<&Path>, url: Option<String>) -> Issuer {
    Issuer {
        issuer: ISSUER.into(),
        audience: vec!["gateway".into()],
        jwks_url: url,
        jwks_file: file.map(Path::to_owned),
    }
}

async fn check(providers: &Providers, token: &str) -> Result<WebIdentity, Rejected> {
    providers.check(token, NOW).await
}

#[tokio::test]
async fn tokens_count_when_signature_time_and_audience_are_right() {
    let (ec, rsa, stranger) = (ec_key(), RsaKey::generate(KeySize::Rsa2048).unwrap(), ec_key());
    let file = tempfile::NamedTempFile::new().unwrap();
    let keys = json!({"keys": [ec_jwk(&ec, "e"), rsa_jwk(&rsa, "r"), {"kty": "oct", "k": "AA"}]});
    std::fs::write(file.path(), keys.to_string()).unwrap();
    let providers = Providers::new(vec![issuer(Some(file.path()), None)]).unwrap();

    let found = check(&providers, &es256(&ec, "e", &claims())).await.unwrap();
    assert_eq!(
        (found.subject.as_str(), found.audience.as_str()),
        ("repo:acme/site", "gateway")
    );
    assert_eq!(found.provider(), "id.example/realm");
    let claim = |name: &str| found.context.get(&format!("id.example/realm:{name}")).cloned();
    assert_eq!(claim("sub"), Some(vec!["repo:acme/site".into()]));
    assert_eq!(claim("groups"), Some(vec!["a".into(), "b".into()]));
    assert_eq!(claim("level"), Some(vec!["3".into()]));
    assert_eq!(claim("deep"), None);
    assert!(check(&providers, &rs256(&rsa, &claims())).await.is_ok());

    let bent = |token: String| {
        let at = token.len() - 10;
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &token[..at], &token[at + 1..])
    };
    let none = unsigned(&json!({"alg": "none"}), &claims()) + ".";
    let hmac = unsigned(&json!({"alg": "HS256", "kid": "e"}), &claims()) + ".AAAA";
    let crit = unsigned(&json!({"alg": "ES256", "crit": ["x"]}), &claims()) + ".AAAA";
    for (what, token) in [
        ("bent", bent(es256(&ec, "e", &claims()))),
        ("bent", bent(rs256(&rsa, &claims()))),
        ("of another key", es256(&stranger, "e", &claims())),
        ("of a key that is not known", es256(&stranger, "s", &claims())),
        ("not signed", none),
        ("signed by a secret", hmac),
        ("with an extension", crit),
        ("for others", es256(&ec, "e", &with(&[("aud", json!("other"))]))),
        ("for nobody", es256(&ec, "e", &with(&[("aud", Value::Null)]))),
        ("for ever", es256(&ec, "e", &with(&[("exp", Value::Null)]))),
        ("not yet", es256(&ec, "e", &with(&[("nbf", json!(NOW + 61))]))),
        ("of nobody", es256(&ec, "e", &with(&[("sub", Value::Null)]))),
        (
            "of another issuer",
            es256(&ec, "e", &with(&[("iss", json!("https://id.example"))])),
        ),
        ("nothing", String::new()),
        ("not base64", "a b.c.d".into()),
        ("too large", "a".repeat(20_001)),
    ] {
        let refused = check(&providers, &token).await;
        assert!(
            matches!(refused, Err(Rejected::Invalid(_))),
            "{what}: {refused:?}"
        );
    }
    let over = es256(&ec, "e", &with(&[("exp", json!(NOW - 60))]));
    assert_eq!(check(&providers, &over).await, Err(Rejected::Expired));
}

#[tokio::test]
async fn keys_come_from_a_url_and_a_provider_that_is_silent_is_told_from_a_wrong_token() {
    let key = ec_key();
    let document = json!({"keys": [ec_jwk(&key, "e")]}).to_string();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{document}",
            document.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..read]).starts_with("GET /keys ")
    });
    let providers = Providers::new(vec![issuer(None, Some(url.clone()))]).unwrap();
    let token = es256(&key, "e", &claims());
    assert!(check(&providers, &token).await.is_ok());
    assert!(served.await.unwrap());
    // Nobody listens any more, and nobody has to.
    assert!(check(&providers, &token).await.is_ok());
    let fresh = Providers::new(vec![issuer(None, Some(url))]).unwrap();
    assert_eq!(check(&fresh, &token).await, Err(Rejected::Unreachable));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let file = Some(Path::new("/keys"));
    assert!(Providers::new(vec![issuer(file, None)]).is_ok());
    assert!(Providers::new(vec![issuer(None, Some("https://id.example/keys".into()))]).is_ok());
    for bad in [
        issuer(None, None),
        issuer(file, Some("https://id.example/keys".into())),
        issuer(None, Some("http://id.example/keys".into())),
        issuer(None, Some("http://localhost.example/keys".into())),
        Issuer {
            audience: vec![],
            ..issuer(file, None)
        },
    ] {
        assert!(Providers::new(vec![bad]).is_err());
    }
    assert!(Providers::new(vec![issuer(file, None), issuer(file, None)]).is_err());
}
