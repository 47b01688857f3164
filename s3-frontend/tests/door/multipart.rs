//! Multipart uploads.
use crate::client::{Answer, Client};
use crate::harness::Harness;

const PART: usize = 5 << 20;

fn content(seed: u32, len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect()
}

async fn start(c: &Client, key: &str, headers: &[(&str, &str)]) -> String {
    let mut request = c.post(&format!("/bucket/{key}?uploads"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let id = request.send().await.expect(200).tag("UploadId");
    assert!(!id.is_empty());
    id
}

fn list(parts: &[(u32, &str)]) -> String {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{etag}\"</ETag></Part>")
        })
        .collect();
    format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
}

async fn complete(c: &Client, key: &str, id: &str, parts: &[(u32, &str)]) -> Answer {
    c.post(&format!("/bucket/{key}?uploadId={id}"))
        .body(list(parts))
        .send()
        .await
}

#[tokio::test]
async fn parts_become_an_object() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let id = start(
        c,
        "big",
        &[
            ("x-amz-meta-a", "1"),
            ("content-type", "text/x"),
            ("x-amz-checksum-algorithm", "CRC32"),
        ],
    )
    .await;
    let (one, two) = (content(1, PART), content(2, 1234));
    let put = |number: u32, body: &[u8]| {
        c.put(&format!("/bucket/big?partNumber={number}&uploadId={id}"))
            .body(body)
    };
    // Parts arrive in any order, and the last of one number counts.
    let second = put(7, &two)
        .header("x-amz-sdk-checksum-algorithm", "CRC32")
        .send()
        .await
        .expect(200)
        .etag();
    put(2, b"replaced").send().await.expect(200);
    let first = put(2, &one)
        .header("x-amz-sdk-checksum-algorithm", "CRC32")
        .send()
        .await
        .expect(200)
        .etag();

    c.head("/bucket/big").send().await.expect(404);
    let uploads = c.get("/bucket?uploads").send().await.expect(200);
    assert_eq!(
        (uploads.tag("Key"), uploads.tag("UploadId")),
        ("big".into(), id.clone())
    );
    let parts = c
        .get(&format!("/bucket/big?uploadId={id}"))
        .send()
        .await
        .expect(200);
    assert_eq!(parts.tags("PartNumber"), ["2", "7"]);
    assert_eq!(parts.tags("Size"), [PART.to_string(), "1234".into()]);
    assert_eq!(parts.tag("ChecksumAlgorithm"), "CRC32");
    let page = c
        .get(&format!("/bucket/big?uploadId={id}&max-parts=1"))
        .send()
        .await
        .expect(200);
    assert_eq!(
        (page.tags("PartNumber"), page.tag("IsTruncated")),
        (vec!["2".to_owned()], "true".into())
    );
    let rest = c
        .get(&format!("/bucket/big?uploadId={id}&part-number-marker=2"))
        .send()
        .await
        .expect(200);
    assert_eq!(
        (rest.tags("PartNumber"), rest.tag("IsTruncated")),
        (vec!["7".to_owned()], "false".into())
    );

    let done = complete(c, "big", &id, &[(2, &first), (7, &second)])
        .await
        .expect(200);
    let etag = done.tag("ETag");
    assert!(etag.ends_with("-2\""), "{etag}");
    assert!(done.tag("ChecksumCRC32").ends_with("-2"), "{}", done.text());
    assert_eq!(done.tag("ChecksumType"), "COMPOSITE");
    // Asked again, it answers the same.
    let again = complete(c, "big", &id, &[(2, &first), (7, &second)])
        .await
        .expect(200);
    assert_eq!(again.tag("ETag"), etag);

    let got = c.get("/bucket/big").send().await.expect(200);
    assert!(got.body == [one.clone(), two.clone()].concat());
    assert_eq!(
        (got.header("etag"), got.header("x-amz-meta-a")),
        (etag, "1".into())
    );
    assert_eq!(got.header("content-type"), "text/x");
    let part = c.get("/bucket/big?partNumber=2").send().await.expect(206);
    assert!(part.body == two);
    assert_eq!(part.header("x-amz-mp-parts-count"), "2");
    assert_eq!(
        part.header("content-range"),
        format!("bytes {PART}-{}/{}", PART + 1233, PART + 1234)
    );
    c.get("/bucket/big?partNumber=3")
        .send()
        .await
        .expect_error(416, "InvalidPartNumber");
    let attributes = c
        .get("/bucket/big?attributes")
        .header("x-amz-object-attributes", "ObjectParts")
        .send()
        .await
        .expect(200);
    assert_eq!(attributes.tag("PartsCount"), "2");
    assert_eq!(
        c.get("/bucket?uploads").send().await.expect(200).tag("UploadId"),
        ""
    );
}

