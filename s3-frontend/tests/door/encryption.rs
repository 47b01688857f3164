//! Encryption that clients ask for: keys of their own, and defaults of buckets.
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt as _;
use md5::{Digest as _, Md5};

use crate::client::{Client, Request};
use crate::harness::Harness;

const PART: usize = 5 << 20;
const PREFIX: &str = "x-amz-server-side-encryption-customer-";
const COPY_PREFIX: &str = "x-amz-copy-source-server-side-encryption-customer-";

fn keyed_with(request: Request, prefix: &str, byte: u8) -> Request {
    let key = [byte; 32];
    request
        .header(&format!("{prefix}algorithm"), "AES256")
        .header(&format!("{prefix}key"), &BASE64_STANDARD.encode(key))
        .header(&format!("{prefix}key-md5"), &key_md5(byte))
}

/// A request that brings a key.
fn keyed(request: Request, byte: u8) -> Request {
    keyed_with(request, PREFIX, byte)
}

fn key_md5(byte: u8) -> String {
    BASE64_STANDARD.encode(Md5::digest([byte; 32]))
}

fn content(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect()
}

/// The bytes as they are stored.
async fn stored(h: &Harness, key: &str) -> Vec<u8> {
    let reader = h.vfs.get_object("bucket", key.as_bytes()).await.unwrap();
    let size = reader.info().size;
    let mut bytes = reader.stream(0..size);
    let mut all = Vec::new();
    while let Some(piece) = bytes.next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    all
}

#[tokio::test]
async fn only_who_brings_the_key_reads() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let data = content(300_000);
    let made = keyed(c.put("/bucket/k").body(data.clone()), 1)
        .send()
        .await
        .expect(200);
    assert_eq!(made.header(&format!("{PREFIX}algorithm")), "AES256");
    assert_eq!(made.header(&format!("{PREFIX}key-md5")), key_md5(1));
    assert_eq!(made.header("x-amz-server-side-encryption"), "");
    assert_ne!(made.etag(), hex::encode(Md5::digest(&data)));

    let at_rest = stored(&h, "k").await;
    assert_eq!(at_rest.len(), data.len());
    let same = at_rest.iter().zip(&data).filter(|(a, b)| a == b).count();
    assert!(same < data.len() / 50, "{same} bytes are as they were sent");

    for range in ["bytes=0-", "bytes=1-1", "bytes=100000-262199", "bytes=-17"] {
        let got = keyed(c.get("/bucket/k").header("range", range), 1)
            .send()
            .await
            .expect(206);
        let (from, to) = match range {
            "bytes=0-" => (0, data.len()),
            "bytes=1-1" => (1, 2),
            "bytes=-17" => (data.len() - 17, data.len()),
            _ => (100_000, 262_200),
        };
        assert!(got.body == data[from..to], "{range}");
    }
    let got = keyed(c.get("/bucket/k"), 1).send().await.expect(200);
    assert!(got.body == data);
    assert_eq!(
        (got.etag(), got.header(&format!("{PREFIX}key-md5"))),
        (made.etag(), key_md5(1))
    );
    let head = keyed(c.head("/bucket/k"), 1).send().await.expect(200);
    assert_eq!(head.header("content-length"), data.len().to_string());
    let attributes = keyed(
        c.get("/bucket/k?attributes")
            .header("x-amz-object-attributes", "ObjectSize"),
        1,
    );
    assert_eq!(attributes.send().await.expect(200).tag("ObjectSize"), "300000");

    for wrong in [None, Some(2)] {
        let with = |request: Request| match wrong {
            Some(byte) => keyed(request, byte),
            None => request,
        };
        with(c.get("/bucket/k"))
            .send()
            .await
            .expect_error(400, "InvalidRequest");
        with(c.head("/bucket/k")).send().await.expect(400);
        with(
            c.get("/bucket/k?attributes")
                .header("x-amz-object-attributes", "ETag"),
        )
        .send()
        .await
        .expect_error(400, "InvalidRequest");
        let copy = c.put("/bucket/copy").header("x-amz-copy-source", "/bucket/k");
        let copy = match wrong {
            Some(byte) => keyed_with(copy, COPY_PREFIX, byte),
            None => copy,
        };
        copy.send().await.expect_error(400, "InvalidRequest");
    }
    c.head("/bucket/copy").send().await.expect(404);

    // An object that nobody encrypted so.
    c.put("/bucket/plain").body("x").send().await.expect(200);
    keyed(c.get("/bucket/plain"), 1)
        .send()
        .await
        .expect_error(400, "InvalidRequest");
    for request in [c.get("/bucket/plain"), c.get("/bucket/plain?attributes")] {
        let request = request
            .header("x-amz-server-side-encryption", "AES256")
            .header("x-amz-object-attributes", "ETag");
        request.send().await.expect_error(400, "InvalidArgument");
    }
    // Listing and deleting need no key.
    let listed = c.get("/bucket?list-type=2&prefix=k").send().await.expect(200);
    assert_eq!(listed.tag("Size"), "300000");
    c.delete("/bucket/k").send().await.expect(204);
}

