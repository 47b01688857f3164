//! Checksums and MD5, in headers, trailers and chunk signatures.
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::client::{hmac, sha256, signing_key};
use crate::harness::{Harness, REGION, SECRET};

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn crc32(data: &[u8]) -> String {
    BASE64_STANDARD.encode(crc32fast::hash(data).to_be_bytes())
}

#[tokio::test]
async fn checksums_are_verified_kept_and_shown() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    // Known values of "hello".
    for (name, value) in [
        ("crc32", "NhCmhg=="),
        ("crc32c", "mnG7TA=="),
        ("sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00="),
        ("sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="),
    ] {
        let header = format!("x-amz-checksum-{name}");
        let put = c
            .put("/bucket/k")
            .header(&header, value)
            .body("hello")
            .send()
            .await
            .expect(200);
        assert_eq!(put.header(&header), value);
        let get = c
            .get("/bucket/k")
            .header("x-amz-checksum-mode", "ENABLED")
            .send()
            .await
            .expect(200);
        assert_eq!(
            (
                get.header(&header).as_str(),
                get.header("x-amz-checksum-type").as_str()
            ),
            (value, "FULL_OBJECT")
        );
        let head = c
            .head("/bucket/k")
            .header("x-amz-checksum-mode", "ENABLED")
            .send()
            .await
            .expect(200);
        assert_eq!(head.header(&header), value);
        assert_eq!(c.get("/bucket/k").send().await.expect(200).header(&header), "");
        let ranged = c
            .get("/bucket/k")
            .header("x-amz-checksum-mode", "ENABLED")
            .header("range", "bytes=1-2");
        assert_eq!(ranged.send().await.expect(206).header(&header), "");
        let attributes = c
            .get("/bucket/k?attributes")
            .header("x-amz-object-attributes", "Checksum,ObjectSize,ETag,StorageClass")
            .send()
            .await
            .expect(200);
        assert!(attributes.text().contains(value), "{}", attributes.text());
        assert_eq!(
            (attributes.tag("ObjectSize"), attributes.tag("StorageClass")),
            ("5".into(), "STANDARD".into())
        );

        let wrong = c
            .put("/bucket/bad")
            .header(&header, value)
            .body("hellO")
            .send()
            .await;
        wrong.expect_error(400, "BadDigest");
        let rubbish = c
            .put("/bucket/bad")
            .header(&header, "rubbish")
            .body("hello")
            .send()
            .await;
        rubbish.expect_error(400, "BadDigest");
    }
    c.head("/bucket/bad").send().await.expect(404);
    let none = c
        .get("/bucket/k?attributes")
        .header("x-amz-object-attributes", "Colour")
        .send()
        .await;
    none.expect_error(400, "InvalidArgument");
}

#[tokio::test]
async fn content_md5_and_sha256_are_verified() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/k")
        .header("content-md5", "XUFAKrxLKna5cZ2REBfFkg==")
        .body("hello")
        .send()
        .await
        .expect(200);
    let wrong = c
        .put("/bucket/bad")
        .header("content-md5", "XUFAKrxLKna5cZ2REBfFkg==")
        .body("hellO");
    wrong.send().await.expect_error(400, "BadDigest");
    let invalid = c.put("/bucket/bad").header("content-md5", "hello").body("hello");
    invalid.send().await.expect_error(400, "InvalidDigest");
    let mismatch = c.put("/bucket/bad").payload(EMPTY_SHA256).body("hello");
    mismatch
        .send()
        .await
        .expect_error(400, "XAmzContentSHA256Mismatch");
    c.put("/bucket/unsigned")
        .payload("UNSIGNED-PAYLOAD")
        .body("hello")
        .send()
        .await
        .expect(200);
    c.head("/bucket/bad").send().await.expect(404);
}

/// What SDKs send by default: unsigned chunks and a checksum trailer.
fn with_trailer(chunks: &[&[u8]], trailer: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("0\r\n{trailer}\r\n\r\n").as_bytes());
    body
}

#[tokio::test]
async fn unsigned_chunks_with_a_trailer() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let data: Vec<u8> = (0..700_000u32).map(|i| (i % 253) as u8).collect();
    let send = |key: &str, length: usize, body: Vec<u8>| {
        c.put(&format!("/bucket/{key}"))
            .payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .header("x-amz-decoded-content-length", &length.to_string())
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .header("content-encoding", "gzip,aws-chunked")
            .body(body)
            .send()
    };
    let trailer = format!("x-amz-checksum-crc32:{}", crc32(&data));
    for (key, chunks) in [("one", vec![&data[..]]), ("many", data.chunks(65_536).collect())] {
        let put = send(key, data.len(), with_trailer(&chunks, &trailer))
            .await
            .expect(200);
        assert_eq!(put.header("x-amz-checksum-crc32"), crc32(&data));
        let got = c.get(&format!("/bucket/{key}")).send().await.expect(200);
        assert!(got.body == data);
        assert_eq!(got.header("content-encoding"), "gzip");
    }
    let wrong = format!("x-amz-checksum-crc32:{}", crc32(b"other"));
    send("bad", data.len(), with_trailer(&[&data], &wrong))
        .await
        .expect_error(400, "BadDigest");
    send("bad", data.len(), with_trailer(&[&data], ""))
        .await
        .expect_error(400, "IncompleteBody");
    send("bad", data.len() + 1, with_trailer(&[&data], &trailer))
        .await
        .expect_error(400, "IncompleteBody");
    send("bad", data.len() - 1, with_trailer(&[&data], &trailer))
        .await
        .expect_error(400, "IncompleteBody");
    send("bad", 3, b"zz\r\nabc\r\n0\r\n\r\n".to_vec())
        .await
        .expect_error(400, "InvalidRequest");
    send("bad", 3, b"3\r\nab".to_vec())
        .await
        .expect_error(400, "IncompleteBody");
    c.head("/bucket/bad").send().await.expect(404);
}

#[tokio::test]
async fn signed_chunks() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let large = vec![b'a'; 70_000];
    let chunks: [&[u8]; 3] = [&large, b"tail", b""];
    let length: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    let request = || {
        c.put("/bucket/k")
            .payload("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
            .header("content-encoding", "aws-chunked")
            .header("x-amz-decoded-content-length", &length.to_string())
    };
    for tampered in [false, true] {
        let signed = request().sign();
        let key = signing_key(SECRET, signed.date.split('T').next().unwrap(), REGION);
        let mut previous = signed.signature.clone();
        let mut body = Vec::new();
        for chunk in chunks {
            let to_sign = format!(
                "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{previous}\n{EMPTY_SHA256}\n{}",
                signed.date,
                signed.scope,
                sha256(chunk)
            );
            previous = hex::encode(hmac(&key, to_sign.as_bytes()));
            body.extend_from_slice(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        if tampered {
            body[100] ^= 1;
            let answer = request().body(body).send_with(signed.headers).await;
            answer.expect_error(403, "SignatureDoesNotMatch");
        } else {
            request().body(body).send_with(signed.headers).await.expect(200);
            assert_eq!(c.get("/bucket/k").send().await.expect(200).body.len(), length);
        }
    }
    let large = c
        .put("/bucket/large")
        .payload("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
        .header("x-amz-decoded-content-length", "4294967295")
        .body(format!("ffffffff;chunk-signature={}\r\n", "0".repeat(64)));
    large.send().await.expect_error(400, "InvalidRequest");
}
