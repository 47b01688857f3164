//! Lifecycle configurations: what is taken, what is refused, what is shown and what is done.
use std::time::Duration;

use crate::client::Answer;
use crate::harness::Harness;

/// Longest wait for what is due.
const PATIENCE: Duration = Duration::from_secs(20);

async fn put(h: &Harness, rules: &str) -> Answer {
    let body = format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
    h.client.put("/bucket?lifecycle").body(body).send().await
}

fn rule(rest: &str) -> String {
    format!("<Rule><ID>r</ID><Prefix>a/</Prefix><Status>Enabled</Status>{rest}</Rule>")
}

fn expiring(id: &str, rest: &str) -> String {
    format!("<Rule><ID>{id}</ID><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>{rest}</Rule>")
}

#[tokio::test]
async fn what_is_put_is_shown() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    c.get("/bucket?lifecycle")
        .send()
        .await
        .expect_error(404, "NoSuchLifecycleConfiguration");
    for rule in [
        "<Rule><Expiration><Days>31</Days></Expiration><ID>r</ID><Prefix>a/</Prefix>\
         <Status>Enabled</Status></Rule>",
        "<Rule><Expiration><Date>2030-01-01T00:00:00.000Z</Date></Expiration><Filter></Filter><ID>r</ID>\
         <Status>Disabled</Status></Rule>",
        "<Rule><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>\
         <Filter><Prefix>foo</Prefix></Filter><ID>r</ID>\
         <NoncurrentVersionExpiration><NewerNoncurrentVersions>5</NewerNoncurrentVersions>\
         <NoncurrentDays>2</NoncurrentDays></NoncurrentVersionExpiration><Status>Enabled</Status></Rule>",
        "<Rule><Expiration><Days>1</Days></Expiration><Filter><And>\
         <ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan>\
         <Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag><Tag><Key>l</Key><Value></Value></Tag>\
         </And></Filter><ID>r</ID><Status>Enabled</Status></Rule>",
        "<Rule><AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation>\
         </AbortIncompleteMultipartUpload><Filter><Prefix></Prefix></Filter><ID>r</ID>\
         <Status>Enabled</Status></Rule>",
    ] {
        put(&h, rule).await.expect(200);
        let shown = c.get("/bucket?lifecycle").send().await.expect(200).text();
        assert!(shown.contains(rule), "{rule}\n{shown}");
    }
    // Rules without an id get one.
    let nameless = "<Rule><Filter></Filter><Status>Enabled</Status>\
                    <Expiration><Days>1</Days></Expiration></Rule>";
    put(&h, &format!("{nameless}{nameless}")).await.expect(200);
    let shown = c.get("/bucket?lifecycle").send().await.expect(200);
    let ids = shown.tags("ID");
    assert!(ids.len() == 2 && ids[0] != ids[1], "{}", shown.text());
    for _ in 0..2 {
        c.delete("/bucket?lifecycle").send().await.expect(204);
    }
    c.get("/bucket?lifecycle")
        .send()
        .await
        .expect_error(404, "NoSuchLifecycleConfiguration");
    c.delete("/nowhere?lifecycle")
        .send()
        .await
        .expect_error(404, "NoSuchBucket");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let h = Harness::with_bucket("bucket").await;
    let days = "<Expiration><Days>1</Days></Expiration>";
    let long = "x".repeat(256);
    let tag = "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>";
    let one =
        |filter: &str, rest: &str| format!("<Rule><ID>r</ID><Status>Enabled</Status>{filter}{rest}</Rule>");
    let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
                 </AbortIncompleteMultipartUpload>";
    for (rules, code) in [
        (String::new(), "MalformedXML"),
        (rule(""), "InvalidRequest"),
        (expiring(&long, "<Prefix></Prefix>"), "InvalidArgument"),
        (expiring("r", "<Prefix></Prefix>").repeat(2), "InvalidArgument"),
        (rule(days).replace("Enabled", "enabled"), "MalformedXML"),
        (rule("<Expiration><Days>0</Days></Expiration>"), "InvalidArgument"),
        (
            rule("<Expiration><Days>-1</Days></Expiration>"),
            "InvalidArgument",
        ),
        (rule("<Expiration></Expiration>"), "MalformedXML"),
        (
            rule("<Expiration><Days>1</Days><Date>2030-01-01T00:00:00Z</Date></Expiration>"),
            "MalformedXML",
        ),
        (
            rule("<Expiration><Date>2030-01-01T10:00:00Z</Date></Expiration>"),
            "InvalidArgument",
        ),
        (
            rule("<Expiration><Date>yesterday</Date></Expiration>"),
            "MalformedXML",
        ),
        (one("", days), "MalformedXML"),
        (one("<Prefix>a</Prefix><Filter></Filter>", days), "MalformedXML"),
        (
            rule(
                "<NoncurrentVersionExpiration><NoncurrentDays>0</NoncurrentDays></NoncurrentVersionExpiration>",
            ),
            "InvalidArgument",
        ),
        (
            rule(
                "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>\
                 <NewerNoncurrentVersions>101</NewerNoncurrentVersions></NoncurrentVersionExpiration>",
            ),
            "InvalidArgument",
        ),
        (one(tag, abort), "InvalidRequest"),
        (
            one(
                tag,
                "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
            ),
            "InvalidRequest",
        ),
        (
            one(
                "<Filter><And><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan>\
                 <ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>",
                days,
            ),
            "InvalidRequest",
        ),
        (
            one(
                "<Filter><And><Tag><Key>k</Key><Value>1</Value></Tag><Tag><Key>k</Key><Value>2</Value></Tag>\
                 </And></Filter>",
                days,
            ),
            "InvalidRequest",
        ),
        (
            rule(
                "<Transition><Date>2022-09-27T01:00:00Z</Date><StorageClass>GLACIER</StorageClass></Transition>",
            ),
            "InvalidArgument",
        ),
    ] {
        let answer = put(&h, &rules).await;
        answer.expect_error(400, code);
    }
    let transition = rule("<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>");
    put(&h, &transition).await.expect_error(501, "NotImplemented");
    h.client
        .get("/bucket?lifecycle")
        .send()
        .await
        .expect_error(404, "NoSuchLifecycleConfiguration");
}

