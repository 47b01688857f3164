//! Who is at the other end, and whether it asks for more than its share.
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use s3s::{S3Error, S3ErrorCode};

use crate::error::fail;
use crate::server::{ClientLimits, Meter, network};

/// When to come back on another connection.
const CROWDED_RETRY: Duration = Duration::from_secs(1);

/// The other end of a connection. Every request carries it in its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// Its address.
    pub(crate) address: IpAddr,
    /// Whether it has more connections than it may.
    pub(crate) crowded: bool,
    /// Whether the connection is protected by TLS.
    pub(crate) secure: bool,
    /// Whether it came to the listener of web sites.
    pub(crate) visitor: bool,
}

/// Meters clients by address and by access key.
pub(crate) struct Share {
    addresses: Option<Meter<IpAddr>>,
    keys: Option<Meter<String>>,
}

/// Set when the signature of a request was found to be good. Every request carries it in its extensions.
#[derive(Clone, Default)]
pub(crate) struct Proven(Arc<AtomicBool>);

impl Proven {
    /// It is good.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was found to be.
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request that may be answered.
pub(crate) struct Granted {
    key: Option<String>,
}

impl Share {
    pub(crate) fn new(limits: &ClientLimits) -> Self {
        Self {
            addresses: Meter::new(limits.requests_per_address),
            keys: Meter::new(limits.requests_per_key),
        }
    }

    /// Lets a request pass, or says `SlowDown`.
    pub(crate) fn grant(&self, client: Client, parts: &Parts) -> Result<Granted, S3Error> {
        if client.crowded {
            return Err(slow_down(
                "Too many connections from your address.",
                CROWDED_RETRY,
                true,
            ));
        }
        let now = Instant::now();
        if let Some(meter) = &self.addresses {
            let client = network(client.address);
            meter
                .check(&client, now)
                .map_err(|wait| slow_down("Too many requests from your address.", wait, false))?;
            meter.take(client, now);
        }
        let key = self
            .keys
            .as_ref()
            .and_then(|meter| Some((meter, access_key(parts)?)));
        if let Some((meter, key)) = &key {
            meter
                .check(key, now)
                .map_err(|wait| slow_down("Too many requests with your access key.", wait, false))?;
        }
        Ok(Granted {
            key: key.map(|(_, key)| key),
        })
    }

    /// The request was answered. It counts for its access key only now that its signature is known to be
    /// good: whoever only knows a key's name cannot use up what its owner may.
    pub(crate) fn answered(&self, granted: Granted, genuine: bool) {
        if let (true, Some(meter), Some(key)) = (genuine, &self.keys, granted.key) {
            meter.take(key, Instant::now());
        }
    }
}

fn slow_down(why: &'static str, wait: Duration, close: bool) -> S3Error {
    let mut error = fail(S3ErrorCode::SlowDown, format!("{why} Reduce your request rate."));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    error.set_headers(headers);
    error
}

/// The access key that a request claims to be signed with.
fn access_key(parts: &Parts) -> Option<String> {
    let credential: Cow<'_, str> = match parts.headers.get(AUTHORIZATION) {
        Some(header) => header.to_str().ok()?.split_once("Credential=")?.1.into(),
        None => {
            form_urlencoded::parse(parts.uri.query()?.as_bytes())
                .find(|(name, _)| name == "X-Amz-Credential")?
                .1
        }
    };
    let credential = credential.split(',').next()?.trim();
    // KEY/DATE/REGION/SERVICE/aws4_request, where the key may contain slashes.
    let key = credential.rsplitn(5, '/').nth(4)?;
    Some(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, authorization: Option<&str>) -> Parts {
        let mut request = http::Request::builder().uri(uri);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=a/b/20260101/r/s3/aws4_request, SignedHeaders=host";

    fn client(last: u8) -> Client {
        Client {
            address: [192, 0, 2, last].into(),
            crowded: false,
            secure: false,
            visitor: false,
        }
    }

    #[test]
    fn access_keys_are_found() {
        assert_eq!(access_key(&parts("/", Some(SIGNED))).as_deref(), Some("a/b"));
        let query = "/b?X-Amz-Credential=AK%2F20260101%2Fr%2Fs3%2Faws4_request";
        assert_eq!(access_key(&parts(query, None)).as_deref(), Some("AK"));
        for (uri, authorization) in [
            ("/", None),
            ("/?X-Amz-Credential=AK", None),
            ("/", Some("AWS AK:x")),
            ("/", Some("AWS4-HMAC-SHA256 Credential=x")),
        ] {
            assert_eq!(access_key(&parts(uri, authorization)), None);
        }
    }

    #[test]
    fn each_client_has_its_share() {
        let share = Share::new(&ClientLimits {
            requests_per_address: 2,
            ..ClientLimits::default()
        });
        let request = parts("/", None);
        for _ in 0..2 {
            share.grant(client(1), &request).ok().unwrap();
        }
        let error = share.grant(client(1), &request).err().unwrap();
        assert_eq!(error.code(), &S3ErrorCode::SlowDown);
        assert_eq!(error.headers().unwrap()[RETRY_AFTER], "1");
        share.grant(client(2), &request).ok().unwrap();
        let crowded = Client {
            crowded: true,
            ..client(2)
        };
        let error = share.grant(crowded, &request).err().unwrap();
        assert_eq!(error.headers().unwrap()[CONNECTION], "close");
    }

    #[test]
    fn only_genuine_requests_count_for_a_key() {
        let share = Share::new(&ClientLimits {
            requests_per_key: 1,
            ..ClientLimits::default()
        });
        let request = parts("/", Some(SIGNED));
        for genuine in [false, false, true] {
            let granted = share.grant(client(1), &request).ok().unwrap();
            share.answered(granted, genuine);
        }
        assert!(share.grant(client(2), &request).is_err());
        share.grant(client(1), &parts("/", None)).ok().unwrap();
    }
}
