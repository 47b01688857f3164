//! CopyObject. Within a bucket no byte moves.
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use vfs::object::{CopyMeta, ObjectReader, ObjectSource};
use vfs::{FoundVersion, ObjectMeta};

use super::new_object::wished;
use super::recode::Recoding;
use super::version;
use crate::condition::{self, ReadConditions, Verdict};
use crate::door::Door;
use crate::encryption::Sealing;
use crate::encryption::customer::source_key;
use crate::encryption::kept::{Kept, show_encryption};
use crate::encryption::wish::wish;
use crate::error::{self, fail, not_implemented};
use crate::integrity::algorithm::set_checksum;
use crate::integrity::record::{Checksum, carry_internal_headers, drop_internal_headers};
use crate::metadata::{REDIRECT, content_headers, object_meta, refuse_unsupported};
use crate::tags::Tags;
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

/// The tags that a copy gets instead of those of its source; `None`: it gets those.
fn replaced_tags(directive: Option<&TaggingDirective>, tags: Option<&str>) -> S3Result<Option<Tags>> {
    match directive.map(TaggingDirective::as_str) {
        None | Some(TaggingDirective::COPY) => Ok(None),
        Some(TaggingDirective::REPLACE) => Tags::from_header(tags.unwrap_or_default()).map(Some),
        Some(_) => Err(fail(S3ErrorCode::InvalidArgument, "Unknown tagging directive.")),
    }
}

/// Metadata of a copy: `wanted` is what the request says. Of settings, the tags alone come from the
/// source. Where it is redirected to belongs to the place of an object and is never copied.
fn copied_meta(
    from: &vfs::ObjectInfo,
    wanted: &ObjectMeta,
    replace: bool,
    tags: Option<&Tags>,
) -> ObjectMeta {
    let mut meta = wanted.clone();
    if replace {
        carry_internal_headers(&from.meta, &mut meta);
    } else {
        meta.headers.clone_from(&from.meta.headers);
        meta.user.clone_from(&from.meta.user);
        match wanted.headers.get(REDIRECT) {
            Some(target) => meta.headers.insert(REDIRECT.to_owned(), target.clone()),
            None => meta.headers.remove(REDIRECT),
        };
    }
    tags.unwrap_or(&Tags::of(&from.meta)).keep(&mut meta);
    meta
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
        let mut wanted = object_meta(content_headers!(input), input.metadata.take())?;
        // What the source grants stays with the source.
        let wished = wished!(input);
        self.keep_wishes(&input.bucket, wished, &req.extensions, &req.headers, &mut wanted)
            .await?;
        let tags = replaced_tags(input.tagging_directive.as_ref(), input.tagging.as_deref())?;
        let from_object = source(&input.copy_source)?;
        let onto_itself = from_object.bucket == input.bucket && from_object.key == input.key.as_bytes();
        let changes = replace
            || from_object.version.is_some()
            || input.storage_class.is_some()
            || wish.is_said()
            || input.website_redirect_location.is_some();
        if onto_itself && !changes {
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
        let conditions = ReadConditions::new(
            condition::COPY_SOURCE,
            &req.headers,
            input.copy_source_if_unmodified_since.as_ref(),
            input.copy_source_if_modified_since.as_ref(),
        );
        conditions.check_copy_source(&from)?;
        if from.size > limits::MAX_SINGLE_PUT {
            return Err(fail(
                S3ErrorCode::InvalidRequest,
                "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
            ));
        }
        let precondition = condition::of_write(&req.headers);
        let (bucket, key) = (input.bucket.as_str(), input.key.as_bytes());
        let copied = if reading.is_sealed() || sealing.is_some() {
            let mut meta = copied_meta(&from, &wanted, replace, tags.as_ref());
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
            let meta = CopyMeta::Made(Arc::new(move |from: &vfs::ObjectInfo| {
                // Asked once more of what is copied in the end.
                if conditions.judge(&from.etag, from.modified) != Verdict::Proceed {
                    return Err(vfs::Error::PreconditionFailed);
                }
                if Kept::of(&from.meta).is_ok_and(|kept| kept.is_some()) {
                    return Err(vfs::Error::Busy("the source of the copy was replaced meanwhile"));
                }
                Ok(copied_meta(from, &wanted, replace, tags.as_ref()))
            }));
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
