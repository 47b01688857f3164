//! The addresses behind a miner's endpoint.
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a name's addresses are believed.
const FRESH: Duration = Duration::from_mins(10);
/// How long a name that has no address is not asked about again.
const FRESH_FAILURE: Duration = Duration::from_secs(30);
/// Longest wait for a name server.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names remembered; beyond, all are asked about again.
const NAMES: usize = 65_536;

/// Addresses, and until when they are believed.
type Known = (Instant, Arc<[IpAddr]>);

/// Finds and remembers addresses.
#[derive(Default)]
pub(crate) struct Addresses {
    known: Mutex<HashMap<String, Known>>,
}

impl Addresses {
    /// The addresses behind `endpoint` (`http://host:port`); none when there are none to be found.
    pub(crate) async fn of(&self, endpoint: &str) -> Arc<[IpAddr]> {
        let host = host_of(endpoint);
        if let Some(address) = literal(host) {
            return Arc::from([address]);
        }
        if let Some((until, addresses)) = self.known.lock().get(host)
            && *until > Instant::now()
        {
            return addresses.clone();
        }
        let lookup = tokio::net::lookup_host((host, 0));
        let addresses: Arc<[IpAddr]> = match tokio::time::timeout(PATIENCE, lookup).await {
            Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
            Ok(Err(_)) | Err(_) => Arc::default(),
        };
        let fresh = if addresses.is_empty() {
            FRESH_FAILURE
        } else {
            FRESH
        };
        let mut known = self.known.lock();
        if known.len() >= NAMES {
            known.clear();
        }
        known.insert(host.to_owned(), (Instant::now() + fresh, addresses.clone()));
        addresses
    }
}

/// Host of `scheme://host:port/path`; brackets of an IPv6 address and the port, if any, stay.
fn host_of(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if literal(authority).is_some() {
        return authority;
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse()
        .ok()
        .or_else(|| host.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_read_from_endpoints() {
        let addresses = Addresses::default();
        for (endpoint, address) in [
            ("http://192.0.2.7:15001", "192.0.2.7"),
            ("https://192.0.2.7/fragment", "192.0.2.7"),
            ("http://[2001:db8::1]:80", "2001:db8::1"),
            ("http://[2001:db8::1]", "2001:db8::1"),
            ("http://user@192.0.2.9:1/", "192.0.2.9"),
        ] {
            let found = addresses.of(endpoint).await;
            assert_eq!(*found, [address.parse::<IpAddr>().unwrap()], "{endpoint}");
        }
        assert_eq!(host_of("http://miner.example:15001/x"), "miner.example");
        assert_eq!(host_of("miner.example"), "miner.example");
        let local = addresses.of("http://localhost:1").await;
        assert!(!local.is_empty() && local.iter().all(|address| address.is_loopback()));
        assert!(addresses.of("http://a..b:1").await.is_empty());
        assert!(addresses.of("").await.is_empty());
    }
}
