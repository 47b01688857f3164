//! The program's wall clock: only for what people read.
#![allow(clippy::disallowed_methods)] // The one place of this crate that may ask for the time of day.

/// Seconds since 1970-01-01 UTC.
pub fn unix_seconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}
