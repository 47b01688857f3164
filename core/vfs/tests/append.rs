//! Appending to objects, and renaming them.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use bytes::Bytes;
use namespace::{Namespace, fake_md5};
use vfs::object::Commit;
use vfs::{Error, ObjectInfo, Precondition, Result, Versioning};

async fn append(n: &Namespace, key: &str, offset: u64, data: &[u8]) -> Result<ObjectInfo> {
    append_if(n, key, offset, data, Precondition::default()).await
}

async fn append_if(
    n: &Namespace,
    key: &str,
    offset: u64,
    data: &[u8],
    precondition: Precondition,
) -> Result<ObjectInfo> {
    let mut writer = n.vfs.object_writer("b", key.as_bytes()).await?;
    for piece in data.chunks(100_000) {
        writer.write(Bytes::copy_from_slice(piece)).await?;
    }
    let commit = Commit {
        etag: fake_md5(data),
        precondition,
        ..Commit::default()
    };
    writer.append(offset, commit).await
}

fn matching(etag: &str) -> Precondition {
    Precondition {
        if_match: Some(vec![etag.to_owned()]),
        ..Precondition::default()
    }
}

/// Bytes that say where they are.
fn content(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| (at * 7 + at / 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_follows_what_is_there() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let first = append(&n, "d/log", 0, &content(0, 10)).await.unwrap();
    assert_eq!(first.etag, fake_md5(&content(0, 10)));
    let mut size = 10;
    for len in [1, 300_000, 0, 5, 262_144, 70_000] {
        let info = append(&n, "d/log", size as u64, &content(size, len))
            .await
            .unwrap();
        size += len;
        assert_eq!((info.ino, info.size), (first.ino, size as u64));
        assert_ne!(info.etag, first.etag);
        assert_eq!(n.get("b", "d/log").await.unwrap(), content(0, size));
    }
    for wrong in [0, size as u64 - 1, size as u64 + 1] {
        let refused = append(&n, "d/log", wrong, b"x").await;
        assert!(matches!(refused, Err(Error::OutOfRange)), "{wrong}");
    }
    assert!(matches!(
        append(&n, "none", 3, b"x").await,
        Err(Error::OutOfRange)
    ));
    assert!(matches!(
        append_if(&n, "none", 0, b"x", matching("*")).await,
        Err(Error::NotFound)
    ));
    let etag = n.vfs.head_object("b", b"d/log").await.unwrap().etag;
    let refused = append_if(&n, "d/log", size as u64, b"x", matching(&first.etag)).await;
    assert!(matches!(refused, Err(Error::PreconditionFailed)));
    // What a mount wrote and nobody stored counts.
    let dir = n.lookup(bucket, "d").await.unwrap().ino;
    let file = n.lookup(dir, "log").await.unwrap().ino;
    append_if(&n, "d/log", size as u64, &content(size, 1), matching(&etag))
        .await
        .unwrap();
    size += 1;
    n.write(file, size as u64, &content(size, 3)).await;
    size += 3;
    append(&n, "d/log", size as u64, &content(size, 4)).await.unwrap();
    assert_eq!(n.get("b", "d/log").await.unwrap(), content(0, size + 4));
    let n = n.reopen().await;
    assert_eq!(n.get("b", "d/log").await.unwrap(), content(0, size + 4));
    // Refused writers leave nothing behind.
    n.vfs
        .delete_object("b", b"d/log", Precondition::default())
        .await
        .unwrap();
    n.settle().await;
    assert_eq!(n.chunks(), 0);
}

/// More than a writer keeps to itself, behind an object that is no whole number of chunks long.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_append_is_spilled_and_still_one_step() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    n.put("b", "k", &content(0, 1000)).await.unwrap();
    let len = 66 << 20;
    append(&n, "k", 1000, &content(1000, len)).await.unwrap();
    assert!(n.get("b", "k").await.unwrap() == content(0, 1000 + len));
    let refused = append(&n, "k", 1000, &content(1000, len)).await;
    assert!(matches!(refused, Err(Error::OutOfRange)));
    n.vfs
        .delete_object("b", b"k", Precondition::default())
        .await
        .unwrap();
    n.settle().await;
    assert_eq!(n.chunks(), 0);
}

