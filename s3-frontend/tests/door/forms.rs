//! Browser forms (POST Object): policies, signatures, what is stored and what is answered.
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use s3_frontend::S3Config;
use time::OffsetDateTime;

use crate::client::{amz_date, hmac, signing_key};
use crate::harness::{ACCESS, Harness, REGION, SECRET};

const MIB: usize = 1 << 20;

/// A form under construction.
struct Form {
    fields: Vec<(String, String)>,
    file: Vec<u8>,
    filename: &'static str,
}

impl Form {
    fn new(fields: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            fields: fields.iter().map(owned).collect(),
            file: b"content".to_vec(),
            filename: "f.txt",
        }
    }

    /// Adds a policy with these conditions, signed with SigV4.
    fn signed(mut self, conditions: &str) -> Self {
        let date = amz_date(OffsetDateTime::now_utc());
        let day = date.split('T').next().unwrap().to_owned();
        let credential = format!("{ACCESS}/{day}/{REGION}/s3/aws4_request");
        let policy = policy(&format!(
            "{conditions}, {{\"x-amz-algorithm\":\"AWS4-HMAC-SHA256\"}}, {{\"x-amz-credential\":\"{credential}\"}}, \
             {{\"x-amz-date\":\"{date}\"}}"
        ));
        let signature = hex::encode(hmac(&signing_key(SECRET, &day, REGION), policy.as_bytes()));
        for (name, value) in [
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", &credential),
            ("x-amz-date", &date),
            ("policy", &policy),
            ("x-amz-signature", &signature),
        ] {
            self.fields.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    fn change(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(of, _)| of != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(of, _)| of != name);
        self
    }

    fn file(mut self, file: Vec<u8>) -> Self {
        self.file = file;
        self
    }

    async fn send(self, h: &Harness) -> reqwest::Response {
        self.send_to(&format!("{}/bucket", h.client.endpoint), None).await
    }

    async fn send_to(self, url: &str, host: Option<&str>) -> reqwest::Response {
        let mut form = reqwest::multipart::Form::new();
        for (name, value) in self.fields {
            form = form.text(name, value);
        }
        let file = reqwest::multipart::Part::bytes(self.file).file_name(self.filename);
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let mut post = http.post(url).multipart(form.part("file", file));
        if let Some(host) = host {
            post = post.header("host", host);
        }
        post.send().await.unwrap()
    }
}

fn policy(conditions: &str) -> String {
    BASE64_STANDARD.encode(format!(
        "{{\"expiration\": \"2099-01-01T00:00:00Z\", \"conditions\": [{conditions}]}}"
    ))
}

const CONDITIONS: &str =
    r#"{"bucket": "bucket"}, ["starts-with", "$key", "up/"], ["content-length-range", 1, 10]"#;

async fn refused(answer: reqwest::Response, status: u16, code: &str) {
    let got = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert!(
        got == status && text.contains(&format!("<Code>{code}</Code>")),
        "{got} {text}"
    );
}

#[tokio::test]
async fn a_form_stores_what_a_put_stores() {
    let h = Harness::with_bucket("bucket").await;
    let more = r#"{"bucket": "bucket"}, ["starts-with", "$key", ""], ["eq", "$Content-Type", "image/png"],
        ["starts-with", "$x-amz-meta-a", ""], ["starts-with", "$cache-control", ""], {"acl": "private"}"#;
    let mut form = Form::new(&[
        ("key", "up/ä b/${filename}"),
        ("Content-Type", "image/png"),
        ("Cache-Control", "no-cache"),
        ("x-amz-meta-a", "grüße"),
        ("acl", "private"),
        ("x-ignore-me", "1"),
        (
            "x-amz-checksum-sha256",
            "7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M=",
        ),
    ])
    .signed(more);
    form.filename = "dir/pic.png";
    let answer = form.send(&h).await;
    assert_eq!(answer.status().as_u16(), 204, "{}", answer.text().await.unwrap());
    let object = h
        .client
        .get("/bucket/up/%C3%A4%20b/pic.png")
        .send()
        .await
        .expect(200);
    assert_eq!(object.text(), "content");
    assert_eq!(object.header("content-type"), "image/png");
    assert_eq!(object.header("cache-control"), "no-cache");
    assert!(!object.header("x-amz-meta-a").is_empty());

    // Larger than any buffer, and to a virtual host.
    let file: Vec<u8> = (0..5 * MIB).map(|i| (i % 251) as u8).collect();
    let large = r#"{"bucket": "bucket"}, ["eq", "$key", "large"], ["content-length-range", 0, 6000000]"#;
    let form = Form::new(&[("key", "large")]).signed(large).file(file.clone());
    let answer = form.send_to(&h.client.endpoint, Some("bucket.s3.test")).await;
    assert_eq!(answer.status().as_u16(), 204, "{}", answer.text().await.unwrap());
    assert!(h.client.get("/bucket/large").send().await.expect(200).body == file);
}

