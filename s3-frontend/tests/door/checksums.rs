//! Every checksum algorithm, by every way that it can be sent, of objects, parts, uploads and copies.
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm;

use crate::client::{Answer, Client, hmac, sha256, signing_key};
use crate::harness::{Harness, REGION, SECRET};

const PART: usize = 5 << 20;
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const MODE: (&str, &str) = ("x-amz-checksum-mode", "ENABLED");

/// The algorithms, as S3 names them.
const ALGORITHMS: [&str; 5] = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"];

fn digest_of(algorithm: &str, data: &[u8]) -> Vec<u8> {
    let crc = |crc, bytes: usize| crc_fast::checksum(crc, data).to_be_bytes()[8 - bytes..].to_vec();
    match algorithm {
        "CRC32" => crc32fast::hash(data).to_be_bytes().to_vec(),
        "CRC32C" => crc(CrcAlgorithm::Crc32Iscsi, 4),
        "CRC64NVME" => crc(CrcAlgorithm::Crc64Nvme, 8),
        "SHA1" => digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data)
            .as_ref()
            .to_vec(),
        _ => digest::digest(&digest::SHA256, data).as_ref().to_vec(),
    }
}

fn value_of(algorithm: &str, data: &[u8]) -> String {
    BASE64_STANDARD.encode(digest_of(algorithm, data))
}

fn header_of(algorithm: &str) -> String {
    format!("x-amz-checksum-{}", algorithm.to_lowercase())
}

/// How a checksum travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// In a header, the body signed.
    Header,
    /// In a header, the body not signed.
    HeaderUnsigned,
    /// After unsigned chunks.
    Trailer,
    /// After signed chunks, itself signed.
    SignedTrailer,
    /// Not at all: the client names the algorithm alone.
    Named,
}

const WAYS: [Way; 5] = [
    Way::Header,
    Way::HeaderUnsigned,
    Way::Trailer,
    Way::SignedTrailer,
    Way::Named,
];

