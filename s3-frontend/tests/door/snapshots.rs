//! Keys below `.snapshots/`.
use crate::harness::Harness;

#[tokio::test]
async fn snapshots_are_read_by_key_and_not_written() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    for key in ["dir/a", "dir/b", "top"] {
        c.put(&format!("/bucket/{key}"))
            .body("old")
            .send()
            .await
            .expect(200);
    }
    h.vfs.create_snapshot("bucket", "s").await.unwrap();
    c.put("/bucket/dir/a").body("newer").send().await.expect(200);
    c.delete("/bucket/dir/b").send().await.expect(204);

    let got = c.get("/bucket/.snapshots/s/dir/a").send().await.expect(200);
    assert_eq!(got.text(), "old");
    let head = c.head("/bucket/.snapshots/s/dir/b").send().await.expect(200);
    assert_eq!(head.header("content-length"), "3");
    assert_eq!(head.header("x-cess-state"), "staged");
    c.get("/bucket/.snapshots/t/dir/a")
        .send()
        .await
        .expect_error(404, "NoSuchKey");

    let keys = c.get("/bucket?list-type=2").send().await.expect(200).tags("Key");
    assert_eq!(keys, ["dir/a", "top"]);
    let list = async |query: &str| {
        c.get(&format!("/bucket?{query}&list-type=2"))
            .send()
            .await
            .expect(200)
    };
    let below = list("prefix=.snapshots%2Fs%2F").await;
    assert_eq!(
        below.tags("Key"),
        [".snapshots/s/dir/a", ".snapshots/s/dir/b", ".snapshots/s/top"]
    );
    let names = list("delimiter=%2F&prefix=.snapshots%2F").await;
    assert!(names.text().contains("<Prefix>.snapshots/s/</Prefix>"));

    for key in ["s/dir/a", "s/new", "t/new"] {
        let target = format!("/bucket/.snapshots/{key}");
        let refused = c.put(&target).body("x").send().await;
        refused.expect_error(405, "MethodNotAllowed");
        let refused = c.delete(&target).send().await;
        refused.expect_error(405, "MethodNotAllowed");
        let refused = c.post(&format!("{target}?uploads")).send().await;
        refused.expect_error(405, "MethodNotAllowed");
    }
    // Out of it is allowed.
    c.put("/bucket/dir/b")
        .header("x-amz-copy-source", "/bucket/.snapshots/s/dir/b")
        .send()
        .await
        .expect(200);
    assert_eq!(c.get("/bucket/dir/b").send().await.expect(200).text(), "old");
    for key in ["dir/a", "dir/b", "top"] {
        c.delete(&format!("/bucket/{key}")).send().await.expect(204);
    }
    c.delete("/bucket")
        .send()
        .await
        .expect_error(409, "BucketNotEmpty");
    h.vfs.delete_snapshot("bucket", "s").await.unwrap();
    c.delete("/bucket").send().await.expect(204);
}