#[tokio::test]
async fn nothing_is_stored_against_the_policy_or_without_a_signature() {
    let h = Harness::with_bucket("bucket").await;
    let good = || Form::new(&[("key", "up/x")]).signed(CONDITIONS);
    let other_bucket = CONDITIONS.replace("\"bucket\"}", "\"other\"}");
    for (form, status, code) in [
        (good().change("key", "down/x"), 403, "AccessDenied"),
        (good().change("acl", "private"), 403, "AccessDenied"),
        (
            Form::new(&[("key", "up/x")]).signed(&other_bucket),
            403,
            "AccessDenied",
        ),
        (good().file(b"much too long".to_vec()), 400, "EntityTooLarge"),
        (good().file(Vec::new()), 400, "EntityTooSmall"),
        (
            good().change("x-amz-signature", &"00".repeat(32)),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            good().change("x-amz-signature", "no hex"),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            good().change("policy", &policy(CONDITIONS)),
            403,
            "SignatureDoesNotMatch",
        ),
        (good().change("policy", "%%%"), 403, "SignatureDoesNotMatch"),
        (good().without("x-amz-signature"), 400, "InvalidArgument"),
        (good().without("policy"), 400, "InvalidArgument"),
        (
            good().change(
                "x-amz-credential",
                &format!("{ACCESS}/20260101/mars-1/s3/aws4_request"),
            ),
            400,
            "AuthorizationQueryParametersError",
        ),
        (
            good().change(
                "x-amz-credential",
                &format!("NOBODY/20260101/{REGION}/s3/aws4_request"),
            ),
            400,
            "AuthorizationQueryParametersError",
        ),
        (good().without("key"), 400, "InvalidArgument"),
        (
            good().change("x-amz-checksum-sha256", "sailorjerry"),
            400,
            "BadDigest",
        ),
        (
            good().change("x-amz-checksum-crc32", "AAAAAA=="),
            400,
            "BadDigest",
        ),
        (
            good().change("x-ignore-big", &"x".repeat(21 << 10)),
            400,
            "MaxPostPreDataLengthExceeded",
        ),
        // Nobody may write here without a name.
        (Form::new(&[("key", "up/x")]), 403, "AccessDenied"),
        // SigV2 is off unless it is asked for.
        (
            Form::new(&[
                ("key", "up/x"),
                ("AWSAccessKeyId", ACCESS),
                ("signature", "x"),
                ("policy", "x"),
            ]),
            400,
            "InvalidRequest",
        ),
    ] {
        refused(form.send(&h).await, status, code).await;
    }
    let expired = BASE64_STANDARD.encode("{\"expiration\": \"2020-01-01T00:00:00Z\", \"conditions\": []}");
    let day = amz_date(OffsetDateTime::now_utc())
        .split('T')
        .next()
        .unwrap()
        .to_owned();
    let signature = hex::encode(hmac(&signing_key(SECRET, &day, REGION), expired.as_bytes()));
    let late = good()
        .change("policy", &expired)
        .change("x-amz-signature", &signature);
    refused(late.send(&h).await, 403, "AccessDenied").await;

    let to_object = good()
        .send_to(&format!("{}/bucket/up/x", h.client.endpoint), None)
        .await;
    refused(to_object, 405, "MethodNotAllowed").await;
    let nowhere = good().send_to(&format!("{}/", h.client.endpoint), None).await;
    refused(nowhere, 405, "MethodNotAllowed").await;
    h.client.head("/bucket/up/x").send().await.expect(404);
    assert_eq!(good().send(&h).await.status().as_u16(), 204);
    h.client.head("/bucket/up/x").send().await.expect(200);
}

