//! ListParts and ListMultipartUploads.
use std::collections::BTreeSet;

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};
use vfs::UploadInfo;

use super::choice::Choice;
use super::upload_id;
use crate::door::Door;
use crate::encryption::customer::customer_key;
use crate::encryption::kept::Kept;
use crate::error;
use crate::integrity::algorithm::set_checksum;
use crate::integrity::record::PartTag;
use crate::limits::MAX_PAGE;
use crate::naming::{self, NameEncoding};
use crate::ops::list::{name_encoding, page_size};
use crate::owner;

impl Door {
    pub(crate) async fn parts(
        &self,
        req: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = req.input;
        let id = upload_id(&input.upload_id)?;
        let max = page_size(input.max_parts, "max-parts")?;
        let after = input.part_number_marker.unwrap_or(0).max(0);
        let customer = customer_key!(input)?;
        let (bucket, key) = (input.bucket, input.key);
        let upload = self
            .vfs
            .upload(&bucket, key.as_bytes(), &id)
            .await
            .map_err(error::upload)?;
        if customer.is_some() {
            self.check_key(&upload.meta, customer.as_ref(), &req.extensions)?;
        }
        // Checksums tell guesses at what a client's key encrypts.
        let hidden = customer.is_none() && matches!(Kept::of(&upload.meta)?, Some(Kept::Customer { .. }));
        let owner = self.owner_of(&bucket).await?;
        let choice = Choice::of(&upload.meta);
        let (parts, more) = if max == 0 {
            (Vec::new(), false)
        } else {
            self.vfs
                .list_parts(&bucket, key.as_bytes(), &id, after.unsigned_abs(), max)
                .await
                .map_err(error::upload)?
        };
        let next = parts.last().map_or(after, |part| part.number as i32);
        let parts = parts
            .into_iter()
            .map(|info| {
                let tag = PartTag::parse(&info.etag);
                let mut part = Part {
                    e_tag: Some(naming::etag(&tag.md5)),
                    last_modified: Some(naming::timestamp(info.modified)),
                    part_number: Some(info.number as i32),
                    size: Some(info.size as i64),
                    ..Part::default()
                };
                if let Some((algorithm, value)) = tag.checksum.filter(|_| !hidden) {
                    set_checksum!(part, algorithm, value);
                }
                part
            })
            .collect();
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id.0),
            checksum_algorithm: choice.map(|choice| choice.algorithm.to_dto()),
            checksum_type: choice.map(|choice| choice.coverage.to_dto()),
            initiator: Some(owner::initiator(&owner)),
            owner: Some(owner),
            is_truncated: Some(more),
            max_parts: Some(max as i32),
            part_number_marker: Some(after),
            next_part_number_marker: Some(next),
            parts: Some(parts),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..ListPartsOutput::default()
        }))
    }

    pub(crate) async fn uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        let names = name_encoding(input.encoding_type.as_ref())?;
        let max = page_size(input.max_uploads, "max-uploads")?;
        self.require_bucket(&input.bucket).await?;
        let key_marker = input.key_marker.clone().filter(|marker| !marker.is_empty());
        // AWS ignores an upload marker without a key marker.
        let id_marker = input
            .upload_id_marker
            .clone()
            .filter(|marker| !marker.is_empty() && key_marker.is_some())
            .map(vfs::UploadId);
        let after = key_marker.clone().map(|key| (key.into_bytes(), id_marker));
        let prefix = input.prefix.clone().unwrap_or_default();
        let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
        let page = self
            .upload_page(
                &input.bucket,
                prefix.as_bytes(),
                delimiter.as_deref().map(str::as_bytes),
                after,
                max,
            )
            .await?;

        let owner = self.owner_of(&input.bucket).await?;
        let encode = |name: &str| names.encode(name.as_bytes());
        let prefixes: Vec<CommonPrefix> = page
            .prefixes
            .iter()
            .map(|prefix| CommonPrefix {
                prefix: Some(names.encode(prefix)),
            })
            .collect();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            common_prefixes: (!prefixes.is_empty()).then_some(prefixes),
            delimiter: delimiter.as_deref().map(encode),
            encoding_type: names.stated(),
            is_truncated: Some(page.next.is_some()),
            key_marker: Some(encode(key_marker.as_deref().unwrap_or_default())),
            max_uploads: Some(max as i32),
            next_key_marker: page.next.as_ref().map(|(key, _)| names.encode(key)),
            next_upload_id_marker: page.next.as_ref().and_then(|(_, id)| id.clone()),
            prefix: Some(encode(&prefix)),
            upload_id_marker: input.upload_id_marker,
            uploads: Some(
                page.uploads
                    .into_iter()
                    .map(|upload| shown(upload, names, owner.clone()))
                    .collect(),
            ),
            ..ListMultipartUploadsOutput::default()
        }))
    }

    /// Up to `max` uploads and rolled-up prefixes together.
    async fn upload_page(
        &self,
        bucket: &str,
        prefix: &[u8],
        delimiter: Option<&[u8]>,
        mut after: Option<(Vec<u8>, Option<vfs::UploadId>)>,
        max: usize,
    ) -> S3Result<UploadPage> {
        let mut page = UploadPage::default();
        if max == 0 {
            return Ok(page);
        }
        // A prefix that the marker itself falls under was shown on an earlier page.
        let shown_before = after
            .as_ref()
            .and_then(|(key, _)| rolled_up(key, prefix, delimiter));
        loop {
            let (uploads, more) = self
                .vfs
                .list_uploads(bucket, prefix, after.clone(), MAX_PAGE)
                .await
                .map_err(error::bucket)?;
            let Some(last) = uploads.last() else {
                return Ok(page);
            };
            after = Some((last.key.clone(), Some(last.id.clone())));
            for upload in uploads {
                let rolled = rolled_up(&upload.key, prefix, delimiter);
                if rolled.is_some()
                    && (rolled == shown_before
                        || page.prefixes.contains(rolled.as_deref().unwrap_or_default()))
                {
                    continue;
                }
                if page.uploads.len() + page.prefixes.len() == max {
                    page.next = page.last.take();
                    return Ok(page);
                }
                match rolled {
                    Some(prefix) => {
                        page.last = Some((prefix.clone(), None));
                        page.prefixes.insert(prefix);
                    }
                    None => {
                        page.last = Some((upload.key.clone(), Some(upload.id.0.clone())));
                        page.uploads.push(upload);
                    }
                }
            }
            if !more {
                return Ok(page);
            }
        }
    }
}

