//! What an object keeps of its encryption: its setting `encryption`, as JSON.
use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::{HeaderMap, HeaderValue};
use s3s::{S3Error, S3ErrorCode, S3Result};
use serde::{Deserialize, Serialize};
use vfs::ObjectMeta;

use super::cipher::{ContentKey, derive};
use super::customer::{ALGORITHM, CustomerKey};
use super::keys::{DEFAULT_KEY, DataKey, KeyService};
use crate::error::fail;
use crate::random;

/// The setting.
const SETTING: &str = "encryption";
/// Bytes of a salt.
const SALT: usize = 32;
/// Bytes of a check value.
const CHECK: usize = 16;

/// How an object, or an upload, is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kept {
    /// By the client's key.
    Customer {
        /// Random, in hex.
        salt: String,
        /// Derived from key and salt, in hex: tells a wrong key before anything is read.
        check: String,
    },
    /// By a data key that a key service wrapped.
    Kms {
        /// Name of the key that wrapped it.
        key: String,
        /// The data key, wrapped, in hex.
        wrapped: String,
        /// What the client gave along, in base64: part of what the data key was wrapped for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context: Option<String>,
        /// S3's saving of requests to the key service: shown as it was given.
        #[serde(default)]
        bucket_key: bool,
    },
}

/// A named key that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamedKey {
    /// Its name; `None`: the default one.
    pub(crate) name: Option<String>,
    /// The encryption context, in base64.
    pub(crate) context: Option<String>,
    /// To be shown.
    pub(crate) bucket_key: bool,
}

/// What a data key is wrapped for.
fn purpose(context: Option<&str>) -> Vec<u8> {
    [
        b"cess-gateway object data key 1 ",
        context.unwrap_or_default().as_bytes(),
    ]
    .concat()
}

fn parameters_missing() -> S3Error {
    fail(
        S3ErrorCode::InvalidRequest,
        "The object was stored using a form of Server Side Encryption. The correct parameters must be \
         provided to retrieve the object.",
    )
}

/// Refuses a customer's key for what was not encrypted with one.
pub(crate) fn not_applicable() -> S3Error {
    fail(
        S3ErrorCode::InvalidRequest,
        "The encryption parameters are not applicable to this object.",
    )
}

fn damaged(error: &impl std::fmt::Display) -> S3Error {
    tracing::error!(%error, "what is kept of an object's encryption cannot be read");
    fail(
        S3ErrorCode::InternalError,
        "What is kept of the object's encryption is damaged.",
    )
}

impl Kept {
    /// Of an object, or an upload; `None` for one that nobody asked to encrypt.
    pub(crate) fn of(meta: &ObjectMeta) -> S3Result<Option<Self>> {
        let setting = meta.settings.get(SETTING);
        setting
            .map(|text| serde_json::from_str(text).map_err(|error| damaged(&error)))
            .transpose()
    }

    /// Keeps it.
    pub(crate) fn keep(&self, meta: &mut ObjectMeta) -> S3Result<()> {
        let text = serde_json::to_string(self).map_err(|error| damaged(&error))?;
        meta.settings.insert(SETTING.to_owned(), text);
        Ok(())
    }

    /// Takes it out of the metadata of a copy.
    pub(crate) fn forget(meta: &mut ObjectMeta) {
        meta.settings.remove(SETTING);
    }

    /// For a new object, with a salt of its own.
    pub(crate) fn by_customer(key: &CustomerKey) -> (Self, ContentKey) {
        let salt = random::bytes::<SALT>();
        let kept = Self::Customer {
            salt: hex::encode(salt),
            check: hex::encode(check(key, &salt)),
        };
        (kept, ContentKey::derived(key.secret(), &salt))
    }

    /// For a new object, with a data key of its own.
    pub(crate) async fn by_named_key(asked: NamedKey, keys: &dyn KeyService) -> S3Result<(Self, ContentKey)> {
        let data_key: DataKey = zeroize::Zeroizing::new(random::bytes());
        let key = asked.name.unwrap_or_else(|| DEFAULT_KEY.to_owned());
        let wrapped = keys
            .wrap(&key, &purpose(asked.context.as_deref()), &data_key)
            .await
            .map_err(|error| error.to_s3())?;
        let content = ContentKey::derived(&data_key[..], &[]);
        let kept = Self::Kms {
            key,
            wrapped: hex::encode(wrapped),
            context: asked.context,
            bucket_key: asked.bucket_key,
        };
        Ok((kept, content))
    }

    /// Refuses who did not bring the client's key that it takes, or brought one that it does not take.
    pub(crate) fn check(&self, given: Option<&CustomerKey>) -> S3Result<()> {
        match self {
            Self::Customer { .. } => self.open_by_customer(given).map(drop),
            Self::Kms { .. } if given.is_some() => Err(not_applicable()),
            Self::Kms { .. } => Ok(()),
        }
    }

    /// The key of the content, from what a request brought and what the key service says.
    pub(crate) async fn open(
        &self,
        given: Option<&CustomerKey>,
        keys: &dyn KeyService,
    ) -> S3Result<ContentKey> {
        self.check(given)?;
        match self {
            Self::Customer { .. } => self.open_by_customer(given),
            Self::Kms {
                key,
                wrapped,
                context,
                ..
            } => {
                let wrapped = hex::decode(wrapped).map_err(|error| damaged(&error))?;
                let data_key = keys
                    .unwrap(key, &purpose(context.as_deref()), &wrapped)
                    .await
                    .map_err(|error| error.to_s3())?;
                Ok(ContentKey::derived(&data_key[..], &[]))
            }
        }
    }

