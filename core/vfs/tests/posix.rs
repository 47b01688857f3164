//! POSIX operations on a real store.
#![allow(clippy::unwrap_used, clippy::panic, clippy::large_stack_arrays)] // tests
mod namespace;

use bytes::Bytes;
use namespace::{ME, Namespace, noise};
use vfs::posix::Allocate;
use vfs::{Creator, Error, InodeNo, Kind, RenameFlags, SetAttr, TimeChange, Timestamp, XattrSet};

const NO_REPLACE: RenameFlags = RenameFlags {
    no_replace: true,
    exchange: false,
};
const EXCHANGE: RenameFlags = RenameFlags {
    no_replace: false,
    exchange: true,
};

macro_rules! fails {
    ($result:expr, $error:pat) => {
        match $result {
            Err($error) => {}
            other => panic!("expected {}, got {other:?}", stringify!($error)),
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_holds_buckets_only() {
    let n = Namespace::new().await;
    let bucket = n.vfs.mkdir(InodeNo::ROOT, b"b", ME).await.unwrap();
    assert_eq!(bucket.kind, Kind::Directory);
    assert_eq!(n.vfs.bucket("b").await.unwrap().ino, bucket.ino);
    fails!(
        n.vfs.mknod(InodeNo::ROOT, b"f", Kind::File, 0, ME).await,
        Error::NotPermitted
    );
    fails!(
        n.vfs.symlink(InodeNo::ROOT, b"l", b"b", ME).await,
        Error::NotPermitted
    );
    fails!(n.vfs.mkdir(InodeNo::ROOT, b"b", ME).await, Error::Exists);
    let other = n.bucket("c").await;
    let file = n.file(bucket.ino, "f").await;
    fails!(n.vfs.link(file, other, b"f").await, Error::CrossBucket);
    fails!(n.vfs.link(file, InodeNo::ROOT, b"f").await, Error::NotPermitted);
    fails!(
        n.vfs
            .rename(bucket.ino, b"f", other, b"f", RenameFlags::default())
            .await,
        Error::CrossBucket
    );
    fails!(n.vfs.rmdir(InodeNo::ROOT, b"b").await, Error::NotEmpty);
    n.vfs
        .rename(InodeNo::ROOT, b"b", InodeNo::ROOT, b"d", RenameFlags::default())
        .await
        .unwrap();
    assert_eq!(n.vfs.bucket("d").await.unwrap().ino, bucket.ino);
    assert_eq!(n.keys("d").await, ["f"]);
    fails!(
        n.vfs
            .rename(InodeNo::ROOT, b"d", InodeNo::ROOT, b"c", RenameFlags::default())
            .await,
        Error::Exists
    );
    n.vfs.unlink(bucket.ino, b"f").await.unwrap();
    n.vfs.rmdir(InodeNo::ROOT, b"d").await.unwrap();
    fails!(n.vfs.bucket("d").await, Error::NoSuchBucket);
    assert_eq!(n.vfs.getattr(InodeNo::ROOT).await.unwrap().nlink, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_count_their_links_and_times() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let before = n.vfs.getattr(bucket).await.unwrap();
    let a = n.dir(bucket, "a").await;
    let b = n.dir(a, "b").await;
    n.file(a, "f").await;
    assert_eq!(n.vfs.getattr(bucket).await.unwrap().nlink, 3);
    assert_eq!(n.vfs.getattr(a).await.unwrap().nlink, 3);
    assert!(n.vfs.getattr(bucket).await.unwrap().mtime > before.mtime);
    assert_eq!(n.vfs.parent(b).await.unwrap(), a);
    assert_eq!(n.vfs.parent(InodeNo::ROOT).await.unwrap(), InodeNo::ROOT);
    assert_eq!(n.vfs.path_of(b).await.unwrap().unwrap(), "b/a/b/");
    fails!(n.vfs.rmdir(bucket, b"a").await, Error::NotEmpty);
    fails!(n.vfs.unlink(a, b"b").await, Error::IsDirectory);
    fails!(n.vfs.rmdir(a, b"f").await, Error::NotDirectory);
    fails!(n.lookup(a, "nothing").await, Error::NotFound);
    n.vfs
        .rename(a, b"b", bucket, b"c", RenameFlags::default())
        .await
        .unwrap();
    assert_eq!(n.vfs.getattr(a).await.unwrap().nlink, 2);
    assert_eq!(n.vfs.getattr(bucket).await.unwrap().nlink, 4);
    let moment = Timestamp(1_234_567_890_123_456_789);
    let times = SetAttr {
        mtime: Some(TimeChange::At(moment)),
        ..SetAttr::default()
    };
    assert_eq!(n.vfs.setattr(a, times).await.unwrap().mtime, moment);
    n.file(a, "g").await;
    assert!(n.vfs.getattr(a).await.unwrap().mtime > moment);
    assert_eq!(n.names(a).await, ["f", "g"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn setgid_directories_pass_their_group_on() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let dir = n
        .vfs
        .mkdir(
            bucket,
            b"d",
            Creator {
                uid: 1,
                gid: 7,
                mode: 0o2775,
            },
        )
        .await
        .unwrap()
        .ino;
    let file = n.vfs.mknod(dir, b"f", Kind::File, 0, ME).await.unwrap();
    assert_eq!((file.gid, file.mode), (7, 0o644));
    let sub = n.vfs.mkdir(dir, b"s", ME).await.unwrap();
    assert_eq!((sub.gid, sub.mode), (7, 0o2644));
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_links_share_one_inode() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let dir = n.dir(bucket, "d").await;
    let file = n.file(bucket, "f").await;
    n.write(file, 0, b"shared").await;
    assert_eq!(n.vfs.link(file, dir, b"g").await.unwrap().nlink, 2);
    n.vfs.link(file, dir, b"h").await.unwrap();
    fails!(n.vfs.link(file, dir, b"h").await, Error::Exists);
    fails!(n.vfs.link(dir, bucket, b"e").await, Error::NotPermitted);
    n.vfs.unlink(bucket, b"f").await.unwrap();
    assert!(n.vfs.path_of(file).await.unwrap().unwrap().starts_with("b/d/"));
    n.vfs.unlink(dir, b"g").await.unwrap();
    assert_eq!(n.vfs.path_of(file).await.unwrap().unwrap(), "b/d/h");
    assert_eq!(n.lookup(dir, "h").await.unwrap().nlink, 1);
    assert_eq!(n.get("b", "d/h").await.unwrap(), b"shared");
    // A rename onto another name of the same inode does nothing.
    n.vfs.link(file, dir, b"i").await.unwrap();
    n.vfs
        .rename(dir, b"h", dir, b"i", RenameFlags::default())
        .await
        .unwrap();
    assert_eq!(n.names(dir).await, ["h", "i"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn renames_replace_swap_and_refuse() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let a = n.file(bucket, "a").await;
    let b = n.file(bucket, "b").await;
    n.write(a, 0, b"from a").await;
    fails!(
        n.vfs.rename(bucket, b"a", bucket, b"b", NO_REPLACE).await,
        Error::Exists
    );
    n.vfs.rename(bucket, b"a", bucket, b"b", EXCHANGE).await.unwrap();
    assert_eq!(n.lookup(bucket, "a").await.unwrap().ino, b);
    n.vfs
        .rename(bucket, b"b", bucket, b"a", RenameFlags::default())
        .await
        .unwrap();
    assert_eq!(n.names(bucket).await, ["a"]);
    assert_eq!(n.get("b", "a").await.unwrap(), b"from a");

    let d = n.dir(bucket, "d").await;
    let e = n.dir(d, "e").await;
    fails!(
        n.vfs.rename(bucket, b"d", e, b"x", RenameFlags::default()).await,
        Error::Invalid(_)
    );
    fails!(
        n.vfs.rename(bucket, b"d", d, b"x", RenameFlags::default()).await,
        Error::Invalid(_)
    );
    fails!(
        n.vfs
            .rename(bucket, b"d", bucket, b"a", RenameFlags::default())
            .await,
        Error::NotDirectory
    );
    fails!(
        n.vfs
            .rename(bucket, b"a", bucket, b"d", RenameFlags::default())
            .await,
        Error::IsDirectory
    );
    let g = n.dir(bucket, "g").await;
    fails!(
        n.vfs
            .rename(bucket, b"g", bucket, b"d", RenameFlags::default())
            .await,
        Error::NotEmpty
    );
    n.vfs
        .rename(d, b"e", bucket, b"g", RenameFlags::default())
        .await
        .unwrap();
    assert_eq!(n.lookup(bucket, "g").await.unwrap().ino, e);
    assert_ne!(g, e);
    // A file and a directory trade places.
    n.vfs.rename(bucket, b"a", bucket, b"d", EXCHANGE).await.unwrap();
    assert_eq!(n.lookup(bucket, "a").await.unwrap().ino, d);
    assert_eq!(n.lookup(bucket, "d").await.unwrap().ino, a);
    assert_eq!(n.vfs.getattr(bucket).await.unwrap().nlink, 4);
    fails!(
        n.vfs
            .rename(bucket, b"zz", bucket, b"y", RenameFlags::default())
            .await,
        Error::NotFound
    );
    n.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn symlinks_and_nodes_are_kept() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let link = n.vfs.symlink(bucket, b"l", b"../else/where", ME).await.unwrap();
    assert_eq!((link.size, link.kind), (13, Kind::Symlink));
    assert_eq!(n.vfs.readlink(link.ino).await.unwrap(), b"../else/where");
    let node = n
        .vfs
        .mknod(bucket, b"n", Kind::CharDevice, 0x0103, ME)
        .await
        .unwrap();
    assert_eq!((node.kind, node.rdev), (Kind::CharDevice, 0x0103));
    fails!(n.vfs.readlink(node.ino).await, Error::Invalid(_));
    fails!(
        n.vfs.write(node.ino, 0, Bytes::from_static(b"x")).await,
        Error::Invalid(_)
    );
    fails!(n.vfs.read(bucket, 0, 1).await, Error::IsDirectory);
    assert_eq!(n.keys("b").await, [""; 0], "S3 shows neither");
    fails!(n.get("b", "l").await, Error::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn written_bytes_are_seen_at_once_and_after_a_flush() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    let data = noise(1, 700_000);
    n.write(file, 0, &data).await;
    n.write(file, 1_000_000, b"end").await;
    let attr = n.vfs.getattr(file).await.unwrap();
    assert_eq!((attr.size, attr.allocated), (1_000_003, 700_003));
    let mut want = data.clone();
    want.resize(1_000_000, 0);
    want.extend_from_slice(b"end");
    assert_eq!(n.read(file).await, want);
    assert_eq!(
        n.vfs.getxattr(file, b"user.cess.state").await.unwrap(),
        b"buffered"
    );
    n.vfs.fsync(file, None).await.unwrap();
    assert_eq!(n.vfs.getxattr(file, b"user.cess.state").await.unwrap(), b"staged");
    assert_eq!(n.vfs.getattr(file).await.unwrap().allocated, 700_003);
    assert_eq!(n.read(file).await, want);
    assert_eq!(
        n.vfs.append(file, Bytes::from_static(b"!")).await.unwrap(),
        1_000_003
    );
    assert_eq!(n.vfs.read(file, 1_000_000, 100).await.unwrap(), &b"end!"[..]);
    assert_eq!(n.vfs.read(file, 5_000_000, 100).await.unwrap().len(), 0);
    let extents = n.vfs.extents(file, 0, u64::MAX, 10).await.unwrap();
    let shape: Vec<_> = extents
        .iter()
        .map(|extent| (extent.offset, extent.len, extent.hole))
        .collect();
    assert_eq!(
        shape,
        [
            (0, 700_000, false),
            (700_000, 300_000, true),
            (1_000_000, 4, false)
        ]
    );
    assert_eq!(n.vfs.extents(file, 10, u64::MAX, 1).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_bytes_do_not_come_back() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    for flushed in [false, true] {
        let file = n.file(bucket, if flushed { "f" } else { "g" }).await;
        n.write(file, 0, &noise(2, 10_000)).await;
        if flushed {
            n.vfs.fsync(file, None).await.unwrap();
        }
        let size = |size| SetAttr {
            size: Some(size),
            ..SetAttr::default()
        };
        assert_eq!(n.vfs.setattr(file, size(100)).await.unwrap().size, 100);
        if flushed {
            n.vfs.fsync(file, None).await.unwrap();
        }
        n.vfs.setattr(file, size(10_000)).await.unwrap();
        let mut want = noise(2, 100);
        want.resize(10_000, 0);
        assert_eq!(n.read(file).await, want);
        n.vfs.fsync(file, None).await.unwrap();
        assert_eq!(n.read(file).await, want);
        assert_eq!(n.vfs.getattr(file).await.unwrap().allocated, 100);
        fails!(n.vfs.setattr(file, size(u64::MAX)).await, Error::TooLarge);
        fails!(
            n.vfs.write(file, u64::MAX - 1, Bytes::from_static(b"xyz")).await,
            Error::TooLarge
        );
    }
    fails!(
        n.vfs
            .setattr(
                bucket,
                SetAttr {
                    size: Some(0),
                    ..SetAttr::default()
                }
            )
            .await,
        Error::IsDirectory
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_were_set_survive_the_flush() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    n.write(file, 0, b"data").await;
    let moment = Timestamp(981_173_106_123_456_789);
    let change = SetAttr {
        mtime: Some(TimeChange::At(moment)),
        mode: Some(0o600),
        ..SetAttr::default()
    };
    assert_eq!(n.vfs.setattr(file, change).await.unwrap().mtime, moment);
    n.vfs.fsync(file, None).await.unwrap();
    let attr = n.vfs.getattr(file).await.unwrap();
    assert_eq!((attr.mtime, attr.mode, attr.size), (moment, 0o600, 4));
    let info = n.vfs.head_object("b", b"f").await.unwrap();
    assert_eq!(info.meta.user["mtime"], "981173106.123456789");
    assert!(info.modified > moment, "S3 sees when the content changed");
    n.write(file, 0, b"more").await;
    assert!(n.vfs.getattr(file).await.unwrap().mtime > moment);
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_are_punched_and_zeroed() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    let mut want = noise(3, 600_000);
    n.write(file, 0, &want).await;
    n.vfs.fsync(file, None).await.unwrap();
    n.vfs
        .allocate(file, 1000, 300_000, Allocate::Punch)
        .await
        .unwrap();
    want[1000..301_000].fill(0);
    assert_eq!(n.read(file).await, want);
    n.vfs
        .allocate(file, 599_000, 5000, Allocate::Punch)
        .await
        .unwrap();
    want[599_000..].fill(0);
    n.vfs
        .allocate(file, 599_500, 1500, Allocate::Zero { keep_size: false })
        .await
        .unwrap();
    want.resize(601_000, 0);
    n.vfs
        .allocate(file, 700_000, 1, Allocate::Zero { keep_size: true })
        .await
        .unwrap();
    n.vfs
        .allocate(file, 0, 900_000, Allocate::Reserve { keep_size: true })
        .await
        .unwrap();
    assert_eq!(n.read(file).await, want);
    n.vfs.fsync(file, None).await.unwrap();
    assert_eq!(n.read(file).await, want);
    assert_eq!(n.vfs.getattr(file).await.unwrap().allocated, 299_000);
    n.vfs
        .allocate(file, 0, 900_000, Allocate::Reserve { keep_size: false })
        .await
        .unwrap();
    assert_eq!(n.vfs.getattr(file).await.unwrap().size, 900_000);
    fails!(
        n.vfs.allocate(file, 0, 0, Allocate::Punch).await,
        Error::Invalid(_)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unlinked_files_live_until_they_are_closed() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    n.write(file, 0, &noise(4, 300_000)).await;
    n.vfs.fsync(file, None).await.unwrap();
    n.vfs.open_inode(file).await.unwrap();
    n.vfs.unlink(bucket, b"f").await.unwrap();
    n.vfs.rmdir(InodeNo::ROOT, b"b").await.unwrap();
    assert_eq!(n.vfs.getattr(file).await.unwrap().nlink, 0);
    assert_eq!(n.read(file).await, noise(4, 300_000));
    // Even its bucket is gone, and still it can be written.
    n.write(file, 0, b"new").await;
    n.vfs.fsync(file, None).await.unwrap();
    assert_eq!(&n.read(file).await[..3], b"new");
    fails!(
        n.vfs.link(file, bucket, b"again").await,
        Error::NotFound | Error::NotPermitted
    );
    n.vfs.close(file).await.unwrap();
    n.settle().await;
    fails!(n.vfs.getattr(file).await, Error::NotFound);
    assert_eq!(n.chunks(), 0);
    assert_eq!(n.vfs.statfs().await.unwrap().inodes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_purged_at_the_next_start() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    n.write(file, 0, &noise(5, 3_000_000)).await;
    n.vfs.open_inode(file).await.unwrap();
    n.vfs.fsync(file, None).await.unwrap();
    n.vfs.unlink(bucket, b"f").await.unwrap();
    n.vfs.sync_namespace().await.unwrap();
    assert!(n.chunks() > 10);
    let after = n.crash_image().await;
    after.settle().await;
    fails!(after.vfs.getattr(file).await, Error::NotFound);
    assert_eq!(after.chunks(), 0);
    assert_eq!(n.read(file).await, noise(5, 3_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_are_kept_and_object_metadata_are_among_them() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    let v = &n.vfs;
    v.setxattr(file, b"user.a", b"1", XattrSet::Create).await.unwrap();
    fails!(
        v.setxattr(file, b"user.a", b"1", XattrSet::Create).await,
        Error::Exists
    );
    fails!(
        v.setxattr(file, b"user.b", b"1", XattrSet::Replace).await,
        Error::NotFound
    );
    v.setxattr(file, b"user.a", b"2", XattrSet::Replace)
        .await
        .unwrap();
    assert_eq!(v.getxattr(file, b"user.a").await.unwrap(), b"2");
    v.setxattr(file, b"user.s3.meta.color", b"red", XattrSet::Any)
        .await
        .unwrap();
    v.setxattr(file, b"user.s3.header.content-type", b"text/plain", XattrSet::Any)
        .await
        .unwrap();
    v.setxattr(file, b"user.s3.meta.mtime", b"5.5", XattrSet::Any)
        .await
        .unwrap();
    let info = v.head_object("b", b"f").await.unwrap();
    assert_eq!(info.meta.user["color"], "red");
    assert_eq!(info.meta.user["mtime"], "5.5");
    assert_eq!(info.meta.headers["content-type"], "text/plain");
    assert_eq!(v.getattr(file).await.unwrap().mtime, Timestamp(5_500_000_000));
    assert_eq!(
        v.getxattr(file, b"user.cess.etag").await.unwrap(),
        info.etag.as_bytes()
    );
    assert!(info.etag.contains('-'));
    fails!(
        v.setxattr(file, b"user.cess.state", b"", XattrSet::Any).await,
        Error::NotPermitted
    );
    fails!(
        v.setxattr(file, &[b'u'; 256], b"", XattrSet::Any).await,
        Error::NameTooLong
    );
    fails!(
        v.setxattr(file, b"user.big", &[0; 65_537], XattrSet::Any).await,
        Error::TooLarge
    );
    v.removexattr(file, b"user.a").await.unwrap();
    fails!(v.removexattr(file, b"user.a").await, Error::NotFound);
    fails!(v.getxattr(file, b"user.a").await, Error::NotFound);
    let names = v.listxattr(file).await.unwrap();
    assert!(names.contains(&b"user.s3.meta.color".to_vec()) && names.contains(&b"user.cess.state".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_copied_without_moving_bytes() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let other = n.bucket("c").await;
    let from = n.file(bucket, "from").await;
    let data = noise(6, 1_000_000);
    n.write(from, 0, &data).await;
    n.vfs.fsync(from, None).await.unwrap();
    let before = n.chunks();
    let to = n.file(bucket, "to").await;
    n.write(to, 0, b"old old old").await;
    assert_eq!(
        n.vfs.copy_range(from, 100, to, 5, 900_000).await.unwrap(),
        900_000
    );
    assert_eq!(
        n.vfs
            .copy_range(from, 999_990, to, 950_000, 900_000)
            .await
            .unwrap(),
        10
    );
    let mut want = b"old o".to_vec();
    want.extend_from_slice(&data[100..900_100]);
    want.resize(950_000, 0);
    want.extend_from_slice(&data[999_990..]);
    assert_eq!(n.read(to).await, want);
    assert_eq!(
        n.chunks(),
        before + 1,
        "only what was written to the target is new"
    );
    // Within one file, and not onto itself.
    assert_eq!(n.vfs.copy_range(from, 0, from, 2_000_000, 10).await.unwrap(), 10);
    assert_eq!(n.vfs.read(from, 2_000_000, 10).await.unwrap(), &data[..10]);
    fails!(n.vfs.copy_range(from, 0, from, 5, 10).await, Error::Invalid(_));
    assert_eq!(n.vfs.copy_range(from, 9_000_000, to, 5, 10).await.unwrap(), 0);
    // Into another key domain by bytes.
    let far = n.file(other, "far").await;
    assert_eq!(
        n.vfs.copy_range(from, 0, far, 0, 1_000_000).await.unwrap(),
        1_000_000
    );
    assert_eq!(n.read(far).await, data);
    // What is shared lives as long as somebody has it.
    n.vfs.unlink(bucket, b"from").await.unwrap();
    n.settle().await;
    assert_eq!(n.read(to).await, want);
    n.vfs.unlink(bucket, b"to").await.unwrap();
    n.vfs.unlink(other, b"far").await.unwrap();
    n.settle().await;
    assert_eq!(n.chunks(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_a_mount_cannot_show_are_escaped() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let long = "x".repeat(300);
    for key in [
        "a",
        "a/b",
        "a//c",
        "./d",
        "../e",
        "/f",
        "nul\0x",
        ".cess~lit",
        &long,
        &format!("{long}/g"),
    ] {
        n.put("b", key, key.as_bytes()).await.unwrap();
    }
    let names = n.names(bucket).await;
    for name in [
        ".cess~empty",
        ".cess~dot",
        ".cess~dotdot",
        ".cess~file~a",
        "a",
        ".cess~hex~6e756c0078",
        ".cess~lit~.cess~lit",
    ] {
        assert!(names.iter().any(|shown| shown == name), "{name} in {names:?}");
    }
    assert_eq!(
        names
            .iter()
            .filter(|name| name.starts_with(".cess~long~"))
            .count(),
        2
    );
    let a = n.lookup(bucket, "a").await.unwrap();
    assert_eq!(a.kind, Kind::Directory);
    let file = n.lookup(bucket, ".cess~file~a").await.unwrap();
    assert_eq!(n.read(file.ino).await, b"a");
    assert_eq!(n.names(a.ino).await, [".cess~empty", "b"]);
    // The escape goes when its reason goes.
    n.vfs
        .rename(bucket, b"a", bucket, b"z", RenameFlags::default())
        .await
        .unwrap();
    fails!(n.lookup(bucket, ".cess~file~a").await, Error::NotFound);
    assert_eq!(n.lookup(bucket, "a").await.unwrap().ino, file.ino);
    fails!(n.vfs.mkdir(bucket, b"a", ME).await, Error::Exists);
    fails!(
        n.vfs.mknod(bucket, b".cess~file~a", Kind::File, 0, ME).await,
        Error::InvalidName(_)
    );
    fails!(
        n.vfs.mknod(bucket, b".cess~nonsense", Kind::File, 0, ME).await,
        Error::InvalidName(_)
    );
    fails!(
        n.vfs.mknod(bucket, &[b'y'; 256], Kind::File, 0, ME).await,
        Error::NameTooLong
    );
    // Escaped names create, too.
    let dot = n.vfs.mkdir(a.ino, b".cess~dot", ME).await.unwrap().ino;
    n.file(dot, "h").await;
    assert!(n.keys("b").await.contains(&"z/./h".to_owned()));
    n.vfs
        .mknod(bucket, b".cess~file~z", Kind::File, 0, ME)
        .await
        .unwrap();
    assert!(n.keys("b").await.contains(&"z".to_owned()));
    let shown = names.iter().find(|name| name.starts_with(".cess~long~")).unwrap();
    let long_entry = n.lookup(bucket, shown).await.unwrap();
    n.vfs
        .rename(bucket, shown.as_bytes(), bucket, b"short", RenameFlags::default())
        .await
        .unwrap();
    assert_eq!(n.lookup(bucket, "short").await.unwrap().ino, long_entry.ino);
    fails!(n.lookup(bucket, shown).await, Error::NotFound);
}
