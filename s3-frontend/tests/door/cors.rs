//! CORS: rules kept and given back, questions answered, answers marked.
use crate::client::Answer;
use crate::harness::Harness;

const RULES: &str = "<CORSConfiguration>\
    <CORSRule><ID>apps</ID><AllowedOrigin>https://*.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
    <AllowedMethod>PUT</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader>\
    <MaxAgeSeconds>3000</MaxAgeSeconds></CORSRule>\
    <CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule>\
    </CORSConfiguration>";

async fn with_rules() -> Harness {
    let h = Harness::with_bucket("bucket").await;
    h.client.put("/bucket?cors").body(RULES).send().await.expect(200);
    h
}

async fn ask(h: &Harness, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = h.client.request(reqwest::Method::OPTIONS, target).anonymous();
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.send().await
}

#[tokio::test]
async fn rules_are_kept_and_removed() {
    let h = Harness::with_bucket("bucket").await;
    let missing = async || {
        let answer = h.client.get("/bucket?cors").send().await;
        answer.expect_error(404, "NoSuchCORSConfiguration");
    };
    missing().await;
    h.client.put("/bucket?cors").body(RULES).send().await.expect(200);
    let answer = h.client.get("/bucket?cors").send().await.expect(200);
    assert_eq!(answer.tags("AllowedOrigin"), ["https://*.example", "*"]);
    assert_eq!(answer.tags("AllowedMethod"), ["GET", "PUT", "HEAD"]);
    assert_eq!(
        (
            answer.tag("ID"),
            answer.tag("MaxAgeSeconds"),
            answer.tag("ExposeHeader")
        ),
        ("apps".into(), "3000".into(), "ETag".into())
    );
    h.client.delete("/bucket?cors").send().await.expect(204);
    missing().await;
    h.client.delete("/bucket?cors").send().await.expect(204);
    let nowhere = h.client.get("/nowhere?cors").send().await;
    nowhere.expect_error(404, "NoSuchBucket");
}

#[tokio::test]
async fn bad_rules_change_nothing() {
    let h = with_rules().await;
    let rule = |inner: &str| format!("<CORSConfiguration><CORSRule>{inner}</CORSRule></CORSConfiguration>");
    let origin = "<AllowedOrigin>*</AllowedOrigin>";
    let get = "<AllowedMethod>GET</AllowedMethod>";
    for (body, code) in [
        (
            "<CORSConfiguration></CORSConfiguration>".to_owned(),
            "MalformedXML",
        ),
        (rule(origin), "MalformedXML"),
        (rule(get), "MalformedXML"),
        ("<CORSConfiguration><CORSRule>".to_owned(), "MalformedXML"),
        (
            rule(&format!("{origin}<AllowedMethod>PATCH</AllowedMethod>")),
            "InvalidRequest",
        ),
        (
            rule(&format!("<AllowedOrigin>*.*</AllowedOrigin>{get}")),
            "InvalidRequest",
        ),
        (
            rule(&format!("{origin}{get}<ExposeHeader>*</ExposeHeader>")),
            "InvalidRequest",
        ),
    ] {
        let answer = h.client.put("/bucket?cors").body(body).send().await;
        answer.expect_error(400, code);
    }
    let kept = h.client.get("/bucket?cors").send().await.expect(200);
    assert_eq!(kept.tag("ID"), "apps");
}

#[tokio::test]
async fn browsers_are_answered_without_a_signature() {
    let h = with_rules().await;
    let origin = ("origin", "https://app.example");
    let put = ("access-control-request-method", "PUT");
    let headers = ("access-control-request-headers", "X-Amz-Date,x-amz-acl");
    // Of an object that is not there, of a presigned URL, of a virtual host.
    for target in [
        "/bucket/k",
        "/bucket",
        "/bucket/k?X-Amz-Algorithm=x&X-Amz-Signature=y",
    ] {
        let answer = ask(&h, target, &[origin, put, headers]).await.expect(200);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            "https://app.example"
        );
        assert_eq!(answer.header("access-control-allow-methods"), "GET, PUT");
        assert_eq!(
            answer.header("access-control-allow-headers"),
            "x-amz-date, x-amz-acl"
        );
        assert_eq!(answer.header("access-control-expose-headers"), "ETag");
        assert_eq!(answer.header("access-control-max-age"), "3000");
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        assert!(answer.header("vary").contains("Origin"));
    }
    let hosted = ("host", "bucket.s3.test");
    ask(&h, "/k", &[origin, put, hosted]).await.expect(200);

    ask(&h, "/bucket/k", &[]).await.expect_error(400, "BadRequest");
    ask(&h, "/bucket/k", &[origin])
        .await
        .expect_error(400, "BadRequest");
    let delete = ("access-control-request-method", "DELETE");
    let range = ("access-control-request-headers", "range");
    for refused in [
        [origin, delete, headers],
        [origin, put, range],
        [("origin", "null"), put, headers],
    ] {
        let answer = ask(&h, "/bucket/k", &refused).await;
        answer.expect_error(403, "AccessForbidden");
    }
    // A bucket that is not there looks like one without rules.
    h.client.put("/other").send().await.expect(200);
    let other = ask(&h, "/other/k", &[origin, put]).await;
    let nowhere = ask(&h, "/nowhere/k", &[origin, put]).await;
    assert_eq!(
        other.expect_error(403, "AccessForbidden").tag("Message"),
        nowhere.expect_error(403, "AccessForbidden").tag("Message")
    );
}

#[tokio::test]
async fn real_answers_are_marked_good_and_bad_ones() {
    let h = with_rules().await;
    h.client.put("/bucket/k").body("x").send().await.expect(200);
    let origin = "https://app.example";
    for (target, status) in [("/bucket/k", 200), ("/bucket/none", 404)] {
        let answer = h
            .client
            .get(target)
            .unsigned("origin", origin)
            .send()
            .await
            .expect(status);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("access-control-allow-methods"), "GET, PUT");
    }
    let anonymous = h
        .client
        .get("/bucket/k")
        .anonymous()
        .header("origin", origin)
        .send()
        .await;
    assert_eq!(
        anonymous.expect(403).header("access-control-allow-origin"),
        origin
    );
    let any = h
        .client
        .head("/bucket/k")
        .unsigned("origin", "https://b")
        .send()
        .await
        .expect(200);
    assert_eq!(any.header("access-control-allow-origin"), "*");
    assert_eq!(any.header("access-control-allow-credentials"), "");
    let none = h
        .client
        .get("/bucket/k")
        .unsigned("origin", "https://b")
        .send()
        .await
        .expect(200);
    assert_eq!(none.header("access-control-allow-origin"), "");
    assert!(none.header("vary").contains("Origin"));
    let plain = h.client.get("/bucket/k").send().await.expect(200);
    assert_eq!(plain.header("vary"), "");
}
