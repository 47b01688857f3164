//! The clocks, in one place, so that tests can turn them.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far tests have turned the clocks of this process on, in nanoseconds.
static TURNED: AtomicU64 = AtomicU64::new(0);

/// Wall clock: time since 1970-01-01 UTC. A clock set before that reads as zero.
#[allow(clippy::disallowed_methods)] // the one place
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + turned()
}

/// A clock that only goes forward, for ages and deadlines that tests may turn.
pub fn monotonic() -> std::time::Instant {
    std::time::Instant::now() + turned()
}

/// Turns both clocks of this process on by `by`; for tests. They never go back.
pub fn turn(by: Duration) {
    TURNED.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
}

fn turned() -> Duration {
    Duration::from_nanos(TURNED.load(Ordering::SeqCst))
}
