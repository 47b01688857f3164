//! CreateMultipartUpload and AbortMultipartUpload.
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::choice::Choice;
use super::upload_id;
use crate::door::Door;
use crate::encryption::Sealing;
use crate::encryption::kept::show_encryption;
use crate::encryption::wish::wish;
use crate::error::{self, precondition_failed};
use crate::metadata::{content_headers, object_meta, refuse_unsupported};
use crate::naming;
use crate::ops::new_object::wished;
use crate::tags::Tags;

impl Door {
    pub(crate) async fn create_upload(
        &self,
        mut req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        refuse_unsupported!(req.input)?;
        let wish = wish!(req.input)?;
        let sealing = self.sealing(&req.input.bucket, &wish, &req.extensions).await?;
        let mut meta = object_meta(content_headers!(req.input), req.input.metadata.take())?;
        if let Some(tags) = &req.input.tagging {
            Tags::from_header(tags)?.keep(&mut meta);
        }
        let (bucket, wished) = (&req.input.bucket, wished!(req.input));
        self.keep_wishes(bucket, wished, &req.extensions, &req.headers, &mut meta)
            .await?;
        let input = req.input;
        let choice = Choice::from_request(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
        if let Some(choice) = choice {
            choice.keep(&mut meta);
        }
        if let Some(sealing) = &sealing {
            sealing.keep(&mut meta)?;
        }
        let id = self
            .vfs
            .create_upload(&input.bucket, input.key.as_bytes(), meta)
            .await
            .map_err(error::object)?;
        let mut output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id.0),
            checksum_algorithm: choice.map(|choice| choice.algorithm.to_dto()),
            checksum_type: choice.map(|choice| choice.coverage.to_dto()),
            ..CreateMultipartUploadOutput::default()
        };
        show_encryption!(output, Sealing::shown(sealing.as_ref(), wish.customer()));
        Ok(S3Response::new(output))
    }

    pub(crate) async fn abort_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = req.input;
        let id = upload_id(&input.upload_id)?;
        if let Some(wanted) = &input.if_match_initiated_time {
            let upload = self.vfs.upload(&input.bucket, input.key.as_bytes(), &id).await;
            let begun = upload.map_err(error::upload)?.created.0.div_euclid(1_000_000_000);
            if begun != naming::seconds(wanted) {
                return Err(precondition_failed(Some("x-amz-if-match-initiated-time")));
            }
        }
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
