//! Buckets as web sites: the document, and what visitors are shown.
use s3_frontend::S3Config;

use crate::client::Answer;
use crate::harness::Harness;

const SITE: &str = "<WebsiteConfiguration><ErrorDocument><Key>error.html</Key></ErrorDocument>\
    <IndexDocument><Suffix>index.html</Suffix></IndexDocument><RoutingRules><RoutingRule>\
    <Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition>\
    <Redirect><HttpRedirectCode>302</HttpRedirectCode><ReplaceKeyPrefixWith>new/</ReplaceKeyPrefixWith></Redirect>\
    </RoutingRule></RoutingRules></WebsiteConfiguration>";

async fn start() -> Harness {
    let config = S3Config {
        website_domains: vec!["web.test".into()],
        website_listen: Some(([127, 0, 0, 1], 0).into()),
        ..Harness::config()
    };
    let h = Harness::start_with(config).await;
    h.client.put("/bucket").send().await.expect(200);
    h
}

async fn visit(h: &Harness, endpoint: &str, host: &str, path: &str) -> Answer {
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let endpoint = if endpoint.is_empty() {
        &h.client.endpoint
    } else {
        endpoint
    };
    let response = http
        .get(format!("{endpoint}{path}"))
        .header("host", host)
        .send()
        .await
        .unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap().to_vec(),
    }
}

#[tokio::test]
async fn the_document_is_kept_and_removed() {
    let h = start().await;
    let missing = async || {
        let answer = h.client.get("/bucket?website").send().await;
        answer.expect_error(404, "NoSuchWebsiteConfiguration");
    };
    missing().await;
    h.client
        .put("/bucket?website")
        .body(SITE)
        .send()
        .await
        .expect(200);
    let answer = h.client.get("/bucket?website").send().await.expect(200);
    assert_eq!(
        (
            answer.tag("Suffix"),
            answer.tag("Key"),
            answer.tag("KeyPrefixEquals")
        ),
        ("index.html".into(), "error.html".into(), "old/".into())
    );
    assert_eq!(
        (answer.tag("HttpRedirectCode"), answer.tag("ReplaceKeyPrefixWith")),
        ("302".into(), "new/".into())
    );
    for (bad, code) in [
        ("<WebsiteConfiguration></WebsiteConfiguration>", "InvalidArgument"),
        ("<WebsiteConfiguration>", "MalformedXML"),
        (
            "<WebsiteConfiguration><IndexDocument><Suffix>a/b</Suffix></IndexDocument></WebsiteConfiguration>",
            "InvalidArgument",
        ),
        (
            "<WebsiteConfiguration><RedirectAllRequestsTo><HostName>h</HostName><Protocol>ftp</Protocol>\
             </RedirectAllRequestsTo></WebsiteConfiguration>",
            "InvalidRequest",
        ),
    ] {
        let answer = h.client.put("/bucket?website").body(bad).send().await;
        answer.expect_error(400, code);
    }
    h.client.get("/bucket?website").send().await.expect(200);
    h.client.delete("/bucket?website").send().await.expect(204);
    missing().await;
}

#[tokio::test]
async fn visitors_see_pages_and_never_more_than_the_anonymous_may() {
    let h = start().await;
    let page = visit(&h, "", "bucket.web.test", "/").await.expect(404);
    assert!(
        page.text().contains("NoSuchWebsiteConfiguration"),
        "{}",
        page.text()
    );
    let page = visit(&h, "", "nobody.web.test", "/").await.expect(404);
    assert!(page.text().contains("NoSuchBucket"), "{}", page.text());

    h.client
        .put("/bucket?website")
        .body(SITE)
        .send()
        .await
        .expect(200);
    h.client
        .put("/bucket/index.html")
        .body("home")
        .send()
        .await
        .expect(200);
    let page = visit(&h, "", "bucket.web.test:80", "/").await.expect(403);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(
        page.text().contains("<li>Code: AccessDenied</li>"),
        "{}",
        page.text()
    );
    assert!(!page.text().contains("home"));
    assert!(!page.header("x-amz-request-id").is_empty());
    let away = visit(&h, "", "bucket.web.test", "/old/a%20b").await.expect(302);
    assert_eq!(away.header("location"), "http://bucket.web.test/new/a%20b");
    // Signed requests of the API are not answered there.
    let put = h.client.put("/k").host("bucket.web.test").body("x").send().await;
    put.expect(405);
    h.client.head("/bucket/k").send().await.expect(404);
}

#[tokio::test]
async fn a_listener_of_their_own_shows_buckets_by_whole_hosts() {
    let h = start().await;
    h.client.put("/www.example.com").send().await.expect(200);
    let elsewhere = "<WebsiteConfiguration><RedirectAllRequestsTo><HostName>example.org</HostName>\
        <Protocol>https</Protocol></RedirectAllRequestsTo></WebsiteConfiguration>";
    h.client
        .put("/www.example.com?website")
        .body(elsewhere)
        .send()
        .await
        .expect(200);
    let endpoint = format!("http://{}", h.server.website_address().unwrap());
    let away = visit(&h, &endpoint, "WWW.example.com:8080", "/a/b")
        .await
        .expect(301);
    assert_eq!(away.header("location"), "https://example.org/a/b");
    visit(&h, &endpoint, "bucket.web.test", "/").await.expect(404);
    // The API is not spoken there, and this host means nothing to the other listener.
    let signed = h.client.get("/bucket").sign().headers;
    let host = signed.iter().find(|(name, _)| name == "host").unwrap().1.clone();
    visit(&h, &endpoint, &host, "/bucket").await.expect(404);
    let api = visit(&h, "", "www.example.com", "/bucket").await;
    assert_eq!(api.expect(403).tag("Code"), "AccessDenied");
}