#[derive(Default)]
struct UploadPage {
    uploads: Vec<UploadInfo>,
    prefixes: BTreeSet<Vec<u8>>,
    /// The last entry taken.
    last: Option<(Vec<u8>, Option<String>)>,
    /// Where the next page begins, if there is one.
    next: Option<(Vec<u8>, Option<String>)>,
}

/// The common prefix that `key` is shown as, if any.
fn rolled_up(key: &[u8], prefix: &[u8], delimiter: Option<&[u8]>) -> Option<Vec<u8>> {
    let delimiter = delimiter?;
    let rest = key.strip_prefix(prefix)?;
    let at = rest
        .windows(delimiter.len())
        .position(|window| window == delimiter)?;
    key.get(..prefix.len() + at + delimiter.len()).map(<[u8]>::to_vec)
}

fn shown(upload: UploadInfo, names: NameEncoding, owner: Owner) -> MultipartUpload {
    let choice = Choice::of(&upload.meta);
    MultipartUpload {
        checksum_algorithm: choice.map(|choice| choice.algorithm.to_dto()),
        checksum_type: choice.map(|choice| choice.coverage.to_dto()),
        initiated: Some(naming::timestamp(upload.created)),
        initiator: Some(owner::initiator(&owner)),
        key: Some(names.encode(&upload.key)),
        owner: Some(owner),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        upload_id: Some(upload.id.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_roll_up_to_the_delimiter() {
        let roll = |key: &str, prefix: &str, delimiter: Option<&str>| {
            rolled_up(key.as_bytes(), prefix.as_bytes(), delimiter.map(str::as_bytes))
                .map(|rolled| String::from_utf8(rolled).unwrap())
        };
        assert_eq!(roll("a/b/c", "", Some("/")).as_deref(), Some("a/"));
        assert_eq!(roll("a/b/c", "a/", Some("/")).as_deref(), Some("a/b/"));
        assert_eq!(roll("a/b", "a/", Some("/")), None);
        assert_eq!(roll("a--b", "", Some("--")).as_deref(), Some("a--"));
        assert_eq!(roll("a/b", "", None), None);
        assert_eq!(roll("a", "abc", Some("/")), None);
    }
}
