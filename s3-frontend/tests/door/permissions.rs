//! Who may do what: policies, ACLs, the public access block, ownership. The door's keys are the owner's;
//! strangers do not sign.
use crate::client::{Answer, Client, Request};
use crate::harness::Harness;

const OWNER: &str = "c355000000000000000000000000000000000000000000000000000000000001";
const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";

/// A policy of one statement about everybody.
fn policy(effect: &str, action: &str, resource: &str, condition: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}","Principal":"*","Action":{action},
        "Resource":"arn:aws:s3:::{resource}","Condition":{condition}}}]}}"#
    )
}

async fn set_policy(c: &Client, text: &str) -> Answer {
    c.put("/bucket?policy").body(text).send().await
}

async fn stranger(request: Request) -> Answer {
    request.anonymous().send().await
}

/// A bucket with ACLs and one object.
async fn with_acls() -> Harness {
    let h = Harness::start().await;
    let request = h
        .client
        .put("/bucket")
        .header("x-amz-object-ownership", "ObjectWriter");
    request.send().await.expect(200);
    h.client.put("/bucket/k").body("x").send().await.expect(200);
    h
}

#[tokio::test]
async fn a_policy_is_kept_as_it_was_given() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.get("/bucket?policy")
        .send()
        .await
        .expect_error(404, "NoSuchBucketPolicy");
    let text = policy("Allow", "\"s3:GetObject\"", "bucket/*", "{}");
    set_policy(c, &text).await.expect(204);
    assert_eq!(c.get("/bucket?policy").send().await.expect(200).text(), text);
    for bad in [
        "",
        "{}",
        "[]",
        &policy("Perhaps", "\"s3:GetObject\"", "bucket/*", "{}"),
        &policy("Allow", "\"s3:Levitate\"", "bucket/*", "{}"),
        &policy("Allow", "\"s3:GetObject\"", "other/*", "{}"),
        &policy(
            "Allow",
            "\"s3:GetObject\"",
            "bucket/*",
            r#"{"StringIs":{"s3:prefix":"x"}}"#,
        ),
    ] {
        let answer = set_policy(c, bad).await;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
    }
    assert_eq!(c.get("/bucket?policy").send().await.expect(200).text(), text);
    c.delete("/bucket?policy").send().await.expect(204);
    c.delete("/bucket?policy").send().await.expect(204);
    c.get("/bucket?policy")
        .send()
        .await
        .expect_error(404, "NoSuchBucketPolicy");
}

#[tokio::test]
async fn strangers_may_do_what_a_policy_says_and_no_more() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/open/a").body("a").send().await.expect(200);
    c.put("/bucket/shut/b").body("b").send().await.expect(200);
    stranger(c.get("/bucket/open/a"))
        .await
        .expect_error(403, "AccessDenied");
    set_policy(c, &policy("Allow", "\"s3:GetObject\"", "bucket/open/*", "{}"))
        .await
        .expect(204);
    // At once.
    assert_eq!(stranger(c.get("/bucket/open/a")).await.expect(200).text(), "a");
    stranger(c.head("/bucket/open/a")).await.expect(200);
    stranger(c.get("/bucket/shut/b"))
        .await
        .expect_error(403, "AccessDenied");
    // Whether something is there is told to whom may list.
    stranger(c.get("/bucket/open/none"))
        .await
        .expect_error(403, "AccessDenied");
    for request in [
        c.put("/bucket/open/a").body("z"),
        c.delete("/bucket/open/a"),
        c.get("/bucket"),
        c.get("/bucket?acl"),
        c.get("/bucket/open/a?acl"),
        c.get("/bucket?policy"),
        c.put("/bucket?policy").body("{}"),
        c.get("/bucket?versions"),
        c.get("/bucket?uploads"),
        c.post("/bucket/open/a?uploads"),
        c.get("/bucket/open/a?versionId=null"),
        c.get("/bucket/open/a?attributes")
            .header("x-amz-object-attributes", "ETag"),
        c.put("/bucket/open/c")
            .header("x-amz-copy-source", "/bucket/open/a"),
        c.put("/new-bucket"),
        c.delete("/bucket"),
    ] {
        stranger(request).await.expect_error(403, "AccessDenied");
    }
    c.delete("/bucket?policy").send().await.expect(204);
    stranger(c.get("/bucket/open/a"))
        .await
        .expect_error(403, "AccessDenied");
    stranger(c.get("/nowhere/k"))
        .await
        .expect_error(404, "NoSuchBucket");
}

