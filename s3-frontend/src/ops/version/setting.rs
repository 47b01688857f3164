//! GetBucketVersioning and PutBucketVersioning.
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use vfs::Versioning;

use crate::door::Door;
use crate::error::{self, fail};
use crate::ops::object_lock::invalid_bucket_state;

impl Door {
    pub(crate) async fn versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let versioning = self
            .vfs
            .versioning(&req.input.bucket)
            .await
            .map_err(error::bucket)?;
        let status = versioning.map(|versioning| match versioning {
            Versioning::Enabled => BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED),
            Versioning::Suspended => BucketVersioningStatus::from_static(BucketVersioningStatus::SUSPENDED),
        });
        Ok(S3Response::new(GetBucketVersioningOutput {
            status,
            ..GetBucketVersioningOutput::default()
        }))
    }

    pub(crate) async fn set_versioning(
        &self,
        req: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        let setting = req.input.versioning_configuration;
        match setting.mfa_delete.as_ref().map(MFADelete::as_str) {
            None | Some(MFADelete::DISABLED) => {}
            // There is no device that a code could come from.
            Some(MFADelete::ENABLED) => {
                return Err(fail(
                    S3ErrorCode::AccessDenied,
                    "Mfa Authentication must be used for this request",
                ));
            }
            Some(_) => return Err(malformed()),
        }
        let versioning = match setting.status.as_ref().map(BucketVersioningStatus::as_str) {
            Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
            Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
            Some(_) => return Err(malformed()),
            None => {
                return Err(fail(
                    S3ErrorCode::IllegalVersioningConfigurationException,
                    "The Versioning element must be specified",
                ));
            }
        };
        match self.vfs.set_versioning(&req.input.bucket, Some(versioning)).await {
            Err(vfs::Error::Locked) => Err(invalid_bucket_state(
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
            )),
            done => done.map_err(error::bucket),
        }?;
        Ok(S3Response::new(PutBucketVersioningOutput::default()))
    }
}

fn malformed() -> s3s::S3Error {
    fail(
        S3ErrorCode::MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}
