//! UploadPart and UploadPartCopy.
use std::ops::Range;

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::choice::Choice;
use super::{part_number, upload_id};
use crate::condition::{self, ReadConditions};
use crate::door::Door;
use crate::encryption::customer::{customer_key, source_key};
use crate::encryption::kept::{Kept, Shown, show_encryption};
use crate::encryption::sealing::PartSealing;
use crate::error::{self, fail};
use crate::ingest::{self, Intake};
use crate::integrity::algorithm::{checksum_fields, set_checksum};
use crate::integrity::record::PartTag;
use crate::integrity::{Algorithm, Demand};
use crate::ops::copy::source;
use crate::ops::version;
use crate::{limits, naming};

impl Door {
    pub(crate) async fn put_part(
        &self,
        mut req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let customer = customer_key!(req.input)?;
        let number = part_number(req.input.part_number)?;
        let id = upload_id(&req.input.upload_id)?;
        let upload = self
            .vfs
            .upload(&req.input.bucket, req.input.key.as_bytes(), &id)
            .await
            .map_err(error::upload)?
            .meta;
        let sealing = self
            .part_sealing(&upload, customer.as_ref(), &req.extensions)
            .await?;
        let stretch = sealing.as_ref().map(PartSealing::stretch).transpose()?;
        let nonce = stretch.as_ref().map(|stretch| stretch.nonce);
        let given = checksum_fields!(req.input);
        let demand = Demand::from_request(req.input.content_md5.as_deref(), &given, &req.headers)?;
        let algorithm = demand.algorithm();
        let intake = Intake {
            body: req.input.body.take(),
            content_length: req.input.content_length,
            demand,
            trailers: req.trailing_headers.take(),
            faults: ingest::faults(&req.extensions),
            keystream: stretch.map(|stretch| stretch.keystream),
        };
        intake.check_length()?;
        let UploadPartInput { bucket, key, .. } = req.input;
        let mut writer = self
            .vfs
            .part_writer(&bucket, key.as_bytes(), &id, number)
            .await
            .map_err(error::upload)?;
        let digests = intake.run(&mut writer).await?;
        let tag = PartTag {
            md5: PartSealing::etag(sealing.as_ref(), &digests.md5),
            nonce,
            checksum: Some((algorithm, digests.checksum.clone())),
        };
        writer.commit_part(tag.to_text()).await.map_err(error::upload)?;
        let mut output = UploadPartOutput {
            e_tag: Some(naming::etag(&tag.md5)),
            ..UploadPartOutput::default()
        };
        let kept = Kept::of(&upload)?;
        show_encryption!(output, Shown::of(kept.as_ref(), customer.as_ref()));
        set_checksum!(output, algorithm, digests.checksum);
        Ok(S3Response::new(output))
    }

    pub(crate) async fn copy_part(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = req.input;
        let customer = customer_key!(input)?;
        let source_customer = source_key!(input)?;
        let number = part_number(input.part_number)?;
        let id = upload_id(&input.upload_id)?;
        let from_object = source(&input.copy_source)?;
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
        let range = input
            .copy_source_range
            .as_deref()
            .map(|text| copy_range(text, from.size))
            .transpose()?;
        let size = range.as_ref().map_or(from.size, |range| range.end - range.start);
        if size > limits::MAX_SINGLE_PUT {
            return Err(fail(
                S3ErrorCode::InvalidRequest,
                "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
            ));
        }
        let (bucket, key) = (&input.bucket, input.key.as_bytes());
        let upload = self.vfs.upload(bucket, key, &id).await.map_err(error::upload)?;
        let sealing = self
            .part_sealing(&upload.meta, customer.as_ref(), &req.extensions)
            .await?;
        let part = if reading.is_sealed() || sealing.is_some() {
            let mut writer = self
                .vfs
                .part_writer(bucket, key, &id, number)
                .await
                .map_err(error::upload)?;
            let bytes = reading.stream(source, range.unwrap_or(0..from.size))?;
            let stretch = sealing.as_ref().map(PartSealing::stretch).transpose()?;
            let nonce = stretch.as_ref().map(|stretch| stretch.nonce);
            let algorithm = Choice::of(&upload.meta).map_or(Algorithm::Crc64Nvme, |choice| choice.algorithm);
            let digests = ingest::recode(bytes, stretch, algorithm, &mut writer).await?;
            let tag = PartTag {
                md5: PartSealing::etag(sealing.as_ref(), &digests.md5),
                nonce,
                checksum: Some((algorithm, digests.checksum)),
            };
            writer.commit_part(tag.to_text()).await.map_err(error::upload)?
        } else {
            drop(source);
            self.vfs
                .copy_part(from_object, Some(&from.etag), range, bucket, key, &id, number)
                .await
                .map_err(error::upload)?
        };
        let mut output = UploadPartCopyOutput {
            copy_source_version_id: version::shown(from.version),
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(naming::etag(&PartTag::parse(&part.etag).md5)),
                last_modified: Some(naming::timestamp(part.modified)),
                ..CopyPartResult::default()
            }),
            ..UploadPartCopyOutput::default()
        };
        let kept = Kept::of(&upload.meta)?;
        show_encryption!(output, Shown::of(kept.as_ref(), customer.as_ref()));
        Ok(S3Response::new(output))
    }
}

/// The range of UploadPartCopy: `bytes=FIRST-LAST`, both given and inside the source.
fn copy_range(text: &str, size: u64) -> S3Result<Range<u64>> {
    let parsed = text
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .and_then(|(first, last)| {
            Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?))
                .filter(|(first, last)| first <= last)
        });
    let Some((first, last)) = parsed else {
        return Err(fail(
            S3ErrorCode::InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last \
             are the zero-based offsets of the first and last bytes to copy",
        ));
    };
    if last >= size {
        return Err(fail(
            S3ErrorCode::InvalidArgument,
            format!("Range specified is not valid for source object of size: {size}"),
        ));
    }
    Ok(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_ranges() {
        assert_eq!(copy_range("bytes=0-9", 10).unwrap(), 0..10);
        assert_eq!(copy_range("bytes=3-3", 10).unwrap(), 3..4);
        for bad in [
            "",
            "0-9",
            "bytes=0-10",
            "bytes=5-4",
            "bytes=-5",
            "bytes=5-",
            "bytes=0-18446744073709551615",
        ] {
            assert_eq!(
                copy_range(bad, 10).unwrap_err().code(),
                &S3ErrorCode::InvalidArgument,
                "{bad}"
            );
        }
    }
}