#[tokio::test]
async fn a_form_that_breaks_off_stores_nothing() {
    let h = Harness::with_bucket("bucket").await;
    let form = Form::new(&[("key", "up/x")]).signed(CONDITIONS);
    let mut body = String::new();
    for (name, value) in form.fields {
        body.push_str(&format!(
            "--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    body.push_str("--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\ncont");
    for (end, status) in [("", 400), ("ent\r\n--X", 400), ("ent\r\n--XX--\r\n", 204)] {
        let answer = reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .post(format!("{}/bucket", h.client.endpoint))
            .header("content-type", "multipart/form-data; boundary=XX")
            .body(format!("{body}{end}"))
            .send()
            .await
            .unwrap();
        let stored = h.client.head("/bucket/up/x").send().await.status;
        assert_eq!(
            (answer.status().as_u16(), stored),
            (status, if status == 204 { 200 } else { 404 }),
            "{end}"
        );
    }
}

#[tokio::test]
async fn a_form_chooses_its_answer() {
    let h = Harness::with_bucket("bucket").await;
    let conditions = r#"{"bucket": "bucket"}, ["eq", "$key", "k"], ["starts-with", "$success_action_status", ""],
        ["starts-with", "$success_action_redirect", ""]"#;
    let form = |status: &str, redirect: &str| {
        Form::new(&[
            ("key", "k"),
            ("success_action_status", status),
            ("success_action_redirect", redirect),
        ])
        .signed(conditions)
    };
    for (asked, status) in [("200", 200), ("204", 204), ("404", 204), ("many", 204)] {
        let answer = form(asked, "").send(&h).await;
        assert_eq!(answer.status().as_u16(), status);
        assert!(
            answer.headers()["location"]
                .to_str()
                .unwrap()
                .ends_with("/bucket/k")
        );
        assert!(answer.headers().contains_key("etag"));
    }
    let created = form("201", "no url").send(&h).await;
    assert_eq!(created.status().as_u16(), 201);
    let text = created.text().await.unwrap();
    assert!(text.contains("<Bucket>bucket</Bucket><Key>k</Key>"), "{text}");
    let away = form("201", "https://example.com/done?a=b").send(&h).await;
    assert_eq!(away.status().as_u16(), 303);
    let location = away.headers()["location"].to_str().unwrap();
    assert!(
        location.starts_with("https://example.com/done?a=b&bucket=bucket&key=k&etag=%22"),
        "{location}"
    );
}

#[tokio::test]
async fn forms_from_before_sigv4_are_taken_where_they_are_asked_for() {
    use aws_lc_rs::hmac as legacy;

    let config = S3Config {
        forms_signed_v2: true,
        ..Harness::config()
    };
    let h = Harness::start_with(config).await;
    h.client.put("/bucket").send().await.expect(200);
    let policy = policy(r#"{"bucket": "bucket"}, ["starts-with", "$key", "up/"]"#);
    let key = legacy::Key::new(legacy::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
    let signature = BASE64_STANDARD.encode(legacy::sign(&key, policy.as_bytes()));
    let form = |key: &str, access: &str, signature: &str| {
        Form::new(&[
            ("key", key),
            ("AWSAccessKeyId", access),
            ("signature", signature),
            ("policy", &policy),
        ])
    };
    let answer = form("up/x", ACCESS, &signature).send(&h).await;
    assert_eq!(answer.status().as_u16(), 204, "{}", answer.text().await.unwrap());
    h.client.head("/bucket/up/x").send().await.expect(200);
    refused(
        form("down/x", ACCESS, &signature).send(&h).await,
        403,
        "AccessDenied",
    )
    .await;
    refused(
        form("up/y", "NOBODY", &signature).send(&h).await,
        403,
        "InvalidAccessKeyId",
    )
    .await;
    let wrong = BASE64_STANDARD.encode([7; 20]);
    refused(
        form("up/y", ACCESS, &wrong).send(&h).await,
        403,
        "SignatureDoesNotMatch",
    )
    .await;
    refused(
        form("up/y", ACCESS, &signature)
            .without("signature")
            .send(&h)
            .await,
        400,
        "InvalidArgument",
    )
    .await;
}
