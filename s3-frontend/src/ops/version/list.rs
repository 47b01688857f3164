//! ListObjectVersions.
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use vfs::{VersionEntry, VersionPage, VersionRequest};

use super::asked;
use crate::door::Door;
use crate::error::{self, fail};
use crate::naming;
use crate::naming::NameEncoding;
use crate::ops::list::{common_prefixes, name_encoding, page_size};

impl Door {
    pub(crate) async fn list_versions(
        &self,
        req: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = req.input;
        let names = name_encoding(input.encoding_type.as_ref())?;
        let after_id = asked(input.version_id_marker.as_deref().filter(|id| !id.is_empty()))?;
        let after_key = input.key_marker.clone().filter(|key| !key.is_empty());
        if after_id.is_some() && after_key.is_none() {
            return Err(fail(
                S3ErrorCode::InvalidArgument,
                "A version-id marker cannot be specified without a key marker.",
            ));
        }
        let max = page_size(input.max_keys, "max-keys")?;
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let prefix = input.prefix.unwrap_or_default();
        let request = VersionRequest {
            prefix: prefix.clone().into_bytes(),
            delimiter: delimiter.clone().map(String::into_bytes),
            after_key: after_key.map(String::into_bytes),
            after_id,
            max,
        };
        let page = self
            .vfs
            .list_versions(&input.bucket, request)
            .await
            .map_err(error::bucket)?;
        let VersionPage {
            entries,
            prefixes,
            next,
        } = page;
        let is_truncated = next.is_some();
        let (next_key, next_id) = next.unzip();
        let (mut versions, mut markers) = (Vec::new(), Vec::new());
        let owner = self.owner_of(&input.bucket).await?;
        for entry in &entries {
            match shown(entry, names, owner.clone()) {
                Shown::Version(version) => versions.push(version),
                Shown::Marker(marker) => markers.push(marker),
            }
        }
        let encode = |name: &str| names.encode(name.as_bytes());
        Ok(S3Response::new(ListObjectVersionsOutput {
            common_prefixes: common_prefixes(&prefixes, names),
            versions: Some(versions),
            delete_markers: Some(markers),
            delimiter: delimiter.as_deref().map(encode),
            encoding_type: names.stated(),
            is_truncated: Some(is_truncated),
            key_marker: Some(encode(&input.key_marker.unwrap_or_default())),
            max_keys: Some(max as i32),
            name: Some(input.bucket),
            next_key_marker: next_key.map(|key| names.encode(&key)),
            next_version_id_marker: next_id.flatten().map(|id| id.to_string()),
            prefix: Some(encode(&prefix)),
            version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
            ..ListObjectVersionsOutput::default()
        }))
    }
}

/// An entry as the answer has it.
enum Shown {
    Version(ObjectVersion),
    Marker(DeleteMarkerEntry),
}

fn shown(entry: &VersionEntry, names: NameEncoding, owner: Owner) -> Shown {
    let (key, version_id) = (Some(names.encode(&entry.key)), Some(entry.id.to_string()));
    let (is_latest, last_modified) = (Some(entry.latest), Some(naming::timestamp(entry.at)));
    let owner = Some(owner);
    match &entry.object {
        None => Shown::Marker(DeleteMarkerEntry {
            is_latest,
            key,
            last_modified,
            owner,
            version_id,
        }),
        Some(object) => Shown::Version(ObjectVersion {
            // Kept in the object's metadata, which a listing does not read.
            checksum_algorithm: None,
            checksum_type: None,
            e_tag: Some(naming::etag(&object.etag)),
            is_latest,
            key,
            last_modified,
            owner,
            restore_status: None,
            size: Some(object.size as i64),
            storage_class: Some(ObjectVersionStorageClass::from_static(
                ObjectVersionStorageClass::STANDARD,
            )),
            version_id,
        }),
    }
}
