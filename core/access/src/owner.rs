//! Which account owns a bucket: the bucket's setting `owner`.
//!
//! A bucket without one is the gateway's own account's: those that a mount made, and those from before
//! there were accounts.
use crate::caller::Account;
use crate::error::{Error, Result};
use crate::identity::gateway_account;

/// Name of the setting.
pub const SETTING: &str = "owner";

/// The setting of a bucket that an account makes; none for the gateway's own.
pub fn setting(account: &Account) -> Option<Vec<u8>> {
    if account.id == gateway_account().id {
        return None;
    }
    Some(serde_json::to_vec(account).expect("an id and a name are JSON"))
}

/// The account of a bucket that has this setting.
pub fn parse(setting: Option<&[u8]>) -> Result<Account> {
    match setting {
        None => Ok(gateway_account()),
        Some(row) => serde_json::from_slice(row)
            .map_err(|_| Error::Vfs(vfs::Error::Damaged("the owner of a bucket cannot be read".into()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::CanonicalId;

    #[test]
    fn buckets_without_an_owner_are_the_gateways() {
        assert_eq!(parse(None).unwrap(), gateway_account());
        assert_eq!(setting(&gateway_account()), None);
        let other = Account {
            id: CanonicalId::from_bytes([9; 32]),
            name: "other".into(),
        };
        assert_eq!(parse(setting(&other).as_deref()).unwrap(), other);
        assert!(parse(Some(b"{}")).is_err());
    }
}
