//! Moments and accounts as people read them.
use std::time::{Duration, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC as date and time; `never` for 0.
pub fn moment(millis: u64) -> String {
    // Beyond the year 9999 the formatter refuses.
    const LAST: u64 = 253_402_300_799_000;
    if millis == 0 {
        return "never".to_owned();
    }
    let moment = UNIX_EPOCH + Duration::from_millis(millis.min(LAST));
    humantime::format_rfc3339_seconds(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_utc_and_never_panic() {
        assert_eq!(moment(0), "never");
        assert_eq!(moment(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(moment(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
