//! Object Lock: what holds a version is kept from every door.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::time::Duration;

use namespace::{Namespace, fake_md5};
use vfs::object::{Commit, CopyMeta, ObjectSource};
use vfs::posix::Allocate;
use vfs::{
    BucketLock, DefaultRetention, Error, Governance, InodeNo, ObjectInfo, ObjectLock, Period, Precondition,
    RenameFlags, Retention, RetentionMode, SetAttr, TimeChange, Timestamp, VersionId, Versioning, XattrSet,
};

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Timestamp {
    Timestamp(vfs::wall_clock().as_nanos() as i64)
}

fn retention(mode: RetentionMode, time: Duration) -> Retention {
    Retention {
        mode,
        until: Timestamp(now().0 + time.as_nanos() as i64),
    }
}

async fn locked_bucket(n: &Namespace) -> InodeNo {
    let new = vfs::NewBucket {
        object_lock: true,
        ..vfs::NewBucket::default()
    };
    n.vfs.create_bucket_with("b", new).await.unwrap().ino
}

/// Puts `x`, held for a day.
async fn held(n: &Namespace, key: &str, mode: RetentionMode) -> ObjectInfo {
    n.put("b", key, b"content").await.unwrap();
    n.vfs
        .set_retention(
            "b",
            key.as_bytes(),
            None,
            Some(retention(mode, DAY)),
            Governance::Binds,
        )
        .await
        .unwrap()
}

#[track_caller]
fn locked<T: std::fmt::Debug>(result: vfs::Result<T>) {
    assert!(matches!(result, Err(Error::Locked)), "{result:?}");
}

