//! The miners' `/fragment` HTTP protocol, with everything that comes back verified.
//!
//! A miner is a stranger: its answers are bounded in size and time, redirects are not followed, and
//! nothing it says about content is believed. The request is signed because miners demand a
//! signature, by any key at all, over any text; so the key is a throw-away key and the text is random.

pub mod endpoint;
mod envelope;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use subxt_signer::sr25519::Keypair;

use crate::account::SS58_PREFIX;
use crate::codec::{FRAGMENT_SIZE, ZERO_FRAGMENT};
use crate::{AccountId, Error, Hash, Result, random, tls};

/// Longest wait for a connection: a miner that is there answers within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept: miners close theirs after a minute or more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections kept per miner.
const IDLE_PER_MINER: usize = 4;
/// Longest answer read where an envelope is expected.
const MAX_ENVELOPE: usize = 64 << 10;

/// Signs and sends fragment requests. Cheap to clone; keeps connections.
#[derive(Clone)]
pub struct MinerClient {
    http: Client,
    signer: Arc<Signer>,
}

struct Signer {
    key: Keypair,
    account: HeaderValue,
}

impl std::fmt::Debug for MinerClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MinerClient")
            .field("account", &self.signer.account)
            .finish_non_exhaustive()
    }
}

impl MinerClient {
    /// `key` is a throw-away key: miners accept any sr25519 signature. `timeout` bounds a whole
    /// request, transfer included.
    pub fn new(key: Keypair, timeout: Duration) -> Result<Self> {
        tls::install_provider();
        let http = Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout.min(CONNECT_TIMEOUT))
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_MINER)
            .tcp_nodelay(true)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // Like the chain's nodes, miners are reached directly, whatever proxy the environment
            // names for browsers.
            .no_proxy()
            .build()
            .map_err(|error| Error::Invalid(format!("HTTP client: {}", describe(error))))?;
        let account = HeaderValue::from_str(&AccountId::from(&key).to_ss58(SS58_PREFIX))
            .map_err(|_| Error::Invalid("the account does not fit a header".to_owned()))?;
        Ok(Self {
            http,
            signer: Arc::new(Signer { key, account }),
        })
    }

    /// Pushes one fragment. An all-zero fragment is sent as an empty part (the miner makes it itself).
    ///
    /// A miner that has the fragment already says so without reading it and may close the
    /// connection in the middle of the transfer, before its answer is seen. So when the transfer
    /// fails, the fragment's first byte is asked for: a miner that serves it has it.
    pub async fn put(&self, endpoint: &str, fid: Hash, fragment: Hash, data: Bytes) -> Result<()> {
        let data = if fragment == ZERO_FRAGMENT {
            Bytes::new()
        } else if data.len() == FRAGMENT_SIZE {
            data
        } else {
            return Err(Error::Invalid(format!(
                "a fragment has {FRAGMENT_SIZE} bytes, not {}",
                data.len()
            )));
        };
        let length = data.len() as u64;
        let part = Part::stream_with_length(data, length)
            .file_name(fragment.to_string())
            .mime_str("application/octet-stream")
            .map_err(|error| Error::Invalid(describe(error)))?;
        let url = format!("{}/fragment", base(endpoint)?);
        let request = self.http.put(url).headers(self.headers(fid, fragment)?);
        let sent = request.multipart(Form::new().part("file", part)).send().await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                return match self.get_range(endpoint, fid, fragment, 0..1).await {
                    Ok(_) => Ok(()),
                    Err(_) => Err(Error::Unreachable(describe(error))),
                };
            }
        };
        let status = response.status();
        let body = read_up_to(response, MAX_ENVELOPE).await?;
        match envelope::read(&body) {
            Some(answer) if status.is_success() || answer.is_err() => answer.map(|_| ()),
            _ => Err(not_understood(status, &body)),
        }
    }

    /// Fetches one whole fragment; length and SHA-256 are checked.
    pub async fn get(&self, endpoint: &str, fid: Hash, fragment: Hash) -> Result<Bytes> {
        let request = self.fragment_request(endpoint, fid, fragment)?;
        let bytes = fetch(request, FRAGMENT_SIZE).await?;
        let (bytes, digest) = tokio::task::spawn_blocking(move || {
            let digest = Hash::of(&bytes);
            (bytes, digest)
        })
        .await
        .map_err(|error| Error::Unreachable(format!("hashing was stopped: {error}")))?;
        if digest == fragment {
            Ok(bytes)
        } else {
            Err(Error::Corrupt(format!("fragment {fragment} came as {digest}")))
        }
    }

    /// Fetches bytes `range` of a fragment. Only the length is checked: authenticate what you read.
    pub async fn get_range(
        &self,
        endpoint: &str,
        fid: Hash,
        fragment: Hash,
        range: Range<u32>,
    ) -> Result<Bytes> {
        if range.start > range.end || range.end as usize > FRAGMENT_SIZE {
            return Err(Error::Invalid(format!(
                "{}..{} is no range of a fragment",
                range.start, range.end
            )));
        }
        // The miners' own dialect: the end is exclusive and the total is required.
        let value = format!("bytes={}-{}/{FRAGMENT_SIZE}", range.start, range.end);
        let request = self
            .fragment_request(endpoint, fid, fragment)?
            .header(RANGE, value);
        fetch(request, range.len()).await
    }

    /// `signature_acc` of `GET /status`: whether the miner lives and who it says it is.
    pub async fn status(&self, endpoint: &str) -> Result<String> {
        let request = self.http.get(format!("{}/status", base(endpoint)?));
        let response = request
            .send()
            .await
            .map_err(|error| Error::Unreachable(describe(error)))?;
        let status = response.status();
        let body = read_up_to(response, MAX_ENVELOPE).await?;
        let data = envelope::read(&body).unwrap_or_else(|| Err(not_understood(status, &body)))?;
        match data.get("signature_acc").and_then(serde_json::Value::as_str) {
            Some(account) => Ok(account.to_owned()),
            None => Err(Error::Corrupt("a status without signature_acc".to_owned())),
        }
    }

    fn fragment_request(&self, endpoint: &str, fid: Hash, fragment: Hash) -> Result<RequestBuilder> {
        let url = format!("{}/fragment", base(endpoint)?);
        Ok(self.http.get(url).headers(self.headers(fid, fragment)?))
    }

    /// The headers of every fragment request, with a message of its own.
    fn headers(&self, fid: Hash, fragment: Hash) -> Result<HeaderMap> {
        let message = hex::encode(random::bytes::<16>()?);
        let signature = hex::encode(self.signer.key.sign(message.as_bytes()).0);
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert("Account", self.signer.account.clone());
        for (name, value) in [
            ("Message", message),
            ("Signature", signature),
            ("Fid", fid.to_string()),
            ("Fragment", fragment.to_string()),
        ] {
            let value = HeaderValue::from_str(&value)
                .map_err(|_| Error::Invalid(format!("{name} does not fit a header")))?;
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

fn base(endpoint: &str) -> Result<String> {
    endpoint::normalise(endpoint.as_bytes())
        .ok_or_else(|| Error::Invalid(format!("not an endpoint: {}", envelope::tame(endpoint))))
}

/// Sends a request for exactly `length` raw bytes.
async fn fetch(request: RequestBuilder, length: usize) -> Result<Bytes> {
    let response = request
        .send()
        .await
        .map_err(|error| Error::Unreachable(describe(error)))?;
    let status = response.status();
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let wanted = status.is_success() && !is_json;
    let limit = if wanted {
        length.max(MAX_ENVELOPE)
    } else {
        MAX_ENVELOPE
    };
    let body = read_up_to(response, limit).await?;
    if wanted && body.len() == length {
        return Ok(body);
    }
    match envelope::read(&body) {
        Some(Err(error)) => Err(error),
        _ if wanted => Err(Error::Corrupt(format!(
            "{} bytes came instead of {length}",
            body.len()
        ))),
        _ => Err(not_understood(status, &body)),
    }
}

/// Reads a body, refusing one that is longer than `limit`.
async fn read_up_to(mut response: Response, limit: usize) -> Result<Bytes> {
    let announced = response.content_length().unwrap_or(0);
    if announced > limit as u64 {
        return Err(Error::Corrupt(format!(
            "an answer of {announced} bytes where {limit} are the limit"
        )));
    }
    let mut body = BytesMut::with_capacity(announced as usize);
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| Error::Unreachable(describe(error)))?
    {
        if body.len() + chunk.len() > limit {
            return Err(Error::Corrupt(format!("an answer of more than {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn not_understood(status: StatusCode, body: &[u8]) -> Error {
    let text = envelope::tame(&String::from_utf8_lossy(&body[..body.len().min(400)]));
    Error::Miner {
        code: i64::from(status.as_u16()),
        message: text,
    }
}

/// The whole chain of causes: the outermost alone says no more than that a request failed.
fn describe(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