#[tokio::test]
async fn who_may_list_may_know_what_is_missing() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/public/a").body("a").send().await.expect(200);
    let condition = r#"{"StringLike":{"s3:prefix":"public/*"}}"#;
    set_policy(c, &policy("Allow", "\"s3:ListBucket\"", "bucket", condition))
        .await
        .expect(204);
    stranger(c.get("/bucket?prefix=public%2F")).await.expect(200);
    stranger(c.get("/bucket?list-type=2&prefix=public%2Fx"))
        .await
        .expect(200);
    stranger(c.get("/bucket?prefix=private%2F"))
        .await
        .expect_error(403, "AccessDenied");
    stranger(c.get("/bucket")).await.expect_error(403, "AccessDenied");
    stranger(c.get("/bucket/public/none"))
        .await
        .expect_error(404, "NoSuchKey");
    stranger(c.get("/bucket/public/a"))
        .await
        .expect_error(403, "AccessDenied");
    stranger(c.get("/bucket/private/none"))
        .await
        .expect_error(403, "AccessDenied");
}

#[tokio::test]
async fn what_a_policy_denies_is_denied_to_the_owner_too() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let unencrypted = r#"{"Null":{"s3:x-amz-server-side-encryption":"true"}}"#;
    set_policy(c, &policy("Deny", "\"s3:PutObject\"", "bucket/*", unencrypted))
        .await
        .expect(204);
    c.put("/bucket/k")
        .body("x")
        .send()
        .await
        .expect_error(403, "AccessDenied");
    let encrypted = c
        .put("/bucket/k")
        .header("x-amz-server-side-encryption", "AES256");
    encrypted.body("x").send().await.expect(200);
    // All but what brings the policy itself back.
    let text = policy("Deny", "\"*\"", "bucket*", "{}");
    set_policy(c, &text).await.expect(204);
    c.get("/bucket/k").send().await.expect_error(403, "AccessDenied");
    c.head("/bucket").send().await.expect(403);
    c.get("/bucket?policy").send().await.expect(200);
    c.delete("/bucket?policy").send().await.expect(204);
    c.get("/bucket/k").send().await.expect(200);
}

