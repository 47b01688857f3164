//! Object Lock: the configuration of a bucket, and what holds one version.
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use vfs::{BucketLock, DefaultRetention, Governance, ObjectInfo, ObjectLock, Period, Retention, VersionId};

use super::unset::Absent;
use super::version;
use crate::door::Door;
use crate::error::{self, fail, fail_custom, malformed_xml};
use crate::lock::{self, retention_mode};
use crate::naming;

/// The header by which a caller says that governance shall not bind it.
pub(crate) fn governance(bypass: Option<bool>) -> Governance {
    if bypass == Some(true) {
        Governance::Bypassed
    } else {
        Governance::Binds
    }
}

/// 409: the bucket cannot have, or be without, what is asked for.
pub(crate) fn invalid_bucket_state(message: &'static str) -> S3Error {
    fail_custom("InvalidBucketState", StatusCode::CONFLICT, message)
}

impl Door {
    pub(crate) async fn lock_configuration(
        &self,
        req: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        let lock = self
            .vfs
            .object_lock(&req.input.bucket)
            .await
            .map_err(error::bucket)?
            .ok_or_else(|| Absent::ObjectLock.error())?;
        let configuration = ObjectLockConfiguration {
            object_lock_enabled: Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED)),
            rule: lock.default.map(|default| ObjectLockRule {
                default_retention: Some(shown_default(default)),
            }),
        };
        Ok(S3Response::new(GetObjectLockConfigurationOutput {
            object_lock_configuration: Some(configuration),
        }))
    }

    pub(crate) async fn configure_lock(
        &self,
        req: S3Request<PutObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
        let bucket = req.input.bucket;
        let configuration = req.input.object_lock_configuration.ok_or_else(malformed_xml)?;
        let enabled = configuration
            .object_lock_enabled
            .as_ref()
            .map(ObjectLockEnabled::as_str);
        if enabled != Some(ObjectLockEnabled::ENABLED) {
            return Err(malformed_xml());
        }
        let default = match configuration.rule {
            None => None,
            Some(rule) => Some(wanted_default(rule.default_retention.ok_or_else(malformed_xml)?)?),
        };
        match self.vfs.set_object_lock(&bucket, BucketLock { default }).await {
            Err(vfs::Error::Invalid(_)) => Err(invalid_bucket_state(
                "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
            )),
            done => done.map_err(error::bucket),
        }?;
        Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
    }

    pub(crate) async fn retention(
        &self,
        req: S3Request<GetObjectRetentionInput>,
    ) -> S3Result<S3Response<GetObjectRetentionOutput>> {
        let input = req.input;
        let lock = self
            .lock_of(&input.bucket, &input.key, input.version_id.as_deref())
            .await?;
        let retention = lock.retention.ok_or_else(nothing_said)?;
        Ok(S3Response::new(GetObjectRetentionOutput {
            retention: Some(ObjectLockRetention {
                mode: Some(ObjectLockRetentionMode::from(retention.mode.to_string())),
                retain_until_date: Some(naming::timestamp(retention.until)),
            }),
        }))
    }

    pub(crate) async fn retain(
        &self,
        req: S3Request<PutObjectRetentionInput>,
    ) -> S3Result<S3Response<PutObjectRetentionOutput>> {
        let input = req.input;
        let version = version::asked(input.version_id.as_deref())?;
        self.require_lock(&input.bucket).await?;
        let wanted = input.retention.ok_or_else(malformed_xml)?;
        let retention = match (wanted.mode, wanted.retain_until_date) {
            (None, None) => None,
            (Some(mode), Some(until)) => {
                let mode = retention_mode(mode.as_str()).ok_or_else(malformed_xml)?;
                let until = lock::future(&until)?;
                Some(Retention { mode, until })
            }
            _ => return Err(malformed_xml()),
        };
        let (bucket, key) = (input.bucket.as_str(), input.key.as_str());
        let governance = governance(input.bypass_governance_retention);
        let changed = self
            .vfs
            .set_retention(bucket, key.as_bytes(), version, retention, governance)
            .await;
        self.lock_changed(bucket, key, version, changed).await?;
        Ok(S3Response::new(PutObjectRetentionOutput::default()))
    }

    pub(crate) async fn legal_hold(
        &self,
        req: S3Request<GetObjectLegalHoldInput>,
    ) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
        let input = req.input;
        let lock = self
            .lock_of(&input.bucket, &input.key, input.version_id.as_deref())
            .await?;
        let status = lock::hold_name(lock.legal_hold.ok_or_else(nothing_said)?);
        Ok(S3Response::new(GetObjectLegalHoldOutput {
            legal_hold: Some(ObjectLockLegalHold {
                status: Some(ObjectLockLegalHoldStatus::from_static(status)),
            }),
        }))
    }

    pub(crate) async fn hold(
        &self,
        req: S3Request<PutObjectLegalHoldInput>,
    ) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
        let input = req.input;
        let version = version::asked(input.version_id.as_deref())?;
        self.require_lock(&input.bucket).await?;
        let status = input
            .legal_hold
            .and_then(|hold| hold.status)
            .ok_or_else(malformed_xml)?;
        let on = lock::hold_of(status.as_str()).ok_or_else(malformed_xml)?;
        let (bucket, key) = (input.bucket.as_str(), input.key.as_str());
        let changed = self.vfs.set_legal_hold(bucket, key.as_bytes(), version, on).await;
        self.lock_changed(bucket, key, version, changed).await?;
        Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
    }

    /// 400 unless the bucket has Object Lock.
    pub(crate) async fn require_lock(&self, bucket: &str) -> S3Result<()> {
        match self.vfs.object_lock(bucket).await.map_err(error::bucket)? {
            Some(_) => Ok(()),
            None => Err(Absent::ObjectLockOfObject.error()),
        }
    }

    async fn lock_of(&self, bucket: &str, key: &str, version: Option<&str>) -> S3Result<ObjectLock> {
        let version = version::asked(version)?;
        self.require_lock(bucket).await?;
        let reader = self.open(bucket, key, version).await?;
        Ok(ObjectLock::of(&reader.info().meta))
    }

    async fn lock_changed(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
        changed: vfs::Result<ObjectInfo>,
    ) -> S3Result<()> {
        match changed {
            Ok(_) => Ok(()),
            // Says whether the key, the version or only what a delete marker hides is missing.
            Err(vfs::Error::NotFound) => match self.open(bucket, key, version).await {
                Ok(_) => Err(error::no_such_key()),
                Err(error) => Err(error),
            },
            Err(error) => Err(error::object(error)),
        }
    }
}