    fn open_by_customer(&self, given: Option<&CustomerKey>) -> S3Result<ContentKey> {
        match self {
            Self::Kms { .. } => Err(not_applicable()),
            Self::Customer { salt, check: kept } => {
                let given = given.ok_or_else(parameters_missing)?;
                let salt = hex::decode(salt).map_err(|error| damaged(&error))?;
                let kept = hex::decode(kept).map_err(|error| damaged(&error))?;
                verify_slices_are_equal(&check(given, &salt), &kept).map_err(|_| {
                    fail(
                        S3ErrorCode::InvalidRequest,
                        "The provided encryption parameters did not match the ones used originally.",
                    )
                })?;
                Ok(ContentKey::derived(given.secret(), &salt))
            }
        }
    }
}

fn check(key: &CustomerKey, salt: &[u8]) -> [u8; CHECK] {
    let derived = derive(key.secret(), salt, b"cess-gateway customer key check 1");
    let mut check = [0; CHECK];
    for (to, from) in check.iter_mut().zip(derived.iter()) {
        *to = *from;
    }
    check
}

/// What an answer says about an object's encryption.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// `x-amz-server-side-encryption`.
    pub(crate) method: Option<&'static str>,
    /// Algorithm of a client's key.
    pub(crate) customer: Option<&'static str>,
    /// Base64 of that key's MD5.
    pub(crate) customer_md5: Option<String>,
    /// Name of the key of a key service.
    pub(crate) kms_key: Option<String>,
    /// As the client gave it.
    pub(crate) bucket_key: Option<bool>,
}

impl Shown {
    /// Of an object that is encrypted so, in an answer to who brought that key.
    pub(crate) fn of(kept: Option<&Kept>, given: Option<&CustomerKey>) -> Self {
        match kept {
            None => Self {
                method: Some("AES256"),
                ..Self::default()
            },
            Some(Kept::Customer { .. }) => Self {
                method: None,
                customer: Some(ALGORITHM),
                customer_md5: given.map(|key| key.md5().to_owned()),
                ..Self::default()
            },
            Some(Kept::Kms { key, bucket_key, .. }) => Self {
                method: Some("aws:kms"),
                kms_key: Some(key.clone()),
                bucket_key: bucket_key.then_some(true),
                ..Self::default()
            },
        }
    }
}

impl Shown {
    /// What it says of a client's key, for an answer that has no fields for it.
    pub(crate) fn key_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let md5 = self.customer_md5.as_deref();
        for (name, value) in [
            ("x-amz-server-side-encryption-customer-algorithm", self.customer),
            ("x-amz-server-side-encryption-customer-key-md5", md5),
        ] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
        headers
    }
}

/// Puts [`Shown`] into an answer.
macro_rules! show_encryption {
    ($output:expr, $shown:expr) => {{
        let shown: $crate::encryption::kept::Shown = $shown;
        $output.server_side_encryption = shown.method.map(ServerSideEncryption::from_static);
        $output.sse_customer_algorithm = shown.customer.map(str::to_owned);
        $output.sse_customer_key_md5 = shown.customer_md5;
        $output.ssekms_key_id = shown.kms_key;
        $output.bucket_key_enabled = shown.bucket_key;
    }};
}

pub(crate) use show_encryption;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use md5::{Digest as _, Md5};

    use super::*;

    fn key(byte: u8) -> CustomerKey {
        let (key, md5) = ([byte; 32], Md5::digest([byte; 32]));
        let (key, md5) = (BASE64_STANDARD.encode(key), BASE64_STANDARD.encode(md5));
        CustomerKey::from_fields(Some("AES256"), Some(&key), Some(&md5))
            .unwrap()
            .unwrap()
    }

    #[test]
    fn only_the_same_key_opens() {
        let (kept, content) = Kept::by_customer(&key(1));
        let mut meta = ObjectMeta::default();
        assert_eq!(Kept::of(&meta).unwrap(), None);
        kept.keep(&mut meta).unwrap();
        let again = Kept::of(&meta).unwrap().unwrap();
        assert_eq!(again, kept);
        let opened = again.open_by_customer(Some(&key(1))).unwrap();
        assert_eq!(opened.tag(&[0; 16]), content.tag(&[0; 16]));
        for wrong in [None, Some(&key(2))] {
            let refused = again.check(wrong).unwrap_err();
            assert_eq!(refused.code(), &S3ErrorCode::InvalidRequest);
        }
        // Neither the key nor its MD5 is kept, and two objects keep different things.
        let text = &meta.settings[SETTING];
        assert!(!text.contains(&hex::encode([1; 32])) && !text.contains(key(1).md5()));
        assert_ne!(Kept::by_customer(&key(1)).0, kept);
        Kept::forget(&mut meta);
        assert_eq!(Kept::of(&meta).unwrap(), None);
        meta.settings.insert(SETTING.into(), "{".into());
        assert!(Kept::of(&meta).is_err());
    }
}
