//! Versioned buckets, as S3 clients see them.
use crate::client::{Answer, Client};
use crate::harness::Harness;

async fn set(c: &Client, status: &str) {
    let body = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    c.put("/bucket?versioning").body(body).send().await.expect(200);
}

async fn put(c: &Client, key: &str, body: &str) -> String {
    let answer = c
        .put(&format!("/bucket/{key}"))
        .body(body)
        .send()
        .await
        .expect(200);
    answer.header("x-amz-version-id")
}

/// (key, id, latest) of versions and of delete markers.
async fn listed(c: &Client, query: &str) -> (Vec<[String; 3]>, Vec<[String; 3]>) {
    let answer = c
        .get(&format!("/bucket?versions{query}"))
        .send()
        .await
        .expect(200);
    (entries(&answer, "Version"), entries(&answer, "DeleteMarker"))
}

fn entries(answer: &Answer, element: &str) -> Vec<[String; 3]> {
    answer
        .tags(element)
        .iter()
        .map(|entry| {
            ["Key", "VersionId", "IsLatest"].map(|name| {
                let (open, close) = (format!("<{name}>"), format!("</{name}>"));
                let rest = entry.split_once(&open).map_or("", |(_, rest)| rest);
                rest.split_once(&close).map_or("", |(text, _)| text).to_owned()
            })
        })
        .collect()
}

#[tokio::test]
async fn versions_are_kept_listed_read_and_removed() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    assert_eq!(put(c, "k", "before").await, "");
    set(c, "Enabled").await;
    assert_eq!(
        c.get("/bucket?versioning").send().await.expect(200).tag("Status"),
        "Enabled"
    );
    let one = put(c, "k", "one").await;
    let two = put(c, "k", "two").await;
    assert!(one < two && one.len() == 16);
    let latest = c.get("/bucket/k").send().await.expect(200);
    assert_eq!(
        (latest.text(), latest.header("x-amz-version-id")),
        ("two".into(), two.clone())
    );
    for (id, content) in [("null", "before"), (&one, "one"), (&two, "two")] {
        let target = format!("/bucket/k?versionId={id}");
        let found = c.get(&target).send().await.expect(200);
        assert_eq!(
            (found.text().as_str(), found.header("x-amz-version-id").as_str()),
            (content, id)
        );
        let head = c.head(&target).send().await.expect(200);
        assert_eq!(head.header("content-length"), content.len().to_string());
        c.get(&format!("/bucket/k?attributes&versionId={id}"))
            .header("x-amz-object-attributes", "ObjectSize")
            .send()
            .await
            .expect(200);
        c.get(&format!("/bucket/k?tagging&versionId={id}"))
            .send()
            .await
            .expect(200);
    }
    let of = |id: &str, latest: bool| ["k".to_owned(), id.to_owned(), latest.to_string()];
    let (versions, markers) = listed(c, "").await;
    assert_eq!(versions, [of(&two, true), of(&one, false), of("null", false)]);
    assert!(markers.is_empty());

    // A deletion hides it, and the marker says so.
    let deleted = c.delete("/bucket/k").send().await.expect(204);
    let marker = deleted.header("x-amz-version-id");
    assert_eq!(deleted.header("x-amz-delete-marker"), "true");
    for answer in [c.get("/bucket/k").send().await, c.head("/bucket/k").send().await] {
        let answer = answer.expect(404);
        assert_eq!(answer.header("x-amz-delete-marker"), "true");
        assert_eq!(answer.header("x-amz-version-id"), marker);
    }
    let refused = c.get(&format!("/bucket/k?versionId={marker}")).send().await;
    let refused = refused.expect_error(405, "MethodNotAllowed");
    assert_eq!(refused.header("x-amz-delete-marker"), "true");
    assert_eq!(refused.header("allow"), "DELETE");
    c.head(&format!("/bucket/k?versionId={marker}"))
        .send()
        .await
        .expect(405);
    c.get(&format!("/bucket/k?versionId={:016x}", 7))
        .send()
        .await
        .expect_error(404, "NoSuchVersion");
    let (versions, markers) = listed(c, "").await;
    assert_eq!(versions, [of(&two, false), of(&one, false), of("null", false)]);
    assert_eq!(markers, [of(&marker, true)]);
    assert!(c.get("/bucket").send().await.expect(200).tags("Key").is_empty());
    c.delete("/bucket")
        .send()
        .await
        .expect_error(409, "BucketNotEmpty");

    // Removing the marker undoes the deletion; removing the newest brings back the one before.
    let removed = c
        .delete(&format!("/bucket/k?versionId={marker}"))
        .send()
        .await
        .expect(204);
    assert_eq!(removed.header("x-amz-delete-marker"), "true");
    assert_eq!(removed.header("x-amz-version-id"), marker);
    assert_eq!(c.get("/bucket/k").send().await.expect(200).text(), "two");
    let removed = c
        .delete(&format!("/bucket/k?versionId={two}"))
        .send()
        .await
        .expect(204);
    assert_eq!(removed.header("x-amz-delete-marker"), "");
    assert_eq!(c.get("/bucket/k").send().await.expect(200).text(), "one");
    // What is gone already is no error.
    c.delete(&format!("/bucket/k?versionId={two}"))
        .send()
        .await
        .expect(204);
    c.delete(&format!("/bucket/k?versionId={one}"))
        .send()
        .await
        .expect(204);
    c.delete("/bucket/k?versionId=null").send().await.expect(204);
    c.get("/bucket/k").send().await.expect_error(404, "NoSuchKey");
    c.delete("/bucket").send().await.expect(204);
}

