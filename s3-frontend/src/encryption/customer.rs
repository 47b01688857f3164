//! Keys that clients bring along.
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Extensions;
use md5::{Digest as _, Md5};
use s3s::{S3Error, S3ErrorCode, S3Result};
use zeroize::Zeroizing;

use super::cipher::KEY;
use crate::error::fail;
use crate::layer::Client;

/// The one algorithm that S3 knows for them.
pub(crate) const ALGORITHM: &str = "AES256";

/// A key that came with a request.
#[derive(Clone)]
pub(crate) struct CustomerKey {
    key: Zeroizing<[u8; KEY]>,
    /// Base64 of its MD5, which answers repeat.
    md5: String,
}

/// Never the key.
impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey")
    }
}

fn wrong(message: &'static str) -> S3Error {
    fail(S3ErrorCode::InvalidArgument, message)
}

impl CustomerKey {
    /// From the three fields of a request. `None` when it has none of them.
    pub(crate) fn from_fields(
        algorithm: Option<&str>,
        key: Option<&str>,
        md5: Option<&str>,
    ) -> S3Result<Option<Self>> {
        let algorithm = match (algorithm, key, md5) {
            (None, None, None) => return Ok(None),
            (None, ..) => {
                return Err(wrong(
                    "Requests specifying Server Side Encryption with Customer provided keys must provide a \
                     valid encryption algorithm.",
                ));
            }
            (Some(algorithm), ..) => algorithm,
        };
        if algorithm != ALGORITHM {
            return Err(fail(
                S3ErrorCode::InvalidEncryptionAlgorithmError,
                "The encryption request you specified is not valid. The valid value is AES256.",
            ));
        }
        let key = key.ok_or_else(|| {
            wrong(
                "Requests specifying Server Side Encryption with Customer provided keys must provide an \
                 appropriate secret key.",
            )
        })?;
        let md5 = md5.ok_or_else(|| {
            wrong(
                "Requests specifying Server Side Encryption with Customer provided keys must provide the \
                 client calculated MD5 of the secret key.",
            )
        })?;
        let decoded = Zeroizing::new(BASE64_STANDARD.decode(key).unwrap_or_default());
        let mut key = Zeroizing::new([0; KEY]);
        if decoded.len() != KEY {
            return Err(wrong("The secret key was invalid for the specified algorithm."));
        }
        key.copy_from_slice(&decoded);
        if BASE64_STANDARD.decode(md5).ok().as_deref() != Some(&Md5::digest(&key[..])[..]) {
            return Err(wrong(
                "The calculated MD5 hash of the key did not match the hash that was provided.",
            ));
        }
        Ok(Some(Self {
            key,
            md5: md5.to_owned(),
        }))
    }

    /// The key.
    pub(super) fn secret(&self) -> &[u8] {
        self.key.as_ref()
    }

    /// Base64 of its MD5.
    pub(crate) fn md5(&self) -> &str {
        &self.md5
    }
}

/// What connections may bring such keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyTransport {
    /// Plain HTTP may, too.
    pub(crate) over_http: bool,
}

impl KeyTransport {
    /// Refuses a key that everybody on the way could read.
    pub(crate) fn check(self, extensions: &Extensions) -> S3Result<()> {
        let secure = extensions.get::<Client>().is_some_and(|client| client.secure);
        if self.over_http || secure {
            return Ok(());
        }
        Err(fail(
            S3ErrorCode::InvalidRequest,
            "Requests specifying Server Side Encryption with Customer provided keys must be made over a \
             secure connection.",
        ))
    }
}

/// The customer's key in a request's input.
macro_rules! customer_key {
    ($input:expr) => {
        $crate::encryption::CustomerKey::from_fields(
            $input.sse_customer_algorithm.as_deref(),
            $input.sse_customer_key.as_deref(),
            $input.sse_customer_key_md5.as_deref(),
        )
    };
}

/// As [`customer_key!`], of the source of a copy.
macro_rules! source_key {
    ($input:expr) => {
        $crate::encryption::CustomerKey::from_fields(
            $input.copy_source_sse_customer_algorithm.as_deref(),
            $input.copy_source_sse_customer_key.as_deref(),
            $input.copy_source_sse_customer_key_md5.as_deref(),
        )
    };
}

pub(crate) use {customer_key, source_key};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_not_travel_in_the_open_unless_somebody_allows_it() {
        let check = |over_http| KeyTransport { over_http }.check(&Extensions::new());
        assert!(check(true).is_ok());
        assert_eq!(check(false).unwrap_err().code(), &S3ErrorCode::InvalidRequest);
    }

    #[test]
    fn keys_are_taken_whole_or_not_at_all() {
        let key = BASE64_STANDARD.encode([7; KEY]);
        let md5 = BASE64_STANDARD.encode(Md5::digest([7; KEY]));
        let other = BASE64_STANDARD.encode(Md5::digest([8; KEY]));
        let short = BASE64_STANDARD.encode([7; 16]);
        let short_md5 = BASE64_STANDARD.encode(Md5::digest([7; 16]));
        let read = |algorithm: Option<&str>, key: Option<&str>, md5: Option<&str>| {
            CustomerKey::from_fields(algorithm, key, md5).map_err(|error| error.code().as_str().to_owned())
        };
        assert!(read(None, None, None).unwrap().is_none());
        let good = read(Some("AES256"), Some(&key), Some(&md5)).unwrap().unwrap();
        assert_eq!((good.secret(), good.md5()), (&[7; KEY][..], md5.as_str()));
        assert_eq!(format!("{good:?}"), "CustomerKey");
        for (algorithm, key, md5) in [
            (None, Some(&key), Some(&md5)),
            (Some("AES256"), None, Some(&md5)),
            (Some("AES256"), None, None),
            (Some("AES256"), Some(&key), None),
            (Some("AES256"), Some(&key), Some(&other)),
            (Some("AES256"), Some(&short), Some(&short_md5)),
        ] {
            let refused = read(algorithm, key.map(String::as_str), md5.map(String::as_str));
            assert_eq!(refused.unwrap_err(), "InvalidArgument");
        }
        assert_eq!(
            read(Some("AES128"), Some(&key), Some(&md5)).unwrap_err(),
            "InvalidEncryptionAlgorithmError"
        );
    }
}
