//! PutPublicAccessBlock, GetPublicAccessBlock, DeletePublicAccessBlock.
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use crate::access::{Asked, PUBLIC_ACCESS_BLOCK, PublicAccessBlock};
use crate::door::Door;
use crate::error::{self, fail};
use crate::ops::unset::Absent;

impl Door {
    pub(crate) async fn set_access_block(
        &self,
        req: S3Request<PutPublicAccessBlockInput>,
    ) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
        let asked = req.input.public_access_block_configuration;
        let block = PublicAccessBlock {
            block_public_acls: asked.block_public_acls.unwrap_or(false),
            ignore_public_acls: asked.ignore_public_acls.unwrap_or(false),
            block_public_policy: asked.block_public_policy.unwrap_or(false),
            restrict_public_buckets: asked.restrict_public_buckets.unwrap_or(false),
        };
        let kept = serde_json::to_vec(&block)
            .map_err(|_| fail(S3ErrorCode::InternalError, "The setting cannot be written."))?;
        self.vfs
            .set_bucket_setting(&req.input.bucket, PUBLIC_ACCESS_BLOCK, Some(kept))
            .await
            .map_err(error::bucket)?;
        Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
    }

    pub(crate) async fn access_block(
        &self,
        req: S3Request<GetPublicAccessBlockInput>,
    ) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
        let block = Asked::about(&req.extensions)?
            .bucket()?
            .block
            .ok_or_else(|| Absent::PublicAccessBlock.error())?;
        Ok(S3Response::new(GetPublicAccessBlockOutput {
            public_access_block_configuration: Some(PublicAccessBlockConfiguration {
                block_public_acls: Some(block.block_public_acls),
                ignore_public_acls: Some(block.ignore_public_acls),
                block_public_policy: Some(block.block_public_policy),
                restrict_public_buckets: Some(block.restrict_public_buckets),
            }),
        }))
    }

    pub(crate) async fn delete_access_block(
        &self,
        req: S3Request<DeletePublicAccessBlockInput>,
    ) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
        self.vfs
            .set_bucket_setting(&req.input.bucket, PUBLIC_ACCESS_BLOCK, None)
            .await
            .map_err(error::bucket)?;
        Ok(S3Response::with_status(
            DeletePublicAccessBlockOutput::default(),
            StatusCode::NO_CONTENT,
        ))
    }
}