#[tokio::test]
async fn full_object_checksums_are_joined() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let (one, two) = (content(3, PART), content(4, 999));
    let whole = [one.clone(), two.clone()].concat();
    let expected = c
        .put("/bucket/simple")
        .body(whole)
        .send()
        .await
        .expect(200)
        .header("x-amz-checksum-crc64nvme");
    for headers in [&[("x-amz-checksum-algorithm", "CRC64NVME")][..], &[]] {
        let id = start(c, "big", headers).await;
        let mut etags = Vec::new();
        for (number, body) in [(1, &one), (2, &two)] {
            let target = format!("/bucket/big?partNumber={number}&uploadId={id}");
            etags.push(c.put(&target).body(body.clone()).send().await.expect(200).etag());
        }
        let done = complete(c, "big", &id, &[(1, &etags[0]), (2, &etags[1])])
            .await
            .expect(200);
        assert_eq!(
            (done.tag("ChecksumCRC64NVME"), done.tag("ChecksumType")),
            (expected.clone(), "FULL_OBJECT".into())
        );
        let head = c
            .head("/bucket/big")
            .header("x-amz-checksum-mode", "ENABLED")
            .send()
            .await
            .expect(200);
        assert_eq!(head.header("x-amz-checksum-crc64nvme"), expected);
    }
    let impossible = c
        .post("/bucket/big?uploads")
        .header("x-amz-checksum-algorithm", "CRC64NVME")
        .header("x-amz-checksum-type", "COMPOSITE");
    impossible.send().await.expect_error(400, "InvalidRequest");
}

#[tokio::test]
async fn bad_completions_change_nothing() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let id = start(c, "k", &[]).await;
    let small = c
        .put(&format!("/bucket/k?partNumber=1&uploadId={id}"))
        .body("small")
        .send()
        .await
        .expect(200)
        .etag();
    let next = c
        .put(&format!("/bucket/k?partNumber=2&uploadId={id}"))
        .body("next")
        .send()
        .await
        .expect(200)
        .etag();
    complete(c, "k", &id, &[]).await.expect_error(400, "MalformedXML");
    complete(c, "k", &id, &[(2, &next), (1, &small)])
        .await
        .expect_error(400, "InvalidPartOrder");
    complete(c, "k", &id, &[(1, &small), (2, &next)])
        .await
        .expect_error(400, "EntityTooSmall");
    complete(c, "k", &id, &[(1, &next)])
        .await
        .expect_error(400, "InvalidPart");
    complete(c, "k", &id, &[(3, &next)])
        .await
        .expect_error(400, "InvalidPart");
    complete(c, "k", "none", &[(1, &small)])
        .await
        .expect_error(404, "NoSuchUpload");
    complete(c, "other", &id, &[(1, &small)])
        .await
        .expect_error(404, "NoSuchUpload");
    c.put("/bucket/k").body("there").send().await.expect(200);
    let conditional = c
        .post(&format!("/bucket/k?uploadId={id}"))
        .header("if-none-match", "*");
    conditional
        .body(list(&[(1, &small)]))
        .send()
        .await
        .expect_error(412, "PreconditionFailed");
    assert_eq!(c.get("/bucket/k").send().await.expect(200).text(), "there");
    complete(c, "k", &id, &[(1, &small)]).await.expect(200);
    assert_eq!(c.get("/bucket/k").send().await.expect(200).text(), "small");
}

#[tokio::test]
async fn aborting_drops_the_parts() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let id = start(c, "k", &[]).await;
    c.put(&format!("/bucket/k?partNumber=1&uploadId={id}"))
        .body("x")
        .send()
        .await
        .expect(200);
    c.delete(&format!("/bucket/k?uploadId={id}"))
        .send()
        .await
        .expect(204);
    c.delete(&format!("/bucket/k?uploadId={id}"))
        .send()
        .await
        .expect_error(404, "NoSuchUpload");
    let late = c
        .put(&format!("/bucket/k?partNumber=1&uploadId={id}"))
        .body("x")
        .send()
        .await;
    late.expect_error(404, "NoSuchUpload");
    c.get(&format!("/bucket/k?uploadId={id}"))
        .send()
        .await
        .expect_error(404, "NoSuchUpload");
    c.head("/bucket/k").send().await.expect(404);
    for number in ["0", "10001", "-1"] {
        let answer = c
            .put(&format!("/bucket/k?partNumber={number}&uploadId={id}"))
            .body("x")
            .send()
            .await;
        answer.expect_error(400, "InvalidArgument");
    }
}

#[tokio::test]
async fn parts_can_be_copied() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let source = content(5, PART + 100);
    c.put("/bucket/source")
        .body(source.clone())
        .send()
        .await
        .expect(200);
    let id = start(c, "k", &[]).await;
    let copy = |number: u32, range: &str| {
        c.put(&format!("/bucket/k?partNumber={number}&uploadId={id}"))
            .header("x-amz-copy-source", "/bucket/source")
            .header("x-amz-copy-source-range", range)
            .send()
    };
    let first = copy(1, &format!("bytes=100-{}", PART + 99))
        .await
        .expect(200)
        .tag("ETag");
    let second = copy(2, "bytes=0-9").await.expect(200).tag("ETag");
    copy(3, &format!("bytes=0-{}", PART + 100))
        .await
        .expect_error(400, "InvalidArgument");
    copy(3, "bytes=5-").await.expect_error(400, "InvalidArgument");
    let parts = [(1, first.trim_matches('"')), (2, second.trim_matches('"'))];
    complete(c, "k", &id, &parts).await.expect(200);
    let got = c.get("/bucket/k").send().await.expect(200);
    assert!(got.body == [&source[100..], &source[..10]].concat());
}

