//! Buckets: create, delete, head, list, location.
use http::HeaderValue;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use crate::access::Asked;
use crate::ack;
use crate::door::Door;
use crate::error::{self, fail};
use crate::ops::permission::BucketWishes;
use crate::{limits, naming, owner};

/// The region whose buckets S3 describes by an empty location.
const NAMELESS_REGION: &str = "us-east-1";

impl Door {
    /// Fails with `NoSuchBucket` unless the bucket is there.
    pub(crate) async fn require_bucket(&self, bucket: &str) -> S3Result<vfs::Bucket> {
        self.vfs.bucket(bucket).await.map_err(error::bucket)
    }

    pub(crate) async fn create(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let level = ack::asked(&req.headers)?;
        let account = self.caller_account(&req.extensions)?;
        let input = req.input;
        let wishes = BucketWishes::of_request(
            self,
            &req.extensions,
            &req.headers,
            input.acl.as_ref().map(BucketCannedACL::as_str),
            input.object_ownership.as_ref().map(ObjectOwnership::as_str),
        )?;
        let constraint = input
            .create_bucket_configuration
            .and_then(|config| config.location_constraint);
        if let Some(constraint) = constraint.filter(|constraint| !constraint.as_str().is_empty())
            && constraint.as_str() != self.region
        {
            return Err(fail(
                S3ErrorCode::IllegalLocationConstraintException,
                format!(
                    "The location constraint is wrong: this gateway is in region '{}'.",
                    self.region
                ),
            ));
        }
        if !naming::is_new_bucket_name(&input.bucket) {
            return Err(fail(
                S3ErrorCode::InvalidBucketName,
                "The specified bucket is not valid.",
            ));
        }
        let mut new = vfs::NewBucket {
            ack: level,
            object_lock: input.object_lock_enabled_for_bucket == Some(true),
            settings: wishes.settings,
        };
        if let Some(setting) = access::owner::setting(&account) {
            new.settings.insert(access::owner::SETTING.to_owned(), setting);
        }
        let as_made = level.is_none() && !new.object_lock && !wishes.said;
        match self.vfs.create_bucket_with(&input.bucket, new).await {
            Err(vfs::Error::Exists) => {
                if self.account_of(&input.bucket).await?.id != account.id {
                    return Err(fail(
                        S3ErrorCode::BucketAlreadyExists,
                        "The requested bucket name is not available: names are shared by all accounts. Select another.",
                    ));
                }
                if !(as_made && self.is_as_made(&input.bucket).await?) {
                    return Err(error::bucket(vfs::Error::Exists));
                }
            }
            made => drop(made.map_err(error::bucket)?),
        }
        let location = Some(format!("/{}", input.bucket));
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    /// Whether making the bucket again, asking for nothing special, is answered as the first time: in the
    /// oldest region only, and where it would change nothing.
    async fn is_as_made(&self, bucket: &str) -> S3Result<bool> {
        if self.region != NAMELESS_REGION {
            return Ok(false);
        }
        for setting in ["acl", "object-lock"] {
            let kept = self.vfs.bucket_setting(bucket, setting).await;
            if kept.map_err(error::bucket)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) async fn delete_bucket_op(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.vfs
            .delete_bucket(&req.input.bucket)
            .await
            .map_err(error::bucket)?;
        Ok(S3Response::with_status(
            DeleteBucketOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }

    pub(crate) async fn head_bucket_op(
        &self,
        req: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let bucket = self.require_bucket(&req.input.bucket).await?;
        let output = HeadBucketOutput {
            bucket_region: Some(self.region.clone()),
            ..HeadBucketOutput::default()
        };
        let mut response = S3Response::new(output);
        if let Some(level) = self.vfs.ack(bucket.ino).await.map_err(error::bucket)? {
            let name = HeaderValue::from_static(ack::state_name(Some(level)));
            response.headers.insert(ack::ACK, name);
        }
        Ok(response)
    }

    pub(crate) async fn bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.require_bucket(&req.input.bucket).await?;
        let named = if self.region == NAMELESS_REGION {
            ""
        } else {
            self.region.as_str()
        };
        let location_constraint = Some(BucketLocationConstraint::from(named.to_owned()));
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }

    pub(crate) async fn buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        // Nobody has no buckets.
        let nobody = Asked::about(&req.extensions)?.caller.identity().is_none();
        let account = self.caller_account(&req.extensions)?;
        let input = req.input;
        let max = match input.max_buckets {
            None => usize::MAX,
            Some(max) => usize::try_from(max)
                .ok()
                .filter(|max| (1..=limits::MAX_BUCKET_PAGE).contains(max))
                .ok_or_else(|| fail(S3ErrorCode::InvalidArgument, "max-buckets must be 1 to 10000."))?,
        };
        let prefix = input.prefix.clone().unwrap_or_default();
        // The token is the last name of the page before.
        let after = input.continuation_token.unwrap_or_default();
        let all = self.vfs.buckets().await.map_err(error::bucket)?;
        let shown: Vec<vfs::Bucket> = all
            .into_iter()
            .filter(|bucket| !nobody && naming::is_bucket_name(&bucket.name))
            .filter(|bucket| bucket.name.starts_with(&prefix) && bucket.name > after)
            .filter(|_| {
                input
                    .bucket_region
                    .as_ref()
                    .is_none_or(|region| *region == self.region)
            })
            .collect();
        let mut own = Vec::new();
        for bucket in shown {
            // One that was deleted since is nobody's.
            let owner = match self.account_of(&bucket.name).await {
                Err(error) if *error.code() == S3ErrorCode::NoSuchBucket => continue,
                // It hides none of the others.
                Err(error) => {
                    tracing::error!(bucket = bucket.name, %error, "the owner of a bucket cannot be told");
                    continue;
                }
                Ok(owner) => owner,
            };
            if owner.id == account.id {
                own.push(bucket);
            }
            if own.len() > max {
                break;
            }
        }
        let mut shown = own;
        let more = shown.len() > max;
        shown.truncate(max);
        let continuation_token = shown.last().filter(|_| more).map(|bucket| bucket.name.clone());
        let buckets = shown
            .into_iter()
            .map(|bucket| Bucket {
                bucket_region: Some(self.region.clone()),
                creation_date: Some(naming::timestamp(bucket.created)),
                name: Some(bucket.name),
            })
            .collect();
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets),
            continuation_token,
            owner: Some(owner::shown(account)),
            prefix: input.prefix,
        }))
    }
}
