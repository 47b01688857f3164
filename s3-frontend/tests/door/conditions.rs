//! Conditional reads and writes.
use crate::harness::Harness;

const BEFORE: &str = "Sat, 01 Jan 2000 00:00:00 GMT";
const AFTER: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

#[tokio::test]
async fn reads() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let etag = c
        .put("/bucket/k")
        .body("x")
        .send()
        .await
        .expect(200)
        .header("etag");
    for (name, value, status) in [
        ("if-match", etag.as_str(), 200),
        ("if-match", "*", 200),
        ("if-match", "\"other\"", 412),
        ("if-none-match", "\"other\"", 200),
        ("if-none-match", etag.as_str(), 304),
        ("if-none-match", "*", 304),
        ("if-modified-since", BEFORE, 200),
        ("if-modified-since", AFTER, 304),
        ("if-unmodified-since", AFTER, 200),
        ("if-unmodified-since", BEFORE, 412),
    ] {
        for answer in [
            c.get("/bucket/k").header(name, value).send().await,
            c.head("/bucket/k").header(name, value).send().await,
        ] {
            assert_eq!(answer.status, status, "{name}: {value}");
            if status == 304 {
                assert!(answer.body.is_empty());
                assert_eq!(answer.header("etag"), etag);
            }
        }
    }
    let both = c
        .get("/bucket/k")
        .header("if-match", &etag)
        .header("if-unmodified-since", BEFORE);
    both.send().await.expect(200);
    let both = c
        .get("/bucket/k")
        .header("if-none-match", "\"o\"")
        .header("if-modified-since", AFTER);
    both.send().await.expect(200);
    let failed = c.get("/bucket/k").header("if-match", "\"other\"").send().await;
    failed.expect_error(412, "PreconditionFailed");
}

#[tokio::test]
async fn writes() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let none = |body: &str| {
        c.put("/bucket/k")
            .header("if-none-match", "*")
            .body(body.as_bytes())
    };
    let etag = none("one").send().await.expect(200).header("etag");
    none("two").send().await.expect_error(412, "PreconditionFailed");
    assert_eq!(c.get("/bucket/k").send().await.text(), "one");
    let matching = |etag: &str, body: &str| c.put("/bucket/k").header("if-match", etag).body(body.as_bytes());
    let next = matching(&etag, "three").send().await.expect(200).header("etag");
    matching(&etag, "four")
        .send()
        .await
        .expect_error(412, "PreconditionFailed");
    assert_eq!(c.get("/bucket/k").send().await.text(), "three");
    c.put("/bucket/absent")
        .header("if-match", &etag)
        .body("x")
        .send()
        .await
        .expect_error(404, "NoSuchKey");

    c.delete("/bucket/k")
        .header("if-match", &etag)
        .send()
        .await
        .expect_error(412, "PreconditionFailed");
    c.delete("/bucket/k")
        .header("if-match", &next)
        .send()
        .await
        .expect(204);
    // What is gone meets every condition of a deletion: a client may repeat it.
    c.delete("/bucket/k")
        .header("if-match", &next)
        .send()
        .await
        .expect(204);
}

/// By ETag, time and size, one by one and in a batch; a delete marker is like no object.
#[tokio::test]
async fn deletions() {
    let h = Harness::with_bucket("bucket").await;
    let c = &h.client;
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let good = |etag: &str, modified: &str| {
        [
            ("if-match", "ETag", etag.to_owned()),
            (
                "x-amz-if-match-last-modified-time",
                "LastModifiedTime",
                modified.to_owned(),
            ),
            ("x-amz-if-match-size", "Size", "3".to_owned()),
        ]
    };
    let bad = good("\"other\"", BEFORE).map(|(header, element, value)| {
        let value = if element == "Size" { "4".to_owned() } else { value };
        (header, element, value)
    });
    for versioned in [false, true] {
        if versioned {
            c.put("/bucket?versioning").body(enabled).send().await.expect(200);
        }
        for (number, (header, element, value)) in bad.iter().enumerate() {
            c.put("/bucket/k").body("abc").send().await.expect(200);
            let head = c.head("/bucket/k").send().await.expect(200);
            let batch = |element: &str, value: &str| {
                let document =
                    format!("<Delete><Object><Key>k</Key><{element}>{value}</{element}></Object></Delete>");
                c.post("/bucket?delete").body(document)
            };
            let one = c.delete("/bucket/k").header(header, value);
            one.send().await.expect_error(412, "PreconditionFailed");
            let many = batch(element, value).send().await.expect(200);
            assert_eq!(many.tags("Code"), ["PreconditionFailed"], "{element}");
            let (good_header, good_element, good_value) =
                &good(&head.header("etag"), &head.header("last-modified"))[number];
            if number == 0 {
                let many = batch(good_element, good_value).send().await.expect(200);
                assert_eq!(many.tags("Deleted").len(), 1, "{}", many.text());
            } else {
                c.delete("/bucket/k")
                    .header(good_header, good_value)
                    .send()
                    .await
                    .expect(204);
            }
            c.get("/bucket/k").send().await.expect_error(404, "NoSuchKey");
            let again = c.delete("/bucket/k").header(header, value).send().await;
            if versioned {
                again.expect_error(412, "PreconditionFailed");
                c.delete("/bucket/k")
                    .header("if-match", "*")
                    .send()
                    .await
                    .expect(204);
            } else {
                again.expect(204);
            }
        }
    }
    let never = c.delete("/bucket/never").header("if-match", "\"x\"");
    never.send().await.expect(204);
    let versions = c.get("/bucket?versions&prefix=never").send().await.expect(200);
    assert!(versions.tags("DeleteMarker").is_empty());
    let size = c.delete("/bucket/k").header("x-amz-if-match-size", "-1");
    size.send().await.expect_error(400, "InvalidArgument");
}

/// Of many that race to make one key, one wins and the rest are told.
#[tokio::test]
async fn one_of_many_creators_wins() {
    let h = Harness::with_bucket("bucket").await;
    let racers = (0..8).map(|index| {
        h.client
            .put("/bucket/race")
            .header("if-none-match", "*")
            .body(format!("racer {index}"))
            .send()
    });
    let answers = futures::future::join_all(racers).await;
    let winners: Vec<usize> = answers
        .iter()
        .enumerate()
        .filter(|(_, answer)| answer.status == 200)
        .map(|(index, _)| index)
        .collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|answer| [200, 412, 409].contains(&answer.status))
    );
    let got = h.client.get("/bucket/race").send().await.expect(200).text();
    assert_eq!(got, format!("racer {}", winners[0]));
}
