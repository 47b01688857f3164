//! Settings that a door keeps: of buckets, and of objects and their versions.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::collections::BTreeMap;

use namespace::Namespace;
use vfs::{
    BucketSettings, Error, GatewaySettingChanges, InodeNo, NewBucket, SettingChanges, Versioning, XattrSet,
};

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
    let settings: BucketSettings = [("owner".to_owned(), b"me".to_vec())].into();
    let new = NewBucket {
        settings: settings.clone(),
        ..NewBucket::default()
    };
    n.vfs.create_bucket_with("c", new).await.unwrap();
    assert_eq!(n.vfs.bucket_settings("c").await.unwrap(), settings);
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

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_gateway_change_together_or_not_at_all_and_are_told() {
    let n = Namespace::new().await;
    let mut told = n.vfs.gateway_settings_changed();
    let put = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
    let changes: GatewaySettingChanges = [put("a/1", "one"), put("a/2", "two"), put("b/1", "other")].into();
    let made = changes.clone();
    let answer = n
        .vfs
        .change_gateway_settings("a/", move |before| {
            assert!(before.is_empty());
            Ok::<_, ()>((7, made.clone()))
        })
        .await
        .unwrap();
    assert_eq!(answer, Ok(7));
    assert!(told.has_changed().unwrap());
    told.mark_unchanged();
    let found = n.vfs.gateway_settings("a/").await.unwrap();
    assert_eq!(
        found,
        [("a/1".into(), b"one".to_vec()), ("a/2".into(), b"two".to_vec())].into()
    );
    let refused = n
        .vfs
        .change_gateway_settings("a/", |before| {
            assert_eq!(before.len(), 2);
            Err::<((), GatewaySettingChanges), _>("no")
        })
        .await
        .unwrap();
    assert_eq!(refused, Err("no"));
    let large = n
        .vfs
        .change_gateway_settings("a/", |_| {
            Ok::<_, ()>((
                (),
                [
                    ("a/1".to_owned(), None),
                    ("a/3".to_owned(), Some(vec![0; (1 << 20) + 1])),
                ]
                .into(),
            ))
        })
        .await;
    assert!(matches!(large, Err(Error::TooLarge)));
    assert_eq!(n.vfs.gateway_settings("a/").await.unwrap(), found);
    n.vfs
        .change_gateway_settings("a/", |_| Ok::<_, ()>(((), [("a/1".to_owned(), None)].into())))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(n.vfs.gateway_settings("").await.unwrap().len(), 2);
    // Nothing of it is in the way of buckets.
    n.bucket("b").await;
    assert!(n.vfs.bucket_settings("b").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_settings_are_sealed_for_one_purpose() {
    let n = Namespace::new().await;
    let sealed = n.vfs.seal_secret(b"one", b"very secret");
    assert_eq!(
        n.vfs.open_secret(b"one", &sealed).unwrap().as_slice(),
        b"very secret"
    );
    assert!(n.vfs.open_secret(b"two", &sealed).is_none());
    assert_eq!(n.vfs.made_secret(b"one"), n.vfs.made_secret(b"one"));
    assert_ne!(n.vfs.made_secret(b"one"), n.vfs.made_secret(b"two"));
}
