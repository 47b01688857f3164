//! Presigned URLs, made by an independent library.
use std::time::Duration;

use rusty_s3::{Bucket, Credentials, S3Action as _, UrlStyle};
use time::OffsetDateTime;

use crate::client::amz_date;
use crate::harness::{ACCESS, Harness, REGION, SECRET};

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn bucket(h: &Harness) -> (Bucket, Credentials) {
    let endpoint = h.client.endpoint.parse().unwrap();
    let bucket = Bucket::new(endpoint, UrlStyle::Path, "bucket", REGION).unwrap();
    (bucket, Credentials::new(ACCESS, SECRET))
}

#[tokio::test]
async fn urls_put_get_and_delete() {
    let h = Harness::with_bucket("bucket").await;
    let (bucket, credentials) = bucket(&h);
    let hour = Duration::from_secs(3600);
    let key = "dir/ö & +.txt";
    let put = bucket.put_object(Some(&credentials), key).sign(hour);
    assert_eq!(
        http().put(put).body("presigned").send().await.unwrap().status(),
        200
    );
    let get = bucket.get_object(Some(&credentials), key).sign(hour);
    let got = http().get(get.clone()).send().await.unwrap();
    assert_eq!(
        (got.status().as_u16(), got.text().await.unwrap().as_str()),
        (200, "presigned")
    );
    let ranged = http()
        .get(get.clone())
        .header("range", "bytes=3-")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (ranged.status().as_u16(), ranged.text().await.unwrap().as_str()),
        (206, "signed")
    );
    // The URL of a GET is not one of a PUT, and not one of another key.
    let misused = http().put(get.clone()).body("x").send().await.unwrap();
    assert_eq!(misused.status(), 403);
    let other = get.to_string().replace("dir/", "dri/");
    assert_eq!(http().get(other).send().await.unwrap().status(), 403);
    let list = bucket.list_objects_v2(Some(&credentials)).sign(hour);
    let listed = http().get(list).send().await.unwrap().text().await.unwrap();
    let parsed = rusty_s3::actions::ListObjectsV2::parse_response(&listed).unwrap();
    assert_eq!(
        parsed
            .contents
            .iter()
            .map(|object| object.key.as_str())
            .collect::<Vec<_>>(),
        ["dir/%C3%B6%20%26%20%2B.txt"],
        "rusty-s3 asks for url encoding and leaves the decoding to its caller"
    );
    let delete = bucket.delete_object(Some(&credentials), key).sign(hour);
    assert_eq!(http().delete(delete).send().await.unwrap().status(), 204);
    assert_eq!(http().get(get).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn urls_live_at_most_a_week() {
    let h = Harness::with_bucket("bucket").await;
    let (bucket, credentials) = bucket(&h);
    let week = Duration::from_secs(7 * 24 * 3600);
    let status = async |lifetime| {
        let url = bucket.put_object(Some(&credentials), "k").sign(lifetime);
        let answer = http().put(url).body("x").send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(status(week).await.0, 200);
    let (code, text) = status(week + Duration::from_secs(1)).await;
    assert!(
        code == 403 && text.contains("AuthorizationQueryParametersError"),
        "{code} {text}"
    );
    // Signed long ago.
    let url = bucket.put_object(Some(&credentials), "k");
    let mut url = url.sign(Duration::from_secs(60)).to_string();
    let now = amz_date(OffsetDateTime::now_utc());
    url = url.replace(&now[..8], "20200101");
    let answer = http().put(url).body("x").send().await.unwrap();
    let (code, text) = (answer.status().as_u16(), answer.text().await.unwrap());
    assert!(code == 403 && text.contains("AccessDenied"), "{code} {text}");
}

#[tokio::test]
async fn urls_do_not_cover_added_headers() {
    let h = Harness::with_bucket("bucket").await;
    let (bucket, credentials) = bucket(&h);
    let url = bucket
        .put_object(Some(&credentials), "k")
        .sign(Duration::from_secs(60));
    let answer = http()
        .put(url)
        .header("x-amz-meta-added", "1")
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 403);
}
