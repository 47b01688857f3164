//! The addresses behind a miner's endpoint.
//!
//! Asking a name server blocks a thread, for as long as the system's resolver likes, and nobody can
//! call it back. Anybody can register as a miner with a name that hangs. So few names are asked about at
//! a time, each once however many want to know, on threads that stay counted until they really end; who
//! waits for an answer waits for a bounded time, and a name that gave none is left alone for a moment.
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// How long a name's addresses are believed.
const FRESH: Duration = Duration::from_mins(10);
/// How long a name that has no address is not asked about again.
const FRESH_FAILURE: Duration = Duration::from_secs(30);
/// Longest wait for an answer, and for a turn to ask.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names asked about at a time: threads that may hang.
const AT_A_TIME: usize = 8;
/// Names remembered; beyond, all are asked about again.
const NAMES: usize = 65_536;

/// Addresses of a host.
type Found = Arc<[IpAddr]>;
/// Asks for the addresses of a host; blocks.
type Resolver = fn(&str) -> Vec<IpAddr>;
/// A question that is being asked.
type Asking = Shared<BoxFuture<'static, Found>>;

/// What is known of a host.
#[derive(Default)]
struct Known {
    /// The last answer, and until when it is believed.
    answer: Option<(Instant, Found)>,
    /// The question under way.
    asking: Option<Asking>,
}

/// Finds and remembers addresses.
pub(crate) struct Addresses {
    known: Arc<Mutex<HashMap<String, Known>>>,
    turns: Arc<Semaphore>,
    resolver: Resolver,
    patience: Duration,
}

impl Default for Addresses {
    fn default() -> Self {
        Self::new(ask_system, PATIENCE)
    }
}

/// Asks the system's resolver.
fn ask_system(host: &str) -> Vec<IpAddr> {
    (host, 0)
        .to_socket_addrs()
        .map(|found| found.map(|address| address.ip()).collect())
        .unwrap_or_default()
}

impl Addresses {
    fn new(resolver: Resolver, patience: Duration) -> Self {
        Self {
            known: Arc::default(),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            resolver,
            patience,
        }
    }

    /// The addresses behind `endpoint` (`http://host:port`); none when there are none to be found in
    /// time.
    pub(crate) async fn of(&self, endpoint: &str) -> Found {
        let host = host_of(endpoint);
        if let Some(address) = literal(host) {
            return Arc::from([address]);
        }
        let asking = {
            let mut known = self.known.lock();
            if known.len() >= NAMES && !known.contains_key(host) {
                known.retain(|_, known| known.asking.is_some());
            }
            let entry = known.entry(host.to_owned()).or_default();
            if let Some((until, addresses)) = &entry.answer
                && *until > Instant::now()
            {
                return addresses.clone();
            }
            entry.asking.get_or_insert_with(|| self.ask(host)).clone()
        };
        if let Ok(found) = tokio::time::timeout(self.patience, asking).await {
            return found;
        }
        // It goes on, and its answer replaces this one. Until then nobody waits for it again.
        let mut known = self.known.lock();
        if let Some(entry) = known.get_mut(host)
            && entry.asking.is_some()
        {
            entry.answer = Some((Instant::now() + FRESH_FAILURE, Arc::default()));
        }
        Arc::default()
    }

    /// Asks about `host`, once it is its turn, and notes the answer.
    fn ask(&self, host: &str) -> Asking {
        let (known, turns) = (self.known.clone(), self.turns.clone());
        let (host, resolver) = (host.to_owned(), self.resolver);
        let asking = async move {
            // The semaphore is never closed. The turn ends with the thread, however long it hangs.
            let turn = turns.acquire_owned().await.ok();
            let name = host.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let found = resolver(&name);
                drop(turn);
                found
            });
            let found: Found = asked.await.unwrap_or_default().into();
            let fresh = if found.is_empty() { FRESH_FAILURE } else { FRESH };
            if let Some(entry) = known.lock().get_mut(&host) {
                entry.answer = Some((Instant::now() + fresh, found.clone()));
                entry.asking = None;
            }
            found
        };
        // A task of its own: who asked may give up.
        tokio::spawn(asking)
            .map(|found| found.unwrap_or_default())
            .boxed()
            .shared()
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
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use futures::future::join_all;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[tokio::test(flavor = "multi_thread")]
    async fn few_names_are_asked_about_at_a_time_and_each_once() {
        static NOW: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn slow(_: &str) -> Vec<IpAddr> {
            ASKED.fetch_add(1, Ordering::SeqCst);
            MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            NOW.fetch_sub(1, Ordering::SeqCst);
            vec![ADDRESS]
        }
        let addresses = Addresses::new(slow, Duration::from_mins(1));
        let endpoints: Vec<String> = (0..120)
            .map(|number| format!("http://miner{}.example:1", number % 40))
            .collect();
        let found = join_all(endpoints.iter().map(|endpoint| addresses.of(endpoint))).await;
        assert!(found.iter().all(|found| **found == [ADDRESS]));
        assert_eq!(ASKED.load(Ordering::SeqCst), 40);
        assert!(MOST.load(Ordering::SeqCst) <= AT_A_TIME);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn names_that_hang_keep_few_threads_and_are_waited_for_once() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        static HANGS: AtomicBool = AtomicBool::new(true);
        fn hang(_: &str) -> Vec<IpAddr> {
            STARTED.fetch_add(1, Ordering::SeqCst);
            // Not for ever: a runtime waits for its threads when a test has failed.
            for _ in 0..20_000 {
                if !HANGS.load(Ordering::SeqCst) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            vec![ADDRESS]
        }
        let addresses = Addresses::new(hang, Duration::from_millis(300));
        let endpoints: Vec<String> = (0..3 * AT_A_TIME)
            .map(|number| format!("http://miner{number}.example:1"))
            .collect();
        let all = || join_all(endpoints.iter().map(|endpoint| addresses.of(endpoint)));
        assert!(all().await.iter().all(|found| found.is_empty()));
        assert_eq!(STARTED.load(Ordering::SeqCst), AT_A_TIME);
        // An answer that there is none, for a moment: at once.
        let again = all();
        let again = again.now_or_never();
        assert!(again.is_some_and(|found| found.iter().all(|found| found.is_empty())));
        // What is answered late counts from then on.
        HANGS.store(false, Ordering::SeqCst);
        let answered = async {
            while !all().await.iter().all(|found| **found == [ADDRESS]) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), answered)
            .await
            .unwrap();
        assert_eq!(
            STARTED.load(Ordering::SeqCst),
            3 * AT_A_TIME,
            "each was asked about once"
        );
    }

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
