//! Object Lock as S3 speaks of it. What it keeps from other doors is tested in `vfs`.
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::client::{Answer, Client};
use crate::harness::Harness;

/// A door with a bucket that has Object Lock.
async fn locked() -> Harness {
    let h = Harness::start().await;
    let create = h
        .client
        .put("/bucket")
        .header("x-amz-bucket-object-lock-enabled", "true");
    create.send().await.expect(200);
    h
}

/// So far from now, in whole seconds.
fn after(time: Duration) -> String {
    let moment = (OffsetDateTime::now_utc() + time).replace_nanosecond(0).unwrap();
    moment.format(&Rfc3339).unwrap()
}

fn retention(mode: &str, until: &str) -> String {
    format!("<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>")
}

fn configuration(rule: &str) -> String {
    format!(
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</ObjectLockConfiguration>"
    )
}

fn rule(inner: &str) -> String {
    configuration(&format!(
        "<Rule><DefaultRetention>{inner}</DefaultRetention></Rule>"
    ))
}

async fn put(c: &Client, target: &str, body: &str) -> Answer {
    c.put(target).body(body).send().await
}

/// Puts an object; answers its version id.
async fn object(c: &Client, key: &str) -> String {
    let answer = put(c, &format!("/bucket/{key}"), "x").await.expect(200);
    answer.header("x-amz-version-id")
}

#[tokio::test]
async fn a_bucket_has_it_from_the_start_and_keeps_it() {
    let h = locked().await;
    let c = &h.client;
    let versioning = c.get("/bucket?versioning").send().await.expect(200);
    assert_eq!(versioning.tag("Status"), "Enabled");
    let answer = c.get("/bucket?object-lock").send().await.expect(200);
    assert_eq!(answer.tag("ObjectLockEnabled"), "Enabled");
    assert_eq!(answer.tag("Rule"), "");
    let suspend = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    put(c, "/bucket?versioning", suspend)
        .await
        .expect_error(409, "InvalidBucketState");
    let rules = rule("<Mode>COMPLIANCE</Mode><Years>1</Years>");
    put(c, "/bucket?object-lock", &rules).await.expect(200);
    let answer = c.get("/bucket?object-lock").send().await.expect(200);
    assert_eq!(
        (answer.tag("Mode"), answer.tag("Years")),
        ("COMPLIANCE".into(), "1".into())
    );
    put(c, "/bucket?object-lock", &configuration(""))
        .await
        .expect(200);
    assert_eq!(c.get("/bucket?object-lock").send().await.tag("Mode"), "");
    c.delete("/bucket").send().await.expect(204);
}

#[tokio::test]
async fn configurations_are_checked() {
    let h = locked().await;
    let c = &h.client;
    for (document, code) in [
        (rule("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>"), "MalformedXML"),
        (rule("<Mode>GOVERNANCE</Mode>"), "MalformedXML"),
        (rule("<Mode>governance</Mode><Years>1</Years>"), "MalformedXML"),
        (rule("<Mode>GOVERNANCE</Mode><Days>0</Days>"), "InvalidArgument"),
        (rule("<Mode>GOVERNANCE</Mode><Years>-1</Years>"), "InvalidArgument"),
        (rule("<Mode>GOVERNANCE</Mode><Years>101</Years>"), "InvalidArgument"),
        (
            "<ObjectLockConfiguration><ObjectLockEnabled>Disabled</ObjectLockEnabled></ObjectLockConfiguration>"
                .into(),
            "MalformedXML",
        ),
    ] {
        put(c, "/bucket?object-lock", &document).await.expect_error(400, code);
    }
    // Another bucket can get it when it is versioned.
    c.put("/plain").send().await.expect(200);
    c.get("/plain?object-lock")
        .send()
        .await
        .expect_error(404, "ObjectLockConfigurationNotFoundError");
    let days = rule("<Mode>GOVERNANCE</Mode><Days>1</Days>");
    for status in ["", "Suspended", "Enabled"] {
        if !status.is_empty() {
            let versioning =
                format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
            put(c, "/plain?versioning", &versioning).await.expect(200);
        }
        let answer = put(c, "/plain?object-lock", &days).await;
        match status {
            "Enabled" => answer.expect(200),
            _ => answer.expect_error(409, "InvalidBucketState"),
        };
    }
}

