//! What a bucket's settings say about who may do what with it, parsed once and kept.
//!
//! The rows are read on every request (they come out of the row cache, so a change counts at once); what
//! they say is parsed only when their bytes differ from those of the last time.
use std::sync::Arc;

use access::policy::{Document, Kind};
use access::{Account, CanonicalId};
use s3s::S3Result;
use serde::{Deserialize, Serialize};
use vfs::Vfs;

use super::Identities;
use crate::acl::Acl;
use crate::error;

/// The settings that are read, in the order of [`Rows`].
const SETTINGS: [&str; 5] = [
    "owner",
    POLICY,
    crate::acl::SETTING,
    PUBLIC_ACCESS_BLOCK,
    OWNERSHIP,
];
/// Name of the setting that holds the policy: its text as it was given.
pub(crate) const POLICY: &str = "policy";
/// Name of the setting that holds the public access block.
pub(crate) const PUBLIC_ACCESS_BLOCK: &str = "public-access-block";
/// Name of the setting that says whose the objects are.
pub(crate) const OWNERSHIP: &str = "ownership";
/// Bytes of settings that are kept parsed.
const KEPT_BYTES: u64 = 16 << 20;
/// About how many buckets these are.
const KEPT_BUCKETS: usize = 4_096;
/// What an entry costs beside its rows.
const ENTRY_BYTES: u64 = 1_024;

type Rows = Vec<Option<Vec<u8>>>;

/// What strangers are kept from, whatever policies and ACLs say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PublicAccessBlock {
    /// ACLs that grant to strangers are refused.
    pub(crate) block_public_acls: bool,
    /// What ACLs grant to strangers does not count.
    pub(crate) ignore_public_acls: bool,
    /// Policies that allow something to everybody are refused.
    pub(crate) block_public_policy: bool,
    /// What such a policy allows counts for the bucket's own account alone.
    pub(crate) restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// For a setting that cannot be read: all strangers are kept out.
    const SHUT: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
}

/// Whose the objects of a bucket are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectOwnership {
    /// The bucket owner's, always; ACLs are off.
    #[default]
    BucketOwnerEnforced,
    /// The bucket owner's if whoever writes hands them over
    /// (`bucket-owner-full-control`), else the writer's.
    BucketOwnerPreferred,
    /// The writer's.
    ObjectWriter,
}

/// The setting `ownership`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnershipSetting {
    /// `None`: there are no ownership controls, and objects are their writers'.
    pub(crate) object_ownership: Option<ObjectOwnership>,
}

/// What a bucket's settings say.
#[derive(Debug)]
pub(crate) struct BucketAccess {
    pub(crate) owner: Account,
    /// The policy.
    pub(crate) policy: Option<Document>,
    /// A policy is kept that cannot be read: nobody but the account that owns the bucket may do anything.
    pub(crate) policy_is_damaged: bool,
    pub(crate) policy_is_public: bool,
    /// The bucket's ACL.
    pub(crate) acl: Acl,
    pub(crate) block: Option<PublicAccessBlock>,
    /// The ownership controls; `None` where there are none.
    pub(crate) controls: Option<ObjectOwnership>,
}

/// The setting `owner`: the account, or its id alone.
fn owner(row: &[u8], identities: &dyn Identities) -> Option<Account> {
    if let Ok(account) = serde_json::from_slice::<Account>(row) {
        return Some(account);
    }
    let id = std::str::from_utf8(row).ok()?.trim().trim_matches('"');
    let id = CanonicalId::try_from(id.to_owned()).ok()?;
    // An account that is gone keeps its buckets: nobody else gets them.
    Some(identities.account(&id).unwrap_or_else(|| Account {
        name: String::new(),
        id,
    }))
}

