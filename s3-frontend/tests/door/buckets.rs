//! Buckets.
use crate::harness::Harness;

#[tokio::test]
async fn a_bucket_lives_and_dies() {
    let h = Harness::start().await;
    let c = &h.client;
    c.head("/first").send().await.expect(404);
    c.get("/first").send().await.expect_error(404, "NoSuchBucket");
    let made = c.put("/first").send().await.expect(200);
    assert_eq!(made.header("location"), "/first");
    c.put("/second")
        .header("x-cess-ack", "staged")
        .send()
        .await
        .expect(200);
    c.put("/second")
        .header("x-cess-ack", "staged")
        .send()
        .await
        .expect_error(409, "BucketAlreadyOwnedByYou");
    for name in ["a.-b", "a-.b"] {
        let refused = c.put(&format!("/{name}")).send().await;
        refused.expect_error(400, "InvalidBucketName");
    }
    let head = c.head("/first").send().await.expect(200);
    assert_eq!(head.header("x-amz-bucket-region"), "us-east-1");
    let location = c.get("/first?location").send().await.expect(200);
    assert!(location.text().contains("LocationConstraint"));
    assert_eq!(location.tag("LocationConstraint"), "");

    c.put("/first/key").body("x").send().await.expect(200);
    // Again, as the first time, and nothing is lost.
    c.put("/first").send().await.expect(200);
    c.get("/first/key").send().await.expect(200);
    c.delete("/first")
        .send()
        .await
        .expect_error(409, "BucketNotEmpty");
    c.delete("/first/key").send().await.expect(204);
    c.delete("/first").send().await.expect(204);
    c.delete("/first").send().await.expect_error(404, "NoSuchBucket");
}

#[tokio::test]
async fn listing_shows_what_s3_can_name_in_order() {
    let h = Harness::start().await;
    let c = &h.client;
    for name in ["zoo", "alpha", "middle.one"] {
        c.put(&format!("/{name}")).send().await.expect(200);
    }
    // A directory made through the mount whose name is no bucket name.
    let creator = vfs::Creator {
        uid: 0,
        gid: 0,
        mode: 0o755,
    };
    h.vfs
        .mkdir(vfs::InodeNo::ROOT, b"Not_A_Bucket", creator)
        .await
        .unwrap();
    h.vfs
        .mkdir(vfs::InodeNo::ROOT, b"from-mount", creator)
        .await
        .unwrap();
    let list = c.get("/").send().await.expect(200);
    assert_eq!(list.tags("Name"), ["alpha", "from-mount", "middle.one", "zoo"]);
    assert_eq!(list.tag("ID").len(), 64);

    let page = c.get("/?max-buckets=3").send().await.expect(200);
    assert_eq!(page.tags("Name"), ["alpha", "from-mount", "middle.one"]);
    let token = page.tag("ContinuationToken");
    let rest = c
        .get(&format!("/?continuation-token={token}&max-buckets=3"))
        .send()
        .await
        .expect(200);
    assert_eq!(rest.tags("Name"), ["zoo"]);
    assert_eq!(rest.tag("ContinuationToken"), "");
    assert_eq!(
        c.get("/?prefix=m").send().await.expect(200).tags("Name"),
        ["middle.one"]
    );
}

#[tokio::test]
async fn bad_buckets_are_refused() {
    let h = Harness::start().await;
    let c = &h.client;
    for name in [
        "ab",
        "UPPER",
        "under_score",
        "192.168.1.1",
        "-dash",
        "dot..dot",
        &"x".repeat(64),
    ] {
        c.put(&format!("/{name}"))
            .send()
            .await
            .expect_error(400, "InvalidBucketName");
    }
    let elsewhere = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                     <LocationConstraint>mars-1</LocationConstraint></CreateBucketConfiguration>";
    c.put("/bucket")
        .body(elsewhere)
        .send()
        .await
        .expect_error(400, "IllegalLocationConstraintException");
    c.put("/bucket")
        .body("<not xml")
        .send()
        .await
        .expect_error(400, "MalformedXML");
    c.put("/bucket")
        .header("x-amz-acl", "public-read")
        .send()
        .await
        .expect_error(400, "InvalidBucketAclWithObjectOwnership");
    c.head("/bucket").send().await.expect(404);
}

#[tokio::test]
async fn virtual_hosts_name_buckets() {
    let h = Harness::with_bucket("photos").await;
    let c = &h.client;
    c.put("/cat.jpg")
        .host("photos.s3.test")
        .body("meow")
        .send()
        .await
        .expect(200);
    assert_eq!(c.get("/photos/cat.jpg").send().await.expect(200).body, b"meow");
    assert_eq!(
        c.get("/cat.jpg")
            .host("photos.s3.test")
            .send()
            .await
            .expect(200)
            .body,
        b"meow"
    );
    let listed = c.get("/photos").host("s3.test").send().await.expect(200);
    assert_eq!(listed.tags("Key"), ["cat.jpg"]);
}
