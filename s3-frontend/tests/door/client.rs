//! A small S3 client that signs with SigV4 headers and lets tests bend every detail.
use std::collections::BTreeMap;

use hmac::{Hmac, Mac as _};
use reqwest::Method;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

const AMZ_DATE: &[FormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// HMAC-SHA-256.
pub fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// SHA-256 in hex.
pub fn sha256(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}

/// The signing key of a day.
pub fn signing_key(secret: &str, day: &str, region: &str) -> Vec<u8> {
    let mut key = hmac(format!("AWS4{secret}").as_bytes(), day.as_bytes());
    for piece in [region, "s3", "aws4_request"] {
        key = hmac(&key, piece.as_bytes());
    }
    key
}

/// `time` as `x-amz-date`.
pub fn amz_date(time: OffsetDateTime) -> String {
    time.format(AMZ_DATE).unwrap()
}

#[derive(Clone)]
pub struct Client {
    pub endpoint: String,
    pub access: String,
    pub secret: String,
    pub region: String,
    http: reqwest::Client,
}

impl Client {
    pub fn new(endpoint: &str, access: &str, secret: &str, region: &str) -> Self {
        Self {
            endpoint: endpoint.into(),
            access: access.into(),
            secret: secret.into(),
            region: region.into(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub fn host(&self) -> &str {
        self.endpoint.strip_prefix("http://").unwrap()
    }

    /// A request for `target`: an encoded path and an encoded query.
    pub fn request(&self, method: Method, target: &str) -> Request {
        Request {
            client: self.clone(),
            method,
            target: target.into(),
            headers: BTreeMap::new(),
            unsigned: BTreeMap::new(),
            body: Vec::new(),
            payload: None,
            host: None,
            age: time::Duration::ZERO,
            anonymous: false,
        }
    }

    pub fn get(&self, target: &str) -> Request {
        self.request(Method::GET, target)
    }
    pub fn head(&self, target: &str) -> Request {
        self.request(Method::HEAD, target)
    }
    pub fn put(&self, target: &str) -> Request {
        self.request(Method::PUT, target)
    }
    pub fn post(&self, target: &str) -> Request {
        self.request(Method::POST, target)
    }
    pub fn delete(&self, target: &str) -> Request {
        self.request(Method::DELETE, target)
    }
}

#[must_use]
pub struct Request {
    client: Client,
    method: Method,
    target: String,
    headers: BTreeMap<String, String>,
    unsigned: BTreeMap<String, String>,
    body: Vec<u8>,
    payload: Option<String>,
    host: Option<String>,
    age: time::Duration,
    anonymous: bool,
}

/// What signing yields: chunk signatures go on from it.
pub struct Signed {
    pub headers: Vec<(String, String)>,
    pub signature: String,
    pub date: String,
    pub scope: String,
}

impl Request {
    /// Adds a signed header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_ascii_lowercase(), value.into());
        self
    }
    /// Adds a header that the signature does not cover.
    pub fn unsigned(mut self, name: &str, value: &str) -> Self {
        self.unsigned.insert(name.to_ascii_lowercase(), value.into());
        self
    }
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
    /// States this `x-amz-content-sha256` instead of the body's hash.
    pub fn payload(mut self, payload: &str) -> Self {
        self.payload = Some(payload.into());
        self
    }
    /// Sends and signs this `Host`.
    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.into());
        self
    }
    /// Signs as if it were that long ago.
    pub fn age(mut self, age: time::Duration) -> Self {
        self.age = age;
        self
    }
    /// Does not sign.
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    pub fn method(&self) -> Method {
        self.method.clone()
    }
    pub fn target(&self) -> &str {
        &self.target
    }
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// Signs without sending.
    pub fn sign(&self) -> Signed {
        let date = amz_date(OffsetDateTime::now_utc() - self.age);
        let day = date.split('T').next().unwrap();
        let payload = self.payload.clone().unwrap_or_else(|| sha256(&self.body));
        let host = self.host.clone().unwrap_or_else(|| self.client.host().to_owned());
        let mut headers = self.headers.clone();
        headers.insert("host".into(), host);
        headers.insert("x-amz-date".into(), date.clone());
        headers.insert("x-amz-content-sha256".into(), payload.clone());

        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let mut query: Vec<String> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                if pair.contains('=') {
                    pair.to_owned()
                } else {
                    format!("{pair}=")
                }
            })
            .collect();
        query.sort_by(|a, b| a.split('=').cmp(b.split('=')));
        let canonical: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{}\n", value.trim()))
            .collect();
        let names: Vec<&str> = headers.keys().map(String::as_str).collect();
        let names = names.join(";");
        let request = format!(
            "{}\n{path}\n{}\n{canonical}\n{names}\n{payload}",
            self.method,
            query.join("&")
        );
        let scope = format!("{day}/{}/s3/aws4_request", self.client.region);
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            sha256(request.as_bytes())
        );
        let key = signing_key(&self.client.secret, day, &self.client.region);
        let signature = hex::encode(hmac(&key, to_sign.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.client.access
        );
        headers.insert("authorization".into(), authorization);
        Signed {
            headers: headers.into_iter().collect(),
            signature,
            date,
            scope,
        }
    }

    pub async fn send(self) -> Answer {
        let headers = if self.anonymous {
            self.headers.clone().into_iter().collect()
        } else {
            self.sign().headers
        };
        self.send_with(headers).await
    }

    /// Sends with headers made beforehand.
    pub async fn send_with(self, headers: Vec<(String, String)>) -> Answer {
        let url = format!("{}{}", self.client.endpoint, self.target);
        let mut request = self.client.http.request(self.method, url);
        for (name, value) in headers.into_iter().chain(self.unsigned) {
            request = request.header(name, value);
        }
        let response = request.body(self.body).send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        }
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// Fails unless the status is this.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
    /// Fails unless it is an error document with this status and code.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        assert_eq!(
            (self.status, self.tag("Code").as_str()),
            (status, code),
            "{}",
            self.text()
        );
        assert!(!self.tag("Message").is_empty(), "{}", self.text());
        assert_eq!(
            self.tag("RequestId"),
            self.header("x-amz-request-id"),
            "{}",
            self.text()
        );
        self
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    /// A header, empty if absent.
    pub fn header(&self, name: &str) -> String {
        self.headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default()
    }
    /// All texts of an XML element, in order.
    pub fn tags(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        self.text()
            .split(&open)
            .skip(1)
            .filter_map(|rest| rest.split_once(&close).map(|(text, _)| unescape(text)))
            .collect()
    }
    /// The first text of an XML element, empty if absent.
    pub fn tag(&self, name: &str) -> String {
        self.tags(name).into_iter().next().unwrap_or_default()
    }
    pub fn etag(&self) -> String {
        self.header("etag").trim_matches('"').to_owned()
    }
}

fn unescape(text: &str) -> String {
    text.replace("&quot;", "\"")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}
