//! What holds an object, as headers of requests and answers say it.
use s3s::dto::Timestamp;
use s3s::{S3ErrorCode, S3Result};
use vfs::{ObjectLock, Retention, RetentionMode};

use crate::error::fail;
use crate::naming;

/// The lock that a request asks for, for the object that it makes.
macro_rules! wanted_lock {
    ($input:expr) => {
        $crate::lock::wanted(
            $input.object_lock_mode.as_ref().map(|mode| mode.as_str()),
            $input.object_lock_retain_until_date.as_ref(),
            $input
                .object_lock_legal_hold_status
                .as_ref()
                .map(|status| status.as_str()),
        )
    };
}

/// Fills the lock of an answer.
macro_rules! show_lock {
    ($output:expr, $meta:expr) => {{
        let lock = vfs::ObjectLock::of($meta);
        if let Some(retention) = lock.retention {
            $output.object_lock_mode = Some(s3s::dto::ObjectLockMode::from(retention.mode.to_string()));
            $output.object_lock_retain_until_date = Some($crate::naming::timestamp(retention.until));
        }
        $output.object_lock_legal_hold_status = lock
            .legal_hold
            .map(|on| s3s::dto::ObjectLockLegalHoldStatus::from_static($crate::lock::hold_name(on)));
    }};
}

pub(crate) use {show_lock, wanted_lock};

/// A mode by its name.
pub(crate) fn retention_mode(name: &str) -> Option<RetentionMode> {
    [RetentionMode::Governance, RetentionMode::Compliance]
        .into_iter()
        .find(|mode| mode.to_string() == name)
}

/// A legal hold by its name.
pub(crate) fn hold_of(name: &str) -> Option<bool> {
    [true, false].into_iter().find(|on| hold_name(*on) == name)
}

/// The name of a legal hold.
pub(crate) fn hold_name(on: bool) -> &'static str {
    if on { "ON" } else { "OFF" }
}

/// The end of a retention. `InvalidArgument` for what is over already.
pub(crate) fn future(until: &Timestamp) -> S3Result<vfs::Timestamp> {
    let nanos = naming::nanos(until);
    if nanos <= i128::try_from(vfs::wall_clock().as_nanos()).unwrap_or(i128::MAX) {
        return Err(fail(
            S3ErrorCode::InvalidArgument,
            "The retain until date must be in the future!",
        ));
    }
    Ok(vfs::Timestamp(i64::try_from(nanos).unwrap_or(i64::MAX)))
}

/// See [`wanted_lock`].
pub(crate) fn wanted(
    mode: Option<&str>,
    until: Option<&Timestamp>,
    legal_hold: Option<&str>,
) -> S3Result<ObjectLock> {
    let invalid = |message| Err(fail(S3ErrorCode::InvalidArgument, message));
    let retention = match (mode, until) {
        (None, None) => None,
        (Some(mode), Some(until)) => match retention_mode(mode) {
            Some(mode) => Some(Retention {
                mode,
                until: future(until)?,
            }),
            None => return invalid("Unknown wormMode directive."),
        },
        _ => {
            return invalid(
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            );
        }
    };
    let legal_hold = match legal_hold {
        None => None,
        Some(name) => match hold_of(name) {
            Some(on) => Some(on),
            None => return invalid("Legal Hold must be either of 'ON' or 'OFF'"),
        },
    };
    Ok(ObjectLock {
        retention,
        legal_hold,
    })
}

#[cfg(test)]
mod tests {
    use s3s::dto::TimestampFormat;

    use super::*;

    #[test]
    fn locks_are_whole_and_end_in_the_future() {
        let date = |text| Timestamp::parse(TimestampFormat::DateTime, text).unwrap();
        let (later, past) = (date("2200-01-01T00:00:00Z"), date("2001-01-01T00:00:00Z"));
        let lock = wanted(Some("COMPLIANCE"), Some(&later), Some("ON")).unwrap();
        let retention = lock.retention.unwrap();
        assert_eq!(retention.mode, RetentionMode::Compliance);
        assert_eq!(retention.until.0, 7_258_118_400_000_000_000);
        assert_eq!(lock.legal_hold, Some(true));
        assert!(wanted(None, None, None).unwrap().is_empty());
        for (mode, until, hold) in [
            (Some("compliance"), Some(&later), None),
            (Some("GOVERNANCE"), Some(&past), None),
            (Some("GOVERNANCE"), None, None),
            (None, Some(&later), None),
            (None, None, Some("on")),
        ] {
            let error = wanted(mode, until, hold).unwrap_err();
            assert_eq!(error.code(), &S3ErrorCode::InvalidArgument, "{mode:?} {hold:?}");
        }
    }
}
