//! CopyObject. Within a bucket no byte moves.
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use vfs::object::{CopyMeta, ObjectSource};
use vfs::{FoundVersion, ObjectMeta};

use super::version;
use crate::acl;
use crate::condition::{self, ReadConditions};
use crate::door::Door;
use crate::error::{self, fail, not_implemented};
use crate::integrity::algorithm::set_checksum;
use crate::integrity::record::{Checksum, carry_internal_headers};
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

/// The metadata with this ACL alone.
fn with_acl(mut meta: ObjectMeta, new_acl: Option<String>) -> ObjectMeta {
    meta.settings.remove(acl::SETTING);
    meta.settings
        .extend(new_acl.map(|acl| (acl::SETTING.to_owned(), acl)));
    meta
}

impl Door {
    /// What there is to copy.
    pub(crate) async fn copied_from(&self, from: ObjectSource<'_>) -> S3Result<vfs::ObjectInfo> {
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
        Ok(found.map_err(error::object)?.info().clone())
    }

    pub(crate) async fn copy(
        &self,
        mut req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        check_expected_owner(&req.headers)?;
        let vfs = self.on_terms(&req.headers)?;
        refuse_unsupported!(req.input)?;
        let new_acl = self.acl_of_new(
            &req.extensions,
            &req.headers,
            req.input.acl.as_ref().map(ObjectCannedACL::as_str),
        )?;
        let input = &mut req.input;
        if input.copy_source_sse_customer_key.is_some() {
            return Err(not_implemented("Encryption with customer-provided keys"));
        }
        let replace = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
            None | Some(MetadataDirective::COPY) => false,
            Some(MetadataDirective::REPLACE) => true,
            Some(_) => return Err(fail(S3ErrorCode::InvalidArgument, "Unknown metadata directive.")),
        };
        let replacement = object_meta(content_headers!(input), input.metadata.take())?;
        let from_object = source(&input.copy_source)?;
        let onto_itself = from_object.bucket == input.bucket && from_object.key == input.key.as_bytes();
        if !replace && onto_itself && from_object.version.is_none() {
            return Err(fail(
                S3ErrorCode::InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without \
                 changing the object's metadata, storage class, website redirect location or encryption \
                 attributes.",
            ));
        }
        let from = self.copied_from(from_object).await?;
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
        // What the source grants stays with the source.
        let same_acl = from.meta.settings.get(acl::SETTING) == new_acl.as_ref();
        let meta = if replace {
            let mut meta = replacement;
            carry_internal_headers(&from.meta, &mut meta);
            CopyMeta::Replace(with_acl(meta, new_acl))
        } else if same_acl {
            CopyMeta::Keep
        } else {
            CopyMeta::Replace(with_acl(from.meta.clone(), new_acl))
        };
        let precondition = condition::of_write(&req.headers);
        let (bucket, key) = (input.bucket.as_str(), input.key.as_bytes());
        let copied = vfs
            .copy_version(from_object, bucket, key, meta, precondition.clone())
            .await;
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
        let output = CopyObjectOutput {
            copy_source_version_id: version::shown(from.version),
            version_id: version::shown(info.version),
            copy_object_result: Some(result),
            server_side_encryption: Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256)),
            ..CopyObjectOutput::default()
        };
        self.say_level(&req.headers, info.ino, S3Response::new(output))
            .await
    }
}
