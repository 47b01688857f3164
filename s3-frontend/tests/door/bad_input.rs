//! Input that makes no sense: AWS's code, a connection that goes on, and nothing stored.
use crate::client::sha256;
use crate::harness::Harness;

async fn nothing_is_stored(h: &Harness) {
    let listing = h.client.get("/bucket?list-type=2").send().await.expect(200);
    assert_eq!(listing.tags("Key"), Vec::<String>::new());
    let uploads = h.client.get("/bucket?uploads").send().await.expect(200);
    assert_eq!(uploads.tags("UploadId"), Vec::<String>::new());
}

#[tokio::test]
async fn documents_that_are_no_documents() {
    let h = Harness::with_bucket("bucket").await;
    let bomb = "<!DOCTYPE b [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">]>\
                <Delete><Object><Key>&b;</Key></Object></Delete>";
    let deep = format!(
        "<Delete>{}{}</Delete>",
        "<Object>".repeat(200_000),
        "</Object>".repeat(200_000)
    );
    let strange = format!(
        "<Delete>{}{}</Delete>",
        "<x>".repeat(200_000),
        "</x>".repeat(200_000)
    );
    for body in [
        b"<Delete>".to_vec(),
        b"not xml at all".to_vec(),
        b"<Delete><Object><Key>k</Object></Delete>".to_vec(),
        b"<Delete><Object><Key>\xff\xfe</Key></Object></Delete>".to_vec(),
        b"<Delete></Delete><Delete></Delete>".to_vec(),
        b"{}".to_vec(),
        bomb.as_bytes().to_vec(),
        deep.into_bytes(),
        strange.into_bytes(),
    ] {
        let answer = h.client.post("/bucket?delete").body(body.clone()).send().await;
        let start = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        assert_eq!(
            (answer.status, answer.tag("Code").as_str()),
            (400, "MalformedXML"),
            "{start}: {}",
            answer.text()
        );
    }
    let answer = h.client.post("/bucket?delete").send().await;
    answer.expect_error(400, "MissingRequestBodyError");
    let large = vec![b' '; (8 << 20) + 1];
    let answer = h.client.post("/bucket?delete").body(large).send().await;
    answer.expect_error(400, "MaxMessageLengthExceeded");
    // A location constraint that is none, an upload that is completed with nothing.
    let answer = h
        .client
        .put("/new")
        .body("<CreateBucketConfiguration>")
        .send()
        .await;
    answer.expect_error(400, "MalformedXML");
    h.client.head("/new").send().await.expect(404);
    nothing_is_stored(&h).await;
}

#[tokio::test]
async fn keys_end_at_1024_bytes() {
    let h = Harness::with_bucket("bucket").await;
    let longest = "k".repeat(1024);
    let umlauts = "%C3%A4".repeat(512);
    let too_long = "k".repeat(1025);
    let too_long_umlauts = format!("{umlauts}k");
    for target in [&too_long, &too_long_umlauts] {
        for request in [
            h.client.put(&format!("/bucket/{target}")).body("x"),
            h.client.get(&format!("/bucket/{target}")),
            h.client.delete(&format!("/bucket/{target}")),
            h.client.post(&format!("/bucket/{target}?uploads")),
        ] {
            request.send().await.expect_error(400, "KeyTooLongError");
        }
    }
    nothing_is_stored(&h).await;
    for target in [&longest, &umlauts] {
        let target = format!("/bucket/{target}");
        h.client.put(&target).body("x").send().await.expect(200);
        assert_eq!(h.client.get(&target).send().await.expect(200).text(), "x");
    }
}

#[tokio::test]
async fn digests_that_are_not_those_of_the_body() {
    let h = Harness::with_bucket("bucket").await;
    let document = "<Delete><Object><Key>k</Key></Object></Delete>";
    for (name, value, status, code) in [
        ("content-md5", "YWJyYWNhZGFicmE=", 400, "InvalidDigest"),
        ("content-md5", "", 400, "InvalidDigest"),
        ("content-md5", "rL0Y20xC+Fzt72VPzMSk2A==", 400, "BadDigest"),
    ] {
        for request in [
            h.client.put("/bucket/k").body("bar"),
            h.client.post("/bucket?delete").body(document),
            h.client.put("/bucket?cors").body("<CORSConfiguration/>"),
        ] {
            request
                .header(name, value)
                .send()
                .await
                .expect_error(status, code);
        }
    }
    let answer = h
        .client
        .put("/bucket/k")
        .body("bar")
        .payload(&sha256(b"other"))
        .send()
        .await;
    answer.expect_error(400, "XAmzContentSHA256Mismatch");
    let answer = h
        .client
        .put("/bucket/k")
        .body("bar")
        .header("x-amz-checksum-crc32", "AAAAAA==")
        .send()
        .await;
    answer.expect_error(400, "BadDigest");
    nothing_is_stored(&h).await;
}

#[tokio::test]
async fn lists_of_parts_that_are_too_long() {
    let h = Harness::with_bucket("bucket").await;
    let made = h.client.post("/bucket/k?uploads").send().await.expect(200);
    let id = made.tag("UploadId");
    let part = h
        .client
        .put(&format!("/bucket/k?partNumber=1&uploadId={id}"))
        .body("x")
        .send()
        .await
        .expect(200);
    for number in ["0", "10001", "-1", "x", ""] {
        let target = format!("/bucket/k?partNumber={number}&uploadId={id}");
        let answer = h.client.put(&target).body("x").send().await;
        assert_eq!(
            (answer.status, answer.tag("Code").as_str()),
            (400, "InvalidArgument"),
            "{number}"
        );
    }
    let parts: String = (1..=10_001)
        .map(|n| {
            format!(
                "<Part><PartNumber>{n}</PartNumber><ETag>\"{}\"</ETag></Part>",
                part.etag()
            )
        })
        .collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let answer = h
        .client
        .post(&format!("/bucket/k?uploadId={id}"))
        .body(body)
        .send()
        .await;
    answer.expect_error(400, "MalformedXML");
    h.client
        .delete(&format!("/bucket/k?uploadId={id}"))
        .send()
        .await
        .expect(204);
    nothing_is_stored(&h).await;
}

#[tokio::test]
async fn clocks_that_are_wrong_and_heads_that_are_too_large() {
    let h = Harness::with_bucket("bucket").await;
    for minutes in [16, -16, 60 * 24 * 365] {
        let request = h
            .client
            .put("/bucket/k")
            .body("x")
            .age(time::Duration::minutes(minutes));
        request.send().await.expect_error(403, "RequestTimeTooSkewed");
    }
    h.client
        .put("/bucket/k")
        .body("x")
        .age(time::Duration::minutes(10))
        .send()
        .await
        .expect(200);
    h.client.delete("/bucket/k").send().await.expect(204);
    let large = "x".repeat(30 << 10);
    let answer = h
        .client
        .put("/bucket/k")
        .body("x")
        .unsigned("x-large", &large)
        .send()
        .await;
    answer.expect_error(400, "RequestHeaderSectionTooLarge");
    nothing_is_stored(&h).await;
}
