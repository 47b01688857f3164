//! Settings a bucket never has: answered as unset, and refused when made.
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};

use crate::harness::Harness;

#[tokio::test]
async fn questions_are_answered_as_for_an_unset_configuration() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/k").body("x").send().await.expect(200);
    for (target, status, code) in [
        ("/bucket?cors", 404, "NoSuchCORSConfiguration"),
        ("/bucket?lifecycle", 404, "NoSuchLifecycleConfiguration"),
        (
            "/bucket?encryption",
            404,
            "ServerSideEncryptionConfigurationNotFoundError",
        ),
        ("/bucket?policy", 404, "NoSuchBucketPolicy"),
        (
            "/bucket?replication",
            404,
            "ReplicationConfigurationNotFoundError",
        ),
        ("/bucket?tagging", 404, "NoSuchTagSet"),
        ("/bucket?website", 404, "NoSuchWebsiteConfiguration"),
        ("/bucket?object-lock", 404, "ObjectLockConfigurationNotFoundError"),
        (
            "/bucket?publicAccessBlock",
            404,
            "NoSuchPublicAccessBlockConfiguration",
        ),
        ("/bucket?analytics&id=x", 404, "NoSuchConfiguration"),
        ("/bucket?inventory&id=x", 404, "NoSuchConfiguration"),
        ("/bucket?metrics&id=x", 404, "NoSuchConfiguration"),
        ("/bucket?intelligent-tiering&id=x", 404, "NoSuchConfiguration"),
        ("/bucket/k?retention", 400, "InvalidRequest"),
        ("/bucket/k?legal-hold", 400, "InvalidRequest"),
        ("/bucket/none?tagging", 404, "NoSuchKey"),
        ("/bucket/none?acl", 404, "NoSuchKey"),
        ("/nowhere?versioning", 404, "NoSuchBucket"),
        ("/nowhere?policy", 404, "NoSuchBucket"),
    ] {
        c.get(target).send().await.expect_error(status, code);
    }
    for (target, part) in [
        ("/bucket?versioning", "VersioningConfiguration"),
        ("/bucket?acl", "<Permission>FULL_CONTROL</Permission>"),
        ("/bucket?logging", "BucketLoggingStatus"),
        ("/bucket?notification", "NotificationConfiguration"),
        ("/bucket?accelerate", "AccelerateConfiguration"),
        ("/bucket?requestPayment", "<Payer>BucketOwner</Payer>"),
        ("/bucket?ownershipControls", "BucketOwnerEnforced"),
        ("/bucket?policyStatus", "<IsPublic>false</IsPublic>"),
        ("/bucket?analytics", "<IsTruncated>false</IsTruncated>"),
        ("/bucket?inventory", "<IsTruncated>false</IsTruncated>"),
        ("/bucket?metrics", "<IsTruncated>false</IsTruncated>"),
        ("/bucket?intelligent-tiering", "<IsTruncated>false</IsTruncated>"),
        ("/bucket/k?acl", "<Permission>FULL_CONTROL</Permission>"),
        ("/bucket/k?tagging", "TagSet"),
    ] {
        let answer = c.get(target).send().await.expect(200);
        assert!(answer.text().contains(part), "{target}: {}", answer.text());
    }
    let versioning = c.get("/bucket?versioning").send().await.expect(200);
    assert!(!versioning.text().contains("<Status>"));
}

#[tokio::test]
async fn making_settings_is_refused() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/k").body("x").send().await.expect(200);
    for (target, body) in [
        (
            "/bucket?logging",
            "<BucketLoggingStatus></BucketLoggingStatus>".to_owned(),
        ),
        (
            "/bucket?notification",
            "<NotificationConfiguration></NotificationConfiguration>".into(),
        ),
        (
            "/bucket?accelerate",
            "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>".into(),
        ),
        (
            "/bucket?requestPayment",
            "<RequestPaymentConfiguration><Payer>Requester</Payer>\
                                    </RequestPaymentConfiguration>"
                .into(),
        ),
    ] {
        let md5 = BASE64_STANDARD.encode(Md5::digest(body.as_bytes()));
        let answer = c.put(target).header("content-md5", &md5).body(body).send().await;
        answer.expect_error(501, "NotImplemented");
    }
    c.get("/bucket/k?torrent")
        .send()
        .await
        .expect_error(501, "NotImplemented");
    let select = "<SelectObjectContentRequest></SelectObjectContentRequest>";
    let answer = c.post("/bucket/k?select&select-type=2").body(select).send().await;
    assert!(
        answer.status == 501 || answer.tag("Code") == "MalformedXML",
        "{}",
        answer.text()
    );
    assert_eq!(c.get("/bucket/k").send().await.expect(200).text(), "x");
}

#[tokio::test]
async fn removing_what_is_not_there_succeeds() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/k").body("x").send().await.expect(200);
    for target in [
        "/bucket?cors",
        "/bucket?encryption",
        "/bucket?lifecycle",
        "/bucket?policy",
        "/bucket?replication",
        "/bucket?tagging",
        "/bucket?website",
        "/bucket?publicAccessBlock",
        "/bucket/k?tagging",
    ] {
        c.delete(target).send().await.expect(204);
    }
    assert_eq!(c.get("/bucket/k").send().await.expect(200).text(), "x");
    c.head("/bucket").send().await.expect(200);
}
