//! The level that a client asks an answer to stand for, and the level that it is told.
//!
//! A request that makes an object may carry `x-cess-ack: staged|placed|verified`, and with it
//! `x-cess-ack-timeout: SECONDS`. A successful answer then names the level reached in `x-cess-state`.
//! When the wait runs out the answer is an error, 503 with `x-cess-state: staged`: the object is there,
//! but a success would stand for more than is true. Without the header the strictest level of gateway,
//! door, bucket and object counts all the same, as it does beside the header.
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::{S3ErrorCode, S3Response, S3Result};
use vfs::{InodeNo, Level, Vfs};

use crate::door::Door;
use crate::error::{self, fail};

/// Asks for a level; of CreateBucket: the bucket's own.
pub(crate) const ACK: HeaderName = HeaderName::from_static("x-cess-ack");
/// Longest wait for that level, in whole seconds.
pub(crate) const ACK_TIMEOUT: HeaderName = HeaderName::from_static("x-cess-ack-timeout");
/// The level that an object's bytes have reached.
pub(crate) const STATE: HeaderName = HeaderName::from_static("x-cess-state");

/// The level that a request asks for.
pub(crate) fn asked(headers: &HeaderMap) -> S3Result<Option<Level>> {
    match headers.get(ACK).map(HeaderValue::as_bytes) {
        None => Ok(None),
        Some(b"staged") => Ok(Some(Level::Staged)),
        Some(b"placed") => Ok(Some(Level::Placed)),
        Some(b"verified") => Ok(Some(Level::Verified)),
        Some(_) => Err(fail(
            S3ErrorCode::InvalidArgument,
            "x-cess-ack must be staged, placed or verified.",
        )),
    }
}

fn timeout(headers: &HeaderMap) -> S3Result<Option<Duration>> {
    let Some(value) = headers.get(ACK_TIMEOUT) else {
        return Ok(None);
    };
    let seconds = value.to_str().ok().and_then(|text| text.parse().ok());
    match seconds {
        Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
        None => Err(fail(
            S3ErrorCode::InvalidArgument,
            "x-cess-ack-timeout must be a number of seconds.",
        )),
    }
}

/// A level as headers name it.
pub(crate) fn state_name(level: Option<Level>) -> &'static str {
    match level {
        None => "buffered",
        Some(Level::Staged) => "staged",
        Some(Level::Placed) => "placed",
        Some(Level::Verified) => "verified",
    }
}

impl Door {
    /// The namespace on the terms of a request.
    pub(crate) fn on_terms(&self, headers: &HeaderMap) -> S3Result<Vfs> {
        Ok(self.vfs.demanding(asked(headers)?, timeout(headers)?))
    }

    /// Names the level that was reached, if the client asked for one.
    pub(crate) async fn say_level<T>(
        &self,
        headers: &HeaderMap,
        ino: InodeNo,
        mut response: S3Response<T>,
    ) -> S3Result<S3Response<T>> {
        if asked(headers)?.is_some() {
            match self.vfs.level(ino).await {
                Ok(level) => {
                    let name = HeaderValue::from_static(state_name(level));
                    response.headers.insert(STATE, name);
                }
                // Somebody replaced it meanwhile: there is nothing left to have a level.
                Err(vfs::Error::NotFound) => {}
                Err(error) => return Err(error::object(error)),
            }
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_strictly() {
        let with = |name: HeaderName, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            headers
        };
        assert_eq!(asked(&HeaderMap::new()).unwrap(), None);
        for level in [Level::Staged, Level::Placed, Level::Verified] {
            assert_eq!(asked(&with(ACK, state_name(Some(level)))).unwrap(), Some(level));
        }
        for wrong in ["", "Placed", "buffered"] {
            assert!(asked(&with(ACK, wrong)).is_err());
        }
        assert_eq!(timeout(&HeaderMap::new()).unwrap(), None);
        assert_eq!(
            timeout(&with(ACK_TIMEOUT, "30")).unwrap(),
            Some(Duration::from_secs(30))
        );
        for wrong in ["", "-1", "1s"] {
            assert!(timeout(&with(ACK_TIMEOUT, wrong)).is_err());
        }
    }
}
