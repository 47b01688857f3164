//! Lifecycle rules: what they end, and what they leave.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::collections::BTreeMap;
use std::time::Duration;

use namespace::Namespace;
use sha2::{Digest as _, Sha256};
use vfs::lifecycle::{Expiration, Lifecycle, LifecycleFilter, LifecycleRule, NoncurrentExpiration};
use vfs::object::Commit;
use vfs::{ObjectMeta, VersionRequest, Versioning};

/// A day to these tests.
const DAY: Duration = Duration::from_millis(400);
/// Days after which nothing of these tests has ended.
const NEVER: u32 = 1_000_000;
/// Longest wait for what is due.
const PATIENCE: Duration = Duration::from_secs(20);

fn rule(prefix: &str) -> LifecycleRule {
    LifecycleRule {
        id: format!("of {prefix}"),
        enabled: true,
        filter: LifecycleFilter {
            prefix: Some(prefix.into()),
            ..LifecycleFilter::default()
        },
        ..LifecycleRule::default()
    }
}

fn days(prefix: &str, days: u32) -> LifecycleRule {
    LifecycleRule {
        expiration: Some(Expiration {
            days: Some(days),
            ..Expiration::default()
        }),
        ..rule(prefix)
    }
}

async fn set(n: &Namespace, rules: Vec<LifecycleRule>) {
    n.vfs
        .set_lifecycle("b", Some(&Lifecycle { rules }))
        .await
        .unwrap();
}

/// Keys of versions, `-` before those of delete markers, in order.
async fn versions(n: &Namespace) -> Vec<String> {
    let request = VersionRequest {
        max: 1000,
        ..VersionRequest::default()
    };
    let entries = n.versions("b", request).await;
    let shown = entries.iter().map(|entry| {
        let sign = if entry.object.is_some() { "" } else { "-" };
        format!("{sign}{}", String::from_utf8_lossy(&entry.key))
    });
    shown.collect()
}

