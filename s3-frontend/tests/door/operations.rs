//! Every operation that S3 has is either carried out or refused by its name.
//!
//! What is carried out is read from the door's own table, so that this test says the right thing whatever
//! is added to it.
use std::collections::BTreeSet;

use reqwest::Method;

use crate::harness::Harness;

/// The table of operations of the door.
const DOOR: &str = include_str!("../../src/door.rs");

/// Operations of S3: method, target (`/B`: a bucket, `/B/K`: an object), name, and a body that is good for it.
const OPERATIONS: &[(&str, &str, &str, &str)] = &[
    ("DELETE", "/B/K?uploadId=x", "AbortMultipartUpload", ""),
    (
        "POST",
        "/B/K?uploadId=x",
        "CompleteMultipartUpload",
        "<CompleteMultipartUpload></CompleteMultipartUpload>",
    ),
    ("PUT", "/B-new", "CreateBucket", ""),
    (
        "POST",
        "/B?metadataTable",
        "CreateBucketMetadataTableConfiguration",
        "<MetadataTableConfiguration><S3TablesDestination><TableBucketArn>a</TableBucketArn><TableName>t</TableName>\
         </S3TablesDestination></MetadataTableConfiguration>",
    ),
    ("POST", "/B/K?uploads", "CreateMultipartUpload", ""),
    ("GET", "/B?session", "CreateSession", ""),
    ("DELETE", "/B", "DeleteBucket", ""),
    (
        "DELETE",
        "/B?analytics&id=i",
        "DeleteBucketAnalyticsConfiguration",
        "",
    ),
    ("DELETE", "/B?cors", "DeleteBucketCors", ""),
    ("DELETE", "/B?encryption", "DeleteBucketEncryption", ""),
    (
        "DELETE",
        "/B?intelligent-tiering&id=i",
        "DeleteBucketIntelligentTieringConfiguration",
        "",
    ),
    (
        "DELETE",
        "/B?inventory&id=i",
        "DeleteBucketInventoryConfiguration",
        "",
    ),
    ("DELETE", "/B?lifecycle", "DeleteBucketLifecycle", ""),
    (
        "DELETE",
        "/B?metadataTable",
        "DeleteBucketMetadataTableConfiguration",
        "",
    ),
    (
        "DELETE",
        "/B?metrics&id=i",
        "DeleteBucketMetricsConfiguration",
        "",
    ),
    (
        "DELETE",
        "/B?ownershipControls",
        "DeleteBucketOwnershipControls",
        "",
    ),
    ("DELETE", "/B?policy", "DeleteBucketPolicy", ""),
    ("DELETE", "/B?replication", "DeleteBucketReplication", ""),
    ("DELETE", "/B?tagging", "DeleteBucketTagging", ""),
    ("DELETE", "/B?website", "DeleteBucketWebsite", ""),
    ("DELETE", "/B/gone", "DeleteObject", ""),
    ("DELETE", "/B/K?tagging", "DeleteObjectTagging", ""),
    (
        "POST",
        "/B?delete",
        "DeleteObjects",
        "<Delete><Object><Key>gone</Key></Object></Delete>",
    ),
    ("DELETE", "/B?publicAccessBlock", "DeletePublicAccessBlock", ""),
    ("GET", "/B?accelerate", "GetBucketAccelerateConfiguration", ""),
    ("GET", "/B?acl", "GetBucketAcl", ""),
    ("GET", "/B?analytics&id=i", "GetBucketAnalyticsConfiguration", ""),
    ("GET", "/B?cors", "GetBucketCors", ""),
    ("GET", "/B?encryption", "GetBucketEncryption", ""),
    (
        "GET",
        "/B?intelligent-tiering&id=i",
        "GetBucketIntelligentTieringConfiguration",
        "",
    ),
    ("GET", "/B?inventory&id=i", "GetBucketInventoryConfiguration", ""),
    ("GET", "/B?lifecycle", "GetBucketLifecycleConfiguration", ""),
    ("GET", "/B?location", "GetBucketLocation", ""),
    ("GET", "/B?logging", "GetBucketLogging", ""),
    (
        "GET",
        "/B?metadataTable",
        "GetBucketMetadataTableConfiguration",
        "",
    ),
    ("GET", "/B?metrics&id=i", "GetBucketMetricsConfiguration", ""),
    ("GET", "/B?notification", "GetBucketNotificationConfiguration", ""),
    ("GET", "/B?ownershipControls", "GetBucketOwnershipControls", ""),
    ("GET", "/B?policy", "GetBucketPolicy", ""),
    ("GET", "/B?policyStatus", "GetBucketPolicyStatus", ""),
    ("GET", "/B?replication", "GetBucketReplication", ""),
    ("GET", "/B?requestPayment", "GetBucketRequestPayment", ""),
    ("GET", "/B?tagging", "GetBucketTagging", ""),
    ("GET", "/B?versioning", "GetBucketVersioning", ""),
    ("GET", "/B?website", "GetBucketWebsite", ""),
    ("GET", "/B/K", "GetObject", ""),
    ("GET", "/B/K?acl", "GetObjectAcl", ""),
    ("GET", "/B/K?attributes", "GetObjectAttributes", ""),
    ("GET", "/B/K?legal-hold", "GetObjectLegalHold", ""),
    ("GET", "/B?object-lock", "GetObjectLockConfiguration", ""),
    ("GET", "/B/K?retention", "GetObjectRetention", ""),
    ("GET", "/B/K?tagging", "GetObjectTagging", ""),
    ("GET", "/B/K?torrent", "GetObjectTorrent", ""),
    ("GET", "/B?publicAccessBlock", "GetPublicAccessBlock", ""),
    ("GET", "/B?analytics", "ListBucketAnalyticsConfigurations", ""),
    (
        "GET",
        "/B?intelligent-tiering",
        "ListBucketIntelligentTieringConfigurations",
        "",
    ),
    ("GET", "/B?inventory", "ListBucketInventoryConfigurations", ""),
    ("GET", "/B?metrics", "ListBucketMetricsConfigurations", ""),
    ("GET", "/", "ListBuckets", ""),
    ("GET", "/?x-id=ListDirectoryBuckets", "ListDirectoryBuckets", ""),
    ("GET", "/B?uploads", "ListMultipartUploads", ""),
    ("GET", "/B?versions", "ListObjectVersions", ""),
    ("GET", "/B", "ListObjects", ""),
    ("GET", "/B?list-type=2", "ListObjectsV2", ""),
    ("GET", "/B/K?uploadId=x", "ListParts", ""),
    (
        "PUT",
        "/B?accelerate",
        "PutBucketAccelerateConfiguration",
        "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>",
    ),
    (
        "PUT",
        "/B?acl",
        "PutBucketAcl",
        "<AccessControlPolicy><AccessControlList></AccessControlList></AccessControlPolicy>",
    ),
    (
        "PUT",
        "/B?analytics&id=i",
        "PutBucketAnalyticsConfiguration",
        "<AnalyticsConfiguration><Id>i</Id><StorageClassAnalysis></StorageClassAnalysis></AnalyticsConfiguration>",
    ),
    (
        "PUT",
        "/B?cors",
        "PutBucketCors",
        "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>\
         </CORSConfiguration>",
    ),
    (
        "PUT",
        "/B?encryption",
        "PutBucketEncryption",
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>\
         </ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
    ),
    (
        "PUT",
        "/B?intelligent-tiering&id=i",
        "PutBucketIntelligentTieringConfiguration",
        "<IntelligentTieringConfiguration><Id>i</Id><Status>Enabled</Status><Tiering><AccessTier>ARCHIVE_ACCESS</AccessTier>\
         <Days>90</Days></Tiering></IntelligentTieringConfiguration>",
    ),
    (
        "PUT",
        "/B?inventory&id=i",
        "PutBucketInventoryConfiguration",
        "<InventoryConfiguration><Destination><S3BucketDestination><Bucket>arn:aws:s3:::b</Bucket><Format>CSV</Format>\
         </S3BucketDestination></Destination><Id>i</Id><IncludedObjectVersions>All</IncludedObjectVersions>\
         <IsEnabled>true</IsEnabled><Schedule><Frequency>Daily</Frequency></Schedule></InventoryConfiguration>",
    ),
    (
        "PUT",
        "/B?lifecycle",
        "PutBucketLifecycleConfiguration",
        "<LifecycleConfiguration><Rule><ID>i</ID><Filter><Prefix>p</Prefix></Filter><Status>Enabled</Status>\
         <Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>",
    ),
    (
        "PUT",
        "/B?logging",
        "PutBucketLogging",
        "<BucketLoggingStatus></BucketLoggingStatus>",
    ),
    (
        "PUT",
        "/B?metrics&id=i",
        "PutBucketMetricsConfiguration",
        "<MetricsConfiguration><Id>i</Id></MetricsConfiguration>",
    ),
    (
        "PUT",
        "/B?notification",
        "PutBucketNotificationConfiguration",
        "<NotificationConfiguration></NotificationConfiguration>",
    ),
    (
        "PUT",
        "/B?ownershipControls",
        "PutBucketOwnershipControls",
        "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>",
    ),
    (
        "PUT",
        "/B?policy",
        "PutBucketPolicy",
        "{\"Version\": \"2012-10-17\", \"Statement\": []}",
    ),
    (
        "PUT",
        "/B?replication",
        "PutBucketReplication",
        "<ReplicationConfiguration><Role>r</Role><Rule><Destination><Bucket>arn:aws:s3:::b</Bucket></Destination>\
         <Status>Enabled</Status></Rule></ReplicationConfiguration>",
    ),
    (
        "PUT",
        "/B?requestPayment",
        "PutBucketRequestPayment",
        "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>",
    ),
    (
        "PUT",
        "/B?tagging",
        "PutBucketTagging",
        "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>",
    ),
    (
        "PUT",
        "/B?versioning",
        "PutBucketVersioning",
        "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
    ),
    (
        "PUT",
        "/B?website",
        "PutBucketWebsite",
        "<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument></WebsiteConfiguration>",
    ),
    ("PUT", "/B/K2", "PutObject", ""),
    (
        "PUT",
        "/B/K?acl",
        "PutObjectAcl",
        "<AccessControlPolicy><AccessControlList></AccessControlList></AccessControlPolicy>",
    ),
    (
        "PUT",
        "/B/K?legal-hold",
        "PutObjectLegalHold",
        "<LegalHold><Status>OFF</Status></LegalHold>",
    ),
    (
        "PUT",
        "/B?object-lock",
        "PutObjectLockConfiguration",
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
    ),
    (
        "PUT",
        "/B/K?retention",
        "PutObjectRetention",
        "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate></Retention>",
    ),
    (
        "PUT",
        "/B/K?tagging",
        "PutObjectTagging",
        "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>",
    ),
    (
        "PUT",
        "/B?publicAccessBlock",
        "PutPublicAccessBlock",
        "<PublicAccessBlockConfiguration></PublicAccessBlockConfiguration>",
    ),
    (
        "POST",
        "/B/K?restore",
        "RestoreObject",
        "<RestoreRequest><Days>1</Days></RestoreRequest>",
    ),
    (
        "POST",
        "/B/K?select&select-type=2",
        "SelectObjectContent",
        "<SelectObjectContentRequest><Expression>SELECT * FROM s3object</Expression><ExpressionType>SQL</ExpressionType>\
         <InputSerialization><CSV></CSV></InputSerialization><OutputSerialization><CSV></CSV></OutputSerialization>\
         </SelectObjectContentRequest>",
    ),
    ("PUT", "/B/K?partNumber=1&uploadId=x", "UploadPart", ""),
    // Later than s3s's table.
    ("GET", "/B?abac", "GetBucketAbac", ""),
    (
        "PUT",
        "/B?abac",
        "PutBucketAbac",
        "<AbacStatus><Status>Enabled</Status></AbacStatus>",
    ),
    (
        "GET",
        "/B?metadataConfiguration",
        "GetBucketMetadataConfiguration",
        "",
    ),
    (
        "POST",
        "/B?metadataConfiguration",
        "CreateBucketMetadataConfiguration",
        "<x/>",
    ),
    (
        "DELETE",
        "/B?metadataConfiguration",
        "DeleteBucketMetadataConfiguration",
        "",
    ),
    (
        "PUT",
        "/B?metadataInventoryTable",
        "UpdateBucketMetadataInventoryTableConfiguration",
        "<x/>",
    ),
    (
        "PUT",
        "/B?metadataJournalTable",
        "UpdateBucketMetadataJournalTableConfiguration",
        "<x/>",
    ),
    ("PUT", "/B/K?encryption", "UpdateObjectEncryption", "<x/>"),
];

