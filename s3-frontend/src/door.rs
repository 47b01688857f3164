//! Binds the operations to s3s's trait: the table of what this door answers.
//!
//! What is not in the table keeps s3s's default: `NotImplemented` (501). The macros write each method
//! as `async_trait` would: that attribute does not see into macro calls.
use std::pin::Pin;
use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use vfs::Vfs;

use crate::access::{Identities, ObjectOwnership as Ownership};
use crate::encryption::customer::KeyTransport;
use crate::encryption::keys::{KeyService, LocalKeys};
use crate::ops::unset::Absent;

/// The S3 view of a namespace.
pub(crate) struct Door {
    pub(crate) vfs: Vfs,
    pub(crate) region: String,
    /// How clients may bring encryption keys.
    pub(crate) customer_keys: KeyTransport,
    /// Keys that have names.
    pub(crate) keys: Arc<dyn KeyService>,
    pub(crate) identities: Arc<dyn Identities>,
    /// Whose the objects of a new bucket are.
    pub(crate) object_ownership: Ownership,
}

impl Door {
    /// Over `vfs`, in `region`.
    pub(crate) fn new(
        vfs: Vfs,
        region: String,
        customer_keys: KeyTransport,
        identities: Arc<dyn Identities>,
        object_ownership: Ownership,
    ) -> Self {
        let keys = Arc::new(LocalKeys::new(vfs.clone()));
        Self {
            vfs,
            region,
            customer_keys,
            keys,
            identities,
            object_ownership,
        }
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = S3Result<S3Response<T>>> + Send + 'a>>;

/// Operations that a method of [`Door`] carries out.
macro_rules! carried_out {
    ($($name:ident($input:ident) -> $output:ident = $method:ident;)*) => {$(
        fn $name<'life0, 'async_trait>(&'life0 self, req: S3Request<$input>) -> Answer<'async_trait, $output>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async move {
                self.$method(req).await
            })
        }
    )*};
}

/// Operations on settings that a bucket never has.
macro_rules! absent {
    ($($name:ident($input:ident) -> $output:ident = $absent:ident;)*) => {$(
        fn $name<'life0, 'async_trait>(&'life0 self, req: S3Request<$input>) -> Answer<'async_trait, $output>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async move {
                self.require_bucket(&req.input.bucket).await?;
                Err(Absent::$absent.error())
            })
        }
    )*};
}

/// Operations on a bucket with one fixed answer.
macro_rules! fixed {
    ($($name:ident($input:ident) -> $output:ident = $answer:expr;)*) => {$(
        fn $name<'life0, 'async_trait>(&'life0 self, req: S3Request<$input>) -> Answer<'async_trait, $output>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            Box::pin(async move {
                self.require_bucket(&req.input.bucket).await?;
                Ok(S3Response::new($answer))
            })
        }
    )*};
}