async fn remove(n: &Namespace, key: &str, id: VersionId, governance: Governance) -> vfs::Result<()> {
    n.vfs
        .delete_version_under("b", key.as_bytes(), Some(id), Precondition::default(), governance)
        .await
        .map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_removes_or_changes_what_is_held() {
    let n = Namespace::new().await;
    let bucket = locked_bucket(&n).await;
    let dir = n.dir(bucket, "d").await;
    let info = held(&n, "d/k", RetentionMode::Compliance).await;
    let (ino, id) = (info.ino, info.version.unwrap());
    n.put("b", "d/other", b"other").await.unwrap();
    let other = n.lookup(dir, "other").await.unwrap().ino;
    let none = RenameFlags::default();

    // Its content.
    locked(n.vfs.write(ino, 0, bytes::Bytes::from_static(b"y")).await);
    let cut = SetAttr {
        size: Some(1),
        ..SetAttr::default()
    };
    locked(n.vfs.setattr(ino, cut).await);
    locked(n.vfs.allocate(ino, 0, 4, Allocate::Punch).await);
    locked(n.vfs.copy_range(other, 0, ino, 0, 5).await);
    // Its names.
    locked(n.vfs.rename(dir, b"k", bucket, b"k", none).await);
    locked(n.vfs.rename(bucket, b"d", bucket, b"e", none).await);
    let exchange = RenameFlags {
        exchange: true,
        ..none
    };
    locked(n.vfs.rename(dir, b"other", dir, b"k", exchange).await);
    locked(n.vfs.link(ino, dir, b"l").await);
    // What S3 shows of it.
    locked(n.vfs.setxattr(ino, b"user.s3.meta.a", b"b", XattrSet::Any).await);
    locked(
        n.vfs
            .setxattr(ino, b"user.s3.header.content-type", b"b", XattrSet::Any)
            .await,
    );
    let touch = SetAttr {
        mtime: Some(TimeChange::Now),
        ..SetAttr::default()
    };
    locked(n.vfs.setattr(ino, touch).await);
    // The version.
    for governance in [Governance::Binds, Governance::Bypassed] {
        locked(remove(&n, "d/k", id, governance).await);
    }
    // Other attributes, and permissions, are not part of it.
    n.vfs
        .setxattr(ino, b"user.mine", b"b", XattrSet::Any)
        .await
        .unwrap();
    let mode = SetAttr {
        mode: Some(0o600),
        ..SetAttr::default()
    };
    n.vfs.setattr(ino, mode).await.unwrap();

    // Deleting and replacing leave it as a version, through each door; so does a rename over it.
    n.vfs.unlink(dir, b"k").await.unwrap();
    locked(remove(&n, "d/k", id, Governance::Bypassed).await);
    n.put("b", "d/k", b"new").await.unwrap();
    n.vfs.rename(dir, b"other", dir, b"k", none).await.unwrap();
    n.vfs
        .delete_object("b", b"d/k", Precondition::default())
        .await
        .unwrap();
    assert_eq!(n.get_version("b", "d/k", id).await.unwrap(), b"content");
    locked(remove(&n, "d/k", id, Governance::Bypassed).await);
    assert!(n.vfs.delete_bucket("b").await.is_err());
    locked(n.vfs.set_versioning("b", Some(Versioning::Suspended)).await);
    locked(n.vfs.set_versioning("b", None).await);

    // All of it is there after a restart, and ends with its time.
    let n = n.reopen().await;
    locked(remove(&n, "d/k", id, Governance::Bypassed).await);
    store::clock::turn(DAY);
    remove(&n, "d/k", id, Governance::Binds).await.unwrap();
    assert!(matches!(
        n.get_version("b", "d/k", id).await,
        Err(Error::NotFound)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn governance_is_bypassed_and_a_hold_is_not() {
    let n = Namespace::new().await;
    locked_bucket(&n).await;
    let id = held(&n, "k", RetentionMode::Governance).await.version.unwrap();
    n.vfs.set_legal_hold("b", b"k", Some(id), true).await.unwrap();
    locked(remove(&n, "k", id, Governance::Bypassed).await);
    // The attempt took nothing away.
    let lock = ObjectLock::of(&n.vfs.head_object("b", b"k").await.unwrap().meta);
    assert!(lock.retention.is_some() && lock.legal_hold == Some(true));
    store::clock::turn(DAY * 365);
    locked(remove(&n, "k", id, Governance::Bypassed).await);
    n.vfs.set_legal_hold("b", b"k", Some(id), false).await.unwrap();
    remove(&n, "k", id, Governance::Binds).await.unwrap();
    let id = held(&n, "k", RetentionMode::Governance).await.version.unwrap();
    locked(remove(&n, "k", id, Governance::Binds).await);
    remove(&n, "k", id, Governance::Bypassed).await.unwrap();
}

/// What was answered before the lock is part of what it holds, although nothing was stored yet.
#[tokio::test(flavor = "multi_thread")]
async fn writes_from_before_are_held_and_those_after_refused() {
    let n = Namespace::new().await;
    let bucket = locked_bucket(&n).await;
    let file = n.file(bucket, "f").await;
    n.write(file, 0, b"before").await;
    let until = retention(RetentionMode::Compliance, DAY);
    n.vfs
        .set_retention("b", b"f", None, Some(until), Governance::Binds)
        .await
        .unwrap();
    locked(n.vfs.write(file, 0, bytes::Bytes::from_static(b"after")).await);
    n.vfs.fsync(file, None).await.unwrap();
    assert_eq!(n.get("b", "f").await.unwrap(), b"before");
    let image = n.crash_image().await;
    assert_eq!(image.get("b", "f").await.unwrap(), b"before");
    let file = image
        .lookup(image.vfs.bucket("b").await.unwrap().ino, "f")
        .await
        .unwrap()
        .ino;
    locked(
        image
            .vfs
            .write(file, 0, bytes::Bytes::from_static(b"after"))
            .await,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn new_objects_get_the_default_and_copies_lose_what_their_source_has() {
    let n = Namespace::new().await;
    let bucket = locked_bucket(&n).await;
    held(&n, "source", RetentionMode::Compliance).await;
    let default = DefaultRetention {
        mode: RetentionMode::Governance,
        period: Period::Days(2),
    };
    n.vfs
        .set_object_lock(
            "b",
            BucketLock {
                default: Some(default),
            },
        )
        .await
        .unwrap();
    let source = ObjectSource {
        bucket: "b",
        key: b"source",
        version: None,
    };
    let copy = n
        .vfs
        .copy_version(source, "b", b"copy", CopyMeta::Keep, Precondition::default())
        .await
        .unwrap();
    let put = n.put("b", "put", b"x").await.unwrap();
    for info in [&copy, &put] {
        let lock = ObjectLock::of(&info.meta).retention.unwrap();
        assert_eq!(lock.mode, RetentionMode::Governance);
        let left = lock.until.0 - now().0;
        assert!(left > DAY.as_nanos() as i64 && left <= 2 * DAY.as_nanos() as i64);
        locked(
            remove(
                &n,
                std::str::from_utf8(&info.key).unwrap(),
                info.version.unwrap(),
                Governance::Binds,
            )
            .await,
        );
    }
    // A mount makes what it writes afterwards; a directory has no versions.
    let file = n.file(bucket, "made").await;
    n.write(file, 0, b"x").await;
    n.put("b", "d/", b"").await.unwrap();
    for key in [&b"made"[..], b"d/"] {
        assert!(ObjectLock::of(&n.vfs.head_object("b", key).await.unwrap().meta).is_empty());
    }
    n.vfs.unlink(bucket, b"made").await.unwrap();
    n.vfs.rmdir(bucket, b"d").await.unwrap();
    // In a bucket without, a copy has none.
    n.bucket("plain").await;
    let copy = n
        .vfs
        .copy_version(source, "plain", b"copy", CopyMeta::Keep, Precondition::default())
        .await
        .unwrap();
    assert!(ObjectLock::of(&copy.meta).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_are_changed_in_their_own_way_alone() {
    let n = Namespace::new().await;
    n.bucket("plain").await;
    n.put("plain", "k", b"x").await.unwrap();
    let soft = Some(retention(RetentionMode::Governance, DAY));
    let set = |bucket: &'static str, key: &'static str, retention| {
        let vfs = n.vfs.clone();
        async move {
            vfs.set_retention(bucket, key.as_bytes(), None, retention, Governance::Binds)
                .await
        }
    };
    assert!(matches!(set("plain", "k", soft).await, Err(Error::Invalid(_))));
    let lock = BucketLock::default();
    assert!(matches!(
        n.vfs.set_object_lock("plain", lock).await,
        Err(Error::Invalid(_))
    ));
    locked_bucket(&n).await;
    n.put("b", "k", b"x").await.unwrap();
    n.put("b", "d/", b"").await.unwrap();
    assert!(matches!(set("b", "none", soft).await, Err(Error::NotFound)));
    assert!(matches!(set("b", "d/", soft).await, Err(Error::Invalid(_))));
    set("b", "k", soft).await.unwrap();
    locked(set("b", "k", None).await);
    // Settings that doors keep do not reach it.
    for value in [None, Some(b"{}".to_vec())] {
        let done = n.vfs.set_bucket_setting("b", "object-lock", value).await;
        assert!(matches!(done, Err(Error::NotPermitted)));
    }
    for name in ["retention", "legal-hold"] {
        let changes = vfs::SettingChanges::from([(name.to_owned(), None)]);
        let done = n
            .vfs
            .change_object_settings("b", b"k", None, move |_| Ok(changes.clone()))
            .await;
        assert!(matches!(done, Err(Error::NotPermitted)));
    }
    let mut commit = Commit {
        etag: fake_md5(b"y"),
        ..Commit::default()
    };
    let hold = ObjectLock {
        legal_hold: Some(true),
        ..ObjectLock::default()
    };
    hold.keep(&mut commit.meta);
    for (bucket, key) in [("plain", &b"k"[..]), ("b", b"d/")] {
        let put = n.put_as(bucket, key, b"y", commit.clone()).await;
        assert!(matches!(put, Err(Error::Invalid(_))), "{put:?}");
    }
    assert_eq!(n.get("plain", "k").await.unwrap(), b"x");
    let too_long = DefaultRetention {
        mode: RetentionMode::Compliance,
        period: Period::Years(101),
    };
    let lock = BucketLock {
        default: Some(too_long),
    };
    assert!(matches!(
        n.vfs.set_object_lock("b", lock).await,
        Err(Error::Invalid(_))
    ));
}
