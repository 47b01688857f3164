//! The clocks, in one place, so that tests can turn them.
//!
//! Tests in this process turn both on with [`turn`]. A test that runs the whole program sets
//! [`JUMPS`] to the path of a file; the wall clock is then as many seconds ahead (or behind) as the
//! file says at that moment. Builds without debug assertions do not look at the variable.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The environment variable that names the file with the seconds to add to the wall clock.
pub const JUMPS: &str = "CESS_TEST_CLOCK";

/// How far tests have turned the clocks of this process on, in nanoseconds.
static TURNED: AtomicU64 = AtomicU64::new(0);

/// Wall clock: time since 1970-01-01 UTC. A clock set before that reads as zero.
#[allow(clippy::disallowed_methods)] // the one place
pub fn wall() -> Duration {
    jumped(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()) + turned()
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

/// The wall clock as the file of [`JUMPS`] has it.
#[cfg(debug_assertions)]
fn jumped(wall: Duration) -> Duration {
    static FILE: std::sync::OnceLock<Option<std::path::PathBuf>> = std::sync::OnceLock::new();
    let Some(file) = FILE.get_or_init(|| std::env::var_os(JUMPS).map(Into::into)) else {
        return wall;
    };
    let seconds = std::fs::read_to_string(file)
        .ok()
        .and_then(|text| text.trim().parse::<i64>().ok())
        .unwrap_or(0);
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        wall.saturating_sub(by)
    } else {
        wall + by
    }
}

#[cfg(not(debug_assertions))]
const fn jumped(wall: Duration) -> Duration {
    wall
}
