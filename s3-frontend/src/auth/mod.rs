//! Who may sign requests, and who it is that signed one.
//!
//! Keys are those of the configuration, which are the gateway's own account's, and those of the
//! [`Registry`]. The key of a session comes with a token ([`token`]), which says who asks in it: the
//! signature is checked by s3s, and [`crate::access`] asks here who it was.
pub(crate) mod token;

use std::sync::Arc;

use access::identity::{Refusal, Registry, gateway_account};
use access::{Account, Caller, CanonicalId, Identity};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::access::Identities;
use crate::error::fail;

/// Access keys, their secrets and who has them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Keys {
    configured: Arc<[(String, SecretKey)]>,
    /// Who signs with a key of the configuration.
    gateway: Arc<Identity>,
    registry: Registry,
}

impl Keys {
    /// The `(access key, secret key)` pairs of the configuration, and those of the registry.
    pub(crate) fn new(credentials: &[(String, String)], registry: Registry) -> Self {
        Self {
            configured: credentials
                .iter()
                .map(|(access, secret)| (access.clone(), SecretKey::from(secret.as_str())))
                .collect(),
            gateway: Arc::new(Identity {
                account: gateway_account(),
                user: None,
                session: None,
            }),
            registry,
        }
    }

    /// Who there is.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Who made a request.
    pub(crate) fn who(&self, access_key: Option<&str>, token: Option<&str>) -> S3Result<Caller> {
        let caller = access_key.map(|access_key| self.caller(access_key, token));
        Ok(caller.transpose()?.map_or(Caller::Anonymous, Caller::Known))
    }

    /// The secret of a key of the configuration. Every entry is looked at, found or not. (Keys of the
    /// registry are found by a keyed hash, whose time tells nothing of the keys there are.)
    fn configured(&self, access_key: &str) -> Option<&SecretKey> {
        let mut found = None;
        for (access, secret) in self.configured.iter() {
            if equal_constant_time(access.as_bytes(), access_key.as_bytes()) {
                found = Some(secret);
            }
        }
        found
    }
}

/// Compares in time that depends on the lengths alone, so that response times do not spell out
/// which access keys exist.
fn equal_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0u8, |differs, (x, y)| differs | (x ^ y)) == 0
}

/// What the client is told.
pub(crate) fn refused(refusal: Refusal) -> S3Error {
    match refusal {
        Refusal::UnknownKey => fail(
            S3ErrorCode::InvalidAccessKeyId,
            "The access key id you provided does not exist in our records.",
        ),
        Refusal::InvalidToken => fail(
            S3ErrorCode::InvalidToken,
            "The provided token is malformed or otherwise invalid.",
        ),
        Refusal::ExpiredToken => fail(S3ErrorCode::ExpiredToken, "The provided token has expired."),
    }
}

impl Identities for Keys {
    fn caller(&self, access_key: &str, token: Option<&str>) -> S3Result<Arc<Identity>> {
        if self.configured(access_key).is_some() {
            return match token {
                None => Ok(Arc::clone(&self.gateway)),
                Some(_) => Err(refused(Refusal::InvalidToken)),
            };
        }
        self.registry.caller(access_key, token).map_err(refused)
    }

    fn account(&self, id: &CanonicalId) -> Option<Account> {
        self.registry.known().account(id)
    }

    fn gateway(&self) -> Account {
        gateway_account()
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if let Some(secret) = self.configured(access_key) {
            return Ok(secret.clone());
        }
        let secret = self.registry.secret(access_key);
        let secret = secret.ok_or_else(|| refused(Refusal::UnknownKey))?;
        Ok(SecretKey::from(secret.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparing_tells_equal_from_different() {
        assert!(equal_constant_time(b"one", b"one"));
        for other in ["", "two", "on", "onee", "ONE"] {
            assert!(!equal_constant_time(b"one", other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn refusals_have_codes_that_sdks_know() {
        for (refusal, code, status) in [
            (Refusal::UnknownKey, "InvalidAccessKeyId", 403),
            (Refusal::InvalidToken, "InvalidToken", 400),
            (Refusal::ExpiredToken, "ExpiredToken", 400),
        ] {
            let error = refused(refusal);
            assert_eq!(error.code().as_str(), code);
            assert_eq!(error.status_code().map(|status| status.as_u16()), Some(status));
        }
    }
}