#[tokio::test]
async fn bad_keys_store_nothing() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let (key, md5, other) = (BASE64_STANDARD.encode([1; 32]), key_md5(1), key_md5(2));
    let (key, md5, other) = (key.as_str(), md5.as_str(), other.as_str());
    for headers in [
        vec![("algorithm", "AES256")],
        vec![("algorithm", "AES256"), ("key", key)],
        vec![("key", key), ("key-md5", md5)],
        vec![("algorithm", "AES256"), ("key", key), ("key-md5", other)],
        vec![("algorithm", "AES256"), ("key", "AAAA"), ("key-md5", md5)],
    ] {
        let mut request = c.put("/bucket/k").body("x");
        for (name, value) in &headers {
            request = request.header(&format!("{PREFIX}{name}"), value);
        }
        request.send().await.expect_error(400, "InvalidArgument");
    }
    keyed(c.put("/bucket/k").body("x"), 1)
        .header("x-amz-server-side-encryption", "AES256")
        .send()
        .await
        .expect_error(400, "InvalidArgument");
    c.put("/bucket/k")
        .header("x-amz-server-side-encryption-aws-kms-key-id", "k")
        .body("x")
        .send()
        .await
        .expect_error(400, "InvalidArgument");
    c.head("/bucket/k").send().await.expect(404);
}

#[tokio::test]
async fn copies_are_encrypted_as_they_ask() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let data = content(70_000);
    let md5 = hex::encode(Md5::digest(&data));
    keyed(
        c.put("/bucket/one")
            .header("x-amz-meta-a", "b")
            .body(data.clone()),
        1,
    )
    .send()
    .await
    .expect(200);
    let copy = |to: &str, from: &str| c.put(to).header("x-amz-copy-source", from);
    // Out of the encryption, into another, and into the first one from nothing.
    let plain = keyed_with(copy("/bucket/plain", "/bucket/one"), COPY_PREFIX, 1)
        .send()
        .await;
    let plain = plain.expect(200);
    assert_eq!(plain.header("x-amz-server-side-encryption"), "AES256");
    assert_eq!(plain.tag("ETag").trim_matches('"'), md5);
    let got = c.get("/bucket/plain").send().await.expect(200);
    assert!(got.body == data && got.header("x-amz-meta-a") == "b");
    assert!(stored(&h, "plain").await == data);
    let two = keyed(keyed_with(copy("/bucket/two", "/bucket/one"), COPY_PREFIX, 1), 2);
    assert_eq!(
        two.send().await.expect(200).header(&format!("{PREFIX}key-md5")),
        key_md5(2)
    );
    assert!(keyed(c.get("/bucket/two"), 2).send().await.expect(200).body == data);
    keyed(c.get("/bucket/two"), 1)
        .send()
        .await
        .expect_error(400, "InvalidRequest");
    keyed(copy("/bucket/three", "/bucket/plain"), 3)
        .send()
        .await
        .expect(200);
    assert!(keyed(c.get("/bucket/three"), 3).send().await.expect(200).body == data);
    // Onto itself under another key.
    keyed(keyed_with(copy("/bucket/one", "/bucket/one"), COPY_PREFIX, 1), 4)
        .send()
        .await
        .expect(200);
    assert!(keyed(c.get("/bucket/one"), 4).send().await.expect(200).body == data);
    keyed(c.get("/bucket/one"), 1)
        .send()
        .await
        .expect_error(400, "InvalidRequest");
}

async fn part(c: &Client, id: &str, number: u32, body: &[u8], byte: Option<u8>) -> crate::client::Answer {
    let request = c
        .put(&format!("/bucket/big?partNumber={number}&uploadId={id}"))
        .body(body);
    match byte {
        Some(byte) => keyed(request, byte).send().await,
        None => request.send().await,
    }
}

