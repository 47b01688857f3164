//! The keys that requests may be signed with.
use std::sync::Arc;

use access::{Account, CanonicalId, Identity};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::access::Identities;
use crate::owner;

/// Access keys and their secrets. All are keys of the gateway's own account.
#[derive(Clone)]
pub(crate) struct Keys(Arc<[(String, SecretKey)]>);

impl Keys {
    /// Takes `(access key, secret key)` pairs.
    pub(crate) fn new(credentials: &[(String, String)]) -> Self {
        Self(
            credentials
                .iter()
                .map(|(access, secret)| (access.clone(), SecretKey::from(secret.as_str())))
                .collect(),
        )
    }
}

/// Compares in time that depends on the lengths alone, so that response times do not spell out
/// which access keys exist.
fn equal_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0u8, |differs, (x, y)| differs | (x ^ y)) == 0
}

impl Identities for Keys {
    fn caller(&self, access_key: &str, _: Option<&str>) -> S3Result<Arc<Identity>> {
        self.secret(access_key)?;
        Ok(Arc::new(Identity {
            account: owner::account(),
            user: None,
            session: None,
        }))
    }

    fn account(&self, id: &CanonicalId) -> Option<Account> {
        Some(owner::account()).filter(|account| account.id == *id)
    }

    fn gateway(&self) -> Account {
        owner::account()
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.secret(access_key)
    }
}

impl Keys {
    fn secret(&self, access_key: &str) -> S3Result<SecretKey> {
        // Every entry is looked at, found or not.
        let mut found = None;
        for (access, secret) in self.0.iter() {
            if equal_constant_time(access.as_bytes(), access_key.as_bytes()) {
                found = Some(secret);
            }
        }
        found.cloned().ok_or_else(|| {
            S3Error::with_message(
                S3ErrorCode::InvalidAccessKeyId,
                "The access key id you provided does not exist in our records.",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn known_keys_are_found_and_unknown_ones_refused() {
        let keys = Keys::new(&[("one".into(), "s1".into()), ("two".into(), "s2".into())]);
        assert_eq!(keys.get_secret_key("one").await.unwrap().expose(), "s1");
        assert_eq!(keys.get_secret_key("two").await.unwrap().expose(), "s2");
        for unknown in ["", "three", "on", "onee", "ONE"] {
            let error = keys.get_secret_key(unknown).await.unwrap_err();
            assert_eq!(error.code(), &S3ErrorCode::InvalidAccessKeyId, "{unknown}");
        }
    }
}
