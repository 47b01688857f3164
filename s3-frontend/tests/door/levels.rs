//! Levels that requests and buckets ask for. There is no network behind the door: nothing rises above
//! staged, and an answer that would stand for more must not be a success.
use crate::client::Answer;
use crate::harness::Harness;

/// 503, which says that the object is there and how far it has come.
fn late(answer: Answer) {
    let answer = answer.expect(503);
    assert_eq!(answer.tag("Code"), "ServiceUnavailable");
    assert_eq!(answer.header("x-cess-state"), "staged");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn a_success_never_stands_for_a_level_that_was_not_reached() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let put = |key: &str| c.put(&format!("/bucket/{key}")).body("bytes");
    let staged = put("a").header("x-cess-ack", "staged").send().await.expect(200);
    assert_eq!(staged.header("x-cess-state"), "staged");
    for level in ["placed", "verified"] {
        late(put(level).header("x-cess-ack", level).send().await);
        let got = c.get(&format!("/bucket/{level}")).send().await.expect(200);
        assert_eq!(got.text(), "bytes", "it is there all the same");
    }
    let copy = |key: &str| {
        c.put(&format!("/bucket/{key}"))
            .header("x-amz-copy-source", "/bucket/a")
    };
    let copied = copy("b").header("x-cess-ack", "staged").send().await.expect(200);
    assert_eq!(copied.header("x-cess-state"), "staged");
    late(
        copy("c")
            .header("x-cess-ack", "placed")
            .header("x-cess-ack-timeout", "5")
            .send()
            .await,
    );
    // Without the header an answer says nothing of levels.
    let plain = put("d").send().await.expect(200);
    assert!(plain.headers.get("x-cess-state").is_none());
}

#[tokio::test]
async fn a_completion_waits_too_and_can_be_repeated() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let id = c
        .post("/bucket/big?uploads")
        .send()
        .await
        .expect(200)
        .tag("UploadId");
    let part = c
        .put(&format!("/bucket/big?partNumber=1&uploadId={id}"))
        .body("part")
        .send()
        .await
        .expect(200)
        .etag();
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"{part}\"</ETag></Part></CompleteMultipartUpload>"
    );
    let complete = || c.post(&format!("/bucket/big?uploadId={id}")).body(list.as_str());
    late(complete().header("x-cess-ack", "placed").send().await);
    late(complete().header("x-cess-ack", "placed").send().await);
    let done = complete().header("x-cess-ack", "staged").send().await.expect(200);
    assert_eq!(done.header("x-cess-state"), "staged");
    assert_eq!(c.get("/bucket/big").send().await.text(), "part");
}

#[tokio::test]
async fn a_bucket_has_a_level_of_its_own() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/strict")
        .header("x-cess-ack", "verified")
        .send()
        .await
        .expect(200);
    let head = c.head("/strict").send().await.expect(200);
    assert_eq!(head.header("x-cess-ack"), "verified");
    let head = c.head("/bucket").send().await.expect(200);
    assert!(head.headers.get("x-cess-ack").is_none());
    late(c.put("/strict/k").body("bytes").send().await);
    // A request cannot lower it.
    late(
        c.put("/strict/k")
            .header("x-cess-ack", "staged")
            .body("bytes")
            .send()
            .await,
    );
    let bucket = h.vfs.bucket("strict").await.unwrap().ino;
    assert_eq!(h.vfs.ack(bucket).await.unwrap(), Some(vfs::Level::Verified));
}

#[tokio::test]
async fn what_is_no_level_is_refused_before_anything_is_stored() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let wrong = [("x-cess-ack", "soon"), ("x-cess-ack-timeout", "1h")];
    for (name, value) in wrong {
        let refused = c.put("/bucket/k").header(name, value).body("x").send().await;
        assert_eq!(refused.expect(400).tag("Code"), "InvalidArgument");
    }
    c.put("/other")
        .header("x-cess-ack", "soon")
        .send()
        .await
        .expect(400);
    c.head("/other").send().await.expect(404);
    c.head("/bucket/k").send().await.expect(404);
}
