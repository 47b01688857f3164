//! Which actions each operation of S3 needs, and on what.
//!
//! One table, complete: a test compares it with the operations that the s3s crate knows. An operation
//! that is not in it is refused.
use crate::acl::Permission;

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// All buckets of an account.
    Service,
    /// A bucket that is not there yet.
    NewBucket,
    /// A bucket.
    Bucket,
    /// An object as an entry of its bucket: the bucket's owner and its ACL decide.
    Entry,
    /// An object itself: its own owner and its own ACL decide.
    Object,
}

/// What an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) target: Target,
    /// The actions that must all be allowed.
    pub(super) actions: &'static [&'static str],
    /// The actions instead where the request names a version.
    pub(super) of_version: Option<&'static [&'static str]>,
    /// What an ACL of the target must grant to allow it; `None`: no ACL does.
    pub(super) granted_by: Option<Permission>,
    /// Decided again, or only, when the body has been read.
    pub(super) deferred: bool,
}

const fn rule(target: Target, actions: &'static [&'static str]) -> Rule {
    Rule {
        target,
        actions,
        of_version: None,
        granted_by: None,
        deferred: false,
    }
}

impl Rule {
    const fn version(mut self, actions: &'static [&'static str]) -> Self {
        self.of_version = Some(actions);
        self
    }

    const fn acl(mut self, permission: Permission) -> Self {
        self.granted_by = Some(permission);
        self
    }

    const fn deferred(mut self) -> Self {
        self.deferred = true;
        self
    }
}

