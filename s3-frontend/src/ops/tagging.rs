//! Tags of objects, of their versions, and of buckets.
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};
use vfs::{ObjectInfo, SettingChanges, VersionId};

use super::unset::Absent;
use super::version;
use crate::door::Door;
use crate::error;
use crate::tags::{MAX_OF_BUCKET, MAX_OF_OBJECT, SETTING, Tags};

impl Door {
    pub(crate) async fn object_tags(
        &self,
        req: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let input = req.input;
        let version = version::asked(input.version_id.as_deref())?;
        let reader = self.open(&input.bucket, &input.key, version).await?;
        Ok(S3Response::new(GetObjectTaggingOutput {
            tag_set: Tags::of(&reader.info().meta).to_dto(),
            version_id: version::shown(reader.info().version),
        }))
    }

    pub(crate) async fn tag_object(
        &self,
        req: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let input = req.input;
        let version = version::asked(input.version_id.as_deref())?;
        let tags = Tags::from_document(input.tagging.tag_set, MAX_OF_OBJECT)?;
        let info = self.set_tags(&input.bucket, &input.key, version, &tags).await?;
        Ok(S3Response::new(PutObjectTaggingOutput {
            version_id: version::shown(info.version),
        }))
    }

    pub(crate) async fn untag_object(
        &self,
        req: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        let input = req.input;
        let version = version::asked(input.version_id.as_deref())?;
        let info = self
            .set_tags(&input.bucket, &input.key, version, &Tags::default())
            .await?;
        Ok(S3Response::with_status(
            DeleteObjectTaggingOutput {
                version_id: version::shown(info.version),
            },
            StatusCode::NO_CONTENT,
        ))
    }

    async fn set_tags(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
        tags: &Tags,
    ) -> S3Result<ObjectInfo> {
        let changes = SettingChanges::from([(SETTING.to_owned(), tags.kept())]);
        let changed = self
            .vfs
            .change_object_settings(bucket, key.as_bytes(), version, move |_| Ok(changes.clone()))
            .await;
        match changed {
            // Says whether the key, the version or only what a delete marker hides is missing.
            Err(vfs::Error::NotFound) => match self.open(bucket, key, version).await {
                Ok(_) => Err(error::no_such_key()),
                Err(error) => Err(error),
            },
            changed => changed.map_err(error::object),
        }
    }

    pub(crate) async fn bucket_tags(
        &self,
        req: S3Request<GetBucketTaggingInput>,
    ) -> S3Result<S3Response<GetBucketTaggingOutput>> {
        let kept = self
            .vfs
            .bucket_setting(&req.input.bucket, SETTING)
            .await
            .map_err(error::bucket)?;
        let kept = kept.ok_or_else(|| Absent::Tagging.error())?;
        Ok(S3Response::new(GetBucketTaggingOutput {
            tag_set: Tags::parse(&String::from_utf8_lossy(&kept)).to_dto(),
        }))
    }

    pub(crate) async fn tag_bucket(
        &self,
        req: S3Request<PutBucketTaggingInput>,
    ) -> S3Result<S3Response<PutBucketTaggingOutput>> {
        let tags = Tags::from_document(req.input.tagging.tag_set, MAX_OF_BUCKET)?;
        self.set_bucket_tags(&req.input.bucket, &tags).await?;
        Ok(S3Response::new(PutBucketTaggingOutput::default()))
    }

    pub(crate) async fn untag_bucket(
        &self,
        req: S3Request<DeleteBucketTaggingInput>,
    ) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
        self.set_bucket_tags(&req.input.bucket, &Tags::default()).await?;
        Ok(S3Response::with_status(
            DeleteBucketTaggingOutput::default(),
            StatusCode::NO_CONTENT,
        ))
    }

    async fn set_bucket_tags(&self, bucket: &str, tags: &Tags) -> S3Result<()> {
        self.vfs
            .set_bucket_setting(bucket, SETTING, tags.kept().map(String::into_bytes))
            .await
            .map_err(error::bucket)
    }
}
