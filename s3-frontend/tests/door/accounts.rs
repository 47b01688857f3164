//! Accounts, their keys and their buckets; sessions.
use access::identity::{Answer, NewKey, Order, PolicyTarget};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;

use crate::client::{Answer as Reply, Client};
use crate::harness::{ACCESS, Harness, REGION, SECRET};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}"#;
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

async fn order(harness: &Harness, order: Order) -> Answer {
    harness.identities.carry_out(order).await.unwrap()
}

async fn key(harness: &Harness, account: Option<&str>, user: Option<&str>) -> NewKey {
    let create = Order::CreateKey {
        account: account.map(str::to_owned),
        user: user.map(str::to_owned),
    };
    match order(harness, create).await {
        Answer::Key(key) => key,
        other => panic!("{other:?}"),
    }
}

fn client(harness: &Harness, access: &str, secret: &str) -> Client {
    Client::new(&harness.client.endpoint, access, secret, REGION)
}

/// An account of that name and a client that signs with a key of its own.
async fn account(harness: &Harness, name: &str) -> (String, Client) {
    let made = order(harness, Order::CreateAccount { name: name.into() }).await;
    let Answer::Accounts(made) = made else { panic!() };
    let key = key(harness, Some(name), None).await;
    let client = client(harness, &key.access_key, &key.secret_key);
    (made[0].id.to_string(), client)
}

async fn sts(client: &Client, token: Option<&str>, form: &str) -> Reply {
    let mut request = client.post("/").header("content-type", FORM).body(form);
    if let Some(token) = token {
        request = request.header("x-amz-security-token", token);
    }
    request.send().await
}

