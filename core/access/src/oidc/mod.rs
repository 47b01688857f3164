//! Identity providers (OpenID Connect): whoever shows a token that one of them signed may take roles
//! that trust it.
//!
//! A token names its issuer; the settings say which issuers count, for which audiences, and where their
//! public keys are: in a file, or at a URL. Keys are fetched when they are needed first, when they are
//! old, and when a token names one that is not known, which is how providers change them; at most once
//! a minute, whatever tokens come. Keys that were fetched once go on to count while the provider cannot
//! be reached.
mod keys;
mod token;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use self::keys::Keys;
use self::token::Token;

/// Longest wait for the keys of a provider.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Keys that are older are fetched anew.
const FRESH: Duration = Duration::from_secs(3600);
/// Shortest pause between two fetches.
const FETCH_PAUSE: Duration = Duration::from_secs(60);
/// Largest document of keys, in bytes.
const DOCUMENT_MAX: usize = 1 << 20;

/// An identity provider, as the settings name it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The `iss` of its tokens, a URL.
    pub issuer: String,
    /// The `aud` of tokens that count: at least one.
    pub audience: Vec<String>,
    /// URL of its keys (JWKS), `https://…`, or `http://` on this machine.
    pub jwks_url: Option<String>,
    /// File with its keys instead.
    pub jwks_file: Option<PathBuf>,
}

/// What a token that counts says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebIdentity {
    /// Its issuer.
    pub issuer: String,
    /// Whom it is about (`sub`).
    pub subject: String,
    /// The audience that it is for.
    pub audience: String,
    /// Its claims as condition keys (`ISSUER:CLAIM`, the issuer without its scheme): texts, numbers and
    /// lists of texts.
    pub context: BTreeMap<String, Vec<String>>,
}

impl WebIdentity {
    /// The issuer as condition keys and principals name it: without its scheme.
    pub fn provider(&self) -> &str {
        bare(&self.issuer)
    }
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is no token, or nobody known signed it.
    #[error("{0}")]
    Invalid(&'static str),
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// The keys of the provider cannot be had.
    #[error("the keys of the identity provider cannot be had")]
    Unreachable,
}

/// The providers of the settings.
pub struct Providers {
    http: reqwest::Client,
    providers: Vec<Provider>,
}

struct Provider {
    settings: Issuer,
    /// Held while keys are fetched: who waits finds them.
    kept: tokio::sync::Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    keys: Keys,
    /// When they were fetched.
    fetched: Option<Instant>,
    /// When they were last tried to be fetched.
    tried: Option<Instant>,
}

/// Settings that make no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadIssuer(String);

impl Providers {
    /// Those of the settings.
    pub fn new(issuers: Vec<Issuer>) -> Result<Self, BadIssuer> {
        let http = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| BadIssuer(format!("cannot make an HTTP client: {error}")))?;
        let mut providers: Vec<Provider> = Vec::new();
        for settings in issuers {
            check(&settings)?;
            if providers
                .iter()
                .any(|other| other.settings.issuer == settings.issuer)
            {
                return Err(BadIssuer(format!(
                    "the issuer {} is there twice",
                    settings.issuer
                )));
            }
            providers.push(Provider {
                settings,
                kept: tokio::sync::Mutex::default(),
            });
        }
        Ok(Self { http, providers })
    }

    /// Checks a token at a moment, in seconds since 1970.
    pub async fn check(&self, text: &str, now: i64) -> Result<WebIdentity, Rejected> {
        let token = Token::parse(text)?;
        let provider = self
            .providers
            .iter()
            .find(|provider| provider.settings.issuer == token.claims.issuer)
            .ok_or(Rejected::Invalid("no identity provider of that issuer is known"))?;
        let verified = {
            let mut kept = provider.kept.lock().await;
            let old = kept.fetched.is_none_or(|fetched| fetched.elapsed() > FRESH);
            if old || !kept.keys.knows(&token) {
                self.fetch(&provider.settings, &mut kept).await;
            }
            if kept.fetched.is_none() {
                return Err(Rejected::Unreachable);
            }
            kept.keys.verify(&token)
        };
        if !verified {
            return Err(Rejected::Invalid(
                "the signature of the token is not its issuer's",
            ));
        }
        let audience = token.check_claims(&provider.settings.audience, now)?;
        let name = bare(&provider.settings.issuer);
        let context = token
            .claims
            .all
            .iter()
            .filter_map(|(claim, value)| Some((format!("{name}:{claim}"), texts(value)?)));
        Ok(WebIdentity {
            context: context.collect(),
            issuer: provider.settings.issuer.clone(),
            subject: token.claims.subject,
            audience,
        })
    }

    async fn fetch(&self, settings: &Issuer, kept: &mut Kept) {
        if kept.tried.is_some_and(|tried| tried.elapsed() < FETCH_PAUSE) {
            return;
        }
        kept.tried = Some(Instant::now());
        let fetched = match (&settings.jwks_file, &settings.jwks_url) {
            (Some(file), _) => tokio::fs::read(file).await.map_err(|error| error.to_string()),
            (None, Some(url)) => self.download(url).await,
            (None, None) => Err("no source".to_owned()),
        };
        match fetched.and_then(|document| Keys::parse(&document)) {
            Ok(keys) => {
                kept.keys = keys;
                kept.fetched = Some(Instant::now());
            }
            Err(reason) => {
                tracing::warn!(
                    issuer = settings.issuer,
                    reason,
                    "the keys of an identity provider cannot be had"
                );
            }
        }
    }

    async fn download(&self, url: &str) -> Result<Vec<u8>, String> {
        let told = |error: reqwest::Error| error.to_string();
        let mut response = self.http.get(url).send().await.map_err(told)?;
        if !response.status().is_success() {
            return Err(format!("the answer was {}", response.status()));
        }
        let mut document = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(told)? {
            if document.len() + piece.len() > DOCUMENT_MAX {
                return Err("the document is too large".to_owned());
            }
            document.extend_from_slice(&piece);
        }
        Ok(document)
    }
}

fn check(settings: &Issuer) -> Result<(), BadIssuer> {
    let bad = |what: &str| Err(BadIssuer(format!("issuer {}: {what}", settings.issuer)));
    if settings.issuer.is_empty() || settings.audience.is_empty() {
        return bad("`issuer` and at least one `audience` are needed");
    }
    match (&settings.jwks_url, &settings.jwks_file) {
        (Some(url), None) => {
            let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
            let local = local.iter().any(|prefix| {
                url.strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
            });
            if url.starts_with("https://") || local {
                Ok(())
            } else {
                bad("`jwks_url` must begin with https://")
            }
        }
        (None, Some(_)) => Ok(()),
        _ => bad("one of `jwks_url` and `jwks_file` is needed"),
    }
}

/// An issuer without its scheme.
fn bare(issuer: &str) -> &str {
    issuer.split_once("://").map_or(issuer, |(_, rest)| rest)
}

/// The texts of a claim.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Number(number) => Some(vec![number.to_string()]),
        Value::Bool(truth) => Some(vec![truth.to_string()]),
        Value::Array(list) => list.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        Value::Null | Value::Object(_) => None,
    }
}
