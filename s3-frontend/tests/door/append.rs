//! Appending, renaming, and restoring what needs no restoring.
use crate::harness::Harness;

#[tokio::test]
async fn appends_need_the_size_as_their_offset() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let append = |offset: &str, body: &str| {
        c.put("/bucket/log")
            .header("x-amz-write-offset-bytes", offset)
            .body(body.as_bytes())
    };
    append("1", "x")
        .send()
        .await
        .expect_error(400, "InvalidWriteOffset");
    append("-1", "x")
        .send()
        .await
        .expect_error(400, "InvalidWriteOffset");
    c.get("/bucket/log").send().await.expect_error(404, "NoSuchKey");
    let first = append("0", "hello")
        .header("x-amz-meta-a", "b")
        .send()
        .await
        .expect(200);
    assert_eq!(first.header("x-amz-object-size"), "5");
    let second = append("5", " world").send().await.expect(200);
    assert_eq!(second.header("x-amz-object-size"), "11");
    assert_ne!(second.etag(), first.etag());
    for wrong in ["0", "5", "12"] {
        append(wrong, "!")
            .send()
            .await
            .expect_error(400, "InvalidWriteOffset");
    }
    let stale = append("11", "!").header("if-match", &first.header("etag"));
    stale.send().await.expect_error(412, "PreconditionFailed");
    let damaged = append("11", "!").header("x-amz-checksum-crc32", "AAAAAA==");
    damaged.send().await.expect_error(400, "BadDigest");
    append("11", "!")
        .header("if-match", &second.header("etag"))
        .send()
        .await
        .expect(200);
    let got = c.get("/bucket/log").send().await.expect(200);
    assert_eq!(got.text(), "hello world!");
    assert_eq!(got.header("x-amz-meta-a"), "b");
    let mode = c
        .head("/bucket/log")
        .header("x-amz-checksum-mode", "ENABLED")
        .send()
        .await
        .expect(200);
    assert_eq!(
        mode.header("x-amz-checksum-crc64nvme"),
        "",
        "that of the first bytes says nothing"
    );

    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    c.put("/bucket?versioning").body(enabled).send().await.expect(200);
    append("12", "?").send().await.expect_error(400, "InvalidRequest");
    assert_eq!(
        c.get("/bucket/log").send().await.expect(200).text(),
        "hello world!"
    );
}

#[tokio::test]
async fn renames_are_conditional_and_within_a_bucket() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let etag = c
        .put("/bucket/a%20b")
        .body("one")
        .send()
        .await
        .expect(200)
        .header("etag");
    c.put("/bucket/other").body("two").send().await.expect(200);
    let rename = |to: &str, from: &str| {
        c.put(&format!("/bucket/{to}?renameObject"))
            .header("x-amz-rename-source", from)
    };
    for (name, value) in [
        ("x-amz-rename-source-if-match", "\"no\""),
        ("x-amz-rename-source-if-none-match", etag.as_str()),
        (
            "x-amz-rename-source-if-unmodified-since",
            "Sat, 01 Jan 2000 00:00:00 GMT",
        ),
        ("if-none-match", "*"),
        ("if-match", "\"no\""),
        ("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT"),
    ] {
        let refused = rename("other", "a%20b").header(name, value);
        refused.send().await.expect_error(412, "PreconditionFailed");
    }
    for (to, from, status, code) in [
        ("other", "none", 404, "NoSuchKey"),
        ("other", "/elsewhere/a%20b", 400, "InvalidRequest"),
        ("other", "%ff", 400, "InvalidRequest"),
        ("a%20b", "a%20b", 400, "InvalidRequest"),
        ("d/", "a%20b", 400, "InvalidRequest"),
    ] {
        rename(to, from).send().await.expect_error(status, code);
    }
    let sourceless = c.put("/bucket/other?renameObject").send().await;
    sourceless.expect_error(400, "InvalidRequest");
    assert_eq!(c.get("/bucket/other").send().await.text(), "two");
    let moved = rename("other", "a%20b")
        .header("x-amz-rename-source-if-match", &etag)
        .header("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT");
    moved.send().await.expect(200);
    c.get("/bucket/a%20b").send().await.expect_error(404, "NoSuchKey");
    let got = c.get("/bucket/other").send().await.expect(200);
    assert_eq!((got.text(), got.header("etag")), ("one".into(), etag));
    // The name of the bucket may stand before the key, and may be the beginning of one.
    rename("again", "/bucket/other").send().await.expect(200);
    rename("bucket/again", "bucket/again").send().await.expect(200);
    rename("end", "bucket/again").send().await.expect(200);
    assert_eq!(c.get("/bucket/end").send().await.expect(200).text(), "one");
}

#[tokio::test]
async fn nothing_needs_to_be_restored() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/k").body("x").send().await.expect(200);
    let restore = |key: &str| {
        c.post(&format!("/bucket/{key}?restore"))
            .body("<RestoreRequest><Days>1</Days></RestoreRequest>")
    };
    restore("k").send().await.expect_error(403, "InvalidObjectState");
    restore("none").send().await.expect_error(404, "NoSuchKey");
    c.get("/bucket/k?torrent")
        .send()
        .await
        .expect_error(501, "NotImplemented");
}
