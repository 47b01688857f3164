//! Tags of objects, versions and buckets.
use crate::client::{Answer, Client};
use crate::harness::Harness;

/// A tagging document.
fn document(tags: &[(&str, &str)]) -> String {
    let tags: String = tags
        .iter()
        .map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"))
        .collect();
    format!("<Tagging><TagSet>{tags}</TagSet></Tagging>")
}

async fn tag(c: &Client, target: &str, tags: &[(&str, &str)]) -> Answer {
    c.put(target).body(document(tags)).send().await
}

/// The tags that a target answers, as `key=value`.
async fn tags(c: &Client, target: &str) -> Vec<String> {
    let answer = c.get(target).send().await.expect(200);
    let pairs = answer.tags("Key").into_iter().zip(answer.tags("Value"));
    pairs.map(|(key, value)| format!("{key}={value}")).collect()
}

#[tokio::test]
async fn tags_of_an_object_are_set_shown_counted_and_removed() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let put = c.put("/bucket/k").header("x-amz-tagging", "foo=bar&bar");
    put.body("x").send().await.expect(200);
    assert_eq!(tags(c, "/bucket/k?tagging").await, ["bar=", "foo=bar"]);
    for answer in [c.get("/bucket/k").send().await, c.head("/bucket/k").send().await] {
        assert_eq!(answer.expect(200).header("x-amz-tagging-count"), "2");
    }
    let before = c.head("/bucket/k").send().await.expect(200);
    tag(c, "/bucket/k?tagging", &[("one", "1")]).await.expect(200);
    assert_eq!(tags(c, "/bucket/k?tagging").await, ["one=1"]);
    let after = c.head("/bucket/k").send().await.expect(200);
    assert_eq!(
        (before.etag(), before.header("last-modified")),
        (after.etag(), after.header("last-modified"))
    );
    c.delete("/bucket/k?tagging").send().await.expect(204);
    assert!(tags(c, "/bucket/k?tagging").await.is_empty());
    assert_eq!(c.head("/bucket/k").send().await.header("x-amz-tagging-count"), "");
    // A new object has none of the old one's.
    tag(c, "/bucket/k?tagging", &[("one", "1")]).await.expect(200);
    c.put("/bucket/k").body("y").send().await.expect(200);
    assert!(tags(c, "/bucket/k?tagging").await.is_empty());
}

#[tokio::test]
async fn what_aws_does_not_take_changes_nothing() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/k").body("x").send().await.expect(200);
    tag(c, "/bucket/k?tagging", &[("kept", "1")]).await.expect(200);
    let (long_key, long_value) = ("k".repeat(129), "v".repeat(257));
    let many: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "v")).collect();
    for bad in [
        &[(long_key.as_str(), "v")][..],
        &[("k", long_value.as_str())],
        &[("aws:k", "v")],
        &[("k", "1"), ("k", "2")],
        &many,
    ] {
        tag(c, "/bucket/k?tagging", bad)
            .await
            .expect_error(400, "InvalidTag");
    }
    let twice = c.put("/bucket/k").header("x-amz-tagging", "a=1&a=2").body("y");
    twice.send().await.expect_error(400, "InvalidArgument");
    assert_eq!(tags(c, "/bucket/k?tagging").await, ["kept=1"]);
    assert_eq!(c.get("/bucket/k").send().await.text(), "x");
    for (target, code) in [
        ("/bucket/none?tagging", "NoSuchKey"),
        ("/nowhere/k?tagging", "NoSuchBucket"),
        ("/bucket/k?tagging&versionId=0123456789abcdef", "NoSuchVersion"),
    ] {
        c.get(target).send().await.expect_error(404, code);
        tag(c, target, &[("a", "b")]).await.expect_error(404, code);
        c.delete(target).send().await.expect_error(404, code);
    }
}