/// Of many that append at one offset, one does.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_one_offset_one_appends() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    for round in 0..3u64 {
        let racers = (0..8u8).map(|racer| {
            let n = &n;
            async move { append(n, "k", round * 100, &[racer; 100]).await.map(|_| racer) }
        });
        let done = futures::future::join_all(racers).await;
        let winners: Vec<u8> = done
            .iter()
            .filter_map(|done| done.as_ref().ok().copied())
            .collect();
        assert_eq!(winners.len(), 1, "{done:?}");
        let got = n.get("b", "k").await.unwrap();
        assert_eq!(got.len() as u64, (round + 1) * 100);
        assert!(got.ends_with(&[winners[0]; 100]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versioned_objects_and_volumes_are_not_appended_to() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    n.vfs.create_volume("b/v", 1 << 20, 512, "").await.unwrap();
    assert!(matches!(
        append(&n, "v", 1 << 20, b"x").await,
        Err(Error::Invalid(_))
    ));
    n.put("b", "k", b"x").await.unwrap();
    let mut sealed = Commit::default();
    sealed.meta.settings.insert("encryption".into(), "{}".into());
    n.put_as("b", b"sealed", b"x", sealed).await.unwrap();
    assert!(matches!(
        append(&n, "sealed", 1, b"y").await,
        Err(Error::Invalid(_))
    ));
    n.vfs
        .set_versioning("b", Some(Versioning::Enabled))
        .await
        .unwrap();
    assert!(matches!(append(&n, "k", 1, b"y").await, Err(Error::Invalid(_))));
    assert_eq!(n.get("b", "k").await.unwrap(), b"x");
}

async fn rename(
    n: &Namespace,
    from: &str,
    to: &str,
    source: Precondition,
    target: Precondition,
) -> Result<()> {
    n.vfs
        .rename_object("b", from.as_bytes(), to.as_bytes(), source, target)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_moves_the_object_and_nothing_else() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let any = Precondition::default;
    let before = n.put("b", "a/b/c", b"content").await.unwrap();
    rename(&n, "a/b/c", "x/y", any(), any()).await.unwrap();
    let after = n.vfs.head_object("b", b"x/y").await.unwrap();
    assert_eq!(
        (after.ino, &after.etag, after.modified),
        (before.ino, &before.etag, before.modified)
    );
    assert_eq!(n.keys("b").await, ["x/y"]);
    // Directories that only the key implied went with it.
    assert!(n.lookup(bucket, "a").await.is_err());
    assert!(matches!(n.get("b", "a/b/c").await, Err(Error::NotFound)));

    n.put("b", "other", b"other").await.unwrap();
    let absent = Precondition {
        if_none_match: Some(vec!["*".into()]),
        ..any()
    };
    for (source, target) in [(matching("no"), any()), (any(), matching("no")), (any(), absent)] {
        let refused = rename(&n, "x/y", "other", source, target).await;
        assert!(matches!(refused, Err(Error::PreconditionFailed)), "{refused:?}");
    }
    assert_eq!(n.keys("b").await, ["other", "x/y"]);
    rename(&n, "x/y", "other", matching(&before.etag), any())
        .await
        .unwrap();
    assert_eq!(n.get("b", "other").await.unwrap(), b"content");
    assert_eq!(n.keys("b").await, ["other"]);

    for (from, to) in [("other", "other"), ("other", "d/"), ("d/", "other")] {
        let refused = rename(&n, from, to, any(), any()).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{from} {to}");
    }
    assert!(matches!(
        rename(&n, "none", "k", any(), any()).await,
        Err(Error::NotFound)
    ));
    // What is only buffered moves along, and is there after a crash.
    let file = n.file(bucket, "written").await;
    n.write(file, 0, b"buffered").await;
    rename(&n, "written", "other", any(), any()).await.unwrap();
    let image = n.crash_image().await;
    assert_eq!(image.get("b", "other").await.unwrap(), b"buffered");
    n.vfs.delete_object("b", b"other", any()).await.unwrap();
    n.settle().await;
    assert_eq!((n.chunks(), n.rows(0x02)), (0, 2));
}

/// In a versioned bucket what is replaced becomes a version, and the old key gets a delete marker if
/// it has others.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_keeps_versions_where_they_are() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    n.vfs
        .set_versioning("b", Some(Versioning::Enabled))
        .await
        .unwrap();
    let old = n.put("b", "from", b"1").await.unwrap().version.unwrap();
    n.put("b", "from", b"2").await.unwrap();
    let replaced = n.put("b", "to", b"3").await.unwrap().version.unwrap();
    rename(&n, "from", "to", Precondition::default(), Precondition::default())
        .await
        .unwrap();
    assert_eq!(n.get("b", "to").await.unwrap(), b"2");
    assert_eq!(n.get_version("b", "to", replaced).await.unwrap(), b"3");
    assert_eq!(n.get_version("b", "from", old).await.unwrap(), b"1");
    assert!(n.vfs.delete_marker("b", b"from").await.unwrap().is_some());
}
