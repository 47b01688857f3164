//! Clones: what they hold, what they cost, what they give back.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::time::Duration;

use namespace::{Namespace, noise};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use vfs::posix::Allocate;
use vfs::{Error, InodeNo, Precondition, SetAttr, XattrSet};

const EXTENT: u8 = 0x04;
const SNAPSHOT: u8 = 0x31;
const PRESERVED: u8 = 0x32;
const CLONE: u8 = 0x34;
const COPIED: u8 = 0x35;
const WINDOW: u64 = 16 << 20;

async fn store(n: &Namespace, ino: InodeNo, offset: u64, data: &[u8]) {
    n.write(ino, offset, data).await;
    n.vfs.fsync(ino, None).await.unwrap();
}

/// Waits until as many snapshots are left, hidden ones included.
async fn down_to(n: &Namespace, snapshots: usize) {
    for _ in 0..6000 {
        if n.rows(SNAPSHOT) == snapshots && (snapshots > 0 || n.rows(PRESERVED) == 0) {
            return n.settle().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} snapshots are left", n.rows(SNAPSHOT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_begins_as_its_origin_and_goes_its_own_way() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    n.bucket("other").await;
    n.vfs
        .create_volume("b/v", 1 << 40, 4096, "the disk")
        .await
        .unwrap();
    let volume = n.lookup(bucket, "v").await.unwrap().ino;
    for block in 0..2000u64 {
        n.write(volume, block * (521 << 20), &noise(block, 4096)).await;
    }
    n.write(volume, WINDOW - 5000, &noise(5000, 10_000)).await;
    n.vfs
        .setxattr(volume, b"user.x", b"1", XattrSet::Any)
        .await
        .unwrap();
    n.vfs.fsync(volume, None).await.unwrap();
    n.vfs.create_snapshot("b/v", "s").await.unwrap();
    let (extents, chunks) = (n.rows(EXTENT), n.chunks());
    let made = n.vfs.make_clone("b/v@s", "b/dir/c").await.unwrap();
    assert_eq!((made.size, made.ino == volume), (1 << 40, false));
    // Constant: no extent was written, and nothing kept.
    assert_eq!(
        (n.rows(EXTENT), n.chunks(), n.rows(PRESERVED)),
        (extents, chunks, 0)
    );
    for refused in [
        n.vfs.make_clone("b/v@s", "b/dir/c").await.map(drop),
        n.vfs.make_clone("b/v@none", "b/x").await.map(drop),
        n.vfs.make_clone("b/v", "other/x").await.map(drop),
        n.vfs.make_clone("b/v", "b/x/").await.map(drop),
    ]
    .into_iter()
    .zip(["Exists", "NotFound", "CrossBucket", "InvalidName"])
    {
        let (result, expected) = refused;
        assert!(
            format!("{:?}", result.unwrap_err()).starts_with(expected),
            "{expected}"
        );
    }
    let export = n.vfs.export(b"b/dir/c").await.unwrap();
    assert_eq!(
        (export.sector, export.read_only, &*export.description),
        (4096, false, "the disk")
    );
    assert_eq!(n.vfs.getxattr(made.ino, b"user.x").await.unwrap(), b"1");
    assert_eq!(n.vfs.volumes().await.unwrap().len(), 2);
    let at = |block: u64| block * (521 << 20);
    let read = async |ino: InodeNo, offset: u64, len: u32| n.vfs.read(ino, offset, len).await.unwrap();
    for block in [0, 1, 777, 1999] {
        assert!(read(made.ino, at(block), 4096).await == noise(block, 4096));
    }
    assert!(read(made.ino, WINDOW - 5000, 10_000).await == noise(5000, 10_000));
    // Each goes its own way: whole blocks, parts, across the end of a window, holes.
    store(&n, made.ino, at(1), &noise(1, 100)[..50]).await;
    store(&n, made.ino, at(2) + 1000, &noise(9001, 100)).await;
    store(&n, made.ino, WINDOW - 100, &noise(9002, 200)).await;
    n.vfs
        .allocate(made.ino, at(3), 4096, Allocate::Punch)
        .await
        .unwrap();
    store(&n, volume, at(4), &noise(9003, 4096)).await;
    let mut expected = noise(2, 4096);
    expected[1000..1100].copy_from_slice(&noise(9001, 100));
    assert!(read(made.ino, at(2), 4096).await == expected);
    assert!(read(volume, at(2), 4096).await == noise(2, 4096));
    let mut expected = noise(5000, 10_000);
    expected[4900..5100].copy_from_slice(&noise(9002, 200));
    assert!(read(made.ino, WINDOW - 5000, 10_000).await == expected);
    assert!(read(made.ino, at(3), 4096).await == [0; 4096][..]);
    assert!(read(made.ino, at(4), 4096).await == noise(4, 4096));
    assert!(read(volume, at(4), 4096).await == noise(9003, 4096));
    assert!(read(made.ino, at(1999), 4096).await == noise(1999, 4096));
    assert!(n.rows(COPIED) <= 6, "{}", n.rows(COPIED));
    // The snapshot goes out of sight, and stays as long as the clone needs it.
    n.vfs.delete_snapshot("b/v", "s").await.unwrap();
    n.vfs.delete_volume("b/v").await.unwrap();
    n.settle().await;
    n.vfs.drop_caches().await.unwrap();
    assert!(matches!(
        n.lookup(bucket, ".snapshots").await,
        Err(Error::NotFound)
    ));
    assert!(read(made.ino, at(777), 4096).await == noise(777, 4096));
    assert!(read(made.ino, at(4), 4096).await == noise(4, 4096));
    assert_eq!(n.rows(SNAPSHOT), 1);
    let n = n.reopen().await;
    assert!(n.vfs.read(made.ino, at(777), 4096).await.unwrap() == noise(777, 4096));
    n.vfs.delete_volume("b/dir/c").await.unwrap();
    down_to(&n, 0).await;
    assert_eq!(
        (n.chunks(), n.rows(EXTENT), n.rows(CLONE), n.rows(COPIED)),
        (0, 0, 0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_of_what_is_there_now_has_a_snapshot_of_its_own() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    let data = noise(1, 500_000);
    // Buffered only.
    n.write(file, 0, &data).await;
    n.vfs.make_clone("b/f", "b/c").await.unwrap();
    let clone = n.lookup(bucket, "c").await.unwrap().ino;
    store(&n, file, 0, &noise(2, 500_000)).await;
    assert!(n.get("b", "c").await.unwrap() == data);
    assert!(n.vfs.snapshots(None).await.unwrap().is_empty());
    // Cut short and made longer again: zeroes, not what the origin has there.
    let size = |size| SetAttr {
        size: Some(size),
        ..SetAttr::default()
    };
    n.vfs.setattr(clone, size(1000)).await.unwrap();
    n.vfs.fsync(clone, None).await.unwrap();
    n.vfs.setattr(clone, size(500_000)).await.unwrap();
    n.vfs.fsync(clone, None).await.unwrap();
    let now = n.read(clone).await;
    assert!(now[..1000] == data[..1000] && now[1000..].iter().all(|byte| *byte == 0));
    // Copies and copied ranges of a clone.
    n.vfs.make_clone("b/f", "b/d").await.unwrap();
    let other = n.file(bucket, "e").await;
    let d = n.lookup(bucket, "d").await.unwrap().ino;
    assert_eq!(
        n.vfs.copy_range(d, 100, other, 0, 400_000).await.unwrap(),
        400_000
    );
    assert!(n.read(other).await == noise(2, 500_000)[100..400_100]);
    // As of a snapshot, too.
    n.vfs.create_snapshot("b/d", "s").await.unwrap();
    store(&n, d, 200_000, &noise(3, 100_000)).await;
    let then = n.vfs.export(b"b/d@s").await.unwrap().ino;
    let back = n.file(bucket, "g").await;
    let chunks = n.chunks();
    assert_eq!(
        n.vfs.copy_range(then, 0, back, 0, 500_000).await.unwrap(),
        500_000
    );
    assert!(n.read(back).await == noise(2, 500_000));
    assert_eq!(n.chunks(), chunks);
    n.vfs.delete_snapshot("b/d", "s").await.unwrap();
    // A PUT over a clone is a new inode.
    n.put("b", "d", b"new").await.unwrap();
    n.settle().await;
    for key in ["c", "d", "e", "f", "g"] {
        n.vfs
            .delete_object("b", key.as_bytes(), Precondition::default())
            .await
            .unwrap();
    }
    down_to(&n, 0).await;
    assert_eq!(
        (n.chunks(), n.rows(EXTENT), n.rows(CLONE), n.rows(COPIED)),
        (0, 0, 0, 0)
    );
}

/// Clones of clones, snapshots of clones, and writes to all of them, against plain bytes.
#[tokio::test(flavor = "multi_thread")]
async fn clones_are_copies() {
    for seed in 0..5 {
        against_plain_bytes(seed).await;
    }
}

async fn against_plain_bytes(seed: u64) {
    const SIZE: usize = 40 << 20;
    let mut random = StdRng::seed_from_u64(seed);
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let first = n.file(bucket, "0").await;
    // Sparse bytes: what was written where.
    type Model = std::collections::BTreeMap<usize, u8>;
    const GRAIN: usize = 4096;
    let mut files: Vec<(String, InodeNo, Model)> = vec![("0".into(), first, Model::new())];
    let mut snapshots: Vec<(String, String, Model)> = Vec::new();
    n.vfs
        .setattr(
            first,
            SetAttr {
                size: Some(SIZE as u64),
                ..SetAttr::default()
            },
        )
        .await
        .unwrap();
    let check = async |ino: InodeNo, model: &Model| {
        for (&grain, &value) in model.iter().step_by(model.len() / 300 + 1) {
            let data = n
                .vfs
                .read(ino, (grain * GRAIN) as u64, GRAIN as u32)
                .await
                .unwrap();
            assert!(
                data.iter().all(|byte| *byte == value),
                "seed {seed}: {ino:?} at {grain}"
            );
        }
        let data: u64 = n
            .vfs
            .extents(ino, 0, SIZE as u64, 100_000)
            .await
            .unwrap()
            .iter()
            .filter(|run| !run.hole)
            .map(|run| run.len)
            .sum();
        let held = model.values().filter(|value| **value != 0).count();
        assert_eq!(data as usize, held * GRAIN, "seed {seed}: {ino:?}");
    };
    for step in 0..150 {
        if step % 25 == 24 {
            // Extents are rewritten under snapshots and clones.
            n.vfs
                .flush_all(vfs::Level::Staged, Duration::from_secs(60))
                .await
                .unwrap();
            n.vfs.compact().await.unwrap();
        }
        let at = random.random_range(0..files.len().max(1));
        match random.random_range(0..20) {
            0..10 if !files.is_empty() => {
                let (_, ino, model) = &mut files[at];
                // Around the end of a window as often as anywhere.
                let grain = if random.random() {
                    (WINDOW as usize / GRAIN) - 40 + random.random_range(0..80)
                } else {
                    random.random_range(0..SIZE / GRAIN - 100)
                };
                let grains = random.random_range(1..100);
                let value: u8 = random.random_range(0..4);
                let (offset, len) = ((grain * GRAIN) as u64, grains * GRAIN);
                if value == 0 {
                    n.vfs
                        .allocate(*ino, offset, len as u64, Allocate::Punch)
                        .await
                        .unwrap();
                } else {
                    n.write(*ino, offset, &vec![value; len]).await;
                }
                model.extend((grain..grain + grains).map(|grain| (grain, value)));
                if random.random() {
                    n.vfs.fsync(*ino, None).await.unwrap();
                }
            }
            10..12 if !files.is_empty() && files.len() < 6 => {
                let (name, _, model) = files[at].clone();
                let new = format!("c{step}");
                let made = n
                    .vfs
                    .make_clone(&format!("b/{name}"), &format!("b/{new}"))
                    .await
                    .unwrap();
                files.push((new, made.ino, model));
            }
            12..14 if !files.is_empty() => {
                let (name, _, model) = files[at].clone();
                let snapshot = format!("s{step}");
                n.vfs
                    .create_snapshot(&format!("b/{name}"), &snapshot)
                    .await
                    .unwrap();
                snapshots.push((name, snapshot, model));
            }
            14..16 if !snapshots.is_empty() && files.len() < 6 => {
                let (name, snapshot, model) = snapshots[random.random_range(0..snapshots.len())].clone();
                let new = format!("c{step}");
                let from = format!("b/{name}@{snapshot}");
                let made = n.vfs.make_clone(&from, &format!("b/{new}")).await.unwrap();
                files.push((new, made.ino, model));
            }
            16..17 if files.len() > 1 => {
                let (name, ..) = files.swap_remove(at);
                n.vfs.unlink(bucket, name.as_bytes()).await.unwrap();
            }
            17..18 if !snapshots.is_empty() => {
                let (name, snapshot, _) = snapshots.swap_remove(random.random_range(0..snapshots.len()));
                n.vfs
                    .delete_snapshot(&format!("b/{name}"), &snapshot)
                    .await
                    .unwrap();
            }
            18.. if !snapshots.is_empty() => {
                let (name, snapshot, model) = &snapshots[random.random_range(0..snapshots.len())];
                let export = n
                    .vfs
                    .export(format!("b/{name}@{snapshot}").as_bytes())
                    .await
                    .unwrap();
                check(export.ino, model).await;
            }
            _ if !files.is_empty() => check(files[at].1, &files[at].2).await,
            _ => {}
        }
    }
    for (_, ino, model) in &files {
        check(*ino, model).await;
    }
    for (name, snapshot, model) in &snapshots {
        let export = n
            .vfs
            .export(format!("b/{name}@{snapshot}").as_bytes())
            .await
            .unwrap();
        check(export.ino, model).await;
        n.vfs
            .delete_snapshot(&format!("b/{name}"), snapshot)
            .await
            .unwrap();
    }
    for (name, ino, model) in &files {
        check(*ino, model).await;
        n.vfs.unlink(bucket, name.as_bytes()).await.unwrap();
    }
    down_to(&n, 0).await;
    assert_eq!(
        (n.chunks(), n.rows(EXTENT), n.rows(CLONE), n.rows(COPIED)),
        (0, 0, 0, 0)
    );
}
