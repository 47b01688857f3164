//! How much one client may take: connections at a time, and requests per second.
//!
//! A client is an address (under IPv6 its /64 network, which is what one customer has) and an access key.
//! Requests are metered by GCRA, the leaky bucket that needs one moment per client: a client may use one
//! second's worth at once, and then comes at its rate. What is refused costs nothing. The tables are
//! bounded: clients that are within their rate are forgotten first, and when nobody can be forgotten, new
//! clients are not metered until somebody can.
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Clients that are metered at a time.
const METERED_MAX: usize = 1 << 16;
/// Connections beyond a client's limit that are told so; further ones are closed without a word.
const TOLD: usize = 8;

/// What one client, and all together, may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections served at a time; more wait in the listen queue. At least 1.
    pub connections: usize,
    /// Connections of one address at a time; 0: no limit. Beyond it requests are answered `SlowDown`.
    pub connections_per_address: usize,
    /// Requests per second of one address; 0: no limit. Beyond it requests are answered `SlowDown`.
    pub requests_per_address: u32,
    /// Requests per second signed with one access key; 0: no limit.
    pub requests_per_key: u32,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_address: 1_024,
            requests_per_address: 0,
            requests_per_key: 0,
        }
    }
}

/// The client that an address stands for.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        },
    }
}

/// Connections by client.
pub(super) struct Connections {
    limit: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that is counted until this is dropped.
pub(super) struct Counted {
    connections: Arc<Connections>,
    client: IpAddr,
    /// Whether its client has too many.
    pub(super) crowded: bool,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            open: Mutex::default(),
        })
    }

    /// Counts a connection; `None`: it is to be closed.
    pub(super) fn count(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let client = network(address);
        let mut open = self.open.lock();
        let count = open.entry(client).or_default();
        let crowded = self.limit > 0 && *count >= self.limit;
        if crowded && *count >= self.limit + TOLD {
            return None;
        }
        *count += 1;
        Some(Counted {
            connections: Arc::clone(self),
            client,
            crowded,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

/// Requests by client.
pub(crate) struct Meter<K> {
    /// Time that one request takes of a client's allowance.
    cost: Duration,
    /// By client: the moment at which its allowance is whole again.
    whole_at: Mutex<HashMap<K, Instant>>,
}

/// What a client may use at once.
const BURST: Duration = Duration::from_secs(1);

impl<K: Hash + Eq> Meter<K> {
    /// For `rate` requests per second; `None` for 0, which is no limit.
    pub(crate) fn new(rate: u32) -> Option<Self> {
        (rate > 0).then(|| Self {
            cost: BURST / rate,
            whole_at: Mutex::default(),
        })
    }

    /// Whether `client` may make a request `now`; else how long it has to wait.
    pub(crate) fn check(&self, client: &K, now: Instant) -> Result<(), Duration> {
        let whole_at = self.whole_at.lock();
        let debt = whole_at
            .get(client)
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let over = (debt + self.cost).saturating_sub(BURST);
        if over.is_zero() { Ok(()) } else { Err(over) }
    }

    /// Takes one request off the allowance of `client`.
    pub(crate) fn take(&self, client: K, now: Instant) {
        let mut whole_at = self.whole_at.lock();
        if whole_at.len() >= METERED_MAX && !whole_at.contains_key(&client) {
            whole_at.retain(|_, at| *at > now);
            if whole_at.len() >= METERED_MAX {
                return;
            }
        }
        let at = whole_at.entry(client).or_insert(now);
        // Requests that were under way together are no debt for long.
        *at = ((*at).max(now) + self.cost).min(now + BURST + self.cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_at_once_and_then_the_rate() {
        let meter = Meter::new(10).unwrap();
        let start = Instant::now();
        for _ in 0..10 {
            meter.check(&"a", start).unwrap();
            meter.take("a", start);
        }
        assert_eq!(meter.check(&"a", start), Err(Duration::from_millis(100)));
        meter.check(&"b", start).unwrap();
        // Being refused costs nothing.
        let later = start + Duration::from_millis(100);
        meter.check(&"a", later).unwrap();
        meter.take("a", later);
        assert!(meter.check(&"a", later).is_err());
        let idle = start + Duration::from_secs(60);
        for _ in 0..10 {
            meter.check(&"a", idle).unwrap();
            meter.take("a", idle);
        }
        assert!(meter.check(&"a", idle).is_err());
        assert!(Meter::<u8>::new(0).is_none());
    }

    #[test]
    fn the_table_is_bounded() {
        let meter = Meter::new(1).unwrap();
        let start = Instant::now();
        for client in 0..METERED_MAX + 100 {
            meter.take(client, start);
        }
        assert_eq!(meter.whole_at.lock().len(), METERED_MAX);
        meter.take(usize::MAX, start + Duration::from_secs(2));
        assert_eq!(meter.whole_at.lock().len(), 1);
    }

    #[test]
    fn connections_are_counted_by_client() {
        let connections = Connections::new(2);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let mut open: Vec<Counted> = (0..2).map(|_| connections.count(address).unwrap()).collect();
        assert!(open.iter().all(|counted| !counted.crowded));
        open.extend((0..TOLD).map(|_| connections.count(address).unwrap()));
        assert!(open[2..].iter().all(|counted| counted.crowded));
        assert!(connections.count(address).is_none());
        assert!(!connections.count("192.0.2.2".parse().unwrap()).unwrap().crowded);
        drop(open);
        assert!(connections.open.lock().is_empty());
        let unlimited = Connections::new(0);
        let many: Vec<_> = (0..100).map(|_| unlimited.count(address).unwrap()).collect();
        assert!(many.iter().all(|counted| !counted.crowded));
    }

    #[test]
    fn one_customer_is_one_client() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("2001:db8:1:2:3::4"), "2001:db8:1:2::");
    }
}
