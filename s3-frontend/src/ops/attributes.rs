//! GetObjectAttributes.
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::version;
use crate::door::Door;
use crate::encryption::customer::customer_key;
use crate::encryption::wish::refuse_in_read;
use crate::error::fail;
use crate::integrity::algorithm::set_checksum;
use crate::integrity::record::{Checksum as KeptChecksum, PartChecksums, PartSizes};
use crate::naming;
use crate::ops::list::page_size;

impl Door {
    pub(crate) async fn attributes(
        &self,
        req: S3Request<GetObjectAttributesInput>,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        let input = req.input;
        let version = version::asked(input.version_id.as_deref())?;
        const KNOWN: [&str; 5] = [
            ObjectAttributes::CHECKSUM,
            ObjectAttributes::ETAG,
            ObjectAttributes::OBJECT_PARTS,
            ObjectAttributes::OBJECT_SIZE,
            ObjectAttributes::STORAGE_CLASS,
        ];
        // Some SDKs send the list in one header value, others in several.
        let wanted: Vec<&str> = input
            .object_attributes
            .iter()
            .flat_map(|attribute| attribute.as_str().split(','))
            .map(str::trim)
            .collect();
        if wanted.is_empty() || wanted.iter().any(|attribute| !KNOWN.contains(attribute)) {
            return Err(fail(
                S3ErrorCode::InvalidArgument,
                "Invalid attribute name specified.",
            ));
        }
        refuse_in_read(&req.headers)?;
        let customer = customer_key!(input)?;
        let reader = self.open(&input.bucket, &input.key, version).await?;
        let info = reader.info().clone();
        drop(reader);
        self.facts(&info, customer.as_ref(), &req.extensions)?;
        let has = |attribute: &str| wanted.contains(&attribute);
        let mut output = GetObjectAttributesOutput {
            last_modified: Some(naming::timestamp(info.modified)),
            version_id: version::shown(info.version),
            ..GetObjectAttributesOutput::default()
        };
        if has(ObjectAttributes::ETAG) {
            output.e_tag = Some(naming::etag(&info.etag));
        }
        if has(ObjectAttributes::OBJECT_SIZE) {
            output.object_size = Some(info.size as i64);
        }
        if has(ObjectAttributes::STORAGE_CLASS) {
            output.storage_class = Some(StorageClass::from_static(StorageClass::STANDARD));
        }
        if has(ObjectAttributes::CHECKSUM)
            && let Some(kept) = KeptChecksum::of(&info)
        {
            let mut checksum = Checksum {
                checksum_type: Some(kept.coverage.to_dto()),
                ..Checksum::default()
            };
            set_checksum!(checksum, kept.algorithm, kept.value);
            output.checksum = Some(checksum);
        }
        if has(ObjectAttributes::OBJECT_PARTS)
            && let Some(total) = info.parts
        {
            let max = page_size(input.max_parts, "max-parts")?;
            let after = input.part_number_marker.unwrap_or(0).max(0) as usize;
            let sizes = PartSizes::of(&info).map(|sizes| sizes.0).unwrap_or_default();
            let checksums = PartChecksums::of(&info);
            let show = |(index, size): (usize, &u64)| {
                let mut part = ObjectPart {
                    part_number: Some(index as i32 + 1),
                    size: Some(*size as i64),
                    ..ObjectPart::default()
                };
                if let Some(checksums) = &checksums
                    && let Some(value) = checksums.values.get(index)
                {
                    set_checksum!(part, checksums.algorithm, value.clone());
                }
                part
            };
            let sizes_shown = sizes.iter().enumerate().skip(after).take(max);
            let shown: Vec<ObjectPart> = sizes_shown.map(show).collect();
            let last = after + shown.len();
            output.object_parts = Some(GetObjectAttributesParts {
                is_truncated: Some(last < sizes.len()),
                max_parts: Some(max as i32),
                next_part_number_marker: Some(last as i32),
                part_number_marker: Some(after as i32),
                total_parts_count: Some(total as i32),
                parts: (!shown.is_empty()).then_some(shown),
            });
        }
        Ok(S3Response::new(output))
    }
}