#[tokio::test]
async fn suspended_buckets_keep_one_null_version() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    set(c, "Enabled").await;
    let kept = put(c, "k", "kept").await;
    set(c, "Suspended").await;
    assert_eq!(put(c, "k", "first").await, "null");
    assert_eq!(put(c, "k", "second").await, "null");
    assert_eq!(
        c.get("/bucket/k?versionId=null").send().await.expect(200).text(),
        "second"
    );
    let (versions, _) = listed(c, "").await;
    assert_eq!(versions.len(), 2);
    let deleted = c.delete("/bucket/k").send().await.expect(204);
    assert_eq!(deleted.header("x-amz-version-id"), "null");
    let (versions, markers) = listed(c, "").await;
    assert_eq!(
        (versions.len(), markers.len()),
        (1, 1),
        "the null version went with its marker"
    );
    assert_eq!(
        c.get(&format!("/bucket/k?versionId={kept}"))
            .send()
            .await
            .expect(200)
            .text(),
        "kept"
    );
    c.get("/bucket/k?versionId=null")
        .send()
        .await
        .expect_error(405, "MethodNotAllowed");
    assert_eq!(put(c, "k", "third").await, "null");
    assert!(
        listed(c, "").await.1.is_empty(),
        "and the marker with the next one"
    );
}

#[tokio::test]
async fn copies_and_uploads_have_versions() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    set(c, "Enabled").await;
    let old = put(c, "k", "old").await;
    put(c, "k", "new").await;
    let source = format!("/bucket/k?versionId={old}");
    let copied = c
        .put("/bucket/k")
        .header("x-amz-copy-source", &source)
        .send()
        .await
        .expect(200);
    assert_eq!(copied.header("x-amz-copy-source-version-id"), old);
    assert!(copied.header("x-amz-version-id") > old);
    assert_eq!(c.get("/bucket/k").send().await.expect(200).text(), "old");
    let id = c
        .post("/bucket/big?uploads")
        .send()
        .await
        .expect(200)
        .tag("UploadId");
    let part = c
        .put(&format!("/bucket/big?partNumber=1&uploadId={id}"))
        .header("x-amz-copy-source", &source)
        .send()
        .await
        .expect(200);
    assert_eq!(part.header("x-amz-copy-source-version-id"), old);
    let etag = part.tag("ETag").replace("&quot;", "\"");
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    let done = c
        .post(&format!("/bucket/big?uploadId={id}"))
        .body(body)
        .send()
        .await
        .expect(200);
    let version = done.header("x-amz-version-id");
    let found = c
        .get(&format!("/bucket/big?versionId={version}"))
        .send()
        .await
        .expect(200);
    assert_eq!(found.text(), "old");
    let marker = c
        .delete("/bucket/k")
        .send()
        .await
        .expect(204)
        .header("x-amz-version-id");
    for (source, status, code) in [
        (format!("/bucket/k?versionId={marker}"), 400, "InvalidRequest"),
        ("/bucket/k".to_owned(), 404, "NoSuchKey"),
        (format!("/bucket/k?versionId={:016x}", 9), 404, "NoSuchVersion"),
    ] {
        c.put("/bucket/other")
            .header("x-amz-copy-source", &source)
            .send()
            .await
            .expect_error(status, code);
    }
}

