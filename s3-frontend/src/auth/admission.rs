//! Which requests are let in: those of accounts, to what is their own.
use access::{Caller, CanonicalId, owner};
use http::Extensions;
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::CopySource;
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Result};
use vfs::Vfs;

use super::{Keys, token};
use crate::error::{self, fail};

/// Who made a request that was let in.
pub(crate) fn caller_of(extensions: &Extensions) -> S3Result<&Caller> {
    extensions
        .get::<Caller>()
        .ok_or_else(|| S3Error::new(S3ErrorCode::InternalError))
}

/// Lets requests in.
pub(crate) struct Admission {
    vfs: Vfs,
    keys: Keys,
}

impl Admission {
    /// To the buckets of `vfs`.
    pub(crate) fn new(vfs: Vfs, keys: Keys) -> Self {
        Self { vfs, keys }
    }

    /// Fails unless the bucket is the account's, or is not there.
    async fn own(&self, bucket: &str, account: &CanonicalId) -> S3Result<()> {
        let setting = match self.vfs.bucket_setting(bucket, owner::SETTING).await {
            Err(vfs::Error::NoSuchBucket) => return Ok(()),
            setting => setting.map_err(error::bucket)?,
        };
        let owner = owner::parse(setting.as_deref()).map_err(|error| {
            tracing::error!(bucket, %error, "the owner of a bucket cannot be read");
            S3Error::new(S3ErrorCode::InternalError)
        })?;
        if owner.id == *account {
            Ok(())
        } else {
            Err(denied())
        }
    }
}

fn denied() -> S3Error {
    fail(S3ErrorCode::AccessDenied, "Access Denied")
}

#[async_trait::async_trait]
impl S3Access for Admission {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let access_key = cx.credentials().map(|credentials| credentials.access_key.clone());
        let caller = {
            let token = token::of(cx.headers(), cx.uri())?;
            self.keys.caller(access_key.as_deref(), token.as_deref())?
        };
        let Caller::Known(identity) = &caller else {
            return Err(fail(S3ErrorCode::AccessDenied, "Signature is required"));
        };
        let narrowed = identity
            .session
            .as_ref()
            .is_some_and(|session| session.policy.is_some());
        if !identity.is_account() || narrowed {
            return Err(denied());
        }
        if let S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } = cx.s3_path()
            && cx.s3_op().name() != "CreateBucket"
        {
            self.own(bucket, &identity.account.id).await?;
        }
        let source = cx.headers().get("x-amz-copy-source");
        if let Some(source) = source.and_then(|source| source.to_str().ok())
            && let Ok(CopySource::Bucket { bucket, .. }) = CopySource::parse(source)
        {
            self.own(&bucket, &identity.account.id).await?;
        }
        cx.extensions_mut().insert(caller);
        Ok(())
    }
}
