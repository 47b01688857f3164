//! Documents of a bucket that are kept as JSON settings.
use s3s::S3Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use vfs::Vfs;

use crate::error;

/// The setting `name` of a bucket; `None`: it has none.
pub(crate) async fn read<T: DeserializeOwned>(
    vfs: &Vfs,
    bucket: &str,
    name: &'static str,
) -> Result<Option<T>, S3Error> {
    let Some(text) = vfs.bucket_setting(bucket, name).await.map_err(error::bucket)? else {
        return Ok(None);
    };
    let value = serde_json::from_slice(&text).map_err(|error| {
        error::bucket(vfs::Error::Internal(format!(
            "setting {name} of bucket {bucket}: {error}"
        )))
    })?;
    Ok(Some(value))
}

/// Sets the setting `name` of a bucket, or removes it.
pub(crate) async fn write<T: Serialize>(
    vfs: &Vfs,
    bucket: &str,
    name: &'static str,
    value: Option<&T>,
) -> Result<(), S3Error> {
    let text = value.map(serde_json::to_vec).transpose();
    let text = text.map_err(|error| error::bucket(vfs::Error::Internal(error.to_string())))?;
    vfs.set_bucket_setting(bucket, name, text)
        .await
        .map_err(error::bucket)
}