#[tokio::test]
async fn many_versions_are_deleted_at_once() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    set(c, "Enabled").await;
    let one = put(c, "a", "1").await;
    let two = put(c, "a", "2").await;
    put(c, "b", "3").await;
    let body = format!(
        "<Delete><Object><Key>a</Key><VersionId>{one}</VersionId></Object>\
         <Object><Key>a</Key><VersionId>{two}</VersionId></Object><Object><Key>b</Key></Object></Delete>"
    );
    let answer = c.post("/bucket?delete").body(body).send().await.expect(200);
    let (ids, markers) = (answer.tags("VersionId"), answer.tags("DeleteMarkerVersionId"));
    assert_eq!(ids, [one, two]);
    assert_eq!(answer.tags("DeleteMarker"), ["true"]);
    let body = format!(
        "<Delete><Object><Key>b</Key><VersionId>{}</VersionId></Object></Delete>",
        markers[0]
    );
    let answer = c.post("/bucket?delete").body(body).send().await.expect(200);
    assert_eq!(answer.tags("DeleteMarkerVersionId"), markers);
    assert_eq!(c.get("/bucket").send().await.expect(200).tags("Key"), ["b"]);
}

#[tokio::test]
async fn pages_of_versions_go_on_where_they_ended() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    set(c, "Enabled").await;
    for key in ["a", "d/x", "d/y", "z"] {
        for content in ["1", "2", "3"] {
            put(c, key, content).await;
        }
    }
    c.delete("/bucket/a").send().await.expect(204);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let answer = c
            .get(&format!("/bucket?versions&max-keys=2{after}"))
            .send()
            .await
            .expect(200);
        seen.extend(answer.tags("VersionId"));
        if answer.tag("IsTruncated") == "false" {
            break;
        }
        after = format!(
            "&key-marker={}&version-id-marker={}",
            answer.tag("NextKeyMarker").replace('/', "%2F"),
            answer.tag("NextVersionIdMarker")
        );
    }
    assert_eq!(seen.len(), 13);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 13);
    let answer = c.get("/bucket?versions&delimiter=%2F").send().await.expect(200);
    assert_eq!(answer.tags("Prefix"), ["d/", ""]);
    assert_eq!(answer.tags("VersionId").len(), 7);
    let (versions, markers) = listed(c, "&prefix=d%2Fx").await;
    assert_eq!((versions.len(), markers.len()), (3, 0));
    for (query, code) in [
        ("&version-id-marker=null", "InvalidArgument"),
        ("&key-marker=a&version-id-marker=rubbish", "InvalidArgument"),
    ] {
        let answer = c.get(&format!("/bucket?versions{query}")).send().await;
        answer.expect_error(400, code);
    }
}

#[tokio::test]
async fn conditions_are_about_the_version_that_is_named() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    set(c, "Enabled").await;
    let old = put(c, "k", "old").await;
    let old_tag = c.head("/bucket/k").send().await.expect(200).etag();
    put(c, "k", "new").await;
    let target = format!("/bucket/k?versionId={old}");
    let delete = |target: &str| {
        c.delete(target)
            .header("if-match", &format!("\"{old_tag}\""))
            .send()
    };
    delete("/bucket/k").await.expect_error(412, "PreconditionFailed");
    delete(&target).await.expect(204);
    c.get(&target).send().await.expect_error(404, "NoSuchVersion");
    // What is gone already is no error here either.
    delete(&target).await.expect(204);
    // Behind a delete marker there is no object.
    c.delete("/bucket/k").send().await.expect(204);
    c.put("/bucket/k")
        .header("if-match", "*")
        .body("x")
        .send()
        .await
        .expect_error(404, "NoSuchKey");
    c.put("/bucket/k")
        .header("if-none-match", "*")
        .body("x")
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    for (setting, status, code) in [
        (
            "<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>",
            403,
            "AccessDenied",
        ),
        ("", 400, "IllegalVersioningConfigurationException"),
        ("<Status>enabled</Status>", 400, "MalformedXML"),
    ] {
        let body = format!("<VersioningConfiguration>{setting}</VersioningConfiguration>");
        c.put("/bucket?versioning")
            .body(body)
            .send()
            .await
            .expect_error(status, code);
    }
    let answer = c.get("/bucket?versioning").send().await.expect(200);
    assert!(!answer.text().contains("<Status>"));
    let body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    c.put("/nowhere?versioning")
        .body(body)
        .send()
        .await
        .expect_error(404, "NoSuchBucket");
}

#[tokio::test]
async fn what_was_never_there_is_no_delete_marker() {
    let h = Harness::with_bucket("bucket").await;
    let missing = h.client.get("/bucket/k").send().await;
    assert_eq!(missing.header("x-amz-delete-marker"), "false");
    missing.expect_error(404, "NoSuchKey");
}
