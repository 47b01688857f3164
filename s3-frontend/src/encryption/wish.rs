//! The encryption that a request asks for.
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::customer::CustomerKey;
use super::kept::NamedKey;
use crate::error::{fail, not_implemented};

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// Nothing: as the bucket says.
    Unsaid,
    /// What everything has.
    Plain,
    /// By a key that has a name.
    Kms(NamedKey),
    /// By the client's key.
    Customer(CustomerKey),
}

fn wrong(message: &'static str) -> S3Error {
    fail(S3ErrorCode::InvalidArgument, message)
}

impl Wish {
    /// From the fields of a request that makes an object.
    pub(crate) fn from_fields(
        method: Option<&str>,
        kms: NamedKey,
        customer: Option<CustomerKey>,
    ) -> S3Result<Self> {
        if kms.name.is_some() && !method.is_some_and(|method| method.starts_with("aws:kms")) {
            return Err(wrong(
                "Server Side Encryption with AWS KMS managed key requires HTTP header \
                 x-amz-server-side-encryption : aws:kms",
            ));
        }
        match (method, customer) {
            (Some(_), Some(_)) => Err(wrong(
                "Server Side Encryption with Customer provided key is incompatible with the encryption method \
                 specified",
            )),
            (None, Some(key)) => Ok(Self::Customer(key)),
            (None, None) => Ok(Self::Unsaid),
            (Some("AES256"), None) => Ok(Self::Plain),
            (Some("aws:kms"), None) => {
                check_context(kms.context.as_deref())?;
                Ok(Self::Kms(kms))
            }
            (Some("aws:kms:dsse"), None) => Err(not_implemented("Encryption in two layers")),
            (Some(_), None) => Err(fail(
                S3ErrorCode::InvalidEncryptionAlgorithmError,
                "The encryption request you specified is not valid.",
            )),
        }
    }

    /// Whether the request says anything.
    pub(crate) fn is_said(&self) -> bool {
        !matches!(self, Self::Unsaid)
    }

    /// The key that came along.
    pub(crate) fn customer(&self) -> Option<&CustomerKey> {
        match self {
            Self::Customer(key) => Some(key),
            Self::Unsaid | Self::Plain | Self::Kms(_) => None,
        }
    }
}

/// An encryption context is a JSON object of texts, in base64.
fn check_context(context: Option<&str>) -> S3Result<()> {
    let Some(context) = context else { return Ok(()) };
    let decoded = BASE64_STANDARD.decode(context).unwrap_or_default();
    serde_json::from_slice::<BTreeMap<String, String>>(&decoded)
        .map(drop)
        .map_err(|_| wrong("The encryption context is not base64 of a JSON object of strings."))
}

/// The wish in the input of a request that makes an object.
macro_rules! wish {
    ($input:expr) => {
        $crate::encryption::customer::customer_key!($input).and_then(|customer| {
            $crate::encryption::Wish::from_fields(
                $input
                    .server_side_encryption
                    .as_ref()
                    .map(|method| method.as_str()),
                $crate::encryption::kept::NamedKey {
                    name: $input.ssekms_key_id.clone(),
                    context: $input.ssekms_encryption_context.clone(),
                    bucket_key: $input.bucket_key_enabled.unwrap_or(false),
                },
                customer,
            )
        })
    };
}

pub(crate) use wish;

/// Refuses headers that ask for an encryption where there is none to choose: in a read.
pub(crate) fn refuse_in_read(headers: &HeaderMap) -> S3Result<()> {
    for name in [
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
    ] {
        if headers.contains_key(name) {
            return Err(wrong(
                "x-amz-server-side-encryption header is not supported for this operation.",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_that_contradict_themselves_are_refused() {
        let read = |method, name: Option<&str>| {
            let kms = NamedKey {
                name: name.map(str::to_owned),
                ..NamedKey::default()
            };
            Wish::from_fields(method, kms, None).map_err(|error| error.code().as_str().to_owned())
        };
        assert!(!read(None, None).unwrap().is_said());
        assert!(read(Some("AES256"), None).unwrap().is_said());
        assert_eq!(read(None, Some("k")).unwrap_err(), "InvalidArgument");
        assert_eq!(read(Some("AES256"), Some("k")).unwrap_err(), "InvalidArgument");
        assert_eq!(
            read(Some("ROT13"), None).unwrap_err(),
            "InvalidEncryptionAlgorithmError"
        );
        assert!(read(Some("aws:kms"), None).unwrap().is_said());
        assert!(read(Some("aws:kms"), Some("k")).unwrap().is_said());
        assert_eq!(read(Some("aws:kms:dsse"), None).unwrap_err(), "NotImplemented");
        assert!(check_context(Some("eyJhIjoiYiJ9")).is_ok());
        assert!(check_context(Some("WzFd")).is_err() && check_context(Some("{}")).is_err());
        let mut headers = HeaderMap::new();
        assert!(refuse_in_read(&headers).is_ok());
        headers.insert("x-amz-server-side-encryption", "AES256".parse().unwrap());
        assert!(refuse_in_read(&headers).is_err());
    }
}