#[tokio::test]
async fn a_bucket_without_it_takes_no_locks() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    put(c, "/bucket/k", "x").await.expect(200);
    let day = after(Duration::DAY);
    for (target, body) in [
        ("/bucket/k?retention", retention("GOVERNANCE", &day)),
        (
            "/bucket/k?legal-hold",
            "<LegalHold><Status>ON</Status></LegalHold>".into(),
        ),
    ] {
        put(c, target, &body).await.expect_error(400, "InvalidRequest");
        c.get(target).send().await.expect_error(400, "InvalidRequest");
    }
    let wanted = c
        .put("/bucket/l")
        .header("x-amz-object-lock-legal-hold", "ON")
        .body("y");
    wanted.send().await.expect_error(400, "InvalidRequest");
    c.get("/bucket/l").send().await.expect_error(404, "NoSuchKey");
}

#[tokio::test]
async fn a_held_version_is_shown_and_not_removed() {
    let h = locked().await;
    let c = &h.client;
    let until = after(Duration::DAY);
    let made = c
        .put("/bucket/k")
        .header("x-amz-object-lock-mode", "GOVERNANCE")
        .header("x-amz-object-lock-retain-until-date", &until)
        .header("x-amz-object-lock-legal-hold", "ON")
        .body("x");
    let id = made.send().await.expect(200).header("x-amz-version-id");
    for answer in [c.get("/bucket/k").send().await, c.head("/bucket/k").send().await] {
        assert_eq!(answer.header("x-amz-object-lock-mode"), "GOVERNANCE");
        assert_eq!(answer.header("x-amz-object-lock-legal-hold"), "ON");
        let shown = answer.header("x-amz-object-lock-retain-until-date");
        assert_eq!(
            OffsetDateTime::parse(&shown, &Rfc3339).unwrap(),
            OffsetDateTime::parse(&until, &Rfc3339).unwrap()
        );
    }
    let version = format!("/bucket/k?versionId={id}");
    let remove = |bypass: bool| {
        let request = c.delete(&version);
        if bypass {
            request.header("x-amz-bypass-governance-retention", "true")
        } else {
            request
        }
    };
    remove(true).send().await.expect_error(403, "AccessDenied");
    let off = "<LegalHold><Status>OFF</Status></LegalHold>";
    put(c, "/bucket/k?legal-hold", off).await.expect(200);
    let hold = c.get("/bucket/k?legal-hold").send().await.expect(200);
    assert_eq!(hold.tag("Status"), "OFF");
    remove(false).send().await.expect_error(403, "AccessDenied");
    // Deleting the key and putting another object are no changes of the version.
    let marker = c
        .delete("/bucket/k")
        .send()
        .await
        .expect(204)
        .header("x-amz-version-id");
    let other = object(c, "k").await;
    let many = |bypass: &str| {
        let document = format!(
            "<Delete><Object><Key>k</Key><VersionId>{id}</VersionId></Object>\
             <Object><Key>k</Key><VersionId>{other}</VersionId></Object></Delete>"
        );
        c.post("/bucket?delete")
            .header("x-amz-bypass-governance-retention", bypass)
            .header(
                "content-md5",
                &BASE64_STANDARD.encode(Md5::digest(document.as_bytes())),
            )
            .body(document)
    };
    let answer = many("false").send().await.expect(200);
    assert_eq!(answer.tags("Code"), ["AccessDenied"]);
    assert_eq!(answer.tags("Deleted").len(), 1);
    c.delete(&format!("/bucket/k?versionId={marker}"))
        .send()
        .await
        .expect(204);
    assert_eq!(c.get("/bucket/k").send().await.expect(200).text(), "x");
    let answer = many("true").send().await.expect(200);
    assert!(answer.tags("Code").is_empty(), "{}", answer.text());
    c.get(&version).send().await.expect_error(404, "NoSuchVersion");
}