impl S3 for Door {
    carried_out! {
        create_bucket(CreateBucketInput) -> CreateBucketOutput = create;
        delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = delete_bucket_op;
        head_bucket(HeadBucketInput) -> HeadBucketOutput = head_bucket_op;
        list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets;
        get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = bucket_location;
        list_objects(ListObjectsInput) -> ListObjectsOutput = list_v1;
        list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = list_v2;
        list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = list_versions;
        get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = versioning;
        put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = set_versioning;
        put_bucket_encryption(PutBucketEncryptionInput) -> PutBucketEncryptionOutput = set_default_encryption;
        get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = default_encryption;
        delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput = end_default_encryption;
        put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput = set_lifecycle;
        get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput = lifecycle;
        delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput = end_lifecycle;
        put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput = put_cors;
        get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = cors;
        delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput = remove_cors;
        put_bucket_website(PutBucketWebsiteInput) -> PutBucketWebsiteOutput = put_website;
        get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput = website;
        delete_bucket_website(DeleteBucketWebsiteInput) -> DeleteBucketWebsiteOutput = remove_website;
        get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = policy;
        put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput = set_policy;
        delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput = delete_policy;
        get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput = policy_status;
        get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput = access_block;
        put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput = set_access_block;
        delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput = delete_access_block;
        get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput = ownership;
        put_bucket_ownership_controls(PutBucketOwnershipControlsInput) -> PutBucketOwnershipControlsOutput = set_ownership;
        delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput) -> DeleteBucketOwnershipControlsOutput = delete_ownership;
        get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput = bucket_acl;
        put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput = set_bucket_acl;
        get_object_acl(GetObjectAclInput) -> GetObjectAclOutput = object_acl;
        put_object_acl(PutObjectAclInput) -> PutObjectAclOutput = set_object_acl;
        put_object(PutObjectInput) -> PutObjectOutput = put;
        get_object(GetObjectInput) -> GetObjectOutput = get;
        head_object(HeadObjectInput) -> HeadObjectOutput = head;
        get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = attributes;
        copy_object(CopyObjectInput) -> CopyObjectOutput = copy;
        delete_object(DeleteObjectInput) -> DeleteObjectOutput = delete;
        delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = delete_many;
        create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = create_upload;
        upload_part(UploadPartInput) -> UploadPartOutput = put_part;
        upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = copy_part;
        complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = complete_upload;
        abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = abort_upload;
        list_parts(ListPartsInput) -> ListPartsOutput = parts;
        list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = uploads;
        restore_object(RestoreObjectInput) -> RestoreObjectOutput = restore;
        get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = object_tags;
        put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = tag_object;
        delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = untag_object;
        get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput = lock_configuration;
        put_object_lock_configuration(PutObjectLockConfigurationInput) -> PutObjectLockConfigurationOutput = configure_lock;
        get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput = retention;
        put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput = retain;
        get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput = legal_hold;
        put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput = hold;
        get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = bucket_tags;
        put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput = tag_bucket;
        delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = untag_bucket;
    }

    absent! {
        get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput = Replication;
        get_bucket_analytics_configuration(GetBucketAnalyticsConfigurationInput) -> GetBucketAnalyticsConfigurationOutput = Configuration;
        get_bucket_intelligent_tiering_configuration(GetBucketIntelligentTieringConfigurationInput) -> GetBucketIntelligentTieringConfigurationOutput = Configuration;
        get_bucket_inventory_configuration(GetBucketInventoryConfigurationInput) -> GetBucketInventoryConfigurationOutput = Configuration;
        get_bucket_metrics_configuration(GetBucketMetricsConfigurationInput) -> GetBucketMetricsConfigurationOutput = Configuration;
    }

    fixed! {
        get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput
            = GetBucketAccelerateConfigurationOutput::default();
        get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput
            = GetBucketLoggingOutput::default();
        get_bucket_notification_configuration(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput
            = GetBucketNotificationConfigurationOutput::default();
        get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput
            = GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(Payer::BUCKET_OWNER)) };
        list_bucket_analytics_configurations(ListBucketAnalyticsConfigurationsInput) -> ListBucketAnalyticsConfigurationsOutput
            = ListBucketAnalyticsConfigurationsOutput { is_truncated: Some(false), ..Default::default() };
        list_bucket_intelligent_tiering_configurations(ListBucketIntelligentTieringConfigurationsInput) -> ListBucketIntelligentTieringConfigurationsOutput
            = ListBucketIntelligentTieringConfigurationsOutput { is_truncated: Some(false), ..Default::default() };
        list_bucket_inventory_configurations(ListBucketInventoryConfigurationsInput) -> ListBucketInventoryConfigurationsOutput
            = ListBucketInventoryConfigurationsOutput { is_truncated: Some(false), ..Default::default() };
        list_bucket_metrics_configurations(ListBucketMetricsConfigurationsInput) -> ListBucketMetricsConfigurationsOutput
            = ListBucketMetricsConfigurationsOutput { is_truncated: Some(false), ..Default::default() };
        delete_bucket_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput
            = DeleteBucketReplicationOutput::default();
    }
}
