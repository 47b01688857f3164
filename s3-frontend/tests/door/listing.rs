//! Listings in their three forms.
use crate::client::{Answer, Client};
use crate::harness::Harness;

const KEYS: [&str; 9] = ["a", "a/", "a/b", "a/b/c", "a0", "b/x/1", "b/x/2", "b/y", "z z"];

async fn filled() -> Harness {
    let h = Harness::with_bucket("bucket").await;
    for key in KEYS {
        h.client
            .put(&format!("/bucket/{}", key.replace(' ', "%20")))
            .body("x")
            .send()
            .await
            .expect(200);
    }
    h
}

fn prefixes(answer: &Answer) -> Vec<String> {
    answer
        .text()
        .split("<CommonPrefixes>")
        .skip(1)
        .map(|rest| {
            rest.split_once("<Prefix>")
                .unwrap()
                .1
                .split_once("</Prefix>")
                .unwrap()
                .0
                .to_owned()
        })
        .collect()
}

/// All keys and prefixes by pages of `max`.
async fn walk(client: &Client, query: &str, max: usize) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut rolled, mut token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let more = if token.is_empty() {
            String::new()
        } else {
            format!("&continuation-token={token}")
        };
        let page = client
            .get(&format!("/bucket?list-type=2&max-keys={max}{query}{more}"))
            .send()
            .await
            .expect(200);
        let count = page.tags("Key").len() + prefixes(&page).len();
        assert!(count <= max);
        assert_eq!(page.tag("KeyCount"), count.to_string());
        keys.extend(page.tags("Key"));
        rolled.extend(prefixes(&page));
        token = page.tag("NextContinuationToken");
        assert_eq!(page.tag("IsTruncated"), (!token.is_empty()).to_string());
        if token.is_empty() {
            return (keys, rolled);
        }
    }
}

#[tokio::test]
async fn pages_of_every_size_give_the_same_listing() {
    let h = filled().await;
    for max in [1, 2, 3, 5, 1000] {
        let (keys, rolled) = walk(&h.client, "", max).await;
        assert_eq!((keys, rolled), (KEYS.map(String::from).to_vec(), vec![]), "{max}");
        let (keys, rolled) = walk(&h.client, "&delimiter=%2F", max).await;
        assert_eq!(keys, ["a", "a0", "z z"], "{max}");
        assert_eq!(rolled, ["a/", "b/"], "{max}");
        let (keys, rolled) = walk(&h.client, "&delimiter=%2F&prefix=b%2F", max).await;
        assert_eq!(
            (keys, rolled),
            (vec!["b/y".to_owned()], vec!["b/x/".to_owned()]),
            "{max}"
        );
        let (keys, rolled) = walk(&h.client, "&delimiter=0", max).await;
        assert_eq!(keys.len(), 8, "{max}");
        assert_eq!(rolled, ["a0"], "{max}");
    }
}

#[tokio::test]
async fn version_two() {
    let h = filled().await;
    let c = &h.client;
    let list = c
        .get("/bucket?list-type=2&start-after=b%2Fx%2F1&fetch-owner=true")
        .send()
        .await
        .expect(200);
    assert_eq!(list.tags("Key"), ["b/x/2", "b/y", "z z"]);
    assert_eq!(list.tags("ID").len(), 3);
    assert_eq!(list.tag("StartAfter"), "b/x/1");
    assert_eq!(list.tag("ETag"), "\"9dd4e461268c8034f5c8564e155c67a6\"");
    assert_eq!(
        (list.tag("Size"), list.tag("StorageClass")),
        ("1".into(), "STANDARD".into())
    );
    let encoded = c
        .get("/bucket?list-type=2&prefix=z%20&encoding-type=url")
        .send()
        .await
        .expect(200);
    assert_eq!(
        (encoded.tag("Key"), encoded.tag("EncodingType")),
        ("z%20z".into(), "url".into())
    );
    assert_eq!(encoded.tag("Prefix"), "z%20");
    let none = c.get("/bucket?list-type=2&max-keys=0").send().await.expect(200);
    assert_eq!(
        (none.tag("KeyCount"), none.tag("IsTruncated")),
        ("0".into(), "false".into())
    );
    assert_eq!(
        c.get("/bucket?list-type=2&max-keys=9999")
            .send()
            .await
            .expect(200)
            .tag("MaxKeys"),
        "1000"
    );
    for (query, code) in [
        ("max-keys=-1", "InvalidArgument"),
        ("continuation-token=%21", "InvalidArgument"),
        ("encoding-type=rot13", "InvalidArgument"),
    ] {
        c.get(&format!("/bucket?list-type=2&{query}"))
            .send()
            .await
            .expect_error(400, code);
    }
    c.get("/nowhere?list-type=2&max-keys=0")
        .send()
        .await
        .expect_error(404, "NoSuchBucket");
}

#[tokio::test]
async fn version_one_and_versions() {
    let h = filled().await;
    let c = &h.client;
    let first = c.get("/bucket?max-keys=2&delimiter=%2F").send().await.expect(200);
    assert_eq!(
        (first.tags("Key"), prefixes(&first)),
        (vec!["a".to_owned()], vec!["a/".to_owned()])
    );
    assert_eq!(
        (first.tag("IsTruncated"), first.tag("NextMarker")),
        ("true".into(), "a/".into())
    );
    let rest = c
        .get("/bucket?delimiter=%2F&marker=a%2F")
        .send()
        .await
        .expect(200);
    assert_eq!(
        (rest.tags("Key"), prefixes(&rest)),
        (vec!["a0".to_owned(), "z z".to_owned()], vec!["b/".to_owned()])
    );
    assert_eq!(rest.tag("NextMarker"), "");
    assert_eq!(rest.tags("ID").len(), 2);

    let versions = c.get("/bucket?versions&max-keys=4").send().await.expect(200);
    assert_eq!(versions.tags("Key"), KEYS[..4]);
    assert!(versions.tags("VersionId").iter().all(|id| id == "null"));
    assert!(versions.tags("IsLatest").iter().all(|latest| latest == "true"));
    let next = versions.tag("NextKeyMarker").replace('/', "%2F");
    let rest = c
        .get(&format!(
            "/bucket?versions&key-marker={next}&version-id-marker=null"
        ))
        .send()
        .await
        .expect(200);
    assert_eq!(rest.tags("Key"), KEYS[4..]);
    c.delete("/bucket/a?versionId=null").send().await.expect(204);
    c.get("/bucket/a").send().await.expect_error(404, "NoSuchKey");
}