async fn until(n: &Namespace, expected: &[&str]) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let now = versions(n).await;
        if now == expected {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{now:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn put_tagged(n: &Namespace, key: &str, tags: &str) {
    let meta = ObjectMeta {
        settings: BTreeMap::from([("tagging".to_owned(), tags.to_owned())]),
        ..ObjectMeta::default()
    };
    let commit = Commit {
        meta,
        ..Commit::default()
    };
    n.put_as("b", key.as_bytes(), b"tagged", commit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_end_by_age_date_prefix_size_and_tags() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    for key in ["age/old", "age/dir/old", "date/past", "date/future", "keep"] {
        n.put("b", key, b"x").await.unwrap();
    }
    n.put("b", "size/large", &[0; 100]).await.unwrap();
    n.put("b", "size/small", &[0; 10]).await.unwrap();
    put_tagged(&n, "tag/both", r#"{"a":"1","b":"2"}"#).await;
    put_tagged(&n, "tag/one", r#"{"a":"1"}"#).await;
    let dated = |prefix: &str, date| LifecycleRule {
        expiration: Some(Expiration {
            date: Some(date),
            ..Expiration::default()
        }),
        ..rule(prefix)
    };
    let mut sized = days("size/", 1);
    sized.filter.larger_than = Some(50);
    let mut tagged = days("tag/", 1);
    tagged.and = Some(LifecycleFilter {
        tags: vec![("a".into(), "1".into()), ("b".into(), "2".into())],
        ..LifecycleFilter::default()
    });
    let mut disabled = days("keep", 1);
    disabled.enabled = false;
    set(
        &n,
        vec![
            days("age/", 1),
            dated("date/past", 1_000_000_000),
            dated("date/future", 4_000_000_000),
            sized,
            tagged,
            disabled,
            days("", NEVER),
        ],
    )
    .await;
    assert_eq!(versions(&n).await.len(), 9);
    n.vfs.run_lifecycle(DAY);
    until(&n, &["date/future", "keep", "size/small", "tag/one"]).await;
    // The directory that a key implied went with its last key.
    assert!(
        n.vfs
            .lookup(n.vfs.bucket("b").await.unwrap().ino, b"age")
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_markers_end_and_the_newest_stay() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    n.vfs
        .set_versioning("b", Some(Versioning::Enabled))
        .await
        .unwrap();
    for key in ["gone/k", "keep/k", "mark/k"] {
        for version in 0..4 {
            n.put("b", key, &[version]).await.unwrap();
        }
    }
    let delete = |key: &'static str| {
        n.vfs
            .delete_object("b", key.as_bytes(), vfs::Precondition::default())
    };
    delete("gone/k").await.unwrap();
    let noncurrent = |prefix: &str, keep| LifecycleRule {
        noncurrent: Some(NoncurrentExpiration { days: 1, keep }),
        ..rule(prefix)
    };
    let mut gone = noncurrent("gone/", None);
    gone.expiration = Some(Expiration {
        marker: Some(true),
        ..Expiration::default()
    });
    set(&n, vec![gone, noncurrent("keep/", Some(2)), days("mark/", 1)]).await;
    n.vfs.run_lifecycle(DAY);
    // Three present and noncurrent of `keep/k`; `mark/k` gets a marker and keeps its versions.
    let kept = ["keep/k"; 3];
    let marked = ["-mark/k", "mark/k", "mark/k", "mark/k", "mark/k"];
    until(&n, &[&kept[..], &marked[..]].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_nobody_completes_are_aborted() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    for key in ["old/a", "other/a"] {
        n.vfs
            .create_upload("b", key.as_bytes(), ObjectMeta::default())
            .await
            .unwrap();
    }
    let abort = LifecycleRule {
        abort_uploads: Some(1),
        ..rule("old/")
    };
    set(&n, vec![abort]).await;
    n.vfs.run_lifecycle(DAY);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let (uploads, _) = n.vfs.list_uploads("b", b"", None, 10).await.unwrap();
        if uploads.len() == 1 {
            assert_eq!(uploads[0].key, b"other/a");
            return;
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// More than a page of versions, most of them of keys that cross pages.
#[tokio::test(flavor = "multi_thread")]
async fn pages_do_not_part_the_versions_of_a_key() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    n.vfs
        .set_versioning("b", Some(Versioning::Enabled))
        .await
        .unwrap();
    const KEYS: usize = 7;
    const EACH: usize = 150;
    for key in 0..KEYS {
        for version in 0..EACH {
            n.put("b", &format!("k{key}"), &version.to_be_bytes())
                .await
                .unwrap();
        }
    }
    let noncurrent = LifecycleRule {
        noncurrent: Some(NoncurrentExpiration {
            days: 1,
            keep: Some(3),
        }),
        ..rule("k")
    };
    set(&n, vec![noncurrent]).await;
    n.vfs.run_lifecycle(DAY);
    let expected: Vec<String> = (0..KEYS)
        .flat_map(|key| std::iter::repeat_n(format!("k{key}"), 4))
        .collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    until(&n, &expected).await;
}

/// The rules of another bucket, which are followed meanwhile, show that time enough has passed.
#[tokio::test(flavor = "multi_thread")]
async fn rules_that_were_removed_end_nothing() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    n.put("b", "first", b"x").await.unwrap();
    set(&n, vec![days("first", 1)]).await;
    n.vfs.run_lifecycle(DAY);
    until(&n, &[]).await;
    n.vfs.set_lifecycle("b", None).await.unwrap();
    n.put("b", "first", b"x").await.unwrap();
    assert_eq!(n.vfs.lifecycle("b").await.unwrap(), None);
    // Another bucket's rules are followed meanwhile.
    n.bucket("c").await;
    n.put("c", "sign", b"x").await.unwrap();
    let rules = Lifecycle {
        rules: vec![days("", 2)],
    };
    n.vfs.set_lifecycle("c", Some(&rules)).await.unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !n.keys("c").await.is_empty() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(versions(&n).await, ["first"]);
}

/// What was looked at before a stop is not looked at again by the pass that goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_pass_goes_on_where_it_was_noted() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    for key in ["a", "b", "c", "d"] {
        n.put("b", key, b"x").await.unwrap();
    }
    let past = LifecycleRule {
        expiration: Some(Expiration {
            date: Some(1_000_000_000),
            ..Expiration::default()
        }),
        ..rule("")
    };
    set(&n, vec![past]).await;
    let rules = n.vfs.bucket_setting("b", "lifecycle").await.unwrap().unwrap();
    let digest = hex::encode(&Sha256::digest(&rules)[..16]);
    let noted = |next: &str| format!(r#"{{"pass":0,"rules":"{digest}","next":{next}}}"#).into_bytes();
    let begun = noted(&format!(r#"{{"key":"{}","version":null}}"#, hex::encode("b")));
    n.vfs
        .set_bucket_setting("b", "lifecycle-progress", Some(begun))
        .await
        .unwrap();
    // Real days: the next pass begins long after this test.
    n.vfs.run_lifecycle(Duration::from_hours(24));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while n.vfs.bucket_setting("b", "lifecycle-progress").await.unwrap() != Some(noted("null")) {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(versions(&n).await, ["a", "b"]);
}
