//! RestoreObject: everything is at hand all the time, so that there is nothing to bring back.
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::version;
use crate::door::Door;
use crate::error::fail;

impl Door {
    /// As AWS answers for an object whose storage class is not an archive.
    pub(crate) async fn restore(
        &self,
        req: S3Request<RestoreObjectInput>,
    ) -> S3Result<S3Response<RestoreObjectOutput>> {
        let input = req.input;
        let version = version::asked(input.version_id.as_deref())?;
        self.open(&input.bucket, &input.key, version).await?;
        Err(fail(
            S3ErrorCode::InvalidObjectState,
            "Restore is not allowed for the object's current storage class",
        ))
    }
}
