//! Put, get, head: bytes, headers, ranges, names.
use crate::harness::Harness;

#[tokio::test]
async fn what_is_put_comes_back() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let put = c
        .put("/bucket/dir/hello%20w%C3%B6rld.txt")
        .header("content-type", "text/plain")
        .header("cache-control", "max-age=60")
        .header("content-disposition", "attachment")
        .header("content-language", "de")
        .header("content-encoding", "identity")
        .header("expires", "Thu, 01 Dec 2033 16:00:00 GMT")
        .header("x-amz-meta-colour", "blue")
        .header("x-amz-storage-class", "STANDARD")
        .body("hello")
        .send()
        .await
        .expect(200);
    assert_eq!(put.etag(), "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(put.header("x-amz-request-id").len(), 16);
    assert!(!put.header("x-amz-id-2").is_empty());
    for answer in [
        c.get("/bucket/dir/hello%20w%C3%B6rld.txt")
            .send()
            .await
            .expect(200),
        c.head("/bucket/dir/hello%20w%C3%B6rld.txt")
            .send()
            .await
            .expect(200),
    ] {
        assert_eq!(answer.etag(), "5d41402abc4b2a76b9719d911017c592");
        assert_eq!(answer.header("content-length"), "5");
        assert_eq!(answer.header("content-type"), "text/plain");
        assert_eq!(answer.header("cache-control"), "max-age=60");
        assert_eq!(answer.header("content-disposition"), "attachment");
        assert_eq!(answer.header("content-language"), "de");
        assert_eq!(answer.header("content-encoding"), "identity");
        assert_eq!(answer.header("expires"), "Thu, 01 Dec 2033 16:00:00 GMT");
        assert_eq!(answer.header("x-amz-meta-colour"), "blue");
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert!(answer.header("last-modified").ends_with("GMT"));
        assert!(
            answer
                .headers
                .keys()
                .all(|name| !name.as_str().starts_with("x-cess-c")),
            "{answer:?}"
        );
    }
    assert_eq!(
        c.get("/bucket/dir/hello%20w%C3%B6rld.txt").send().await.body,
        b"hello"
    );
    let head = c.head("/bucket/dir/hello%20w%C3%B6rld.txt").send().await;
    assert_eq!(head.header("x-cess-state"), "staged");
}

#[tokio::test]
async fn empty_and_overwritten_objects() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let put = c.put("/bucket/empty").send().await.expect(200);
    assert_eq!(put.etag(), "d41d8cd98f00b204e9800998ecf8427e");
    let got = c.get("/bucket/empty").send().await.expect(200);
    assert!(got.body.is_empty());
    assert_eq!(
        (got.header("content-length"), got.header("content-type")),
        ("0".into(), "binary/octet-stream".into())
    );
    c.put("/bucket/empty")
        .header("x-amz-meta-a", "1")
        .body("now full")
        .send()
        .await
        .expect(200);
    c.put("/bucket/empty").body("fuller").send().await.expect(200);
    let got = c.get("/bucket/empty").send().await.expect(200);
    assert_eq!(
        (got.body, got.headers.get("x-amz-meta-a")),
        (b"fuller".to_vec(), None)
    );
}

#[tokio::test]
async fn large_objects_stream_both_ways() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let body: Vec<u8> = (0..9_000_001u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let put = c.put("/bucket/large").body(body.clone()).send().await.expect(200);
    let got = c.get("/bucket/large").send().await.expect(200);
    assert!(got.body == body);
    assert_eq!(put.etag(), got.etag());
    let range = c
        .get("/bucket/large")
        .header("range", "bytes=262100-5242999")
        .send()
        .await
        .expect(206);
    assert!(range.body == body[262_100..=5_242_999]);
    assert_eq!(range.header("content-range"), "bytes 262100-5242999/9000001");
}

#[tokio::test]
async fn ranges() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/k").body("0123456789").send().await.expect(200);
    for (range, body, shown) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=5-500", "56789", "bytes 5-9/10"),
        ("bytes=-500", "0123456789", "bytes 0-9/10"),
    ] {
        let got = c.get("/bucket/k").header("range", range).send().await.expect(206);
        assert_eq!(
            (got.text().as_str(), got.header("content-range").as_str()),
            (body, shown),
            "{range}"
        );
        let head = c
            .head("/bucket/k")
            .header("range", range)
            .send()
            .await
            .expect(206);
        assert_eq!(head.header("content-length"), body.len().to_string());
    }
    for range in ["bytes=10-", "bytes=11-12", "bytes=-0"] {
        let refused = c
            .get("/bucket/k")
            .header("range", range)
            .send()
            .await
            .expect_error(416, "InvalidRange");
        assert_eq!(refused.header("content-range"), "bytes */10", "{range}");
    }
    assert_eq!(
        c.get("/bucket/k?partNumber=1").send().await.expect(206).text(),
        "0123456789"
    );
    c.get("/bucket/k?partNumber=2")
        .send()
        .await
        .expect_error(416, "InvalidPartNumber");
}