#[tokio::test]
async fn conditions_look_at_the_request() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/k").body("x").send().await.expect(200);
    for (condition, status) in [
        (r#"{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}"#, 200),
        (r#"{"NotIpAddress":{"aws:SourceIp":"127.0.0.0/8"}}"#, 403),
        (r#"{"Bool":{"aws:SecureTransport":"true"}}"#, 403),
        (
            r#"{"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}"#,
            200,
        ),
        (
            r#"{"DateGreaterThan":{"aws:CurrentTime":"2200-01-01T00:00:00Z"}}"#,
            403,
        ),
        (
            r#"{"StringLike":{"aws:Referer":"http://www.example.com/*"}}"#,
            200,
        ),
        (r#"{"StringLike":{"aws:Referer":"http://other.example/*"}}"#, 403),
        (r#"{"StringEquals":{"s3:authType":"REST-HEADER"}}"#, 403),
    ] {
        let text = policy("Allow", "\"s3:GetObject\"", "bucket/*", condition);
        set_policy(c, &text).await.expect(204);
        let request = c.get("/bucket/k").header("referer", "http://www.example.com/a");
        stranger(request).await.expect(status);
    }
}

#[tokio::test]
async fn each_key_of_a_batch_is_decided_by_itself() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    for key in ["open/a", "shut/b"] {
        c.put(&format!("/bucket/{key}"))
            .body("x")
            .send()
            .await
            .expect(200);
    }
    set_policy(c, &policy("Allow", "\"s3:DeleteObject\"", "bucket/open/*", "{}"))
        .await
        .expect(204);
    let body = "<Delete><Object><Key>open/a</Key></Object><Object><Key>shut/b</Key></Object></Delete>";
    let request = c
        .post("/bucket?delete")
        .header("content-md5", &md5_of(body))
        .body(body);
    let answer = stranger(request).await.expect(200);
    assert_eq!(answer.tags("Key"), ["open/a", "shut/b"]);
    assert_eq!(answer.tags("Code"), ["AccessDenied"]);
    c.head("/bucket/open/a").send().await.expect(404);
    c.head("/bucket/shut/b").send().await.expect(200);
    let body = "<Delete><Object><Key>shut/b</Key></Object></Delete>";
    let request = c
        .post("/bucket?delete")
        .header("content-md5", &md5_of(body))
        .body(body);
    assert_eq!(stranger(request).await.expect(200).tags("Code"), ["AccessDenied"]);
}

fn md5_of(text: &str) -> String {
    use base64::Engine as _;
    use md5::Digest as _;
    base64::prelude::BASE64_STANDARD.encode(md5::Md5::digest(text.as_bytes()))
}

#[tokio::test]
async fn a_copy_needs_its_source_and_a_part_its_key() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/in/a").body("a").send().await.expect(200);
    set_policy(c, &policy("Allow", "\"s3:PutObject\"", "bucket/in/*", "{}"))
        .await
        .expect(204);
    let copy = |from: &str| c.put("/bucket/in/b").header("x-amz-copy-source", from);
    stranger(copy("/bucket/in/a"))
        .await
        .expect_error(403, "AccessDenied");
    let text = policy("Allow", r#"["s3:PutObject","s3:GetObject"]"#, "bucket/in/*", "{}");
    set_policy(c, &text).await.expect(204);
    stranger(copy("/bucket/in/a")).await.expect(200);
    stranger(c.post("/bucket/out/c?uploads"))
        .await
        .expect_error(403, "AccessDenied");
    let upload = stranger(c.post("/bucket/in/c?uploads"))
        .await
        .expect(200)
        .tag("UploadId");
    let part = c
        .put(&format!("/bucket/in/c?partNumber=1&uploadId={upload}"))
        .body("part");
    let etag = stranger(part).await.expect(200).etag();
    // To give it up is an action of its own.
    stranger(c.delete(&format!("/bucket/in/c?uploadId={upload}")))
        .await
        .expect_error(403, "AccessDenied");
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let complete = c.post(&format!("/bucket/in/c?uploadId={upload}")).body(body);
    stranger(complete).await.expect(200);
    assert_eq!(stranger(c.get("/bucket/in/c")).await.expect(200).text(), "part");
    // What a header wants besides is decided besides.
    let tagged = c.put("/bucket/in/d").header("x-amz-tagging", "a=b").body("x");
    stranger(tagged).await.expect_error(403, "AccessDenied");
}

#[tokio::test]
async fn a_rename_needs_what_it_takes_away() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/out/a").body("a").send().await.expect(200);
    let text = policy("Allow", r#"["s3:PutObject","s3:GetObject"]"#, "bucket/*", "{}");
    set_policy(c, &text).await.expect(204);
    let rename = |from: &str| {
        let request = c.put("/bucket/in/b?renameObject");
        request.header("x-amz-rename-source", from)
    };
    for from in ["out/a", "bucket/out/a", "/bucket/out/a"] {
        stranger(rename(from)).await.expect_error(403, "AccessDenied");
    }
    let actions = r#"["s3:PutObject","s3:GetObject","s3:DeleteObject"]"#;
    set_policy(c, &policy("Allow", actions, "bucket/*", "{}"))
        .await
        .expect(204);
    stranger(rename("/bucket/out/a")).await.expect(200);
    assert_eq!(c.get("/bucket/in/b").send().await.expect(200).text(), "a");
}

#[tokio::test]
async fn acls_open_buckets_and_objects() {
    let h = with_acls().await;
    let c = &h.client;
    stranger(c.get("/bucket/k"))
        .await
        .expect_error(403, "AccessDenied");
    c.put("/bucket/k?acl")
        .header("x-amz-acl", "public-read")
        .send()
        .await
        .expect(200);
    assert_eq!(stranger(c.get("/bucket/k")).await.expect(200).text(), "x");
    stranger(c.get("/bucket/k?acl"))
        .await
        .expect_error(403, "AccessDenied");
    stranger(c.get("/bucket")).await.expect_error(403, "AccessDenied");
    stranger(c.get("/bucket/none"))
        .await
        .expect_error(403, "AccessDenied");
    c.put("/bucket?acl")
        .header("x-amz-acl", "public-read")
        .send()
        .await
        .expect(200);
    assert_eq!(stranger(c.get("/bucket")).await.expect(200).tags("Key"), ["k"]);
    stranger(c.get("/bucket/none"))
        .await
        .expect_error(404, "NoSuchKey");
    stranger(c.put("/bucket/n").body("n"))
        .await
        .expect_error(403, "AccessDenied");
    c.put("/bucket?acl")
        .header("x-amz-acl", "public-read-write")
        .send()
        .await
        .expect(200);
    stranger(c.put("/bucket/n").body("n")).await.expect(200);
    // What a stranger put is the bucket's.
    assert_eq!(c.get("/bucket/n").send().await.expect(200).text(), "n");
    stranger(c.delete("/bucket/n")).await.expect(204);
    let shown = c.get("/bucket?acl").send().await.expect(200);
    assert_eq!(shown.tags("Permission"), ["READ", "WRITE", "FULL_CONTROL"]);
    assert_eq!(shown.tags("URI"), [ALL_USERS, ALL_USERS]);
    c.put("/bucket?acl")
        .header("x-amz-acl", "private")
        .send()
        .await
        .expect(200);
    stranger(c.get("/bucket")).await.expect_error(403, "AccessDenied");
}

#[tokio::test]
async fn a_new_object_has_the_acl_that_it_is_given() {
    let h = with_acls().await;
    let c = &h.client;
    let open = |request: Request| request.header("x-amz-acl", "public-read");
    open(c.put("/bucket/put")).body("x").send().await.expect(200);
    stranger(c.get("/bucket/put")).await.expect(200);
    // A copy has its own ACL, not the source's.
    let copy = |to: &str| {
        c.put(&format!("/bucket/{to}"))
            .header("x-amz-copy-source", "/bucket/put")
    };
    copy("copy").send().await.expect(200);
    stranger(c.get("/bucket/copy"))
        .await
        .expect_error(403, "AccessDenied");
    open(copy("open-copy")).send().await.expect(200);
    stranger(c.get("/bucket/open-copy")).await.expect(200);
    let upload = open(c.post("/bucket/parts?uploads"))
        .send()
        .await
        .expect(200)
        .tag("UploadId");
    let part = c
        .put(&format!("/bucket/parts?partNumber=1&uploadId={upload}"))
        .body("part");
    let etag = part.send().await.expect(200).etag();
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let complete = c.post(&format!("/bucket/parts?uploadId={upload}")).body(body);
    complete.send().await.expect(200);
    stranger(c.get("/bucket/parts")).await.expect(200);
    let granted = c
        .put("/bucket/granted")
        .header("x-amz-grant-read", &format!("uri=\"{ALL_USERS}\""));
    granted.body("x").send().await.expect(200);
    stranger(c.get("/bucket/granted")).await.expect(200);
    // Written anew it is private again.
    c.put("/bucket/put").body("y").send().await.expect(200);
    stranger(c.get("/bucket/put"))
        .await
        .expect_error(403, "AccessDenied");
}

#[tokio::test]
async fn acl_documents_are_checked() {
    let h = with_acls().await;
    let c = &h.client;
    let document = |owner: &str, grantee: &str, permission: &str| {
        format!(
            "<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList><Grant>\
             <Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" {grantee}</Grantee>\
             <Permission>{permission}</Permission></Grant></AccessControlList></AccessControlPolicy>"
        )
    };
    let group = format!("xsi:type=\"Group\"><URI>{ALL_USERS}</URI>");
    let user = |id: &str| format!("xsi:type=\"CanonicalUser\"><ID>{id}</ID>");
    let email = "xsi:type=\"AmazonCustomerByEmail\"><EmailAddress>a@b.example</EmailAddress>";
    for target in ["/bucket?acl", "/bucket/k?acl"] {
        for (body, status, code) in [
            (document(OWNER, &user("_foo"), "READ"), 400, "InvalidArgument"),
            (
                document(OWNER, &user(&"ab".repeat(32)), "READ"),
                400,
                "InvalidArgument",
            ),
            (
                document(OWNER, email, "READ"),
                400,
                "UnresolvableGrantByEmailAddress",
            ),
            (document(OWNER, &group, "LOOK"), 400, "MalformedACLError"),
            (document(&"ab".repeat(32), &group, "READ"), 403, "AccessDenied"),
        ] {
            let request = c.put(target).header("content-md5", &md5_of(&body)).body(body);
            request.send().await.expect_error(status, code);
        }
        c.put(target)
            .send()
            .await
            .expect_error(400, "MissingSecurityHeader");
        let both = c
            .put(target)
            .header("x-amz-acl", "private")
            .header("x-amz-grant-read", "id=x");
        both.send().await.expect_error(400, "InvalidRequest");
        let body = document(OWNER, &group, "READ");
        let request = c.put(target).header("content-md5", &md5_of(&body)).body(body);
        request.send().await.expect(200);
        let shown = c.get(target).send().await.expect(200);
        assert_eq!(shown.tags("Permission"), ["READ"], "{}", shown.text());
    }
    stranger(c.get("/bucket/k")).await.expect(200);
    c.put("/bucket/none?acl")
        .header("x-amz-acl", "private")
        .send()
        .await
        .expect_error(404, "NoSuchKey");
}

#[tokio::test]
async fn each_version_has_its_acl() {
    let h = with_acls().await;
    let c = &h.client;
    c.put("/bucket?versioning")
        .body("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
        .send()
        .await
        .expect(200);
    let first = c
        .put("/bucket/k")
        .body("1")
        .send()
        .await
        .expect(200)
        .header("x-amz-version-id");
    c.put("/bucket/k").body("2").send().await.expect(200);
    let of_first = format!("/bucket/k?acl&versionId={first}");
    c.put(&of_first)
        .header("x-amz-acl", "public-read")
        .send()
        .await
        .expect(200);
    assert_eq!(
        c.get(&of_first).send().await.expect(200).tags("Permission"),
        ["READ", "FULL_CONTROL"]
    );
    stranger(c.get("/bucket/k"))
        .await
        .expect_error(403, "AccessDenied");
    assert_eq!(
        stranger(c.get(&format!("/bucket/k?versionId={first}")))
            .await
            .expect(200)
            .text(),
        "1"
    );
    let twice = format!("/bucket/k?versionId={first}&versionId=null");
    stranger(c.get(&twice)).await.expect(400);
}

#[tokio::test]
async fn where_acls_are_off_none_is_taken() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.put("/bucket/k").body("x").send().await.expect(200);
    for target in ["/bucket?acl", "/bucket/k?acl", "/bucket/new"] {
        c.put(target)
            .header("x-amz-acl", "public-read")
            .send()
            .await
            .expect_error(400, "AccessControlListNotSupported");
        c.put(target)
            .header("x-amz-acl", "private")
            .send()
            .await
            .expect(200);
    }
    c.put("/bucket/k")
        .header("x-amz-acl", "bucket-owner-full-control")
        .body("x")
        .send()
        .await
        .expect(200);
    let controls = |name: &str| {
        format!(
            "<OwnershipControls><Rule><ObjectOwnership>{name}</ObjectOwnership></Rule></OwnershipControls>"
        )
    };
    let set = |name: &str| {
        let body = controls(name);
        c.put("/bucket?ownershipControls")
            .header("content-md5", &md5_of(&body))
            .body(body)
    };
    set("Nobody").send().await.expect_error(400, "MalformedXML");
    set("ObjectWriter").send().await.expect(200);
    let shown = c.get("/bucket?ownershipControls").send().await.expect(200);
    assert_eq!(shown.tag("ObjectOwnership"), "ObjectWriter");
    c.put("/bucket?acl")
        .header("x-amz-acl", "public-read")
        .send()
        .await
        .expect(200);
    c.put("/bucket/k?acl")
        .header("x-amz-acl", "public-read")
        .send()
        .await
        .expect(200);
    stranger(c.get("/bucket/k")).await.expect(200);
    set("BucketOwnerEnforced")
        .send()
        .await
        .expect_error(400, "InvalidBucketAclWithObjectOwnership");
    c.put("/bucket?acl")
        .header("x-amz-acl", "private")
        .send()
        .await
        .expect(200);
    set("BucketOwnerEnforced").send().await.expect(200);
    stranger(c.get("/bucket/k"))
        .await
        .expect_error(403, "AccessDenied");
    c.delete("/bucket?ownershipControls").send().await.expect(204);
    c.get("/bucket?ownershipControls")
        .send()
        .await
        .expect_error(404, "OwnershipControlsNotFoundError");
    stranger(c.get("/bucket/k")).await.expect(200);
}

#[tokio::test]
async fn the_public_access_block_keeps_strangers_out() {
    let h = with_acls().await;
    let c = &h.client;
    let block = |switch: &str| {
        let body = format!(
            "<PublicAccessBlockConfiguration><{switch}>true</{switch}></PublicAccessBlockConfiguration>"
        );
        c.put("/bucket?publicAccessBlock")
            .header("content-md5", &md5_of(&body))
            .body(body)
    };
    let open = policy("Allow", "\"s3:GetObject\"", "bucket/*", "{}");
    c.put("/bucket/k?acl")
        .header("x-amz-acl", "public-read")
        .send()
        .await
        .expect(200);

    block("BlockPublicAcls").send().await.expect(200);
    for target in ["/bucket?acl", "/bucket/k?acl", "/bucket/new"] {
        for acl in ["public-read", "public-read-write", "authenticated-read"] {
            let request = c.put(target).header("x-amz-acl", acl);
            request.send().await.expect_error(403, "AccessDenied");
        }
        c.put(target)
            .header("x-amz-acl", "private")
            .send()
            .await
            .expect(200);
    }
    c.delete("/bucket?publicAccessBlock").send().await.expect(204);
    c.put("/bucket/k?acl")
        .header("x-amz-acl", "public-read")
        .send()
        .await
        .expect(200);

    stranger(c.get("/bucket/k")).await.expect(200);
    block("IgnorePublicAcls").send().await.expect(200);
    stranger(c.get("/bucket/k"))
        .await
        .expect_error(403, "AccessDenied");

    block("BlockPublicPolicy").send().await.expect(200);
    set_policy(c, &open).await.expect_error(403, "AccessDenied");
    let tied = policy(
        "Allow",
        "\"s3:GetObject\"",
        "bucket/*",
        r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#,
    );
    set_policy(c, &tied).await.expect(204);

    c.delete("/bucket?publicAccessBlock").send().await.expect(204);
    c.put("/bucket/k?acl")
        .header("x-amz-acl", "private")
        .send()
        .await
        .expect(200);
    set_policy(c, &open).await.expect(204);
    let status = c.get("/bucket?policyStatus").send().await.expect(200);
    assert_eq!(status.tag("IsPublic"), "true");
    stranger(c.get("/bucket/k")).await.expect(200);
    block("RestrictPublicBuckets").send().await.expect(200);
    stranger(c.get("/bucket/k"))
        .await
        .expect_error(403, "AccessDenied");
    c.get("/bucket/k").send().await.expect(200);
    let shown = c.get("/bucket?publicAccessBlock").send().await.expect(200);
    assert_eq!(shown.tag("RestrictPublicBuckets"), "true");
    assert_eq!(shown.tag("BlockPublicAcls"), "false");
    c.delete("/bucket?publicAccessBlock").send().await.expect(204);
    c.get("/bucket?publicAccessBlock")
        .send()
        .await
        .expect_error(404, "NoSuchPublicAccessBlockConfiguration");
}
