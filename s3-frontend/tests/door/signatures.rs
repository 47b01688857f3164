//! Who may ask, and how the asking must be signed.
use time::Duration;

use crate::client::Client;
use crate::harness::{ACCESS, Harness, REGION, SECRET};

#[tokio::test]
async fn an_empty_signature_is_none() {
    let h = Harness::with_bucket("bucket").await;
    let answer = h
        .client
        .put("/bucket/k")
        .anonymous()
        .header("authorization", "")
        .body("x")
        .send()
        .await;
    answer.expect_error(403, "AccessDenied");
}

#[tokio::test]
async fn strangers_are_refused() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    for target in ["/bucket", "/bucket/k", "/bucket?acl"] {
        c.get(target)
            .anonymous()
            .send()
            .await
            .expect_error(403, "AccessDenied");
    }
    // Nobody has no buckets.
    let none = c.get("/").anonymous().send().await.expect(200);
    assert!(none.tags("Name").is_empty(), "{}", none.text());
    c.put("/bucket/k")
        .anonymous()
        .body("x")
        .send()
        .await
        .expect_error(403, "AccessDenied");
    c.delete("/bucket")
        .anonymous()
        .send()
        .await
        .expect_error(403, "AccessDenied");
    let stranger = Client::new(&c.endpoint, "NOBODY", SECRET, REGION);
    stranger
        .get("/bucket")
        .send()
        .await
        .expect_error(403, "InvalidAccessKeyId");
    let liar = Client::new(&c.endpoint, ACCESS, "wrong", REGION);
    liar.get("/bucket")
        .send()
        .await
        .expect_error(403, "SignatureDoesNotMatch");
    let elsewhere = Client::new(&c.endpoint, ACCESS, SECRET, "mars-1");
    elsewhere
        .get("/bucket")
        .send()
        .await
        .expect_error(400, "AuthorizationHeaderMalformed");
    c.head("/bucket/k").send().await.expect(404);
}

#[tokio::test]
async fn old_and_future_requests_are_refused() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    for age in [Duration::minutes(16), Duration::minutes(-16), Duration::days(40)] {
        c.get("/bucket")
            .age(age)
            .send()
            .await
            .expect_error(403, "RequestTimeTooSkewed");
    }
    for age in [Duration::minutes(14), Duration::minutes(-14)] {
        // Close to midnight the credential's day changes with the age: both are signed alike.
        c.get("/bucket").age(age).send().await.expect(200);
    }
}

#[tokio::test]
async fn signatures_must_cover_what_matters() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let unsigned = c
        .put("/bucket/k")
        .unsigned("x-amz-meta-a", "1")
        .body("x")
        .send()
        .await;
    unsigned.expect_error(403, "AccessDenied");
    // Headers of other kinds may be added on the way.
    c.put("/bucket/k")
        .unsigned("x-forwarded-for", "127.0.0.1")
        .body("x")
        .send()
        .await
        .expect(200);
    let token = c.get("/bucket").header("x-amz-security-token", "t").send().await;
    token.expect_error(400, "InvalidToken");
}

#[tokio::test]
async fn other_schemes_are_refused() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    for (authorization, status, code) in [
        (format!("AWS {ACCESS}:c2lnbmF0dXJl"), 400, "InvalidRequest"),
        ("Basic dXNlcjpwYXNz".to_owned(), 400, "InvalidArgument"),
        ("Bearer x".to_owned(), 400, "InvalidArgument"),
        (
            "AWS4-HMAC-SHA256 rubbish".to_owned(),
            400,
            "AuthorizationHeaderMalformed",
        ),
    ] {
        let request = c
            .get("/bucket")
            .anonymous()
            .header("authorization", &authorization);
        request.send().await.expect_error(status, code);
    }
    let v2 = format!("/bucket/k?AWSAccessKeyId={ACCESS}&Expires=4102444800&Signature=c2ln");
    c.get(&v2)
        .anonymous()
        .send()
        .await
        .expect_error(400, "InvalidRequest");
}
