//! The trash: what is deleted is there, restorable through every door, and goes in the end.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::time::Duration;

use namespace::{ME, Namespace, noise};
use vfs::object::CopyMeta;
use vfs::{Error, InodeNo, Kind, ListRequest, QuotaLimits, RenameFlags, Restored};

const DAY: Duration = Duration::from_secs(86_400);

async fn bucket_with_trash(n: &Namespace) -> (InodeNo, InodeNo) {
    let bucket = n.bucket("b").await;
    n.vfs.set_trash("b", Some(7 * DAY)).await.unwrap();
    let trash = n.lookup(bucket, ".trash").await.unwrap().ino;
    (bucket, trash)
}

async fn delete(n: &Namespace, key: &str) {
    assert!(
        n.vfs
            .delete_object("b", key.as_bytes(), Default::default())
            .await
            .unwrap()
    );
}

/// Keys that lie in the trash, and the names they have there, the newest first.
async fn trashed(n: &Namespace) -> Vec<(String, String)> {
    let found = n.vfs.trashed("b", b"", 100).await.unwrap();
    found.into_iter().map(|entry| (entry.key, entry.now)).collect()
}

fn restored(restored: u64) -> Restored {
    Restored {
        restored,
        ..Restored::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_any_door_deletes_can_be_brought_back_with_all_that_it_was() {
    let n = Namespace::new().await;
    let (bucket, trash) = bucket_with_trash(&n).await;
    n.put("b", "d/e/object", &noise(1, 300_000)).await.unwrap();
    let info = n.vfs.head_object("b", b"d/e/object").await.unwrap();
    let file = n.file(bucket, "file").await;
    n.write(file, 0, b"written, not flushed").await;
    n.vfs.symlink(bucket, b"link", b"there", ME).await.unwrap();
    delete(&n, "d/e/object").await;
    n.vfs.unlink(bucket, b"file").await.unwrap();
    n.vfs.unlink(bucket, b"link").await.unwrap();
    assert!(n.lookup(bucket, "d").await.is_err(), "implicit directories go");
    let found = trashed(&n).await;
    let keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["link", "file", "d/e/object"]);
    // It lies there for all to see, and S3 shows it to who asks.
    assert_eq!(n.names(trash).await.len(), 3);
    assert_eq!(n.keys("b").await, Vec::<String>::new());
    let page = n
        .list(
            "b",
            ListRequest {
                prefix: b".trash/".to_vec(),
                max: 10,
                ..ListRequest::default()
            },
        )
        .await;
    assert_eq!(
        page.objects.len(),
        3,
        "the directory and the two that are objects"
    );
    assert_eq!(n.get("b", &found[2].1).await.unwrap(), noise(1, 300_000));
    let n = n.reopen().await;
    assert_eq!(n.vfs.restore("b", b"d/").await.unwrap(), restored(1));
    assert_eq!(n.vfs.restore("b", b"").await.unwrap(), restored(2));
    assert!(matches!(n.vfs.restore("b", b"d/").await, Err(Error::NotFound)));
    let back = n.vfs.head_object("b", b"d/e/object").await.unwrap();
    assert_eq!(back, info);
    assert_eq!(n.read(file).await, b"written, not flushed");
    let link = n.lookup(bucket, "link").await.unwrap();
    assert_eq!(n.vfs.readlink(link.ino).await.unwrap(), b"there");
    // The directories are implicit again.
    delete(&n, "d/e/object").await;
    assert!(n.lookup(bucket, "d").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_takes_out_by_its_own_means() {
    let n = Namespace::new().await;
    let (bucket, trash) = bucket_with_trash(&n).await;
    for key in ["a", "b", "c"] {
        n.put("b", key, key.as_bytes()).await.unwrap();
        delete(&n, key).await;
    }
    let found = trashed(&n).await;
    let name = |at: usize| found[at].1.strip_prefix(".trash/").unwrap().as_bytes();
    let flags = RenameFlags::default();
    n.vfs.rename(trash, name(0), bucket, b"c", flags).await.unwrap();
    n.vfs
        .copy_object(
            "b",
            found[1].1.as_bytes(),
            "b",
            b"b",
            CopyMeta::Keep,
            Default::default(),
        )
        .await
        .unwrap();
    assert_eq!(n.vfs.restore("b", name(2)).await.unwrap(), restored(1));
    for key in ["a", "b", "c"] {
        assert_eq!(n.get("b", key).await.unwrap(), key.as_bytes());
    }
    // A copy leaves what it was made from; a deletion there is for good, through either door.
    assert_eq!(trashed(&n).await.len(), 1);
    delete(&n, &found[1].1).await;
    assert_eq!(trashed(&n).await, []);
    n.vfs.unlink(bucket, b"a").await.unwrap();
    let entry = n.names(trash).await.remove(0);
    n.vfs.unlink(trash, entry.as_bytes()).await.unwrap();
    assert_eq!(trashed(&n).await, []);
    assert!(
        n.lookup(bucket, ".trash").await.is_ok(),
        "it does not go with its last entry"
    );
    n.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_key_the_newest_comes_back_and_what_is_there_stays() {
    let n = Namespace::new().await;
    let (bucket, _) = bucket_with_trash(&n).await;
    for content in [b"1", b"2", b"3"] {
        n.put("b", "k", content).await.unwrap();
        delete(&n, "k").await;
    }
    let done = n.vfs.restore("b", b"k").await.unwrap();
    assert_eq!(
        (done.restored, done.taken, done.first_taken.as_deref()),
        (1, 2, Some("k"))
    );
    assert_eq!(n.get("b", "k").await.unwrap(), b"3");
    let done = n.vfs.restore("b", b"k").await.unwrap();
    assert_eq!((done.restored, done.taken), (0, 2));
    // What is replaced does not go there, nor does one of several names.
    n.put("b", "k", b"4").await.unwrap();
    n.file(bucket, "new").await;
    n.vfs
        .rename(bucket, b"new", bucket, b"k", RenameFlags::default())
        .await
        .unwrap();
    let ino = n.lookup(bucket, "k").await.unwrap().ino;
    n.vfs.link(ino, bucket, b"k2").await.unwrap();
    n.vfs.unlink(bucket, b"k").await.unwrap();
    assert_eq!(trashed(&n).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_when_its_time_is_up_and_gives_its_space_back() {
    let n = Namespace::new().await;
    let (_, trash) = bucket_with_trash(&n).await;
    for number in 0..150 {
        n.put("b", &format!("{number}"), &noise(number, 1000))
            .await
            .unwrap();
        delete(&n, &format!("{number}")).await;
    }
    assert_eq!(n.vfs.expire_trash().await.unwrap(), 0);
    store::clock::turn(6 * DAY);
    n.put("b", "late", b"x").await.unwrap();
    delete(&n, "late").await;
    assert_eq!(n.vfs.expire_trash().await.unwrap(), 0);
    store::clock::turn(DAY);
    assert_eq!(n.vfs.expire_trash().await.unwrap(), 150);
    assert_eq!(trashed(&n).await.len(), 1);
    // A longer time counts for what is there already; turned off, it stays until it is emptied.
    n.vfs.set_trash("b", Some(30 * DAY)).await.unwrap();
    store::clock::turn(20 * DAY);
    assert_eq!(n.vfs.expire_trash().await.unwrap(), 0);
    n.vfs.set_trash("b", None).await.unwrap();
    assert_eq!(n.vfs.trash("b").await.unwrap(), None);
    n.put("b", "gone", b"x").await.unwrap();
    delete(&n, "gone").await;
    store::clock::turn(20 * DAY);
    assert_eq!(n.vfs.expire_trash().await.unwrap(), 0);
    assert_eq!(n.names(trash).await.len(), 1);
    assert!(matches!(n.vfs.delete_bucket("b").await, Err(Error::NotEmpty)));
    assert_eq!(n.vfs.empty_trash("b").await.unwrap(), 1);
    n.settle().await;
    assert_eq!(n.chunks(), 0);
    n.vfs.delete_bucket("b").await.unwrap();
    n.settle().await;
    for table in [0x24, 0x25, 0x26] {
        assert_eq!(n.rows(table), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_put_there_and_the_directory_stays() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    // A name that is taken is nobody's trash.
    n.put("b", ".trash", b"mine").await.unwrap();
    assert!(matches!(
        n.vfs.set_trash("b", Some(DAY)).await,
        Err(Error::Exists)
    ));
    delete(&n, ".trash").await;
    n.put("b", ".trash/x", b"mine").await.unwrap();
    assert!(matches!(
        n.vfs.set_trash("b", Some(DAY)).await,
        Err(Error::Exists)
    ));
    assert_eq!(n.keys("b").await, [".trash/x"]);
    delete(&n, ".trash/x").await;
    n.vfs.set_trash("b", Some(DAY)).await.unwrap();
    let trash = n.lookup(bucket, ".trash").await.unwrap().ino;
    let (file, dir) = (n.file(bucket, "f").await, n.dir(bucket, "d").await);
    let refused = |result: vfs::Result<()>| assert!(matches!(result, Err(Error::NotPermitted)), "{result:?}");
    refused(n.vfs.mknod(trash, b"x", Kind::File, 0, ME).await.map(drop));
    refused(n.vfs.mkdir(trash, b"x", ME).await.map(drop));
    refused(n.vfs.link(file, trash, b"x").await.map(drop));
    refused(n.put("b", ".trash/x", b"").await.map(drop));
    refused(n.put("b", ".trash/x/y", b"").await.map(drop));
    refused(n.put("b", ".trash/", b"").await.map(drop));
    refused(n.vfs.rmdir(bucket, b".trash").await);
    refused(
        n.vfs
            .delete_object("b", b".trash/", Default::default())
            .await
            .map(drop),
    );
    refused(n.vfs.set_quota(trash, QuotaLimits::default()).await.map(drop));
    let swap = RenameFlags {
        exchange: true,
        ..RenameFlags::default()
    };
    for flags in [RenameFlags::default(), swap] {
        refused(n.vfs.rename(bucket, b".trash", bucket, b"d", flags).await);
        refused(n.vfs.rename(bucket, b"d", bucket, b".trash", flags).await);
        refused(n.vfs.rename(bucket, b".trash", dir, b"x", flags).await);
        refused(n.vfs.rename(bucket, b"f", trash, b"x", flags).await);
    }
    n.vfs.unlink(bucket, b"f").await.unwrap();
    let entry = n.names(trash).await.remove(0);
    n.file(bucket, "g").await;
    refused(n.vfs.rename(trash, entry.as_bytes(), bucket, b"g", swap).await);
    refused(
        n.vfs
            .rename(trash, entry.as_bytes(), trash, b"x", RenameFlags::default())
            .await,
    );
    assert_eq!(trashed(&n).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_counts_to_the_bucket_and_no_longer_to_the_directory() {
    let n = Namespace::new().await;
    let (bucket, _) = bucket_with_trash(&n).await;
    let dir = n.dir(bucket, "d").await;
    let limits = |bytes| QuotaLimits {
        bytes: Some(bytes),
        inodes: None,
    };
    n.vfs.set_quota(dir, limits(1_000)).await.unwrap();
    n.vfs.set_quota(bucket, limits(2_500)).await.unwrap();
    for ino in [dir, bucket] {
        while !n.vfs.quota(ino).await.unwrap().unwrap().counted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    for _ in 0..2 {
        n.put("b", "d/f", &noise(1, 1_000)).await.unwrap();
        delete(&n, "d/f").await;
    }
    let used = async |ino| n.vfs.quota(ino).await.unwrap().unwrap().used_bytes;
    assert_eq!((used(dir).await, used(bucket).await), (0, 2_000));
    assert!(matches!(
        n.put("b", "d/f", &noise(1, 1_000)).await,
        Err(Error::QuotaExceeded)
    ));
    n.put("b", "d/small", &noise(1, 100)).await.unwrap();
    assert!(matches!(
        n.vfs.restore("b", b"d/f").await,
        Err(Error::QuotaExceeded)
    ));
    n.vfs.empty_trash("b").await.unwrap();
    assert_eq!((used(dir).await, used(bucket).await), (100, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_it_open_reads_and_writes_on() {
    let n = Namespace::new().await;
    let (bucket, trash) = bucket_with_trash(&n).await;
    let file = n.file(bucket, "f").await;
    n.vfs.open_inode(file).await.unwrap();
    n.vfs.unlink(bucket, b"f").await.unwrap();
    n.write(file, 0, b"later").await;
    n.vfs.fsync(file, None).await.unwrap();
    n.vfs.close(file).await.unwrap();
    let entry = n.names(trash).await.remove(0);
    let flags = RenameFlags::default();
    n.vfs
        .rename(trash, entry.as_bytes(), bucket, b"f", flags)
        .await
        .unwrap();
    assert_eq!(n.get("b", "f").await.unwrap(), b"later");
}
