//! Accounts for tests: the account of seed N signs with the key `KEYN`.
use std::sync::Arc;

use access::{Account, CanonicalId, Identity};
use s3s::{S3ErrorCode, S3Result};

use super::Identities;

pub(crate) struct Fixed(Vec<u8>);

impl Fixed {
    /// The gateway's account (seed 1) and two others.
    pub(crate) fn sample() -> Self {
        Self(vec![1, 2, 3])
    }

    pub(crate) fn account(seed: u8) -> Account {
        Account {
            id: CanonicalId::from_bytes([seed; 32]),
            name: format!("account {seed}"),
        }
    }
}

impl Identities for Fixed {
    fn caller(&self, access_key: &str, _: Option<&str>) -> S3Result<Arc<Identity>> {
        let seed = access_key.strip_prefix("KEY").and_then(|seed| seed.parse().ok());
        let seed = seed
            .filter(|seed| self.0.contains(seed))
            .ok_or(S3ErrorCode::InvalidAccessKeyId)?;
        Ok(Arc::new(Identity {
            account: Self::account(seed),
            user: None,
            session: None,
        }))
    }

    fn account(&self, id: &CanonicalId) -> Option<Account> {
        self.0
            .iter()
            .map(|seed| Self::account(*seed))
            .find(|account| account.id == *id)
    }

    fn gateway(&self) -> Account {
        Self::account(1)
    }
}
