//! Lifecycle configurations of buckets, and the header that says when an object goes.
//!
//! The rules are kept and followed by the namespace ([`vfs::lifecycle`]); here they are checked as S3 does
//! and translated both ways ([`rules`]).
mod rules;

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};
use vfs::ObjectInfo;
use vfs::lifecycle::parse_tags;

use crate::door::Door;
use crate::error;
use crate::naming;
use crate::ops::unset::Absent;

/// The setting of an object that its tags are.
const TAGS: &str = "tagging";

impl Door {
    pub(crate) async fn set_lifecycle(
        &self,
        req: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        let input = req.input;
        self.require_bucket(&input.bucket).await?;
        let rules = rules::read(input.lifecycle_configuration)?;
        self.vfs
            .set_lifecycle(&input.bucket, Some(&rules))
            .await
            .map_err(error::bucket)?;
        Ok(S3Response::new(PutBucketLifecycleConfigurationOutput {
            transition_default_minimum_object_size: input.transition_default_minimum_object_size,
        }))
    }

    pub(crate) async fn lifecycle(
        &self,
        req: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        let found = self.vfs.lifecycle(&req.input.bucket).await;
        let rules = found
            .map_err(error::bucket)?
            .ok_or_else(|| Absent::Lifecycle.error())?;
        Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
            rules: Some(rules.rules.iter().map(rules::show).collect()),
            ..GetBucketLifecycleConfigurationOutput::default()
        }))
    }

    pub(crate) async fn end_lifecycle(
        &self,
        req: S3Request<DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
        self.vfs
            .set_lifecycle(&req.input.bucket, None)
            .await
            .map_err(error::bucket)?;
        Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
    }

    /// `x-amz-expiration` of a present object: when the bucket's rules end it, by the calendar. An answer
    /// does not fail for want of it.
    pub(crate) async fn expiration(&self, bucket: &str, info: &ObjectInfo) -> Option<String> {
        let rules = match self.vfs.lifecycle(bucket).await {
            Ok(rules) => rules?,
            Err(error) => {
                tracing::debug!(%error, bucket, "an answer does not say when its object goes");
                return None;
            }
        };
        let tags = parse_tags(info.meta.settings.get(TAGS).map(String::as_str));
        let (moment, rule) = rules.expiry(&info.key, info.size, &tags, info.modified)?;
        let mut date = Vec::new();
        naming::timestamp(moment)
            .format(TimestampFormat::HttpDate, &mut date)
            .ok()?;
        let date = String::from_utf8(date).ok()?;
        // Header values hold no line ends and no quotes.
        let id: String = form_urlencoded::byte_serialize(rule.id.as_bytes()).collect();
        Some(format!("expiry-date=\"{date}\", rule-id=\"{id}\""))
    }
}
