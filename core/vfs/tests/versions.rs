//! Versions beside everything else that a bucket has: quotas, trash, snapshots, links, open files.
//! What S3's rules are in themselves is in `versions_model.rs`.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::time::Duration;

use namespace::{ME, Namespace, fake_md5, noise};
use vfs::object::Commit;
use vfs::{
    Deleted, Error, InodeNo, Kind, Precondition, QuotaLimits, RenameFlags, VersionEntry, VersionId,
    VersionRequest, Versioning,
};

async fn versioned(n: &Namespace) -> InodeNo {
    let bucket = n.bucket("b").await;
    n.vfs
        .set_versioning("b", Some(Versioning::Enabled))
        .await
        .unwrap();
    bucket
}

async fn put(n: &Namespace, key: &str, data: &[u8]) -> VersionId {
    n.put("b", key, data).await.unwrap().version.unwrap()
}

async fn delete(n: &Namespace, key: &str, version: Option<VersionId>) -> Deleted {
    n.vfs
        .delete_version("b", key.as_bytes(), version, Precondition::default())
        .await
        .unwrap()
}

async fn all(n: &Namespace) -> Vec<VersionEntry> {
    let request = VersionRequest {
        max: 100,
        ..VersionRequest::default()
    };
    n.versions("b", request).await
}

/// Key, whether it is a delete marker, whether it is the latest.
async fn listed(n: &Namespace) -> Vec<(String, bool, bool)> {
    let entries = all(n).await.into_iter();
    entries
        .map(|entry| {
            let key = String::from_utf8(entry.key).unwrap();
            (key, entry.object.is_none(), entry.latest)
        })
        .collect()
}

fn entry(key: &str, marker: bool, latest: bool) -> (String, bool, bool) {
    (key.to_owned(), marker, latest)
}