#[tokio::test]
async fn retentions_only_grow_but_for_who_bypasses_governance() {
    let h = locked().await;
    let c = &h.client;
    let (day, week) = (after(Duration::DAY), after(Duration::WEEK));
    let id = object(c, "k").await;
    c.get("/bucket/k?retention")
        .send()
        .await
        .expect_error(404, "NoSuchObjectLockConfiguration");
    let target = format!("/bucket/k?retention&versionId={id}");
    let set = |body: String, bypass: bool| {
        let request = c.put(&target).body(body);
        if bypass {
            request.header("x-amz-bypass-governance-retention", "true")
        } else {
            request
        }
    };
    for (body, code) in [
        (retention("abc", &day), "MalformedXML"),
        (retention("GOVERNANCE", &after(-Duration::DAY)), "InvalidArgument"),
        (
            "<Retention><Mode>GOVERNANCE</Mode></Retention>".into(),
            "MalformedXML",
        ),
    ] {
        set(body, false).send().await.expect_error(400, code);
    }
    set(retention("GOVERNANCE", &day), false).send().await.expect(200);
    set(retention("GOVERNANCE", &week), false)
        .send()
        .await
        .expect(200);
    let shown = c.get("/bucket/k?retention").send().await.expect(200);
    assert_eq!(shown.tag("Mode"), "GOVERNANCE");
    for body in [
        retention("GOVERNANCE", &day),
        retention("COMPLIANCE", &week),
        "<Retention/>".into(),
    ] {
        set(body, false).send().await.expect_error(403, "AccessDenied");
    }
    set(retention("GOVERNANCE", &day), true).send().await.expect(200);
    set("<Retention/>".into(), true).send().await.expect(200);
    set(retention("COMPLIANCE", &day), false).send().await.expect(200);
    for body in [retention("GOVERNANCE", &week), "<Retention/>".into()] {
        set(body, true).send().await.expect_error(403, "AccessDenied");
    }
    set(retention("COMPLIANCE", &week), false)
        .send()
        .await
        .expect(200);
    c.get("/bucket/none?retention")
        .send()
        .await
        .expect_error(404, "NoSuchKey");
    put(c, "/bucket/none?retention", &retention("GOVERNANCE", &day))
        .await
        .expect_error(404, "NoSuchKey");
    put(
        c,
        "/bucket/k?legal-hold",
        "<LegalHold><Status>abc</Status></LegalHold>",
    )
    .await
    .expect_error(400, "MalformedXML");
}

/// What the bucket gives by default, to a PUT, a copy and an upload alike; a copy has not what its
/// source has.
#[tokio::test]
async fn new_objects_get_the_default() {
    let h = locked().await;
    let c = &h.client;
    let hold = "<LegalHold><Status>ON</Status></LegalHold>";
    object(c, "before").await;
    put(c, "/bucket/before?legal-hold", hold).await.expect(200);
    let rules = rule("<Mode>GOVERNANCE</Mode><Days>2</Days>");
    put(c, "/bucket?object-lock", &rules).await.expect(200);
    object(c, "put").await;
    let copy = c
        .put("/bucket/copy")
        .header("x-amz-copy-source", "/bucket/before");
    copy.send().await.expect(200);
    let begun = c
        .post("/bucket/upload?uploads")
        .header("x-amz-object-lock-legal-hold", "ON")
        .send()
        .await
        .expect(200);
    let id = begun.tag("UploadId");
    let part = c
        .put(&format!("/bucket/upload?partNumber=1&uploadId={id}"))
        .body("p");
    let etag = part.send().await.expect(200).header("etag");
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    c.post(&format!("/bucket/upload?uploadId={id}"))
        .body(list)
        .send()
        .await
        .expect(200);
    put(c, "/bucket/directory/", "").await.expect(200);
    for (key, mode, hold) in [
        ("before", "", "ON"),
        ("put", "GOVERNANCE", ""),
        ("copy", "GOVERNANCE", ""),
        ("upload", "GOVERNANCE", "ON"),
        ("directory/", "", ""),
    ] {
        let head = c.head(&format!("/bucket/{key}")).send().await.expect(200);
        let shown = |name: &str| head.header(&format!("x-amz-object-lock-{name}"));
        assert_eq!(
            (shown("mode").as_str(), shown("legal-hold").as_str()),
            (mode, hold),
            "{key}"
        );
    }
    // What the request says goes before it.
    let week = after(Duration::WEEK);
    let own = c
        .put("/bucket/own")
        .header("x-amz-object-lock-mode", "COMPLIANCE")
        .header("x-amz-object-lock-retain-until-date", &week);
    own.send().await.expect(200);
    let head = c.head("/bucket/own").send().await.expect(200);
    assert_eq!(head.header("x-amz-object-lock-mode"), "COMPLIANCE");
}