/// Sends `body` to `target` with a checksum.
async fn send(c: &Client, target: &str, body: &[u8], way: Way, algorithm: &str, value: &str) -> Answer {
    let (header, request) = (header_of(algorithm), c.put(target));
    match way {
        Way::Header => request.header(&header, value).body(body).send().await,
        Way::HeaderUnsigned => {
            let request = request.payload("UNSIGNED-PAYLOAD").header(&header, value);
            request.body(body).send().await
        }
        Way::Named => {
            let request = request.header("x-amz-sdk-checksum-algorithm", algorithm);
            request.body(body).send().await
        }
        Way::Trailer => {
            let mut wire = format!("{:x}\r\n", body.len()).into_bytes();
            wire.extend_from_slice(body);
            wire.extend_from_slice(format!("\r\n0\r\n{header}:{value}\r\n\r\n").as_bytes());
            request
                .payload("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
                .header("x-amz-decoded-content-length", &body.len().to_string())
                .header("x-amz-trailer", &header)
                .body(wire)
                .send()
                .await
        }
        Way::SignedTrailer => {
            let request = request
                .payload("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
                .header("x-amz-decoded-content-length", &body.len().to_string())
                .header("x-amz-trailer", &header);
            let signed = request.sign();
            let key = signing_key(SECRET, signed.date.split('T').next().unwrap(), REGION);
            let mut previous = signed.signature.clone();
            let mut wire = Vec::new();
            for chunk in [body, b""] {
                let to_sign = format!(
                    "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{previous}\n{EMPTY_SHA256}\n{}",
                    signed.date,
                    signed.scope,
                    sha256(chunk)
                );
                previous = hex::encode(hmac(&key, to_sign.as_bytes()));
                wire.extend_from_slice(
                    format!("{:x};chunk-signature={previous}\r\n", chunk.len()).as_bytes(),
                );
                wire.extend_from_slice(chunk);
                if !chunk.is_empty() {
                    wire.extend_from_slice(b"\r\n");
                }
            }
            let to_sign = format!(
                "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{previous}\n{}",
                signed.date,
                signed.scope,
                sha256(format!("{header}:{value}\n").as_bytes())
            );
            let signature = hex::encode(hmac(&key, to_sign.as_bytes()));
            wire.extend_from_slice(
                format!("{header}:{value}\r\nx-amz-trailer-signature:{signature}\r\n\r\n").as_bytes(),
            );
            request.body(wire).send_with(signed.headers).await
        }
    }
}

/// What reads say of an object's checksum: `(type, value)`, everywhere the same.
async fn shown(c: &Client, target: &str, algorithm: &str) -> (String, String) {
    let header = header_of(algorithm);
    let of = |answer: Answer| (answer.header("x-amz-checksum-type"), answer.header(&header));
    let head = c.head(target).header(MODE.0, MODE.1).send().await.expect(200);
    let get = c.get(target).header(MODE.0, MODE.1).send().await.expect(200);
    let (head, get) = (of(head), of(get));
    assert_eq!(head, get, "{target}");
    let attributes = c
        .get(&format!("{target}?attributes"))
        .header("x-amz-object-attributes", "Checksum")
        .send()
        .await
        .expect(200);
    let element = format!("Checksum{algorithm}");
    assert_eq!(
        (attributes.tag("ChecksumType"), attributes.tag(&element)),
        head,
        "{}",
        attributes.text()
    );
    let unasked = c.head(target).send().await.expect(200);
    assert_eq!(unasked.header(&header), "");
    head
}

#[tokio::test]
async fn objects_by_every_way() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let body: Vec<u8> = (0..70_000u32).map(|i| (i % 251) as u8).collect();
    for algorithm in ALGORITHMS {
        let (value, other) = (value_of(algorithm, &body), value_of(algorithm, b"other"));
        for way in WAYS {
            let target = format!("/bucket/{algorithm}-{way:?}");
            if way != Way::Named {
                let refused = send(c, &target, &body, way, algorithm, &other).await;
                refused.expect_error(400, "BadDigest");
                c.head(&target).send().await.expect(404);
            }
            let made = send(c, &target, &body, way, algorithm, &value).await.expect(200);
            assert_eq!(made.header(&header_of(algorithm)), value, "{algorithm} {way:?}");
            assert_eq!(made.header("x-amz-checksum-type"), "FULL_OBJECT");
            let seen = shown(c, &target, algorithm).await;
            assert_eq!(seen, ("FULL_OBJECT".into(), value.clone()), "{algorithm} {way:?}");
        }
        // A copy has the checksum of what it is made of, and so has one that replaces the metadata.
        for directive in ["COPY", "REPLACE"] {
            let copied = c
                .put("/bucket/copy")
                .header("x-amz-copy-source", &format!("/bucket/{algorithm}-Trailer"))
                .header("x-amz-metadata-directive", directive)
                .send()
                .await
                .expect(200);
            assert_eq!(copied.tag(&format!("Checksum{algorithm}")), value);
            assert_eq!(shown(c, "/bucket/copy", algorithm).await.1, value);
        }
    }
}

async fn start(c: &Client, algorithm: &str, coverage: &str) -> Answer {
    c.post("/bucket/big?uploads")
        .header("x-amz-checksum-algorithm", algorithm)
        .header("x-amz-checksum-type", coverage)
        .send()
        .await
}

/// The checksum of an object of these parts.
fn whole(algorithm: &str, coverage: &str, parts: &[&[u8]]) -> String {
    if coverage == "FULL_OBJECT" {
        return value_of(algorithm, &parts.concat());
    }
    let digests: Vec<u8> = parts.iter().flat_map(|part| digest_of(algorithm, part)).collect();
    format!("{}-{}", value_of(algorithm, &digests), parts.len())
}

async fn upload(c: &Client, algorithm: &str, coverage: &str) {
    let one: Vec<u8> = (0..PART as u32).map(|i| (i % 241) as u8).collect();
    let two = b"the last part".to_vec();
    let id = start(c, algorithm, coverage).await.expect(200).tag("UploadId");
    let mut list = String::new();
    for (number, part, way) in [(1, &one, Way::Trailer), (2, &two, Way::SignedTrailer)] {
        let target = format!("/bucket/big?partNumber={number}&uploadId={id}");
        let (value, other) = (value_of(algorithm, part), value_of(algorithm, b"other"));
        let refused = send(c, &target, b"x", way, algorithm, &other).await;
        refused.expect_error(400, "BadDigest");
        let made = send(c, &target, part, way, algorithm, &value).await.expect(200);
        assert_eq!(made.header(&header_of(algorithm)), value);
        let (etag, name) = (made.etag(), format!("Checksum{algorithm}"));
        list += &format!(
            "<Part><{name}>{value}</{name}><ETag>{etag}</ETag><PartNumber>{number}</PartNumber></Part>"
        );
    }
    let listed = c
        .get(&format!("/bucket/big?uploadId={id}"))
        .send()
        .await
        .expect(200);
    assert_eq!(listed.tag("ChecksumAlgorithm"), algorithm);
    assert_eq!(listed.tag("ChecksumType"), coverage);
    let complete = |list: &str, value: &str| {
        c.post(&format!("/bucket/big?uploadId={id}"))
            .header(&header_of(algorithm), value)
            .body(format!(
                "<CompleteMultipartUpload>{list}</CompleteMultipartUpload>"
            ))
    };
    let expected = whole(algorithm, coverage, &[&one, &two]);
    let wrong_part = list.replace(&value_of(algorithm, &two), &value_of(algorithm, b"other"));
    complete(&wrong_part, &expected)
        .send()
        .await
        .expect_error(400, "InvalidPart");
    let wrong = whole(algorithm, coverage, &[&two, &one]);
    complete(&list, &wrong)
        .send()
        .await
        .expect_error(400, "BadDigest");
    complete(&list, "bad").send().await.expect_error(400, "BadDigest");
    for _ in 0..2 {
        let made = complete(&list, &expected).send().await.expect(200);
        assert_eq!(made.tag(&format!("Checksum{algorithm}")), expected, "{coverage}");
        assert_eq!(made.tag("ChecksumType"), coverage);
    }
    assert_eq!(
        shown(c, "/bucket/big", algorithm).await,
        (coverage.to_owned(), expected)
    );
    let attributes = c
        .get("/bucket/big?attributes")
        .header("x-amz-object-attributes", "ObjectParts")
        .send()
        .await
        .expect(200);
    let parts = [value_of(algorithm, &one), value_of(algorithm, &two)];
    assert_eq!(attributes.tags(&format!("Checksum{algorithm}")), parts);
    for (number, value) in (1..).zip(parts) {
        let part = c
            .get(&format!("/bucket/big?partNumber={number}"))
            .header(MODE.0, MODE.1)
            .send()
            .await
            .expect(206);
        assert_eq!(part.header(&header_of(algorithm)), value);
        assert_eq!(part.header("x-amz-checksum-type"), coverage);
    }
}

#[tokio::test]
async fn uploads_by_every_algorithm_and_type() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    for algorithm in ALGORITHMS {
        for coverage in ["FULL_OBJECT", "COMPOSITE"] {
            let impossible = match algorithm {
                "CRC64NVME" => coverage == "COMPOSITE",
                "SHA1" | "SHA256" => coverage == "FULL_OBJECT",
                _ => false,
            };
            if impossible {
                start(c, algorithm, coverage)
                    .await
                    .expect_error(400, "InvalidRequest");
            } else {
                upload(c, algorithm, coverage).await;
            }
        }
    }
}