/// The credentials in an answer, and the token that must come along.
fn session(harness: &Harness, answer: &Reply) -> (Client, String) {
    let client = client(
        harness,
        &answer.tag("AccessKeyId"),
        &answer.tag("SecretAccessKey"),
    );
    (client, answer.tag("SessionToken"))
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_have_buckets_of_their_own_under_shared_names() {
    let harness = Harness::with_bucket("mine").await;
    let (id, acme) = account(&harness, "acme").await;
    acme.put("/theirs").send().await.expect(200);
    let listed = acme.get("/").send().await.expect(200);
    assert_eq!(listed.tags("Name"), ["theirs"]);
    assert_eq!(
        (listed.tag("ID"), listed.tag("DisplayName")),
        (id.clone(), "acme".into())
    );
    let listed = harness.client.get("/").send().await.expect(200);
    assert_eq!(listed.tags("Name"), ["mine"]);

    acme.put("/theirs/k").body("v").send().await.expect(200);
    let objects = acme.get("/theirs").send().await.expect(200);
    assert_eq!(objects.tag("ID"), id);
    assert_eq!(
        acme.get("/theirs?versions").send().await.expect(200).tag("ID"),
        id
    );

    for (client, bucket) in [(&acme, "/mine"), (&harness.client, "/theirs")] {
        client.get(bucket).send().await.expect_error(403, "AccessDenied");
        let key = format!("{bucket}/x");
        client
            .put(&key)
            .body("v")
            .send()
            .await
            .expect_error(403, "AccessDenied");
    }
    let copy = acme.put("/theirs/copy").header("x-amz-copy-source", "/mine/k");
    copy.send().await.expect_error(403, "AccessDenied");
    acme.put("/mine")
        .send()
        .await
        .expect_error(409, "BucketAlreadyExists");
    acme.put("/theirs").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_key_is_refused_as_one_that_is_not_there() {
    let harness = Harness::start().await;
    let (_, acme) = account(&harness, "acme").await;
    acme.get("/").send().await.expect(200);
    let access_key = acme.access.clone();
    order(&harness, Order::DisableKey { access_key }).await;
    acme.get("/").send().await.expect_error(403, "InvalidAccessKeyId");
    let access_key = acme.access.clone();
    order(&harness, Order::EnableKey { access_key }).await;
    acme.get("/").send().await.expect(200);
    let wrong = client(&harness, &acme.access, "wrong");
    wrong
        .get("/")
        .send()
        .await
        .expect_error(403, "SignatureDoesNotMatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_policies_may_do_nothing() {
    let harness = Harness::with_bucket("box").await;
    let create = Order::CreateUser {
        account: None,
        name: "ann".into(),
    };
    order(&harness, create).await;
    let key = key(&harness, None, Some("ann")).await;
    let ann = client(&harness, &key.access_key, &key.secret_key);
    ann.get("/box").send().await.expect_error(403, "AccessDenied");
    let who = sts(&ann, None, "Action=GetCallerIdentity&Version=2011-06-15")
        .await
        .expect(200);
    assert!(who.tag("Arn").ends_with(":user/ann"), "{}", who.text());
    assert_eq!(who.header("x-amz-request-id"), who.tag("RequestId"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_need_their_token_wherever_it_is_shown() {
    let harness = Harness::with_bucket("box").await;
    let answer = sts(
        &harness.client,
        None,
        "Action=GetSessionToken&DurationSeconds=900",
    )
    .await
    .expect(200);
    let (client, token) = session(&harness, &answer);
    let name = "x-amz-security-token";
    client.get("/box").header(name, &token).send().await.expect(200);
    client.get("/box").send().await.expect_error(400, "InvalidToken");
    client
        .get("/box")
        .header(name, "bent")
        .send()
        .await
        .expect_error(400, "InvalidToken");
    client
        .get("/box")
        .unsigned(name, &token)
        .send()
        .await
        .expect_error(403, "AccessDenied");
    // A key that is no session's comes without one.
    harness
        .client
        .get("/box")
        .header(name, &token)
        .send()
        .await
        .expect_error(400, "InvalidToken");
    // In a presigned URL it is part of what is signed.
    let url = |secret: &str, token: &str| {
        let bucket: reqwest::Url = harness.client.endpoint.parse().unwrap();
        let bucket = rusty_s3::Bucket::new(bucket, rusty_s3::UrlStyle::Path, "box", REGION).unwrap();
        let credentials = rusty_s3::Credentials::new_with_token(&client.access, secret, token);
        use rusty_s3::S3Action as _;
        bucket
            .list_objects_v2(Some(&credentials))
            .sign(std::time::Duration::from_secs(60))
    };
    let get = async |url: reqwest::Url| {
        reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .get(url)
            .send()
            .await
            .unwrap()
    };
    assert_eq!(get(url(&client.secret, &token)).await.status(), 200);
    assert_eq!(get(url(&client.secret, "bent")).await.status(), 400);
    assert_eq!(get(url("wrong", &token)).await.status(), 403);
    // Nor does a session beget another.
    let refused = sts(&client, Some(&token), "Action=GetSessionToken").await;
    assert_eq!(
        (refused.status, refused.tag("Code").as_str()),
        (403, "AccessDenied")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_is_told_so() {
    let harness = Harness::with_bucket("box").await;
    let issued = harness
        .identities
        .issue(access::identity::Grant {
            account: access::identity::gateway_account().id,
            user: None,
            role: None,
            name: "s".into(),
            policy: None,
            expires: 1,
            context: Default::default(),
        })
        .unwrap();
    let over = client(&harness, &issued.access_key, &issued.secret_key);
    let get = over.get("/box").header("x-amz-security-token", &issued.token);
    get.send().await.expect_error(400, "ExpiredToken");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_taken_by_whom_they_trust() {
    let harness = Harness::with_bucket("box").await;
    let role = |trust: &str| Order::PutRole {
        account: None,
        name: "night".into(),
        trust: trust.into(),
        max_session: 3600,
    };
    let Answer::Roles(roles) = order(&harness, role(TRUST)).await else {
        panic!()
    };
    let arn = roles[0].arn.clone();
    let ask = format!("Action=AssumeRole&RoleArn={arn}&RoleSessionName=shift");
    let answer = sts(&harness.client, None, &ask).await.expect(200);
    assert!(
        answer.tag("Arn").ends_with(":assumed-role/night/shift"),
        "{}",
        answer.text()
    );
    assert!(answer.tag("Expiration").ends_with('Z'));
    let (client, token) = session(&harness, &answer);
    let who = sts(&client, Some(&token), "Action=GetCallerIdentity")
        .await
        .expect(200);
    assert_eq!(who.tag("UserId"), format!("{}:shift", roles[0].id));

    // Of another account, and not trusted any more.
    let (_, acme) = account(&harness, "acme").await;
    sts(&acme, None, &ask).await.expect(200);
    let own = TRUST.replace(r#""*""#, &format!("{:?}", arn.replace(":role/night", ":root")));
    order(&harness, role(&own)).await;
    let refused = sts(&acme, None, &ask).await;
    assert_eq!(
        (refused.status, refused.tag("Code").as_str()),
        (403, "AccessDenied")
    );
    sts(&harness.client, None, &ask).await.expect(200);

    // A user of the account that is trusted needs a policy of his own.
    let create = Order::CreateUser {
        account: None,
        name: "ann".into(),
    };
    order(&harness, create).await;
    let made = key(&harness, None, Some("ann")).await;
    let ann = self::client(&harness, &made.access_key, &made.secret_key);
    assert_eq!(sts(&ann, None, &ask).await.status, 403);
    let document = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"{arn}"}}}}"#
    );
    let put = Order::PutPolicy {
        account: None,
        name: "take".into(),
        document,
    };
    order(&harness, put).await;
    let attach = Order::AttachPolicy {
        account: None,
        name: "take".into(),
        target: PolicyTarget::User("ann".into()),
    };
    order(&harness, attach).await;
    sts(&ann, None, &ask).await.expect(200);
    // It is asked about the role that is taken, however the request spells it.
    let document = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"{}"}}}}"#,
        arn.replace("role/night", "role/day*")
    );
    let put = Order::PutPolicy {
        account: None,
        name: "take".into(),
        document,
    };
    order(&harness, put).await;
    let spelt = ask.replace("role/night", "role/day/night");
    assert_eq!(sts(&ann, None, &spelt).await.status, 403);

    for (form, status, code) in [
        (format!("{ask}&DurationSeconds=3601"), 400, "ValidationError"),
        (format!("{ask}&Policy=nonsense"), 400, "MalformedPolicyDocument"),
        (ask.replace("night", "day"), 403, "AccessDenied"),
        (ask.replace("shift", "a/b"), 400, "ValidationError"),
        ("Action=Other".into(), 400, "InvalidAction"),
        (String::new(), 400, "MissingAction"),
    ] {
        let refused = sts(&harness.client, None, &form).await;
        assert_eq!(
            (refused.status, refused.tag("Code").as_str()),
            (status, code),
            "{form}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_service_refuses_in_its_own_form() {
    let harness = Harness::start().await;
    let form = "Action=GetCallerIdentity";
    let wrong = sts(&client(&harness, ACCESS, "wrong"), None, form).await;
    assert_eq!(
        (wrong.status, wrong.tag("Code").as_str()),
        (403, "SignatureDoesNotMatch")
    );
    assert!(wrong.text().starts_with("<ErrorResponse "), "{}", wrong.text());
    assert_eq!(wrong.tag("RequestId"), wrong.header("x-amz-request-id"));
    let unknown = sts(&client(&harness, "NOBODY", SECRET), None, form).await;
    assert_eq!(
        (unknown.status, unknown.tag("Code").as_str()),
        (403, "InvalidClientTokenId")
    );
    let post = harness.client.post("/").header("content-type", FORM).body(form);
    let nobody = post.anonymous().send().await;
    assert_eq!(
        (nobody.status, nobody.tag("Code").as_str()),
        (403, "MissingAuthenticationToken")
    );
}

/// A token that `key` signs for a minute.
fn web_token(key: &EcdsaKeyPair, subject: &str) -> String {
    let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!(
        "{}.{}",
        part(json!({"alg": "ES256", "kid": "k"})),
        part(json!({"iss": "https://id.test", "aud": "gateway", "sub": subject, "exp": access::now() + 60}))
    );
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_an_identity_provider_takes_a_role() {
    let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    let signer = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
    let point = signer.public_key().as_ref();
    let (x, y) = (&point[1..33], &point[33..]);
    let jwks = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k",
        "x": BASE64_URL_SAFE_NO_PAD.encode(x), "y": BASE64_URL_SAFE_NO_PAD.encode(y)}]});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), jwks.to_string()).unwrap();
    let mut config = Harness::config();
    config.oidc = vec![access::oidc::Issuer {
        issuer: "https://id.test".into(),
        audience: vec!["gateway".into()],
        jwks_url: None,
        jwks_file: Some(file.path().to_owned()),
    }];
    let harness = Harness::start_with(config).await;
    let trust = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow",
        "Principal": {"Federated": "id.test"}, "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {"id.test:sub": "site"}}}});
    let role = Order::PutRole {
        account: None,
        name: "deploy".into(),
        trust: trust.to_string(),
        max_session: 900,
    };
    let Answer::Roles(roles) = order(&harness, role).await else {
        panic!()
    };
    let ask = async |token: &str| {
        let form = format!(
            "Action=AssumeRoleWithWebIdentity&RoleArn={}&RoleSessionName=run&WebIdentityToken={token}",
            roles[0].arn
        );
        let post = harness.client.post("/").header("content-type", FORM).body(form);
        post.anonymous().send().await
    };
    let answer = ask(&web_token(&signer, "site")).await.expect(200);
    assert_eq!(answer.tag("SubjectFromWebIdentityToken"), "site");
    assert_eq!(answer.tag("Provider"), "id.test");
    let (client, token) = session(&harness, &answer);
    let who = sts(&client, Some(&token), "Action=GetCallerIdentity")
        .await
        .expect(200);
    assert!(
        who.tag("Arn").ends_with(":assumed-role/deploy/run"),
        "{}",
        who.text()
    );
    for (token, status, code) in [
        (web_token(&signer, "another"), 403, "AccessDenied"),
        ("nonsense".into(), 400, "InvalidIdentityToken"),
    ] {
        let refused = ask(&token).await;
        assert_eq!((refused.status, refused.tag("Code").as_str()), (status, code));
    }
}