#[tokio::test]
async fn response_headers_can_be_overridden() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/k")
        .header("content-type", "text/plain")
        .body("x")
        .send()
        .await
        .expect(200);
    let got = c
        .get("/bucket/k?response-cache-control=no-store&response-content-type=image%2Fpng")
        .send()
        .await
        .expect(200);
    assert_eq!(
        (got.header("content-type"), got.header("cache-control")),
        ("image/png".into(), "no-store".into())
    );
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.get("/bucket/none").send().await.expect_error(404, "NoSuchKey");
    c.get("/nowhere/none")
        .send()
        .await
        .expect_error(404, "NoSuchBucket");
    c.put("/nowhere/none")
        .body("x")
        .send()
        .await
        .expect_error(404, "NoSuchBucket");
    let head = c.head("/bucket/none").send().await.expect(404);
    assert!(head.body.is_empty());
    c.put("/bucket/dir/file").body("x").send().await.expect(200);
    c.get("/bucket/dir").send().await.expect_error(404, "NoSuchKey");
    c.get("/bucket/dir/").send().await.expect_error(404, "NoSuchKey");
    c.get("/bucket/none?versionId=abc")
        .send()
        .await
        .expect_error(400, "InvalidArgument");
    c.get("/bucket/none?versionId=0123456789abcdef")
        .send()
        .await
        .expect_error(404, "NoSuchVersion");
}

/// Dot segments are left to clients that do not fold them (`tests/clients/s3_boto3.py`).
#[tokio::test]
async fn every_key_is_a_key() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let keys = [
        "a",
        "a/",
        "a//b",
        "a/b",
        "/lead",
        "~",
        "x%00y",
        "%0A",
        "%E2%82%AC",
        ".cess~empty",
        "a%20b",
        "a+b",
        "a%2Bb",
        "%25",
        "tab%09",
        "q%3Fx",
        "h%23x",
        "star*",
        "quote%27%22",
    ];
    let mut expected = std::collections::BTreeMap::new();
    for (index, key) in keys.iter().enumerate() {
        let body = format!("body {index}");
        c.put(&format!("/bucket/{key}"))
            .body(body.clone())
            .send()
            .await
            .expect(200);
        let decoded = percent_decode(key);
        expected.insert(decoded, body);
    }
    for long in [256, 1024] {
        let key = "k".repeat(long);
        c.put(&format!("/bucket/{key}"))
            .body(key.clone())
            .send()
            .await
            .expect(200);
        expected.insert(key.clone().into_bytes(), key);
    }
    for (key, body) in &expected {
        let path: String = key
            .iter()
            .map(|byte| match byte {
                b'/' | b'.' | b'-' | b'_' | b'~' => char::from(*byte).to_string(),
                byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect();
        let got = c.get(&format!("/bucket/{path}")).send().await;
        assert_eq!(&got.expect(200).text(), body, "{key:?}");
    }
    c.put(&format!("/bucket/{}", "k".repeat(1025)))
        .body("x")
        .send()
        .await
        .expect_error(400, "KeyTooLongError");
}

fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

#[tokio::test]
async fn unfulfilled_wishes_are_refused_and_store_nothing() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let large = "v".repeat(2048);
    for (name, value, status, code) in [
        ("x-amz-acl", "public-read", 400, "AccessControlListNotSupported"),
        (
            "x-amz-server-side-encryption",
            "aws:kms:dsse",
            501,
            "NotImplemented",
        ),
        (
            "x-amz-server-side-encryption-customer-algorithm",
            "AES256",
            400,
            "InvalidArgument",
        ),
        ("x-amz-write-offset-bytes", "3", 400, "InvalidWriteOffset"),
        ("x-amz-storage-class", "GLACIER", 400, "InvalidStorageClass"),
        ("x-amz-meta-a", large.as_str(), 400, "MetadataTooLarge"),
        ("x-amz-expected-bucket-owner", "000000000000", 403, "AccessDenied"),
    ] {
        c.put("/bucket/k")
            .header(name, value)
            .body("x")
            .send()
            .await
            .expect_error(status, code);
    }
    c.head("/bucket/k").send().await.expect(404);
    c.put("/bucket/k")
        .header("x-amz-server-side-encryption", "AES256")
        .body("x")
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn mount_and_s3_see_the_same_bytes() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let put = c.put("/bucket/shared").body("from s3").send().await.expect(200);
    let bucket = h.vfs.lookup(vfs::InodeNo::ROOT, b"bucket").await.unwrap();
    let file = h.vfs.lookup(bucket.ino, b"shared").await.unwrap();
    assert_eq!(h.vfs.read(file.ino, 0, 100).await.unwrap(), "from s3");
    h.vfs.open_inode(file.ino).await.unwrap();
    h.vfs
        .write(file.ino, 5, bytes::Bytes::from_static(b"the mount"))
        .await
        .unwrap();
    let got = c
        .get("/bucket/shared")
        .header("x-amz-checksum-mode", "ENABLED")
        .send()
        .await
        .expect(200);
    assert_eq!(got.text(), "from the mount");
    assert_ne!(got.etag(), put.etag());
    assert!(got.etag().contains('-'), "{}", got.etag());
    // The checksum of the old bytes is not shown for the new ones.
    assert_eq!(got.header("x-amz-checksum-crc64nvme"), "");
    h.vfs.close(file.ino).await.unwrap();
}
