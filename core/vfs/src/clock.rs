//! The gateway's clocks, in one place.
use std::time::Instant;

use crate::Timestamp;

/// Wall clock now.
pub(crate) fn now() -> Timestamp {
    // The one place of this crate that reads the wall clock.
    #[allow(clippy::disallowed_methods)]
    let now = std::time::SystemTime::now();
    match now.duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
        Err(before) => Timestamp(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns)),
    }
}

/// A clock that only goes forward, for ages and deadlines.
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}
