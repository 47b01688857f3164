//! CopyObject.
use crate::harness::Harness;

#[tokio::test]
async fn within_and_across_buckets() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/other").send().await.expect(200);
    let etag = c
        .put("/bucket/from%20here")
        .header("x-amz-meta-a", "1")
        .header("content-type", "text/plain")
        .body("content")
        .send()
        .await
        .expect(200)
        .etag();
    for to in ["/bucket/to", "/other/to"] {
        let copy = c
            .put(to)
            .header("x-amz-copy-source", "/bucket/from%20here")
            .send()
            .await
            .expect(200);
        assert_eq!(copy.tag("ETag").trim_matches('"'), etag);
        assert!(!copy.tag("LastModified").is_empty());
        let got = c
            .get(to)
            .header("x-amz-checksum-mode", "ENABLED")
            .send()
            .await
            .expect(200);
        assert_eq!((got.text().as_str(), got.etag()), ("content", etag.clone()));
        assert_eq!(
            (got.header("x-amz-meta-a"), got.header("content-type")),
            ("1".into(), "text/plain".into())
        );
        assert!(!got.header("x-amz-checksum-crc64nvme").is_empty());
    }
    // The copy is a thing of its own.
    c.put("/bucket/from%20here")
        .body("changed")
        .send()
        .await
        .expect(200);
    assert_eq!(c.get("/bucket/to").send().await.text(), "content");
    c.delete("/bucket/from%20here").send().await.expect(204);
    assert_eq!(c.get("/other/to").send().await.text(), "content");
}

#[tokio::test]
async fn metadata_can_be_replaced_in_place() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/k")
        .header("x-amz-meta-a", "1")
        .body("content")
        .send()
        .await
        .expect(200);
    let same = c
        .put("/bucket/k")
        .header("x-amz-copy-source", "bucket/k")
        .send()
        .await;
    same.expect_error(400, "InvalidRequest");
    c.put("/bucket/k")
        .header("x-amz-copy-source", "bucket/k")
        .header("x-amz-metadata-directive", "REPLACE")
        .header("x-amz-meta-b", "2")
        .send()
        .await
        .expect(200);
    let got = c.get("/bucket/k").send().await.expect(200);
    assert_eq!(
        (got.header("x-amz-meta-a"), got.header("x-amz-meta-b")),
        (String::new(), "2".into())
    );
    assert_eq!(got.text(), "content");
}

#[tokio::test]
async fn conditions_and_refusals() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let etag = c
        .put("/bucket/k")
        .body("content")
        .send()
        .await
        .expect(200)
        .header("etag");
    let copy = |name: &str, value: &str| {
        c.put("/bucket/copy")
            .header("x-amz-copy-source", "/bucket/k")
            .header(name, value)
            .send()
    };
    copy("x-amz-copy-source-if-match", "\"other\"")
        .await
        .expect_error(412, "PreconditionFailed");
    copy("x-amz-copy-source-if-none-match", &etag)
        .await
        .expect_error(412, "PreconditionFailed");
    copy(
        "x-amz-copy-source-if-unmodified-since",
        "Sat, 01 Jan 2000 00:00:00 GMT",
    )
    .await
    .expect_error(412, "PreconditionFailed");
    copy("x-amz-metadata-directive", "MERGE")
        .await
        .expect_error(400, "InvalidArgument");
    c.head("/bucket/copy").send().await.expect(404);
    copy("x-amz-copy-source-if-match", &etag).await.expect(200);
    copy("if-none-match", "*")
        .await
        .expect_error(412, "PreconditionFailed");
    for (source, status, code) in [
        ("/bucket/none", 404, "NoSuchKey"),
        ("/nowhere/k", 404, "NoSuchBucket"),
        ("/bucket/k?versionId=0123456789abcdef", 404, "NoSuchVersion"),
    ] {
        let answer = c
            .put("/bucket/x")
            .header("x-amz-copy-source", source)
            .send()
            .await;
        answer.expect_error(status, code);
    }
}