#[tokio::test]
async fn objects_say_when_they_go() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    put(
        &h,
        &expiring("first rule", "<Filter><Prefix>a/</Prefix></Filter>"),
    )
    .await
    .expect(200);
    let made = c.put("/bucket/a/k").body("x").send().await.expect(200);
    let stated = made.header("x-amz-expiration");
    assert!(
        stated.starts_with("expiry-date=\"") && stated.ends_with(" 00:00:00 GMT\", rule-id=\"first+rule\""),
        "{stated}"
    );
    assert_eq!(
        c.head("/bucket/a/k").send().await.header("x-amz-expiration"),
        stated
    );
    assert_eq!(
        c.get("/bucket/a/k").send().await.header("x-amz-expiration"),
        stated
    );
    let copied = c
        .put("/bucket/a/copy")
        .header("x-amz-copy-source", "/bucket/a/k")
        .send()
        .await
        .expect(200);
    assert_eq!(copied.header("x-amz-expiration"), stated);
    let other = c.put("/bucket/b").body("x").send().await.expect(200);
    assert_eq!(other.header("x-amz-expiration"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_done() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    for key in ["a/one", "a/two", "b/one"] {
        c.put(&format!("/bucket/{key}"))
            .body("x")
            .send()
            .await
            .expect(200);
    }
    put(&h, &expiring("r", "<Prefix>a/</Prefix>")).await.expect(200);
    h.vfs.run_lifecycle(Duration::from_millis(400));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let keys = c.get("/bucket?list-type=2").send().await.expect(200).tags("Key");
        if keys == ["b/one"] {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{keys:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