fn nothing_said() -> S3Error {
    fail_custom(
        "NoSuchObjectLockConfiguration",
        StatusCode::NOT_FOUND,
        "The specified object does not have a ObjectLock configuration",
    )
}

fn wanted_default(wanted: s3s::dto::DefaultRetention) -> S3Result<DefaultRetention> {
    let mode = wanted.mode.as_ref().map(ObjectLockRetentionMode::as_str);
    let mode = mode.and_then(retention_mode).ok_or_else(malformed_xml)?;
    let positive = |number: i32| {
        u32::try_from(number)
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| {
                fail(
                    S3ErrorCode::InvalidArgument,
                    "Default retention period must be a positive integer value.",
                )
            })
    };
    let period = match (wanted.days, wanted.years) {
        (Some(days), None) => Period::Days(positive(days)?),
        (None, Some(years)) => Period::Years(positive(years)?),
        _ => return Err(malformed_xml()),
    };
    if !period.is_possible() {
        return Err(fail(
            S3ErrorCode::InvalidArgument,
            format!(
                "Default retention period too large: at most {} days.",
                vfs::DAYS_MAX
            ),
        ));
    }
    Ok(DefaultRetention { mode, period })
}

fn shown_default(default: DefaultRetention) -> s3s::dto::DefaultRetention {
    let (days, years) = match default.period {
        Period::Days(days) => (i32::try_from(days).ok(), None),
        Period::Years(years) => (None, i32::try_from(years).ok()),
    };
    s3s::dto::DefaultRetention {
        days,
        mode: Some(ObjectLockRetentionMode::from(default.mode.to_string())),
        years,
    }
}