#[tokio::test]
async fn uploads_are_listed_in_pages() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let mut expected = Vec::new();
    for key in ["a", "a", "b/1", "b/2", "c"] {
        expected.push((key.to_owned(), start(c, key, &[]).await));
    }
    expected.sort();
    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let page = c
            .get(&format!("/bucket?uploads&max-uploads=2{marker}"))
            .send()
            .await
            .expect(200);
        seen.extend(page.tags("Key").into_iter().zip(page.tags("UploadId")));
        if page.tag("IsTruncated") == "false" {
            break;
        }
        marker = format!(
            "&key-marker={}&upload-id-marker={}",
            page.tag("NextKeyMarker").replace('/', "%2F"),
            page.tag("NextUploadIdMarker")
        );
    }
    seen.sort();
    assert_eq!(seen, expected);
    let rolled = c.get("/bucket?uploads&delimiter=%2F").send().await.expect(200);
    assert_eq!(rolled.tags("Key"), ["a", "a", "c"]);
    assert!(
        rolled
            .text()
            .contains("<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>")
    );
    let prefixed = c.get("/bucket?uploads&prefix=b%2F").send().await.expect(200);
    assert_eq!(prefixed.tags("Key"), ["b/1", "b/2"]);
}

/// Numbers may have gaps, parts come at once and in any order, and the last one sent under a number
/// counts.
#[tokio::test]
async fn parts_come_in_any_order_and_at_once() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let id = start(c, "k", &[]).await;
    let send = |number: u32, seed: u32, len: usize| {
        let part = c.put(&format!("/bucket/k?partNumber={number}&uploadId={id}"));
        part.body(content(seed, len)).send()
    };
    send(77, 1, 10).await.expect(200);
    let sent = futures::future::join_all([
        send(10_000, 4, 3),
        send(77, 2, PART),
        send(3, 3, PART),
        send(500, 9, 1),
    ])
    .await;
    let etags: Vec<String> = sent.into_iter().map(|part| part.expect(200).etag()).collect();
    let (mut seen, mut marker) = (Vec::new(), String::new());
    loop {
        let target = format!("/bucket/k?uploadId={id}&max-parts=3&part-number-marker={marker}");
        let page = c
            .get(target.trim_end_matches("&part-number-marker="))
            .send()
            .await
            .expect(200);
        seen.extend(page.tags("PartNumber"));
        if page.tag("IsTruncated") == "false" {
            break;
        }
        marker = page.tag("NextPartNumberMarker");
    }
    assert_eq!(seen, ["3", "77", "500", "10000"]);
    let parts = [(3, &*etags[2]), (77, &*etags[1]), (10_000, &*etags[0])];
    complete(c, "k", &id, &[parts[1], parts[0], parts[2]])
        .await
        .expect_error(400, "InvalidPartOrder");
    let small = [parts[0], (500, &*etags[3]), parts[2]];
    complete(c, "k", &id, &small)
        .await
        .expect_error(400, "EntityTooSmall");
    let answer = complete(c, "k", &id, &parts).await.expect(200);
    let got = c.get("/bucket/k").send().await.expect(200);
    assert!(got.body == [content(3, PART), content(2, PART), content(4, 3)].concat());
    let again = complete(c, "k", &id, &parts).await.expect(200);
    assert_eq!(again.tag("ETag"), answer.tag("ETag"));
}

/// An abort while a part is on its way: the part finds no upload, and nothing of it is left.
#[tokio::test]
async fn an_abort_meets_parts_that_are_under_way() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let id = start(c, "k", &[]).await;
    let parts = (1..=6u32).map(|number| {
        let part = c.put(&format!("/bucket/k?partNumber={number}&uploadId={id}"));
        part.body(content(number, PART)).send()
    });
    let wrong = c
        .delete(&format!("/bucket/k?uploadId={id}"))
        .header("x-amz-if-match-initiated-time", "Sat, 01 Jan 2000 00:00:00 GMT");
    wrong.send().await.expect_error(412, "PreconditionFailed");
    let abort = c.delete(&format!("/bucket/k?uploadId={id}")).send();
    let (parts, abort) = futures::join!(futures::future::join_all(parts), abort);
    abort.expect(204);
    for part in parts {
        if part.status != 200 {
            part.expect_error(404, "NoSuchUpload");
        }
    }
    let listed = c.get("/bucket?uploads").send().await.expect(200);
    assert!(listed.tags("UploadId").is_empty());
    c.delete("/bucket").send().await.expect(204);
}