/// The operations of the door's table, as methods.
fn carried_out() -> BTreeSet<&'static str> {
    let lines = DOOR.lines().map(str::trim);
    lines
        .filter(|line| line.contains("Input) -> "))
        .filter_map(|line| line.split_once('(').map(|(name, _)| name))
        .collect()
}

/// `GetBucketAcl` → `get_bucket_acl`.
fn method_name(operation: &str) -> String {
    let mut name = String::new();
    for c in operation.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

#[tokio::test]
async fn every_operation_is_carried_out_or_refused_by_its_name() {
    let h = Harness::with_bucket("bucket").await;
    h.client.put("/bucket/key").body("kept").send().await.expect(200);
    let carried_out = carried_out();
    assert!(carried_out.contains("get_object") && carried_out.len() > 40);
    for (method, target, operation, body) in OPERATIONS {
        let target = target.replace("/B", "/bucket").replace("/K", "/key");
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = h.client.request(method, &target).body(*body).send().await;
        if carried_out.contains(method_name(operation).as_str()) {
            assert_ne!(answer.status, 501, "{operation}: {}", answer.text());
        } else {
            let answer = answer.expect_error(501, "NotImplemented");
            assert!(
                answer.tag("Message").contains(operation),
                "{operation}: {}",
                answer.text()
            );
        }
    }
    let methods: BTreeSet<String> = OPERATIONS
        .iter()
        .map(|(_, _, name, _)| method_name(name))
        .collect();
    // Those with a head or a header of their own are tested elsewhere.
    let elsewhere = ["head_bucket", "head_object", "copy_object", "upload_part_copy"];
    for method in carried_out {
        assert!(
            methods.contains(method) || elsewhere.contains(&method),
            "{method}"
        );
    }
    // None of it went astray.
    let kept = h.client.get("/bucket/key").send().await.expect(200);
    assert_eq!(kept.text(), "kept");
}

#[tokio::test]
async fn a_query_never_turns_into_another_operation() {
    let h = Harness::with_bucket("bucket").await;
    h.client.put("/bucket/key").body("kept").send().await.expect(200);
    h.client.put("/empty").send().await.expect(200);
    for (method, target) in [
        (Method::DELETE, "/empty?acl"),
        (Method::DELETE, "/empty?versioning"),
        (Method::DELETE, "/empty?delete"),
        (Method::DELETE, "/empty?uploads"),
        (Method::PUT, "/fresh?location"),
        (Method::PUT, "/fresh?policyStatus"),
        (Method::DELETE, "/bucket/key?acl"),
        (Method::DELETE, "/bucket/key?legal-hold"),
        (Method::PUT, "/bucket/key?torrent"),
        (Method::PUT, "/bucket/key?uploads"),
    ] {
        let answer = h.client.request(method, target).send().await;
        answer.expect_error(405, "MethodNotAllowed");
    }
    for target in [
        "/bucket/key?partNumber=1",
        "/bucket/key?uploadId=x",
        "/bucket/key?versionId=x",
    ] {
        let answer = h.client.put(target).send().await;
        answer.expect_error(400, "InvalidArgument");
    }
    h.client.head("/empty").send().await.expect(200);
    h.client.head("/fresh").send().await.expect(404);
    let kept = h.client.get("/bucket/key").send().await.expect(200);
    assert_eq!(kept.text(), "kept");
}
