//! CopyObject. Within a bucket no byte moves.
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use vfs::FoundVersion;
use vfs::object::{CopyMeta, ObjectReader, ObjectSource};

use super::recode::Recoding;
use super::version;
use crate::condition::{self, ReadConditions};
use crate::door::Door;
use crate::encryption::Sealing;
use crate::encryption::customer::source_key;
use crate::encryption::kept::{Kept, show_encryption};
use crate::encryption::wish::wish;
use crate::error::{self, fail, not_implemented};
use crate::integrity::algorithm::set_checksum;
use crate::integrity::record::{Checksum, carry_internal_headers, drop_internal_headers};
use crate::metadata::{check_expected_owner, content_headers, object_meta, refuse_unsupported};
use crate::{limits, naming};

/// What a copy reads from.
pub(crate) fn source(source: &CopySource) -> S3Result<ObjectSource<'_>> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id,
        } => Ok(ObjectSource {
            bucket,
            key: key.as_bytes(),
            version: version::asked(version_id.as_deref())?,
        }),
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(not_implemented("Copying from an access point"))
        }
    }
}

impl Door {
    /// What there is to copy.
    pub(crate) async fn copied_from(&self, from: ObjectSource<'_>) -> S3Result<ObjectReader> {
        self.require_bucket(from.bucket).await?;
        let found = match from.version {
            None => self.vfs.get_object(from.bucket, from.key).await,
            Some(id) => match self.vfs.get_version(from.bucket, from.key, id).await {
                Ok(FoundVersion::Object(reader)) => Ok(reader),
                Ok(FoundVersion::Marker(_)) => {
                    return Err(fail(
                        S3ErrorCode::InvalidRequest,
                        "The source of a copy request may not specifically refer to a delete marker by \
                         version id.",
                    ));
                }
                Err(vfs::Error::NotFound) => return Err(version::no_such_version()),
                Err(error) => Err(error),
            },
        };
        found.map_err(error::object)
    }

    pub(crate) async fn copy(
        &self,
        mut req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        check_expected_owner(&req.headers)?;
        let vfs = self.on_terms(&req.headers)?;
        refuse_unsupported!(req.input)?;
        let wish = wish!(req.input)?;
        let source_customer = source_key!(req.input)?;
        let sealing = self.sealing(&req.input.bucket, &wish, &req.extensions).await?;
        let input = &mut req.input;
        let replace = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
            None | Some(MetadataDirective::COPY) => false,
            Some(MetadataDirective::REPLACE) => true,
            Some(_) => return Err(fail(S3ErrorCode::InvalidArgument, "Unknown metadata directive.")),
        };
        let replacement = object_meta(content_headers!(input), input.metadata.take())?;
        let from_object = source(&input.copy_source)?;
        let onto_itself = from_object.bucket == input.bucket && from_object.key == input.key.as_bytes();
        if !replace && onto_itself && from_object.version.is_none() && !wish.is_said() {
            return Err(fail(
                S3ErrorCode::InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without \
                 changing the object's metadata, storage class, website redirect location or encryption \
                 attributes.",
            ));
        }
        let source = self.copied_from(from_object).await?;
        let from = source.info().clone();
        let reading = self
            .reading(&from, source_customer.as_ref(), &req.extensions)
            .await?;
        ReadConditions::new(
            condition::COPY_SOURCE,
            &req.headers,
            input.copy_source_if_unmodified_since.as_ref(),
            input.copy_source_if_modified_since.as_ref(),
        )
        .check_copy_source(&from)?;
        if from.size > limits::MAX_SINGLE_PUT {
            return Err(fail(
                S3ErrorCode::InvalidRequest,
                "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
            ));
        }
        let precondition = condition::of_write(&req.headers);
        let (bucket, key) = (input.bucket.as_str(), input.key.as_bytes());
        let copied = if reading.is_sealed() || sealing.is_some() {
            let mut meta = if replace { replacement } else { from.meta.clone() };
            drop_internal_headers(&mut meta);
            Kept::forget(&mut meta);
            let recoding = Recoding {
                source,
                reading,
                sealing: sealing.as_ref(),
                meta,
                precondition: precondition.clone(),
            };
            recoding.run(&vfs, bucket, key).await?
        } else {
            drop(source);
            let meta = if replace {
                let mut meta = replacement;
                carry_internal_headers(&from.meta, &mut meta);
                CopyMeta::Replace(meta)
            } else {
                CopyMeta::Keep
            };
            vfs.copy_version(from_object, bucket, key, meta, precondition.clone())
                .await
        };
        let info = match copied {
            Ok(info) => info,
            Err(error) => return Err(self.write_error(error, &precondition, bucket, key).await),
        };
        let mut result = CopyObjectResult {
            e_tag: Some(naming::etag(&info.etag)),
            last_modified: Some(naming::timestamp(info.modified)),
            ..CopyObjectResult::default()
        };
        if let Some(checksum) = Checksum::of(&info) {
            result.checksum_type = Some(checksum.coverage.to_dto());
            set_checksum!(result, checksum.algorithm, checksum.value);
        }
        let mut output = CopyObjectOutput {
            copy_source_version_id: version::shown(from.version),
            expiration: self.expiration(bucket, &info).await,
            version_id: version::shown(info.version),
            copy_object_result: Some(result),
            ..CopyObjectOutput::default()
        };
        show_encryption!(output, Sealing::shown(sealing.as_ref(), wish.customer()));
        self.say_level(&req.headers, info.ino, S3Response::new(output))
            .await
    }
}
