//! CreateMultipartUpload and AbortMultipartUpload.
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::choice::Choice;
use super::upload_id;
use crate::acl;
use crate::door::Door;
use crate::error::{self, not_implemented};
use crate::metadata::{check_expected_owner, content_headers, object_meta, refuse_unsupported};

impl Door {
    pub(crate) async fn create_upload(
        &self,
        mut req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        check_expected_owner(&req.headers)?;
        refuse_unsupported!(req.input)?;
        let mut meta = object_meta(content_headers!(req.input), req.input.metadata.take())?;
        let acl = self.acl_of_new(
            &req.extensions,
            &req.headers,
            req.input.acl.as_ref().map(ObjectCannedACL::as_str),
        )?;
        meta.settings
            .extend(acl.map(|acl| (acl::SETTING.to_owned(), acl)));
        let input = req.input;
        let choice = Choice::from_request(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
        if let Some(choice) = choice {
            choice.keep(&mut meta);
        }
        let id = self
            .vfs
            .create_upload(&input.bucket, input.key.as_bytes(), meta)
            .await
            .map_err(error::object)?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id.0),
            checksum_algorithm: choice.map(|choice| choice.algorithm.to_dto()),
            checksum_type: choice.map(|choice| choice.coverage.to_dto()),
            server_side_encryption: Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256)),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    pub(crate) async fn abort_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        check_expected_owner(&req.headers)?;
        let input = req.input;
        if input.if_match_initiated_time.is_some() {
            return Err(not_implemented("Aborting by initiation time"));
        }
        let id = upload_id(&input.upload_id)?;
        self.vfs
            .abort_upload(&input.bucket, input.key.as_bytes(), &id)
            .await
            .map_err(error::upload)?;
        Ok(S3Response::with_status(
            AbortMultipartUploadOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }
}
