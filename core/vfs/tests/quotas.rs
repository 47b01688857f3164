//! Quotas: what counts, that it is exact, and that nothing gets past a limit.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use namespace::{ME, Namespace, noise};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use vfs::posix::Allocate;
use vfs::{Error, InodeNo, Kind, QuotaInfo, QuotaLimits, RenameFlags, SetAttr, Vfs};

fn limits(bytes: u64, inodes: u64) -> QuotaLimits {
    QuotaLimits {
        bytes: Some(bytes),
        inodes: Some(inodes),
    }
}

async fn quota(vfs: &Vfs, dir: InodeNo) -> QuotaInfo {
    vfs.quota(dir).await.unwrap().unwrap()
}

async fn used(vfs: &Vfs, dir: InodeNo) -> (u64, u64) {
    let quota = quota(vfs, dir).await;
    (quota.used_bytes, quota.used_inodes)
}

async fn counted(vfs: &Vfs, dir: InodeNo) -> QuotaInfo {
    for _ in 0..1000 {
        let quota = quota(vfs, dir).await;
        if quota.counted {
            return quota;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("counting does not come to an end");
}

/// Sets a quota and waits until it holds.
async fn limit(n: &Namespace, dir: InodeNo, limits: QuotaLimits) -> QuotaInfo {
    n.vfs.set_quota(dir, limits).await.unwrap();
    counted(&n.vfs, dir).await
}

async fn try_write(n: &Namespace, ino: InodeNo, offset: u64, len: usize) -> vfs::Result<()> {
    n.vfs.write(ino, offset, Bytes::from(noise(offset, len))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_gets_past_the_limit_and_overwriting_needs_no_room() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    limit(&n, bucket, limits(100_000, 10)).await;
    let file = n.file(bucket, "f").await;
    try_write(&n, file, 0, 60_000).await.unwrap();
    assert!(matches!(
        try_write(&n, file, 60_000, 40_001).await,
        Err(Error::QuotaExceeded)
    ));
    try_write(&n, file, 60_000, 40_000).await.unwrap();
    // Full to the byte: what is there can be overwritten, buffered or stored, and nothing added.
    for _ in 0..2 {
        try_write(&n, file, 1_000, 50_000).await.unwrap();
        try_write(&n, file, 0, 100_000).await.unwrap();
        assert!(matches!(
            try_write(&n, file, 99_999, 2).await,
            Err(Error::QuotaExceeded)
        ));
        assert!(matches!(
            n.vfs.append(file, Bytes::from_static(b"x")).await,
            Err(Error::QuotaExceeded)
        ));
        n.vfs.fsync(file, None).await.unwrap();
        assert_eq!(used(&n.vfs, bucket).await, (100_000, 2));
    }
    // A hole gives room back, a larger size takes none.
    n.vfs
        .allocate(file, 10_000, 30_000, Allocate::Punch)
        .await
        .unwrap();
    n.vfs
        .setattr(
            file,
            SetAttr {
                size: Some(1 << 30),
                ..SetAttr::default()
            },
        )
        .await
        .unwrap();
    try_write(&n, file, 1 << 29, 30_000).await.unwrap();
    assert!(matches!(
        try_write(&n, file, 1 << 28, 1).await,
        Err(Error::QuotaExceeded)
    ));
    n.vfs.fsync(file, None).await.unwrap();
    assert_eq!(used(&n.vfs, bucket).await, (100_000, 2));
    // Raised, it goes on.
    n.vfs.set_quota(bucket, limits(100_001, 10)).await.unwrap();
    try_write(&n, file, 1 << 28, 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_count_when_they_get_their_name_and_replacing_counts_the_difference() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    limit(&n, bucket, limits(10_000, 4)).await;
    n.put("b", "d/a", &noise(1, 9_000)).await.unwrap();
    assert_eq!(used(&n.vfs, bucket).await, (9_000, 3));
    assert!(matches!(
        n.put("b", "d/b", &noise(2, 1_001)).await,
        Err(Error::QuotaExceeded)
    ));
    assert!(n.get("b", "d/b").await.is_err());
    n.put("b", "d/a", &noise(3, 10_000)).await.unwrap();
    n.put("b", "d/a", &noise(4, 500)).await.unwrap();
    n.put("b", "c", b"x").await.unwrap();
    // Four inodes: the bucket, d, d/a, c.
    assert!(matches!(n.put("b", "e", b"x").await, Err(Error::QuotaExceeded)));
    assert!(matches!(
        n.vfs.mknod(bucket, b"e", Kind::File, 0, ME).await,
        Err(Error::QuotaExceeded)
    ));
    n.vfs
        .copy_object(
            "b",
            b"c",
            "b",
            b"c",
            vfs::object::CopyMeta::Keep,
            Default::default(),
        )
        .await
        .unwrap();
    // Room is there as soon as a deletion is answered.
    n.vfs
        .delete_object("b", b"d/a", Default::default())
        .await
        .unwrap();
    assert_eq!(used(&n.vfs, bucket).await, (1, 2));
    n.put("b", "e", &noise(5, 9_999)).await.unwrap();
    n.settle().await;
    assert_eq!(used(&n.vfs, bucket).await, (10_000, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_count_to_the_bucket_and_completing_adds_nothing() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    limit(&n, bucket, limits(10_000, 10)).await;
    let upload = n.vfs.create_upload("b", b"k", Default::default()).await.unwrap();
    let mut etags = Vec::new();
    for number in 1..=2 {
        let mut part = n.vfs.part_writer("b", b"k", &upload, number).await.unwrap();
        part.write(Bytes::from(noise(number.into(), 5_000)))
            .await
            .unwrap();
        part.commit_part(format!("e{number}")).await.unwrap();
        etags.push((number, format!("e{number}")));
    }
    assert_eq!(used(&n.vfs, bucket).await, (10_000, 3));
    let mut more = n.vfs.part_writer("b", b"k", &upload, 3).await.unwrap();
    more.write(Bytes::from_static(b"x")).await.unwrap();
    assert!(matches!(
        more.commit_part("e3".into()).await,
        Err(Error::QuotaExceeded)
    ));
    n.vfs
        .complete_upload(
            "b",
            b"k",
            &upload,
            &etags,
            "e-2".into(),
            BTreeMap::new(),
            Default::default(),
        )
        .await
        .unwrap();
    assert_eq!(used(&n.vfs, bucket).await, (10_000, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_counts_until_it_is_closed() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    limit(&n, bucket, limits(1_000, 10)).await;
    let file = n.file(bucket, "f").await;
    n.vfs.open_inode(file).await.unwrap();
    try_write(&n, file, 0, 1_000).await.unwrap();
    n.vfs.unlink(bucket, b"f").await.unwrap();
    n.vfs.fsync(file, None).await.unwrap();
    assert_eq!(used(&n.vfs, bucket).await, (1_000, 2));
    let other = n.file(bucket, "g").await;
    assert!(matches!(
        try_write(&n, other, 0, 1).await,
        Err(Error::QuotaExceeded)
    ));
    n.vfs.close(file).await.unwrap();
    n.settle().await;
    assert_eq!(used(&n.vfs, bucket).await, (0, 2));
    try_write(&n, other, 0, 1_000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_directory_is_counted_in_the_background_and_then_holds() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    for number in 0..600 {
        n.put("b", &format!("d/{}/f{number}", number % 3), &noise(number, 10))
            .await
            .unwrap();
    }
    let dir = n.lookup(bucket, "d").await.unwrap().ino;
    let set = n.vfs.set_quota(dir, limits(6_000, 605)).await.unwrap();
    assert_eq!(set.path, "b/d/");
    // Names move while it is counted.
    let sub = n.lookup(dir, "1").await.unwrap().ino;
    for number in 0..50 {
        let name = format!("f{}", number * 3 + 1);
        let renamed = format!("a{number}");
        let flags = RenameFlags::default();
        n.vfs
            .rename(sub, name.as_bytes(), sub, renamed.as_bytes(), flags)
            .await
            .unwrap();
    }
    n.vfs
        .rename(dir, b"2", dir, b"0a", RenameFlags::default())
        .await
        .unwrap();
    let quota = counted(&n.vfs, dir).await;
    assert_eq!((quota.used_bytes, quota.used_inodes), (6_000, 604));
    assert!(matches!(
        n.put("b", "d/0/new", b"x").await,
        Err(Error::QuotaExceeded)
    ));
    n.put("b", "d/0/new", b"").await.unwrap();
    assert!(matches!(
        n.put("b", "d/0/newer", b"").await,
        Err(Error::QuotaExceeded)
    ));
    // The bucket around it, counted later, has it all and more; so has what is counted inside.
    n.put("b", "beside", &noise(1, 7)).await.unwrap();
    let inner = n.lookup(dir, "0").await.unwrap().ino;
    let inner = limit(&n, inner, limits(1 << 20, 1000)).await;
    assert_eq!((inner.used_bytes, inner.used_inodes), (2_000, 202));
    let outer = limit(&n, bucket, limits(1 << 20, 1000)).await;
    assert_eq!((outer.used_bytes, outer.used_inodes), (6_007, 607));
    let n = n.reopen().await;
    assert_eq!(used(&n.vfs, dir).await, (6_000, 605));
    assert!(matches!(
        n.put("b", "d/0/newer", b"").await,
        Err(Error::QuotaExceeded)
    ));
    let quotas = n.vfs.quotas().await.unwrap();
    let paths: Vec<_> = quotas.iter().map(|quota| quota.path.as_str()).collect();
    assert_eq!(paths, ["b/", "b/d/", "b/d/0/"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_move_with_what_they_count_for_and_full_directories_do_not() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let (a, b) = (n.dir(bucket, "a").await, n.dir(bucket, "b").await);
    limit(&n, a, limits(1_000, 10)).await;
    limit(&n, b, limits(500, 10)).await;
    n.put("b", "a/f", &noise(1, 400)).await.unwrap();
    n.put("b", "a/g", &noise(2, 400)).await.unwrap();
    let rename = |from, name: &'static [u8], to| n.vfs.rename(from, name, to, name, RenameFlags::default());
    rename(a, b"f", b).await.unwrap();
    assert_eq!(used(&n.vfs, a).await, (400, 2));
    assert_eq!(used(&n.vfs, b).await, (400, 2));
    assert!(matches!(rename(a, b"g", b).await, Err(Error::QuotaExceeded)));
    rename(a, b"g", bucket).await.unwrap();
    assert_eq!(used(&n.vfs, a).await, (0, 1));
    // Directories: empty ones move, others are copied by whoever moves them.
    let (empty, full) = (n.dir(a, "empty").await, n.dir(a, "full").await);
    n.file(full, "x").await;
    rename(a, b"empty", b).await.unwrap();
    assert!(matches!(rename(a, b"full", b).await, Err(Error::CrossBucket)));
    assert!(matches!(
        rename(a, b"full", bucket).await,
        Err(Error::CrossBucket)
    ));
    assert_eq!(used(&n.vfs, b).await, (400, 3));
    n.file(empty, "counts to its new place").await;
    assert_eq!(used(&n.vfs, b).await, (400, 4));
    // A directory with a quota of its own goes where the same quota is around it.
    rename(bucket, b"a", n.dir(bucket, "beside").await).await.unwrap();
    assert!(matches!(
        rename(bucket, b"b", full).await,
        Err(Error::CrossBucket)
    ));
    // Hard links stay within their quota.
    let file = n.lookup(b, "f").await.unwrap().ino;
    n.vfs.link(file, b, b"f2").await.unwrap();
    assert_eq!(used(&n.vfs, b).await, (400, 4));
    assert!(matches!(
        n.vfs.link(file, bucket, b"f3").await,
        Err(Error::CrossBucket)
    ));
    assert!(matches!(rename(b, b"f2", bucket).await, Err(Error::CrossBucket)));
    n.vfs.unlink(b, b"f").await.unwrap();
    rename(b, b"f2", bucket).await.unwrap();
    assert_eq!(used(&n.vfs, b).await, (0, 3));
    // Swapping names is two moves.
    n.put("b", "b/small", &noise(3, 10)).await.unwrap();
    let swap = RenameFlags {
        exchange: true,
        ..RenameFlags::default()
    };
    n.vfs.rename(b, b"small", bucket, b"g", swap).await.unwrap();
    assert_eq!(used(&n.vfs, b).await, (400, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn space_is_what_the_quotas_leave() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let dir = n.dir(bucket, "d").await;
    let file = n.file(dir, "f").await;
    let plain = n.vfs.statfs_at(file).await.unwrap();
    assert_eq!(plain, n.vfs.statfs().await.unwrap());
    limit(&n, dir, limits(1_000_000, 100)).await;
    n.write(file, 0, &noise(1, 300_000)).await;
    n.vfs.fsync(file, None).await.unwrap();
    for ino in [dir, file] {
        let space = n.vfs.statfs_at(ino).await.unwrap();
        assert_eq!((space.total_bytes, space.free_bytes), (1_000_000, 700_000));
        assert_eq!((space.inodes, space.free_inodes), (2, Some(98)));
    }
    assert_eq!(n.vfs.statfs_at(bucket).await.unwrap().free_inodes, None);
    // What is around it leaves less.
    limit(
        &n,
        bucket,
        QuotaLimits {
            bytes: Some(400_000),
            inodes: None,
        },
    )
    .await;
    let space = n.vfs.statfs_at(file).await.unwrap();
    assert_eq!((space.total_bytes, space.free_bytes), (1_000_000, 100_000));
    assert!(matches!(
        try_write(&n, file, 300_000, 100_001).await,
        Err(Error::QuotaExceeded)
    ));
    // Lifted, it goes on counting and limits nothing.
    n.vfs.set_quota(bucket, QuotaLimits::default()).await.unwrap();
    try_write(&n, file, 300_000, 100_001).await.unwrap();
    assert_eq!(n.vfs.quotas().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_never_exceed_it_and_fill_it_to_the_end() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    limit(&n, bucket, limits(50_000, 1_000)).await;
    let tasks: Vec<_> = (0..8u64)
        .map(|task| {
            let vfs = n.vfs.clone();
            tokio::spawn(async move {
                let mut kept = 0u64;
                for number in 0..40u64 {
                    let key = format!("{task}/{number}");
                    let mut writer = vfs.object_writer("b", key.as_bytes()).await.unwrap();
                    writer.write(Bytes::from(noise(number, 400))).await.unwrap();
                    match writer.commit(Default::default()).await {
                        Ok(_) => kept += 400,
                        Err(Error::QuotaExceeded) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                kept
            })
        })
        .collect();
    let mut kept = 0;
    for task in tasks {
        kept += task.await.unwrap();
    }
    assert_eq!(used(&n.vfs, bucket).await.0, kept);
    assert_eq!(kept, 50_000);
}

/// Random operations through both doors in three directories inside each other, two of them with
/// quotas; then what is counted is compared with what is there, and everything is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_is_what_is_there() {
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let n = Namespace::new().await;
        let bucket = n.bucket("b").await;
        let (a, plain) = (n.dir(bucket, "a").await, n.dir(bucket, "plain").await);
        let inner = n.dir(a, "inner").await;
        let dirs = [bucket, a, plain, inner];
        n.vfs.set_quota(a, limits(300_000, 60)).await.unwrap();
        for step in 0..250 {
            if step == 60 {
                n.vfs.set_quota(inner, limits(150_000, 40)).await.unwrap();
            }
            if step == 120 {
                n.vfs.set_quota(bucket, limits(400_000, 80)).await.unwrap();
                for dir in [bucket, a, inner] {
                    counted(&n.vfs, dir).await;
                }
            }
            let dir = dirs[random.random_range(0..4)];
            let name = format!("f{}", random.random_range(0..8));
            let outcome = match random.random_range(0..9) {
                0 => n
                    .vfs
                    .mknod(dir, name.as_bytes(), Kind::File, 0, ME)
                    .await
                    .map(drop),
                1 | 2 => match n.vfs.lookup(dir, name.as_bytes()).await {
                    Ok(attr) => {
                        let len = random.random_range(1..20_000);
                        try_write(&n, attr.ino, random.random_range(0..30_000), len).await
                    }
                    Err(error) => Err(error),
                },
                3 => n.vfs.unlink(dir, name.as_bytes()).await,
                4 => {
                    let to = dirs[random.random_range(0..4)];
                    let new = format!("f{}", random.random_range(0..8));
                    let flags = RenameFlags {
                        exchange: random.random_bool(0.3),
                        no_replace: false,
                    };
                    n.vfs
                        .rename(dir, name.as_bytes(), to, new.as_bytes(), flags)
                        .await
                }
                // What has a name on each side of a border that is drawn later counts on one of them.
                5 if step < 120 => Ok(()),
                5 => match n.vfs.lookup(dir, name.as_bytes()).await {
                    Ok(attr) => {
                        let to = dirs[random.random_range(0..4)];
                        let new = format!("l{}", random.random_range(0..4));
                        n.vfs.link(attr.ino, to, new.as_bytes()).await.map(drop)
                    }
                    Err(error) => Err(error),
                },
                6 => {
                    let key = ["", "a/", "plain/", "a/inner/"][random.random_range(0..4)];
                    let data = noise(step, random.random_range(0..20_000));
                    n.put("b", &format!("{key}{name}"), &data).await.map(drop)
                }
                7 => n
                    .vfs
                    .delete_object("b", format!("a/inner/{name}").as_bytes(), Default::default())
                    .await
                    .map(drop),
                _ => match n.vfs.lookup(dir, name.as_bytes()).await {
                    Ok(attr) => n.vfs.allocate(attr.ino, 5_000, 9_000, Allocate::Punch).await,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = outcome {
                assert!(
                    matches!(
                        error,
                        Error::NotFound | Error::Exists | Error::QuotaExceeded | Error::CrossBucket
                    ),
                    "{error}"
                );
            }
        }
        n.vfs
            .flush_all(vfs::Level::Staged, Duration::from_secs(10))
            .await
            .unwrap();
        n.settle().await;
        for (dir, below) in [(a, vec![a, inner]), (inner, vec![inner]), (bucket, dirs.to_vec())] {
            let quota = counted(&n.vfs, dir).await;
            let mut there: BTreeMap<u64, u64> = BTreeMap::new();
            for dir in below {
                there.insert(dir.0, 0);
                for entry in n.vfs.readdir(dir, None, 1000).await.unwrap() {
                    if entry.attr.kind == Kind::File {
                        there.insert(entry.attr.ino.0, entry.attr.allocated);
                    }
                }
            }
            let bytes: u64 = there.values().sum();
            assert_eq!(
                (quota.used_bytes, quota.used_inodes),
                (bytes, there.len() as u64),
                "seed {seed}, {}",
                quota.path
            );
        }
        for dir in [inner, a, plain, bucket] {
            for entry in n.vfs.readdir(dir, None, 1000).await.unwrap() {
                if entry.attr.kind == Kind::Directory {
                    n.vfs.rmdir(dir, &entry.name).await.unwrap();
                } else {
                    n.vfs.unlink(dir, &entry.name).await.unwrap();
                }
            }
        }
        n.settle().await;
        assert_eq!(used(&n.vfs, bucket).await, (0, 1));
        n.vfs.delete_bucket("b").await.unwrap();
        n.settle().await;
        assert_eq!(n.chunks(), 0);
    }
}
