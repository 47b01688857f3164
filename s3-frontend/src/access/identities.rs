//! Who signs requests, as far as authorisation asks.
use std::sync::Arc;

use access::{Account, CanonicalId, Identity};
use s3s::S3Result;

/// The accounts and their keys.
pub(crate) trait Identities: Send + Sync + 'static {
    /// Who signs with a key, and with the token of a session if the request shows one. That the
    /// signature is right has been checked.
    fn caller(&self, access_key: &str, token: Option<&str>) -> S3Result<Arc<Identity>>;

    /// The account with this id.
    fn account(&self, id: &CanonicalId) -> Option<Account>;

    /// The gateway's own account, to which every bucket belongs that names no owner.
    fn gateway(&self) -> Account;
}
