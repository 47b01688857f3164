//! PutBucketPolicy, GetBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus.
use access::policy::{Document, Kind};
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use crate::access::{Asked, POLICY, denied};
use crate::door::Door;
use crate::error::{self, fail};
use crate::ops::unset::Absent;

impl Door {
    pub(crate) async fn set_policy(
        &self,
        req: S3Request<PutBucketPolicyInput>,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        let bucket = Asked::about(&req.extensions)?.bucket()?;
        let PutBucketPolicyInput {
            bucket: name, policy, ..
        } = req.input;
        let document = Document::parse(&policy, Kind::Bucket(&name))
            .map_err(|error| fail(S3ErrorCode::MalformedPolicy, error.0))?;
        if bucket.block().block_public_policy && document.is_public() {
            return Err(denied());
        }
        self.vfs
            .set_bucket_setting(&name, POLICY, Some(policy.into_bytes()))
            .await
            .map_err(error::bucket)?;
        Ok(S3Response::with_status(
            PutBucketPolicyOutput::default(),
            StatusCode::NO_CONTENT,
        ))
    }

    pub(crate) async fn policy(
        &self,
        req: S3Request<GetBucketPolicyInput>,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        let kept = self
            .vfs
            .bucket_setting(&req.input.bucket, POLICY)
            .await
            .map_err(error::bucket)?
            .ok_or_else(|| Absent::Policy.error())?;
        let policy = String::from_utf8_lossy(&kept).into_owned();
        Ok(S3Response::new(GetBucketPolicyOutput { policy: Some(policy) }))
    }

    pub(crate) async fn delete_policy(
        &self,
        req: S3Request<DeleteBucketPolicyInput>,
    ) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
        self.vfs
            .set_bucket_setting(&req.input.bucket, POLICY, None)
            .await
            .map_err(error::bucket)?;
        Ok(S3Response::with_status(
            DeleteBucketPolicyOutput::default(),
            StatusCode::NO_CONTENT,
        ))
    }

    /// Public by its policy or by its ACL, as long as that counts.
    pub(crate) async fn policy_status(
        &self,
        req: S3Request<GetBucketPolicyStatusInput>,
    ) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
        let bucket = Asked::about(&req.extensions)?.bucket()?;
        let block = bucket.block();
        let by_policy = bucket.policy_is_public && !block.restrict_public_buckets;
        let by_acl = bucket.has_acls() && bucket.acl.is_public() && !block.ignore_public_acls;
        Ok(S3Response::new(GetBucketPolicyStatusOutput {
            policy_status: Some(PolicyStatus {
                is_public: Some(by_policy || by_acl),
            }),
        }))
    }
}