#[tokio::test]
async fn each_version_has_its_own() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    c.put("/bucket?versioning").body(enabled).send().await.expect(200);
    let put = |body: &'static str| c.put("/bucket/k").header("x-amz-tagging", body).body(body);
    let first = put("v=1").send().await.expect(200).header("x-amz-version-id");
    let second = put("v=2").send().await.expect(200).header("x-amz-version-id");
    let of = |id: &str| format!("/bucket/k?tagging&versionId={id}");
    assert_eq!(tags(c, &of(&first)).await, ["v=1"]);
    let answer = tag(c, &of(&first), &[("w", "1")]).await.expect(200);
    assert_eq!(answer.header("x-amz-version-id"), first);
    assert_eq!(tags(c, &of(&first)).await, ["w=1"]);
    assert_eq!(tags(c, "/bucket/k?tagging").await, ["v=2"]);
    let marker = c
        .delete("/bucket/k")
        .send()
        .await
        .expect(204)
        .header("x-amz-version-id");
    c.get("/bucket/k?tagging")
        .send()
        .await
        .expect_error(404, "NoSuchKey");
    tag(c, "/bucket/k?tagging", &[("a", "b")])
        .await
        .expect_error(404, "NoSuchKey");
    tag(c, &of(&marker), &[("a", "b")])
        .await
        .expect_error(405, "MethodNotAllowed");
    c.delete(&of(&second)).send().await.expect(204);
    assert!(tags(c, &of(&second)).await.is_empty());
}

#[tokio::test]
async fn copies_and_uploads_carry_tags() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/other").send().await.expect(200);
    let put = c.put("/bucket/k").header("x-amz-tagging", "a=1").body("x");
    put.send().await.expect(200);
    for bucket in ["bucket", "other"] {
        let copy = |to: &str| {
            let target = format!("/{bucket}/{to}");
            c.put(&target).header("x-amz-copy-source", "/bucket/k")
        };
        copy("same").send().await.expect(200);
        // Without the directive the header has no say.
        let said = copy("said").header("x-amz-tagging", "b=2");
        said.send().await.expect(200);
        let replaced = copy("replaced").header("x-amz-tagging-directive", "REPLACE");
        replaced.header("x-amz-tagging", "b=2").send().await.expect(200);
        let none = copy("none").header("x-amz-tagging-directive", "REPLACE");
        none.header("x-amz-metadata-directive", "REPLACE")
            .send()
            .await
            .expect(200);
        let strange = copy("strange").header("x-amz-tagging-directive", "MOVE");
        strange.send().await.expect_error(400, "InvalidArgument");
        for (key, expected) in [
            ("same", "a=1"),
            ("said", "a=1"),
            ("replaced", "b=2"),
            ("none", ""),
        ] {
            let found = tags(c, &format!("/{bucket}/{key}?tagging")).await;
            assert_eq!(found.join("&"), expected, "{bucket} {key}");
        }
    }
    let begun = c
        .post("/bucket/m?uploads")
        .header("x-amz-tagging", "m=1")
        .send()
        .await
        .expect(200);
    let id = begun.tag("UploadId");
    let part = c
        .put(&format!("/bucket/m?partNumber=1&uploadId={id}"))
        .body("part");
    let etag = part.send().await.expect(200).header("etag");
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    c.post(&format!("/bucket/m?uploadId={id}"))
        .body(list)
        .send()
        .await
        .expect(200);
    assert_eq!(tags(c, "/bucket/m?tagging").await, ["m=1"]);
}

#[tokio::test]
async fn buckets_have_tags_too() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.get("/bucket?tagging")
        .send()
        .await
        .expect_error(404, "NoSuchTagSet");
    tag(c, "/bucket?tagging", &[("team", "é"), ("cost", "7")])
        .await
        .expect(200);
    assert_eq!(tags(c, "/bucket?tagging").await, ["cost=7", "team=é"]);
    tag(c, "/bucket?tagging", &[("aws:x", "1")])
        .await
        .expect_error(400, "InvalidTag");
    tag(c, "/nowhere?tagging", &[("a", "b")])
        .await
        .expect_error(404, "NoSuchBucket");
    c.delete("/bucket?tagging").send().await.expect(204);
    c.get("/bucket?tagging")
        .send()
        .await
        .expect_error(404, "NoSuchTagSet");
}

/// A mount neither shows nor sets what only S3 keeps.
#[tokio::test]
async fn a_mount_does_not_see_tags() {
    let h = Harness::with_bucket("bucket").await;
    let put = h.client.put("/bucket/k").header("x-amz-tagging", "a=1").body("x");
    put.send().await.expect(200);
    let ino = h.vfs.head_object("bucket", b"k").await.unwrap().ino;
    let names = h.vfs.listxattr(ino).await.unwrap();
    assert!(
        names
            .iter()
            .all(|name| !String::from_utf8_lossy(name).contains("tagging"))
    );
}