impl BucketAccess {
    fn read(name: &str, rows: &[Option<Vec<u8>>], identities: &dyn Identities) -> Self {
        let row = |at: usize| rows.get(at).and_then(Option::as_deref);
        let owner = row(0)
            .and_then(|row| owner(row, identities))
            .unwrap_or_else(|| identities.gateway());
        let policy = row(1).map(|row| {
            let text = std::str::from_utf8(row).unwrap_or_default();
            Document::parse(text, Kind::Bucket(name))
                .inspect_err(|error| tracing::error!(bucket = name, %error, "the policy cannot be read"))
        });
        let policy_is_damaged = matches!(policy, Some(Err(_)));
        let policy = policy.and_then(Result::ok);
        let acl = match row(2).map(Acl::read) {
            None => Acl::private(owner.clone()),
            Some(Some(acl)) => acl,
            Some(None) => Acl {
                owner: owner.clone(),
                grants: Vec::new(),
            },
        };
        let block = row(3).map(|row| serde_json::from_slice(row).unwrap_or(PublicAccessBlock::SHUT));
        let controls = match row(4).map(serde_json::from_slice::<OwnershipSetting>) {
            None | Some(Err(_)) => Some(ObjectOwnership::BucketOwnerEnforced),
            Some(Ok(setting)) => setting.object_ownership,
        };
        Self {
            policy_is_public: policy.as_ref().is_some_and(Document::is_public),
            policy_is_damaged,
            policy,
            owner,
            acl,
            block,
            controls,
        }
    }

    /// Whose the objects are.
    pub(crate) fn ownership(&self) -> ObjectOwnership {
        self.controls.unwrap_or(ObjectOwnership::ObjectWriter)
    }

    /// Whether ACLs count.
    pub(crate) fn has_acls(&self) -> bool {
        self.ownership() != ObjectOwnership::BucketOwnerEnforced
    }

    /// What strangers are kept from.
    pub(crate) fn block(&self) -> PublicAccessBlock {
        self.block.unwrap_or_default()
    }
}

/// The settings of buckets, kept parsed.
pub(crate) struct Buckets {
    vfs: Vfs,
    identities: Arc<dyn Identities>,
    kept: quick_cache::sync::Cache<String, Arc<(Rows, Arc<BucketAccess>)>, ByBytes>,
}

#[derive(Clone)]
struct ByBytes;

impl quick_cache::Weighter<String, Arc<(Rows, Arc<BucketAccess>)>> for ByBytes {
    fn weight(&self, _: &String, kept: &Arc<(Rows, Arc<BucketAccess>)>) -> u64 {
        // A parsed pattern has a token of some bytes for each of the text's.
        let bytes: usize = kept.0.iter().flatten().map(Vec::len).sum();
        ENTRY_BYTES + 8 * bytes as u64
    }
}

impl Buckets {
    pub(crate) fn new(vfs: Vfs, identities: Arc<dyn Identities>) -> Self {
        Self {
            vfs,
            identities,
            kept: quick_cache::sync::Cache::with_weighter(KEPT_BUCKETS, KEPT_BYTES, ByBytes),
        }
    }

    /// What the settings of a bucket say now. `NoSuchBucket` if there is none.
    pub(crate) async fn of(&self, bucket: &str) -> S3Result<Arc<BucketAccess>> {
        let mut rows = Rows::with_capacity(SETTINGS.len());
        for name in SETTINGS {
            let row = self.vfs.bucket_setting(bucket, name).await;
            rows.push(row.map_err(error::bucket)?);
        }
        if let Some(kept) = self.kept.get(bucket)
            && kept.0 == rows
        {
            return Ok(Arc::clone(&kept.1));
        }
        let parsed = Arc::new(BucketAccess::read(bucket, &rows, &*self.identities));
        self.kept
            .insert(bucket.to_owned(), Arc::new((rows, Arc::clone(&parsed))));
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixed::Fixed;
    use super::*;

    fn read(rows: [Option<&str>; 5]) -> BucketAccess {
        let rows = rows.map(|row| row.map(|row| row.as_bytes().to_vec())).to_vec();
        BucketAccess::read("b", &rows, &Fixed::sample())
    }

    #[test]
    fn a_bucket_without_settings_is_its_owners_alone() {
        let access = read([None; 5]);
        assert_eq!(access.owner, Fixed::account(1));
        assert_eq!(access.acl, Acl::private(Fixed::account(1)));
        assert!(access.policy.is_none() && !access.policy_is_damaged && access.block.is_none());
        assert_eq!(access.ownership(), ObjectOwnership::BucketOwnerEnforced);
        let none = read([None, None, None, None, Some(r#"{"object_ownership":null}"#)]);
        assert_eq!(
            (none.controls, none.ownership()),
            (None, ObjectOwnership::ObjectWriter)
        );
    }

    #[test]
    fn damaged_settings_open_nothing() {
        let access = read([None, Some("{"), Some("{"), Some("{"), Some("{")]);
        assert!(access.policy.is_none() && access.policy_is_damaged);
        assert!(access.acl.grants.is_empty());
        assert_eq!(access.block(), PublicAccessBlock::SHUT);
        assert!(!access.has_acls());
    }
}