#[tokio::test]
async fn parts_are_encrypted_by_the_key_of_their_upload() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let begun = keyed(c.post("/bucket/big?uploads"), 1).send().await.expect(200);
    assert_eq!(begun.header(&format!("{PREFIX}key-md5")), key_md5(1));
    let id = begun.tag("UploadId");
    let (one, two) = (content(PART + 3), content(1000));
    part(c, &id, 1, &one, None)
        .await
        .expect_error(400, "InvalidRequest");
    part(c, &id, 1, &one, Some(2))
        .await
        .expect_error(400, "InvalidRequest");
    // The second attempt at a part counts.
    part(c, &id, 1, &two, Some(1)).await.expect(200);
    let first = part(c, &id, 1, &one, Some(1)).await.expect(200).etag();
    let second = part(c, &id, 2, &two, Some(1)).await.expect(200).etag();
    // A part that is copied out of another encryption.
    keyed(c.put("/bucket/source").body(two.clone()), 9)
        .send()
        .await
        .expect(200);
    let target = format!("/bucket/big?partNumber=3&uploadId={id}");
    let copied = c
        .put(&target)
        .header("x-amz-copy-source", "/bucket/source")
        .header("x-amz-copy-source-range", "bytes=10-509");
    let copied = keyed(keyed_with(copied, COPY_PREFIX, 9), 1)
        .send()
        .await
        .expect(200);
    let third = copied.tag("ETag").trim_matches('"').to_owned();
    let list: String = [(1, &first), (2, &second)]
        .iter()
        .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        .collect();
    let complete = |list: String| {
        c.post(&format!("/bucket/big?uploadId={id}")).body(format!(
            "<CompleteMultipartUpload>{list}</CompleteMultipartUpload>"
        ))
    };
    let last = format!("<Part><PartNumber>3</PartNumber><ETag>{third}</ETag></Part>");
    keyed(complete(format!("{list}{last}")), 1)
        .send()
        .await
        .expect_error(400, "EntityTooSmall");
    for wrong in [complete(list.clone()), keyed(complete(list.clone()), 2)] {
        wrong.send().await.expect_error(400, "InvalidRequest");
    }
    let made = keyed(complete(list), 1).send().await.expect(200);
    assert_eq!(made.header(&format!("{PREFIX}key-md5")), key_md5(1));

    let whole = [one.clone(), two.clone()].concat();
    let got = keyed(c.get("/bucket/big"), 1).send().await.expect(200);
    assert!(got.body == whole);
    let across = format!("bytes={}-{}", PART - 5, PART + 20);
    let got = keyed(c.get("/bucket/big").header("range", &across), 1)
        .send()
        .await
        .expect(206);
    assert!(got.body == whole[PART - 5..=PART + 20]);
    let got = keyed(c.get("/bucket/big?partNumber=2"), 1)
        .send()
        .await
        .expect(206);
    assert!(got.body == two);
    c.get("/bucket/big")
        .send()
        .await
        .expect_error(400, "InvalidRequest");
    assert!(stored(&h, "big").await != whole);

    let id = c
        .post("/bucket/big?uploads")
        .send()
        .await
        .expect(200)
        .tag("UploadId");
    part(c, &id, 1, &two, Some(1))
        .await
        .expect_error(400, "InvalidRequest");
    // What is copied out of an encryption into an upload without one.
    let copied = c
        .put(&format!("/bucket/big?partNumber=1&uploadId={id}"))
        .header("x-amz-copy-source", "/bucket/source");
    let copied = keyed_with(copied, COPY_PREFIX, 9).send().await.expect(200);
    assert_eq!(
        copied.tag("ETag").trim_matches('"'),
        hex::encode(Md5::digest(&two))
    );
}

#[tokio::test]
async fn what_another_door_changed_is_not_read_as_noise() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    keyed(c.put("/bucket/k").body("secret"), 1)
        .send()
        .await
        .expect(200);
    let bucket = h.vfs.lookup(vfs::InodeNo::ROOT, b"bucket").await.unwrap();
    let file = h.vfs.lookup(bucket.ino, b"k").await.unwrap();
    assert_ne!(h.vfs.read(file.ino, 0, 100).await.unwrap(), "secret");
    h.vfs.open_inode(file.ino).await.unwrap();
    h.vfs
        .write(file.ino, 0, bytes::Bytes::from_static(b"mount"))
        .await
        .unwrap();
    h.vfs.close(file.ino).await.unwrap();
    keyed(c.get("/bucket/k"), 1)
        .send()
        .await
        .expect_error(403, "InvalidObjectState");
    keyed(c.put("/bucket/k").body("new"), 1).send().await.expect(200);
    assert_eq!(
        keyed(c.get("/bucket/k"), 1).send().await.expect(200).text(),
        "new"
    );
}

#[tokio::test]
async fn buckets_say_what_counts_for_who_says_nothing() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let unset = || async {
        c.get("/bucket?encryption")
            .send()
            .await
            .expect_error(404, "ServerSideEncryptionConfigurationNotFoundError")
    };
    unset().await;
    let put = |rules: &str| {
        c.put("/bucket?encryption").body(format!(
            "<ServerSideEncryptionConfiguration>{rules}</ServerSideEncryptionConfiguration>"
        ))
    };
    let rule = |algorithm: &str| {
        format!(
            "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>{algorithm}</SSEAlgorithm>\
             </ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule>"
        )
    };
    put(&rule("AES256")).send().await.expect(200);
    let shown = c.get("/bucket?encryption").send().await.expect(200);
    assert_eq!(
        (shown.tag("SSEAlgorithm"), shown.tag("BucketKeyEnabled")),
        ("AES256".into(), "true".into())
    );
    let made = c.put("/bucket/k").body("x").send().await.expect(200);
    assert_eq!(made.header("x-amz-server-side-encryption"), "AES256");
    for wrong in [
        String::new(),
        rule("ROT13"),
        rule("AES256").repeat(2),
        "<Rule></Rule>".into(),
    ] {
        put(&wrong).send().await.expect_error(400, "MalformedXML");
    }
    for _ in 0..2 {
        c.delete("/bucket?encryption").send().await.expect(204);
    }
    unset().await;
    c.get("/nowhere?encryption")
        .send()
        .await
        .expect_error(404, "NoSuchBucket");
}