/// Empties the bucket of everything and removes it; nothing may be left.
async fn nothing_is_left(n: &Namespace) {
    for entry in all(n).await {
        let key = String::from_utf8(entry.key).unwrap();
        delete(n, &key, Some(entry.id)).await;
    }
    n.vfs.delete_bucket("b").await.unwrap();
    n.settle().await;
    let rows: usize = (0x27..=0x2a).map(|table| n.rows(table)).sum();
    assert_eq!((n.chunks(), rows), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_object_moves_no_byte_and_keeps_its_inode() {
    let n = Namespace::new().await;
    versioned(&n).await;
    let data = noise(1, 700_000);
    let one = put(&n, "d/k", &data).await;
    let ino = n.vfs.head_object("b", b"d/k").await.unwrap().ino;
    let chunks = n.chunks();
    put(&n, "d/k", b"").await;
    assert_eq!(n.chunks(), chunks);
    // Who looks for what a chunk holds finds the version.
    let users = n
        .vfs
        .users_of(&n.vfs.chunks_of(ino).await.unwrap(), 10)
        .await
        .unwrap();
    assert_eq!(users.len(), 3);
    assert!(
        users
            .iter()
            .all(|user| user.path == Some(format!("b/d/k?versionId={one}")))
    );
    let entries = all(&n).await;
    assert_eq!(entries[1].object.as_ref().unwrap().ino, ino);
    assert_eq!(entries[1].id, one);
    // The one before comes back with its directory.
    delete(&n, "d/k", None).await;
    assert!(n.lookup(InodeNo::ROOT, "b").await.is_ok());
    let bucket = n.lookup(InodeNo::ROOT, "b").await.unwrap().ino;
    assert!(n.lookup(bucket, "d").await.is_err(), "implicit directories go");
    for entry in all(&n).await.into_iter().take(2) {
        delete(&n, "d/k", Some(entry.id)).await;
    }
    assert_eq!(n.get("b", "d/k").await.unwrap(), data);
    let dir = n.lookup(bucket, "d").await.unwrap().ino;
    assert_eq!(n.lookup(dir, "k").await.unwrap().ino, ino);
    assert_eq!(n.read(ino).await, data);
    assert_eq!(n.vfs.getattr(ino).await.unwrap().nlink, 1);
    nothing_is_left(&n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mount_replaces_or_deletes_becomes_a_version_and_what_it_writes_does_not() {
    let n = Namespace::new().await;
    let bucket = versioned(&n).await;
    let one = put(&n, "k", b"by s3").await;
    let ino = n.lookup(bucket, "k").await.unwrap().ino;
    n.write(ino, 0, b"BY").await;
    let info = n.vfs.head_object("b", b"k").await.unwrap();
    assert_eq!(
        (info.version, n.get("b", "k").await.unwrap()),
        (Some(one), b"BY s3".to_vec())
    );
    // Who has it open goes on writing to what is a version now.
    n.vfs.open_inode(ino).await.unwrap();
    let new = n.file(bucket, "tmp").await;
    n.write(new, 0, b"by mount").await;
    n.vfs
        .rename(bucket, b"tmp", bucket, b"k", RenameFlags::default())
        .await
        .unwrap();
    n.write(ino, 0, b"late").await;
    n.vfs.fsync(ino, None).await.unwrap();
    n.vfs.close(ino).await.unwrap();
    assert_eq!(n.get_version("b", "k", one).await.unwrap(), b"late3");
    assert_eq!(n.get("b", "k").await.unwrap(), b"by mount");
    // Nothing is left of a name that had no history.
    assert_eq!(
        listed(&n).await,
        [entry("k", false, true), entry("k", false, false)]
    );
    n.vfs.unlink(bucket, b"k").await.unwrap();
    let n = n.reopen().await;
    assert_eq!(
        listed(&n).await,
        [
            entry("k", true, true),
            entry("k", false, false),
            entry("k", false, false)
        ]
    );
    assert!(matches!(n.lookup(bucket, "k").await, Err(Error::NotFound)));
    nothing_is_left(&n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_stay_under_their_keys_when_directories_move_or_go() {
    let n = Namespace::new().await;
    let bucket = versioned(&n).await;
    let dir = n.dir(bucket, "d").await;
    let old = put(&n, "d/k", b"old").await;
    put(&n, "d/k", b"new").await;
    n.vfs
        .rename(bucket, b"d", bucket, b"e", RenameFlags::default())
        .await
        .unwrap();
    assert_eq!(n.get("b", "e/k").await.unwrap(), b"new");
    assert!(matches!(n.get("b", "d/k").await, Err(Error::NotFound)));
    assert_eq!(n.get_version("b", "d/k", old).await.unwrap(), b"old");
    assert_eq!(
        listed(&n).await,
        [
            entry("d/k", false, false),
            entry("e/", false, true),
            entry("e/k", false, true)
        ]
    );
    // Moved onto a key with a younger history: still the newest there when it is replaced.
    n.vfs
        .rename(bucket, b"e", bucket, b"d", RenameFlags::default())
        .await
        .unwrap();
    assert_eq!(n.lookup(bucket, "d").await.unwrap().ino, dir);
    put(&n, "d/k", b"newest").await;
    let contents = async {
        let mut found = Vec::new();
        for entry in all(&n).await {
            if entry.key == b"d/k" {
                found.push(n.get_version("b", "d/k", entry.id).await.unwrap());
            }
        }
        found
    };
    assert_eq!(contents.await, [&b"newest"[..], b"new", b"old"]);
    n.vfs.unlink(dir, b"k").await.unwrap();
    n.vfs.rmdir(bucket, b"d").await.unwrap();
    assert_eq!(n.get_version("b", "d/k", old).await.unwrap(), b"old");
    assert!(matches!(n.vfs.delete_bucket("b").await, Err(Error::NotEmpty)));
    assert!(matches!(
        n.vfs.rmdir(InodeNo::ROOT, b"b").await,
        Err(Error::NotEmpty)
    ));
    nothing_is_left(&n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_and_files_with_further_names_have_no_versions() {
    let n = Namespace::new().await;
    let bucket = versioned(&n).await;
    for content in [b"1", b"2"] {
        assert_eq!(put(&n, "dir/", content).await, VersionId::NULL);
    }
    assert_eq!(delete(&n, "dir/", None).await.version, None);
    assert!(listed(&n).await.is_empty());
    put(&n, "k", b"linked").await;
    let ino = n.lookup(bucket, "k").await.unwrap().ino;
    n.vfs.link(ino, bucket, b"other").await.unwrap();
    put(&n, "k", b"new").await;
    assert_eq!(n.get("b", "other").await.unwrap(), b"linked");
    assert_eq!(
        listed(&n).await,
        [entry("k", false, true), entry("other", false, true)]
    );
    nothing_is_left(&n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_count_to_the_quota_of_their_bucket() {
    let n = Namespace::new().await;
    let bucket = versioned(&n).await;
    let dir = n.dir(bucket, "d").await;
    let data = noise(3, 100_000);
    put(&n, "d/before", &data).await;
    put(&n, "d/before", &data).await;
    let limits = QuotaLimits {
        bytes: Some(500_000),
        inodes: None,
    };
    n.vfs.set_quota(bucket, limits).await.unwrap();
    n.vfs.set_quota(dir, limits).await.unwrap();
    let used = async |dir| {
        for _ in 0..1000 {
            let quota = n.vfs.quota(dir).await.unwrap().unwrap();
            if quota.counted {
                return (quota.used_bytes, quota.used_inodes);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not counted");
    };
    // The bucket, the directory, the object and its older version; in the directory only the object.
    assert_eq!(used(dir).await, (100_000, 2));
    assert_eq!(used(bucket).await, (200_000, 4));
    put(&n, "d/before", &data).await;
    let newest = put(&n, "d/after", &data).await;
    assert_eq!(
        (used(bucket).await, used(dir).await),
        ((400_000, 6), (200_000, 3))
    );
    put(&n, "d/after", &data).await;
    assert!(matches!(
        n.put("b", "d/after", &data).await,
        Err(Error::QuotaExceeded)
    ));
    // Only removing versions makes room; what comes back counts where it is.
    delete(&n, "d/after", None).await;
    assert!(matches!(n.put("b", "x", &data).await, Err(Error::QuotaExceeded)));
    let mut entries = all(&n).await;
    entries.retain(|entry| entry.key == b"d/after");
    assert_eq!(
        delete(&n, "d/after", Some(entries[1].id)).await.version,
        Some(entries[1].id)
    );
    delete(&n, "d/after", Some(entries[0].id)).await;
    assert_eq!(
        n.vfs.head_object("b", b"d/after").await.unwrap().version,
        Some(newest)
    );
    assert_eq!(
        (used(bucket).await, used(dir).await),
        ((400_000, 6), (200_000, 3))
    );
    nothing_is_left(&n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_versioned_bucket_needs_its_trash_only_for_what_is_given_up() {
    let n = Namespace::new().await;
    let bucket = versioned(&n).await;
    n.vfs
        .set_trash("b", Some(Duration::from_secs(3600)))
        .await
        .unwrap();
    put(&n, "k", b"kept").await;
    delete(&n, "k", None).await;
    assert!(n.vfs.trashed("b", b"", 10).await.unwrap().is_empty());
    n.vfs
        .set_versioning("b", Some(Versioning::Suspended))
        .await
        .unwrap();
    assert_eq!(put(&n, "k", b"given up").await, VersionId::NULL);
    delete(&n, "k", None).await;
    assert_eq!(n.vfs.trashed("b", b"", 10).await.unwrap().len(), 1);
    assert_eq!(
        listed(&n).await,
        [
            entry("k", true, true),
            entry("k", true, false),
            entry("k", false, false)
        ]
    );
    n.vfs.restore("b", b"k").await.unwrap();
    assert_eq!(n.get("b", "k").await.unwrap(), b"given up");
    assert_eq!(
        listed(&n).await,
        [
            entry("k", false, true),
            entry("k", true, false),
            entry("k", false, false)
        ]
    );
    let trash = n.lookup(bucket, ".trash").await.unwrap().ino;
    delete(&n, "k", None).await;
    // What is deleted there is gone.
    let name = n.names(trash).await.remove(0);
    n.vfs.unlink(trash, name.as_bytes()).await.unwrap();
    assert!(n.names(trash).await.is_empty());
    nothing_is_left(&n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_show_the_present_state_of_their_moment() {
    let n = Namespace::new().await;
    versioned(&n).await;
    let old = put(&n, "k", b"old").await;
    let then = put(&n, "k", b"then").await;
    n.vfs.create_snapshot("b", "s").await.unwrap();
    put(&n, "k", b"now").await;
    delete(&n, "k", Some(then)).await;
    delete(&n, "k", Some(old)).await;
    assert_eq!(n.get("b", ".snapshots/s/k").await.unwrap(), b"then");
    assert_eq!(n.get("b", "k").await.unwrap(), b"now");
    assert!(matches!(
        n.vfs
            .delete_version(
                "b",
                b".snapshots/s/k",
                Some(VersionId::NULL),
                Precondition::default()
            )
            .await,
        Err(Error::ReadOnly)
    ));
    assert_eq!(
        n.get_version("b", ".snapshots/s/k", VersionId::NULL)
            .await
            .unwrap(),
        b"then"
    );
    n.vfs.delete_snapshot("b", "s").await.unwrap();
    for _ in 0..1000 {
        if n.rows(0x31) == 0 {
            return nothing_is_left(&n).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the snapshot does not go");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_decided_with_the_change() {
    let n = Namespace::new().await;
    versioned(&n).await;
    let one = put(&n, "k", b"1").await;
    put(&n, "k", b"2").await;
    let matching = |data: &[u8]| Precondition {
        if_match: Some(vec![fake_md5(data)]),
        ..Precondition::default()
    };
    let delete_if = async |version, data: &[u8]| {
        n.vfs
            .delete_version("b", b"k", version, matching(data))
            .await
            .map(|deleted| deleted.existed)
    };
    assert!(matches!(
        delete_if(None, b"1").await,
        Err(Error::PreconditionFailed)
    ));
    assert!(matches!(
        delete_if(Some(one), b"2").await,
        Err(Error::PreconditionFailed)
    ));
    assert!(delete_if(Some(one), b"1").await.unwrap());
    assert!(!delete_if(Some(one), b"1").await.unwrap());
    assert!(delete_if(None, b"2").await.unwrap());
    // What is there now is a delete marker, which is like no object.
    assert!(matches!(
        delete_if(None, b"2").await,
        Err(Error::PreconditionFailed)
    ));
    let only_new = |data: &[u8]| Commit {
        etag: fake_md5(data),
        precondition: Precondition {
            if_none_match: Some(vec!["*".to_owned()]),
            ..Precondition::default()
        },
        ..Commit::default()
    };
    n.put_as("b", b"k", b"3", only_new(b"3")).await.unwrap();
    let again = n.put_as("b", b"k", b"4", only_new(b"4")).await;
    assert!(matches!(again, Err(Error::PreconditionFailed)));
    assert_eq!(listed(&n).await.len(), 3, "a refused write leaves no version");
    nothing_is_left(&n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_behind_what_was_removed_meanwhile() {
    let n = Namespace::new().await;
    versioned(&n).await;
    for key in ["a", "b/x", "b/y", "c"] {
        for round in 0..4u8 {
            put(&n, key, &[round]).await;
        }
    }
    let expected = all(&n).await;
    assert_eq!(expected.len(), 16);
    // As tools do that empty a bucket: a page is listed, removed, and the next one asked for.
    let mut request = VersionRequest {
        max: 3,
        ..VersionRequest::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = n.vfs.list_versions("b", request.clone()).await.unwrap();
        for entry in page.entries {
            let key = String::from_utf8(entry.key.clone()).unwrap();
            delete(&n, &key, Some(entry.id)).await;
            seen.push((entry.key, entry.id));
        }
        let Some((key, id)) = page.next else { break };
        request.after_key = Some(key);
        request.after_id = id;
    }
    let ids = expected.into_iter().map(|entry| (entry.key, entry.id));
    assert_eq!(seen, ids.collect::<Vec<_>>());
    n.put("b", "b/x", b"1").await.unwrap();
    n.put("b", "b/x", b"2").await.unwrap();
    n.put("b", "c", b"3").await.unwrap();
    let rolled = |after_key: Option<&[u8]>| VersionRequest {
        delimiter: Some(b"/".to_vec()),
        after_key: after_key.map(<[u8]>::to_vec),
        max: 1,
        ..VersionRequest::default()
    };
    let page = n.vfs.list_versions("b", rolled(None)).await.unwrap();
    assert_eq!(
        (page.prefixes, page.next),
        (vec![b"b/".to_vec()], Some((b"b/".to_vec(), None)))
    );
    let page = n.vfs.list_versions("b", rolled(Some(b"b/"))).await.unwrap();
    assert_eq!((page.prefixes.len(), page.entries.len(), page.next), (0, 1, None));
    let of_x = VersionRequest {
        prefix: b"b/".to_vec(),
        max: 10,
        ..VersionRequest::default()
    };
    assert_eq!(n.versions("b", of_x).await.len(), 2);
    nothing_is_left(&n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versioning_is_taken_back_only_while_there_are_no_versions() {
    let n = Namespace::new().await;
    n.bucket("b").await;
    assert_eq!(n.vfs.versioning("b").await.unwrap(), None);
    assert!(matches!(n.vfs.versioning("c").await, Err(Error::NoSuchBucket)));
    n.put("b", "k", b"plain").await.unwrap();
    n.vfs
        .set_versioning("b", Some(Versioning::Enabled))
        .await
        .unwrap();
    assert_eq!(
        n.vfs.head_object("b", b"k").await.unwrap().version,
        Some(VersionId::NULL)
    );
    n.vfs.set_versioning("b", None).await.unwrap();
    assert_eq!(n.vfs.head_object("b", b"k").await.unwrap().version, None);
    n.vfs
        .set_versioning("b", Some(Versioning::Suspended))
        .await
        .unwrap();
    delete(&n, "k", None).await;
    assert!(matches!(
        n.vfs.set_versioning("b", None).await,
        Err(Error::NotEmpty)
    ));
    let n = n.crash_image().await;
    assert_eq!(n.vfs.versioning("b").await.unwrap(), Some(Versioning::Suspended));
    assert_eq!(
        n.vfs.delete_marker("b", b"k").await.unwrap(),
        Some(VersionId::NULL)
    );
    nothing_is_left(&n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_one_key_at_once_leave_a_version_each() {
    let n = Namespace::new().await;
    let bucket = versioned(&n).await;
    let tasks: Vec<_> = (0..8u8)
        .map(|task| {
            let vfs = n.vfs.clone();
            tokio::spawn(async move {
                for round in 0..5 {
                    let mut writer = vfs.object_writer("b", b"k").await.unwrap();
                    writer.write(vec![task, round].into()).await.unwrap();
                    writer.commit(Commit::default()).await.unwrap();
                    if round == 2 {
                        vfs.delete_version("b", b"k", None, Precondition::default())
                            .await
                            .unwrap();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let entries = all(&n).await;
    assert_eq!(entries.len(), 48);
    assert!(entries.windows(2).all(|pair| pair[0].id > pair[1].id));
    assert_eq!(entries.iter().filter(|entry| entry.latest).count(), 1);
    n.vfs.mknod(bucket, b"x", Kind::File, 0, ME).await.unwrap();
    nothing_is_left(&n).await;
}
