//! The accounts that answers show as owners.
use access::{Account, owner};
use http::Extensions;
use s3s::dto::{Initiator, Owner};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::access::Asked;
use crate::door::Door;
use crate::error;

/// An account as the owner of something.
pub(crate) fn shown(account: Account) -> Owner {
    Owner {
        display_name: Some(account.name),
        id: Some(account.id.into()),
    }
}

/// An account as the initiator of a multipart upload.
pub(crate) fn initiator(owner: &Owner) -> Initiator {
    Initiator {
        display_name: owner.display_name.clone(),
        id: owner.id.clone(),
    }
}

impl Door {
    /// The account of whoever made a request; of a stranger: the gateway's own.
    pub(crate) fn caller_account(&self, extensions: &Extensions) -> S3Result<Account> {
        let asked = Asked::about(extensions)?;
        let identity = asked.caller.identity();
        Ok(identity.map_or_else(|| self.identities.gateway(), |identity| identity.account.clone()))
    }

    /// The account that owns a bucket, with the name that it has now.
    pub(crate) async fn account_of(&self, bucket: &str) -> S3Result<Account> {
        let setting = self.vfs.bucket_setting(bucket, owner::SETTING).await;
        let account = owner::parse(setting.map_err(error::bucket)?.as_deref()).map_err(|error| {
            tracing::error!(bucket, %error, "the owner of a bucket cannot be read");
            S3Error::new(S3ErrorCode::InternalError)
        })?;
        Ok(self.identities.account(&account.id).unwrap_or(account))
    }

    /// The owner of a bucket and of what is in it.
    pub(crate) async fn owner_of(&self, bucket: &str) -> S3Result<Owner> {
        self.account_of(bucket).await.map(shown)
    }
}
