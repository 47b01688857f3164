//! The wall clock, in one place.
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970. A clock set before that reads as zero.
#[allow(clippy::disallowed_methods)] // the one place
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
