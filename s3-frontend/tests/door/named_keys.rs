//! Encryption with keys that have names (SSE-KMS).
use futures::StreamExt as _;
use md5::{Digest as _, Md5};
use s3_frontend::LocalKeys;

use crate::client::Request;
use crate::harness::Harness;

const METHOD: &str = "x-amz-server-side-encryption";
const KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CONTEXT: &str = "x-amz-server-side-encryption-context";

async fn with_keys(names: &[&str]) -> (Harness, LocalKeys) {
    let h = Harness::with_bucket("bucket").await;
    let keys = LocalKeys::new(h.vfs.clone());
    for name in names {
        keys.create(name).await.unwrap();
    }
    (h, keys)
}

fn under(request: Request, key: &str) -> Request {
    request.header(METHOD, "aws:kms").header(KEY, key)
}

fn content(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect()
}

#[tokio::test]
async fn objects_are_read_while_their_key_is_enabled() {
    let (h, keys) = with_keys(&["alias/one", "alias/two"]).await;
    let c = &h.client;
    let data = content(100_000);
    // {"a":"b"}
    let made = under(c.put("/bucket/k").body(data.clone()), "alias/one")
        .header(CONTEXT, "eyJhIjoiYiJ9")
        .send()
        .await
        .expect(200);
    assert_eq!(
        (made.header(METHOD), made.header(KEY)),
        ("aws:kms".into(), "alias/one".into())
    );
    assert_ne!(made.etag(), hex::encode(Md5::digest(&data)));
    let got = c.get("/bucket/k").send().await.expect(200);
    assert!(got.body == data);
    assert_eq!(
        (got.header(METHOD), got.header(KEY)),
        ("aws:kms".into(), "alias/one".into())
    );
    let ranged = c
        .get("/bucket/k")
        .header("range", "bytes=70001-70010")
        .send()
        .await;
    assert!(ranged.expect(206).body == data[70_001..=70_010]);
    let reader = h.vfs.get_object("bucket", b"k").await.unwrap();
    let first = reader.stream(0..64).next().await.unwrap().unwrap();
    assert_ne!(first, data[..64]);

    keys.enable("alias/one", false).await.unwrap();
    c.get("/bucket/k")
        .send()
        .await
        .expect_error(400, "KMS.DisabledException");
    under(c.put("/bucket/new").body("x"), "alias/one")
        .send()
        .await
        .expect_error(400, "KMS.DisabledException");
    c.put("/bucket/copy")
        .header("x-amz-copy-source", "/bucket/k")
        .send()
        .await
        .expect_error(400, "KMS.DisabledException");
    // What it is can be asked without its key.
    assert_eq!(
        c.head("/bucket/k").send().await.expect(200).header(KEY),
        "alias/one"
    );
    keys.enable("alias/one", true).await.unwrap();
    assert!(c.get("/bucket/k").send().await.expect(200).body == data);

    // Copies are under the key that they name, or under none.
    let copy = |to: &str| c.put(to).header("x-amz-copy-source", "/bucket/k");
    under(copy("/bucket/two"), "alias/two").send().await.expect(200);
    let plain = copy("/bucket/plain").send().await.expect(200);
    assert_eq!(
        (plain.header(METHOD), plain.header(KEY)),
        ("AES256".into(), String::new())
    );
    keys.enable("alias/one", false).await.unwrap();
    for target in ["/bucket/two", "/bucket/plain"] {
        assert!(c.get(target).send().await.expect(200).body == data, "{target}");
    }
    let infos = keys.list().await.unwrap();
    let shown: Vec<(&str, bool)> = infos
        .iter()
        .map(|info| (info.name.as_str(), info.enabled))
        .collect();
    assert_eq!(shown, [("alias/one", false), ("alias/two", true)]);
}

#[tokio::test]
async fn keys_that_are_not_there_and_wishes_that_make_no_sense_are_refused() {
    let (h, keys) = with_keys(&["alias/one"]).await;
    let c = &h.client;
    under(c.put("/bucket/k").body("x"), "alias/none")
        .send()
        .await
        .expect_error(400, "KMS.NotFoundException");
    // Nobody made the key of those who name none.
    let nameless = || c.put("/bucket/k").header(METHOD, "aws:kms").body("x");
    nameless().send().await.expect_error(400, "KMS.NotFoundException");
    c.put("/bucket/k")
        .header(KEY, "alias/one")
        .body("x")
        .send()
        .await
        .expect_error(400, "InvalidArgument");
    under(c.put("/bucket/k").body("x"), "alias/one")
        .header(CONTEXT, "no context")
        .send()
        .await
        .expect_error(400, "InvalidArgument");
    c.head("/bucket/k").send().await.expect(404);
    keys.create("alias/aws/s3").await.unwrap();
    assert_eq!(nameless().send().await.expect(200).header(KEY), "alias/aws/s3");
    under(c.get("/bucket/k"), "alias/one")
        .send()
        .await
        .expect_error(400, "InvalidArgument");
    under(c.head("/bucket/k"), "alias/one").send().await.expect(400);
    assert!(matches!(keys.create("alias/one").await, Err(vfs::Error::Exists)));
    assert!(matches!(
        keys.create("a b").await,
        Err(vfs::Error::InvalidName(_))
    ));
    assert!(matches!(
        keys.enable("alias/none", true).await,
        Err(vfs::Error::NotFound)
    ));
}

#[tokio::test]
async fn uploads_and_defaults_of_buckets() {
    let (h, keys) = with_keys(&["one"]).await;
    let c = &h.client;
    let rule = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
                <KMSMasterKeyID>one</KMSMasterKeyID><SSEAlgorithm>aws:kms</SSEAlgorithm>\
                </ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>";
    c.put("/bucket?encryption").body(rule).send().await.expect(200);
    let shown = c.get("/bucket?encryption").send().await.expect(200);
    assert_eq!(
        (shown.tag("SSEAlgorithm"), shown.tag("KMSMasterKeyID")),
        ("aws:kms".into(), "one".into())
    );
    let made = c.put("/bucket/k").body("by default").send().await.expect(200);
    assert_eq!(made.header(KEY), "one");
    let plain = c.put("/bucket/plain").header(METHOD, "AES256").body("plain");
    assert_eq!(plain.send().await.expect(200).header(METHOD), "AES256");

    let (one, two) = (content(5 << 20), content(999));
    let begun = c.post("/bucket/big?uploads").send().await.expect(200);
    assert_eq!(begun.header(KEY), "one");
    let id = begun.tag("UploadId");
    let mut list = String::new();
    for (number, part) in [(1, &one), (2, &two)] {
        let target = format!("/bucket/big?partNumber={number}&uploadId={id}");
        let etag = c.put(&target).body(part.clone()).send().await.expect(200).etag();
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    let done = c
        .post(&format!("/bucket/big?uploadId={id}"))
        .body(format!(
            "<CompleteMultipartUpload>{list}</CompleteMultipartUpload>"
        ))
        .send()
        .await
        .expect(200);
    assert_eq!(done.header(KEY), "one");
    let whole = [one, two].concat();
    assert!(c.get("/bucket/big").send().await.expect(200).body == whole);
    keys.enable("one", false).await.unwrap();
    for target in ["/bucket/k", "/bucket/big"] {
        c.get(target)
            .send()
            .await
            .expect_error(400, "KMS.DisabledException");
    }
    assert_eq!(c.get("/bucket/plain").send().await.expect(200).text(), "plain");
}
