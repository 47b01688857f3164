//! DeleteObject and DeleteObjects.
use crate::harness::Harness;

#[tokio::test]
async fn deleting_is_idempotent() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/a/b/c").body("x").send().await.expect(200);
    c.delete("/bucket/a/b/c").send().await.expect(204);
    c.delete("/bucket/a/b/c").send().await.expect(204);
    c.delete("/bucket/never").send().await.expect(204);
    c.delete("/nowhere/never")
        .send()
        .await
        .expect_error(404, "NoSuchBucket");
    c.get("/bucket/a/b/c").send().await.expect_error(404, "NoSuchKey");
    // Directories that the key implied are gone with it.
    c.delete("/bucket").send().await.expect(204);
}

#[tokio::test]
async fn many_at_once() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    for key in ["a", "b/c", "d&amp"] {
        c.put(&format!("/bucket/{key}"))
            .body("x")
            .send()
            .await
            .expect(200);
    }
    let body = "<Delete><Object><Key>a</Key></Object><Object><Key>b/c</Key></Object>\
                <Object><Key>missing</Key></Object></Delete>";
    let answer = c.post("/bucket?delete").body(body).send().await.expect(200);
    assert_eq!(answer.tags("Key"), ["a", "b/c", "missing"]);
    assert!(!answer.text().contains("<Error>"));
    let list = c.get("/bucket").send().await.expect(200);
    assert_eq!(list.tags("Key"), ["d&amp"]);

    let body = format!(
        "<Delete><Quiet>true</Quiet><Object><Key>d&amp;amp</Key></Object>\
         <Object><Key>{}</Key></Object><Object><Key>v</Key><VersionId>none</VersionId></Object></Delete>",
        "k".repeat(1025)
    );
    let answer = c.post("/bucket?delete").body(body).send().await.expect(200);
    assert!(!answer.text().contains("<Deleted>"));
    assert_eq!(answer.tags("Code"), ["KeyTooLongError", "InvalidArgument"]);
    assert_eq!(
        c.get("/bucket").send().await.expect(200).tags("Key"),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn bad_lists_are_refused() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.post("/bucket?delete")
        .body("<Delete></Delete>")
        .send()
        .await
        .expect_error(400, "MalformedXML");
    c.post("/bucket?delete")
        .body("rubbish")
        .send()
        .await
        .expect_error(400, "MalformedXML");
    let many: String = (0..1001)
        .map(|i| format!("<Object><Key>{i}</Key></Object>"))
        .collect();
    let body = format!("<Delete>{many}</Delete>");
    c.post("/bucket?delete")
        .body(body)
        .send()
        .await
        .expect_error(400, "MalformedXML");
    let body = "<Delete><Object><Key>a</Key></Object></Delete>";
    c.post("/nowhere?delete")
        .body(body)
        .send()
        .await
        .expect_error(404, "NoSuchBucket");
    let mismatch = c
        .post("/bucket?delete")
        .payload(&"0".repeat(64))
        .body(body)
        .send()
        .await;
    mismatch.expect_error(400, "InvalidRequest");
    let huge = format!("<Delete>{}</Delete>", " ".repeat(9 << 20));
    c.post("/bucket?delete")
        .body(huge)
        .send()
        .await
        .expect_error(400, "MaxMessageLengthExceeded");
}
