//! The wall clock: block times, and nothing else.

/// Milliseconds since 1970.
#[allow(clippy::disallowed_methods)] // The one place that reads the clock.
pub fn now_millis() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
