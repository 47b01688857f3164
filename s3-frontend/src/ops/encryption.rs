//! Default encryption of buckets.
//!
//! A bucket keeps it as its setting `encryption`, as JSON. What a bucket says counts for requests that say
//! nothing; `AES256` is what everything has.
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};

use crate::door::Door;
use crate::encryption::kept::NamedKey;
use crate::error::{self, fail, fail_custom, not_implemented};

/// The setting.
const SETTING: &str = "encryption";

/// What a bucket says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BucketEncryption {
    /// As S3 names it.
    algorithm: String,
    /// Name of the key, of `aws:kms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// S3's saving of requests to the key service: shown as it was given.
    #[serde(default)]
    bucket_key: bool,
}

impl BucketEncryption {
    /// Checks a configuration.
    fn read(document: ServerSideEncryptionConfiguration) -> S3Result<Self> {
        let malformed = || {
            fail(
                S3ErrorCode::MalformedXML,
                "The XML you provided was not well-formed or did not validate against our published schema",
            )
        };
        let [rule] = <[_; 1]>::try_from(document.rules).map_err(|_| malformed())?;
        let bucket_key = rule.bucket_key_enabled.unwrap_or(false);
        let default = rule
            .apply_server_side_encryption_by_default
            .ok_or_else(malformed)?;
        match default.sse_algorithm.as_str() {
            ServerSideEncryption::AES256 if default.kms_master_key_id.is_some() => Err(fail(
                S3ErrorCode::InvalidArgument,
                "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms",
            )),
            ServerSideEncryption::AES256 => Ok(Self {
                algorithm: ServerSideEncryption::AES256.to_owned(),
                key: None,
                bucket_key,
            }),
            ServerSideEncryption::AWS_KMS => Ok(Self {
                algorithm: ServerSideEncryption::AWS_KMS.to_owned(),
                key: default.kms_master_key_id,
                bucket_key,
            }),
            ServerSideEncryption::AWS_KMS_DSSE => Err(not_implemented("Encryption in two layers")),
            _ => Err(malformed()),
        }
    }

    fn show(self) -> ServerSideEncryptionConfiguration {
        ServerSideEncryptionConfiguration {
            rules: vec![ServerSideEncryptionRule {
                apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
                    kms_master_key_id: self.key,
                    sse_algorithm: ServerSideEncryption::from(self.algorithm),
                }),
                bucket_key_enabled: Some(self.bucket_key),
            }],
        }
    }
}

impl Door {
    /// The named key that counts for requests that say nothing; `None`: as everything is.
    pub(crate) async fn default_key(&self, bucket: &str) -> S3Result<Option<NamedKey>> {
        let document = self.vfs.bucket_setting(bucket, SETTING).await;
        let Some(document) = document.map_err(error::bucket)? else {
            return Ok(None);
        };
        let said: BucketEncryption =
            serde_json::from_slice(&document).map_err(s3s::S3Error::internal_error)?;
        Ok(
            (said.algorithm == ServerSideEncryption::AWS_KMS).then_some(NamedKey {
                name: said.key,
                context: None,
                bucket_key: said.bucket_key,
            }),
        )
    }

    pub(crate) async fn set_default_encryption(
        &self,
        req: S3Request<PutBucketEncryptionInput>,
    ) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
        self.require_bucket(&req.input.bucket).await?;
        let said = BucketEncryption::read(req.input.server_side_encryption_configuration)?;
        let document = serde_json::to_vec(&said).map_err(s3s::S3Error::internal_error)?;
        self.vfs
            .set_bucket_setting(&req.input.bucket, SETTING, Some(document))
            .await
            .map_err(error::bucket)?;
        Ok(S3Response::new(PutBucketEncryptionOutput::default()))
    }

    pub(crate) async fn default_encryption(
        &self,
        req: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        let document = self.vfs.bucket_setting(&req.input.bucket, SETTING).await;
        let document = document.map_err(error::bucket)?.ok_or_else(|| {
            fail_custom(
                "ServerSideEncryptionConfigurationNotFoundError",
                StatusCode::NOT_FOUND,
                "The server side encryption configuration was not found",
            )
        })?;
        let said: BucketEncryption =
            serde_json::from_slice(&document).map_err(s3s::S3Error::internal_error)?;
        Ok(S3Response::new(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(said.show()),
        }))
    }

    pub(crate) async fn end_default_encryption(
        &self,
        req: S3Request<DeleteBucketEncryptionInput>,
    ) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
        self.vfs
            .set_bucket_setting(&req.input.bucket, SETTING, None)
            .await
            .map_err(error::bucket)?;
        Ok(S3Response::new(DeleteBucketEncryptionOutput::default()))
    }
}
