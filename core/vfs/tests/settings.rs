//! Settings that a door keeps: of buckets, and of objects and their versions.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::collections::BTreeMap;

use namespace::Namespace;
use vfs::{Error, InodeNo, SettingChanges, Versioning, XattrSet};

fn set(name: &str, value: &str) -> SettingChanges {
    BTreeMap::from([(name.to_owned(), Some(value.to_owned()))])
}

async fn ino_of(n: &Namespace, bucket: &str, name: &str) -> InodeNo {
    let bucket = n.vfs.bucket(bucket).await.unwrap().ino;
    n.vfs.lookup(bucket, name.as_bytes()).await.unwrap().ino
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_bucket_go_with_it() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    n.bucket("other").await;
    n.vfs
        .set_bucket_setting("b", "policy", Some(b"\0\xff".to_vec()))
        .await
        .unwrap();
    n.vfs
        .set_bucket_setting("b", "cors", Some(b"2".to_vec()))
        .await
        .unwrap();
    assert_eq!(
        n.vfs.bucket_setting("b", "policy").await.unwrap(),
        Some(b"\0\xff".to_vec())
    );
    assert_eq!(n.vfs.bucket_setting("other", "policy").await.unwrap(), None);
    let all = n.vfs.bucket_settings("b").await.unwrap();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["cors", "policy"]);
    n.vfs.set_bucket_setting("b", "cors", None).await.unwrap();
    assert_eq!(n.vfs.bucket_setting("b", "cors").await.unwrap(), None);

    let large = n
        .vfs
        .set_bucket_setting("b", "cors", Some(vec![0; (1 << 20) + 1]))
        .await;
    assert!(matches!(large, Err(Error::TooLarge)));
    let nowhere = n.vfs.set_bucket_setting("none", "cors", None).await;
    assert!(matches!(nowhere, Err(Error::NoSuchBucket)));

    n.vfs.delete_bucket("b").await.unwrap();
    n.bucket("b").await;
    assert!(n.vfs.bucket_settings("b").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_belong_to_a_version_and_change_neither_content_nor_its_time() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    n.vfs
        .set_versioning("b", Some(Versioning::Enabled))
        .await
        .unwrap();
    let one = n.put("b", "k", b"one").await.unwrap();
    let two = n.put("b", "k", b"two").await.unwrap();
    let changed = n
        .vfs
        .change_object_settings("b", b"k", one.version, |_| Ok(set("tags", "a=1")))
        .await
        .unwrap();
    assert_eq!(changed.meta.settings["tags"], "a=1");
    assert_eq!((&changed.etag, changed.modified), (&one.etag, one.modified));
    let present = n.vfs.head_object("b", b"k").await.unwrap();
    assert_eq!(present.version, two.version);
    assert!(present.meta.settings.is_empty());

    // What the change is told is the object; what it refuses is not done.
    let refused = n
        .vfs
        .change_object_settings("b", b"k", one.version, |info| {
            assert_eq!(info.meta.settings["tags"], "a=1");
            Err(Error::NotPermitted)
        })
        .await;
    assert!(matches!(refused, Err(Error::NotPermitted)));
    let removed = n
        .vfs
        .change_object_settings("b", b"k", one.version, |_| {
            Ok(BTreeMap::from([("tags".to_owned(), None)]))
        })
        .await
        .unwrap();
    assert!(removed.meta.settings.is_empty());
    let none = n
        .vfs
        .change_object_settings("b", b"none", None, |_| Ok(set("tags", "")))
        .await;
    assert!(matches!(none, Err(Error::NotFound)));
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_neither_see_nor_change_settings() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    n.put("b", "k", b"bytes").await.unwrap();
    n.vfs
        .change_object_settings("b", b"k", None, |_| Ok(set("grants", "me")))
        .await
        .unwrap();
    let ino = ino_of(&n, "b", "k").await;
    let name = b"user.s3.setting.grants";
    let listed = n.vfs.listxattr(ino).await.unwrap();
    assert!(!listed.contains(&name.to_vec()), "{listed:?}");
    assert!(matches!(n.vfs.getxattr(ino, name).await, Err(Error::NotFound)));
    let set = n.vfs.setxattr(ino, name, b"all", XattrSet::Any).await;
    assert!(matches!(set, Err(Error::NotPermitted)));
    let removed = n.vfs.removexattr(ino, name).await;
    assert!(matches!(removed, Err(Error::NotPermitted)));
    assert_eq!(
        n.vfs.head_object("b", b"k").await.unwrap().meta.settings["grants"],
        "me"
    );
}