/// What an operation needs, by its name.
pub(super) fn rule_of(operation: &str) -> Option<Rule> {
    use Permission::{Read, ReadAcp, Write, WriteAcp};
    use Target::{Bucket, Entry, NewBucket, Object, Service};
    Some(match operation {
        "ListBuckets" | "ListDirectoryBuckets" => rule(Service, &["s3:ListAllMyBuckets"]),
        "CreateBucket" => rule(NewBucket, &["s3:CreateBucket"]),
        "DeleteBucket" => rule(Bucket, &["s3:DeleteBucket"]),
        "CreateSession" => rule(Bucket, &["s3:CreateSession"]),

        "HeadBucket" | "ListObjects" | "ListObjectsV2" => rule(Bucket, &["s3:ListBucket"]).acl(Read),
        "ListObjectVersions" => rule(Bucket, &["s3:ListBucketVersions"]).acl(Read),
        "ListMultipartUploads" => rule(Bucket, &["s3:ListBucketMultipartUploads"]).acl(Read),

        "GetBucketLocation" => rule(Bucket, &["s3:GetBucketLocation"]),
        "GetBucketVersioning" => rule(Bucket, &["s3:GetBucketVersioning"]),
        "PutBucketVersioning" => rule(Bucket, &["s3:PutBucketVersioning"]),
        "GetBucketAcl" => rule(Bucket, &["s3:GetBucketAcl"]).acl(ReadAcp),
        "PutBucketAcl" => rule(Bucket, &["s3:PutBucketAcl"]).acl(WriteAcp),
        "GetBucketPolicy" => rule(Bucket, &["s3:GetBucketPolicy"]),
        "PutBucketPolicy" => rule(Bucket, &["s3:PutBucketPolicy"]),
        "DeleteBucketPolicy" => rule(Bucket, &["s3:DeleteBucketPolicy"]),
        "GetBucketPolicyStatus" => rule(Bucket, &["s3:GetBucketPolicyStatus"]),
        "GetPublicAccessBlock" => rule(Bucket, &["s3:GetBucketPublicAccessBlock"]),
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => {
            rule(Bucket, &["s3:PutBucketPublicAccessBlock"])
        }
        "GetBucketOwnershipControls" => rule(Bucket, &["s3:GetBucketOwnershipControls"]),
        "PutBucketOwnershipControls" | "DeleteBucketOwnershipControls" => {
            rule(Bucket, &["s3:PutBucketOwnershipControls"])
        }
        "GetBucketCors" => rule(Bucket, &["s3:GetBucketCORS"]),
        "PutBucketCors" | "DeleteBucketCors" => rule(Bucket, &["s3:PutBucketCORS"]),
        "GetBucketEncryption" => rule(Bucket, &["s3:GetEncryptionConfiguration"]),
        "PutBucketEncryption" | "DeleteBucketEncryption" => rule(Bucket, &["s3:PutEncryptionConfiguration"]),
        "GetBucketLifecycleConfiguration" => rule(Bucket, &["s3:GetLifecycleConfiguration"]),
        "PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle" => {
            rule(Bucket, &["s3:PutLifecycleConfiguration"])
        }
        "GetBucketLogging" => rule(Bucket, &["s3:GetBucketLogging"]),
        "PutBucketLogging" => rule(Bucket, &["s3:PutBucketLogging"]),
        "GetBucketNotificationConfiguration" => rule(Bucket, &["s3:GetBucketNotification"]),
        "PutBucketNotificationConfiguration" => rule(Bucket, &["s3:PutBucketNotification"]),
        "GetBucketReplication" => rule(Bucket, &["s3:GetReplicationConfiguration"]),
        "PutBucketReplication" | "DeleteBucketReplication" => {
            rule(Bucket, &["s3:PutReplicationConfiguration"])
        }
        "GetBucketRequestPayment" => rule(Bucket, &["s3:GetBucketRequestPayment"]),
        "PutBucketRequestPayment" => rule(Bucket, &["s3:PutBucketRequestPayment"]),
        "GetBucketTagging" => rule(Bucket, &["s3:GetBucketTagging"]),
        "PutBucketTagging" | "DeleteBucketTagging" => rule(Bucket, &["s3:PutBucketTagging"]),
        "GetBucketWebsite" => rule(Bucket, &["s3:GetBucketWebsite"]),
        "PutBucketWebsite" => rule(Bucket, &["s3:PutBucketWebsite"]),
        "DeleteBucketWebsite" => rule(Bucket, &["s3:DeleteBucketWebsite"]),
        "GetBucketAccelerateConfiguration" => rule(Bucket, &["s3:GetAccelerateConfiguration"]),
        "PutBucketAccelerateConfiguration" => rule(Bucket, &["s3:PutAccelerateConfiguration"]),
        "GetObjectLockConfiguration" => rule(Bucket, &["s3:GetBucketObjectLockConfiguration"]),
        "PutObjectLockConfiguration" => rule(Bucket, &["s3:PutBucketObjectLockConfiguration"]),
        "GetBucketAnalyticsConfiguration" | "ListBucketAnalyticsConfigurations" => {
            rule(Bucket, &["s3:GetAnalyticsConfiguration"])
        }
        "PutBucketAnalyticsConfiguration" | "DeleteBucketAnalyticsConfiguration" => {
            rule(Bucket, &["s3:PutAnalyticsConfiguration"])
        }
        "GetBucketIntelligentTieringConfiguration" | "ListBucketIntelligentTieringConfigurations" => {
            rule(Bucket, &["s3:GetIntelligentTieringConfiguration"])
        }
        "PutBucketIntelligentTieringConfiguration" | "DeleteBucketIntelligentTieringConfiguration" => {
            rule(Bucket, &["s3:PutIntelligentTieringConfiguration"])
        }
        "GetBucketInventoryConfiguration" | "ListBucketInventoryConfigurations" => {
            rule(Bucket, &["s3:GetInventoryConfiguration"])
        }
        "PutBucketInventoryConfiguration" | "DeleteBucketInventoryConfiguration" => {
            rule(Bucket, &["s3:PutInventoryConfiguration"])
        }
        "GetBucketMetricsConfiguration" | "ListBucketMetricsConfigurations" => {
            rule(Bucket, &["s3:GetMetricsConfiguration"])
        }
        "PutBucketMetricsConfiguration" | "DeleteBucketMetricsConfiguration" => {
            rule(Bucket, &["s3:PutMetricsConfiguration"])
        }
        "GetBucketMetadataTableConfiguration" => rule(Bucket, &["s3:GetBucketMetadataTableConfiguration"]),
        "CreateBucketMetadataTableConfiguration" => {
            rule(Bucket, &["s3:CreateBucketMetadataTableConfiguration"])
        }
        "DeleteBucketMetadataTableConfiguration" => {
            rule(Bucket, &["s3:DeleteBucketMetadataTableConfiguration"])
        }

        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload" => rule(Entry, &["s3:PutObject"]).acl(Write),
        // The key is in the form.
        "PostObject" => rule(Entry, &["s3:PutObject"]).acl(Write).deferred(),
        // Who may write to a bucket by its ACL alone may not end the uploads of others.
        "AbortMultipartUpload" => rule(Entry, &["s3:AbortMultipartUpload"]),
        "ListParts" => rule(Entry, &["s3:ListMultipartUploadParts"]),
        "DeleteObject" => rule(Entry, &["s3:DeleteObject"])
            .version(&["s3:DeleteObjectVersion"])
            .acl(Write),
        // The keys are in the document.
        "DeleteObjects" => rule(Entry, &["s3:DeleteObject"])
            .version(&["s3:DeleteObjectVersion"])
            .acl(Write)
            .deferred(),
        "WriteGetObjectResponse" => rule(Entry, &["s3:PutObject"]),

        "GetObject" | "HeadObject" | "SelectObjectContent" => rule(Object, &["s3:GetObject"])
            .version(&["s3:GetObjectVersion"])
            .acl(Read),
        "GetObjectAttributes" => rule(Object, &["s3:GetObject", "s3:GetObjectAttributes"])
            .version(&["s3:GetObjectVersion", "s3:GetObjectVersionAttributes"])
            .acl(Read),
        "GetObjectTorrent" => rule(Object, &["s3:GetObjectTorrent"])
            .version(&["s3:GetObjectVersionTorrent"])
            .acl(Read),
        "GetObjectAcl" => rule(Object, &["s3:GetObjectAcl"])
            .version(&["s3:GetObjectVersionAcl"])
            .acl(ReadAcp),
        "PutObjectAcl" => rule(Object, &["s3:PutObjectAcl"])
            .version(&["s3:PutObjectVersionAcl"])
            .acl(WriteAcp),
        "GetObjectTagging" => rule(Object, &["s3:GetObjectTagging"]).version(&["s3:GetObjectVersionTagging"]),
        // The tags are in the document.
        "PutObjectTagging" => rule(Object, &["s3:PutObjectTagging"])
            .version(&["s3:PutObjectVersionTagging"])
            .deferred(),
        "DeleteObjectTagging" => {
            rule(Object, &["s3:DeleteObjectTagging"]).version(&["s3:DeleteObjectVersionTagging"])
        }
        "GetObjectRetention" => rule(Object, &["s3:GetObjectRetention"]),
        "PutObjectRetention" => rule(Object, &["s3:PutObjectRetention"]),
        "GetObjectLegalHold" => rule(Object, &["s3:GetObjectLegalHold"]),
        "PutObjectLegalHold" => rule(Object, &["s3:PutObjectLegalHold"]),
        "RestoreObject" => rule(Object, &["s3:RestoreObject"]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use cargo_metadata::MetadataCommand;

    use super::*;

    /// This machine, as cargo names it: the sources of crates for others are not all here.
    fn host() -> String {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let said = Command::new(cargo).arg("-vV").output().unwrap().stdout;
        let said = String::from_utf8(said).unwrap();
        let host = said.lines().find_map(|line| line.strip_prefix("host: "));
        host.unwrap().to_owned()
    }

    /// Every operation that s3s can route, read out of its sources.
    fn operations() -> Vec<String> {
        let options = ["--offline", "--locked", "--filter-platform"].map(str::to_owned);
        let metadata = MetadataCommand::new()
            .other_options(options.into_iter().chain([host()]).collect::<Vec<_>>())
            .exec()
            .unwrap();
        let s3s = metadata
            .packages
            .iter()
            .find(|package| package.name.as_str() == "s3s")
            .unwrap();
        let routes = s3s.manifest_path.parent().unwrap().join("src/ops/generated.rs");
        let text = std::fs::read_to_string(routes).unwrap();
        text.split("impl super::Operation for ")
            .skip(1)
            .filter_map(|rest| rest.split_once(" {").map(|(name, _)| name.to_owned()))
            .collect()
    }

    #[test]
    fn every_operation_has_its_rule() {
        let operations = operations();
        assert!(operations.len() > 90, "{operations:?}");
        for operation in operations {
            assert!(rule_of(&operation).is_some(), "{operation} has no rule");
        }
        assert_eq!(rule_of("Unheard"), None);
    }
}
