//! The bytes of files against plain byte vectors, and against concurrent use.
#![allow(clippy::unwrap_used, clippy::panic, clippy::large_stack_arrays)] // tests
mod namespace;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use namespace::{Namespace, noise, quiet};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use vfs::posix::Allocate;
use vfs::{Error, InodeNo, Level, SetAttr, VfsConfig};

const SPAN: u64 = 900_000;

#[derive(Clone)]
struct Model {
    files: Vec<Vec<u8>>,
}

/// One random change of a random file, applied to both.
async fn step(n: &Namespace, inodes: &[InodeNo], model: &mut Model, random: &mut StdRng) {
    let at = random.random_range(0..inodes.len());
    let (ino, other) = (inodes[at], random.random_range(0..inodes.len()));
    let small = random.random_bool(0.5);
    let offset = random.random_range(0..SPAN);
    let len = random.random_range(1..if small { 5_000 } else { 300_000 });
    let end = (offset + len) as usize;
    let file = &mut model.files[at];
    match random.random_range(0..12) {
        0 => {
            n.vfs
                .setattr(
                    ino,
                    SetAttr {
                        size: Some(offset),
                        ..SetAttr::default()
                    },
                )
                .await
                .unwrap();
            file.resize(offset as usize, 0);
        }
        1 => {
            n.vfs.allocate(ino, offset, len, Allocate::Punch).await.unwrap();
            let size = file.len();
            file[(offset as usize).min(size)..end.min(size)].fill(0);
        }
        2 => {
            n.vfs
                .allocate(ino, offset, len, Allocate::Zero { keep_size: false })
                .await
                .unwrap();
            file.resize(file.len().max(end), 0);
            file[offset as usize..end].fill(0);
        }
        3 => {
            let data = noise(random.random(), len as usize);
            assert_eq!(
                n.vfs.append(ino, Bytes::from(data.clone())).await.unwrap(),
                file.len() as u64
            );
            if file.len() < 2_000_000 {
                file.extend_from_slice(&data);
            } else {
                n.vfs
                    .setattr(
                        ino,
                        SetAttr {
                            size: Some(file.len() as u64),
                            ..SetAttr::default()
                        },
                    )
                    .await
                    .unwrap();
            }
        }
        4 if other != at => {
            let to = random.random_range(0..SPAN);
            let source = model.files[other].clone();
            let from = (offset as usize).min(source.len())..end.min(source.len());
            let copied = n
                .vfs
                .copy_range(inodes[other], offset, ino, to, len)
                .await
                .unwrap();
            assert_eq!(copied, from.len() as u64);
            if copied > 0 {
                let file = &mut model.files[at];
                let place = to as usize..to as usize + from.len();
                file.resize(file.len().max(place.end), 0);
                file[place].copy_from_slice(&source[from]);
            }
        }
        5 | 6 => n.vfs.fsync(ino, None).await.unwrap(),
        _ => {
            let data = noise(random.random(), len as usize);
            n.write(ino, offset, &data).await;
            file.resize(file.len().max(end), 0);
            file[offset as usize..end].copy_from_slice(&data);
        }
    }
}

async fn compare(n: &Namespace, inodes: &[InodeNo], model: &Model, what: &str) {
    for (ino, want) in inodes.iter().zip(&model.files) {
        assert_eq!(
            n.vfs.getattr(*ino).await.unwrap().size,
            want.len() as u64,
            "{what}"
        );
        assert!(n.read(*ino).await == *want, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_what_plain_bytes_would_be() {
    for seed in 0..6 {
        let mut n = Namespace::with(VfsConfig {
            write_buffer: 3 << 20,
            ..quiet()
        })
        .await;
        let bucket = n.bucket("b").await;
        let mut inodes = Vec::new();
        for name in ["x", "y", "z"] {
            inodes.push(n.file(bucket, name).await);
        }
        let mut random = StdRng::seed_from_u64(seed);
        let mut model = Model {
            files: vec![Vec::new(); 3],
        };
        for round in 0..6 {
            for number in 0..40 {
                step(&n, &inodes, &mut model, &mut random).await;
                let (ino, want) = (inodes[number % 3], &model.files[number % 3]);
                let offset = random.random_range(0..SPAN);
                let got = n.vfs.read(ino, offset, 50_000).await.unwrap();
                let size = want.len();
                assert!(got == want[(offset as usize).min(size)..(offset as usize + 50_000).min(size)]);
            }
            compare(&n, &inodes, &model, &format!("seed {seed}, round {round}")).await;
            match round {
                1 => n = n.reopen().await,
                3 => {
                    for ino in &inodes {
                        n.vfs.fsync(*ino, None).await.unwrap();
                    }
                    n = n.crash_image().await;
                }
                _ => {}
            }
        }
        // Extents and space add up, and all of it comes back.
        for (ino, want) in inodes.iter().zip(&model.files) {
            let extents = n.vfs.extents(*ino, 0, u64::MAX, usize::MAX).await.unwrap();
            assert_eq!(
                extents.iter().map(|extent| extent.len).sum::<u64>(),
                want.len() as u64
            );
            let data: u64 = extents
                .iter()
                .filter(|extent| !extent.hole)
                .map(|extent| extent.len)
                .sum();
            assert_eq!(n.vfs.getattr(*ino).await.unwrap().allocated, data);
            for hole in extents.iter().filter(|extent| extent.hole) {
                assert!(
                    want[hole.offset as usize..(hole.offset + hole.len) as usize]
                        .iter()
                        .all(|byte| *byte == 0)
                );
            }
        }
        for name in ["x", "y", "z"] {
            n.vfs.unlink(bucket, name.as_bytes()).await.unwrap();
        }
        n.settle().await;
        assert_eq!(n.chunks(), 0, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_stores_one_moment() {
    let n = Namespace::with(VfsConfig {
        write_back_age: Duration::from_millis(20),
        ..quiet()
    })
    .await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    // Every write fills the whole file with one number; nobody may ever see two.
    n.write(file, 0, &[0; 400_000]).await;
    for number in 1..60u8 {
        n.write(file, 0, &[number; 400_000]).await;
        if number % 20 == 0 {
            let image = n.crash_image().await;
            let data = image.read(file).await;
            assert!(data.is_empty() || data.len() == 400_000 && data.iter().all(|byte| *byte == data[0]));
        }
        let object = n.get("b", "f").await.unwrap();
        assert!(object == [number; 400_000]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_one_small_buffer() {
    let n = Arc::new(
        Namespace::with(VfsConfig {
            write_buffer: 1 << 20,
            write_back_age: Duration::from_millis(50),
            ..quiet()
        })
        .await,
    );
    let bucket = n.bucket("b").await;
    let mut inodes = Vec::new();
    for number in 0..4 {
        inodes.push(n.file(bucket, &format!("f{number}")).await);
    }
    let mut tasks = Vec::new();
    for writer in 0..8u64 {
        let (n, inodes) = (n.clone(), inodes.clone());
        tasks.push(tokio::spawn(async move {
            // Two writers to a file, each with every other block.
            let ino = inodes[writer as usize % 4];
            for block in 0..60 {
                let offset = (block * 2 + writer / 4) * 16_384;
                n.write(ino, offset, &noise(writer * 1000 + block, 16_384)).await;
                if block % 16 == 15 {
                    n.vfs.fsync(ino, None).await.unwrap();
                    assert!(
                        n.vfs.read(ino, offset, 16_384).await.unwrap()
                            == noise(writer * 1000 + block, 16_384)
                    );
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut logs = Vec::new();
    for _ in 0..10 {
        let n = n.clone();
        let ino = inodes[0];
        logs.push(tokio::spawn(async move {
            n.vfs
                .append(ino, Bytes::from_static(b"0123456789"))
                .await
                .unwrap()
        }));
    }
    let mut offsets = Vec::new();
    for log in logs {
        offsets.push(log.await.unwrap());
    }
    offsets.sort_unstable();
    assert_eq!(
        offsets,
        (0..10).map(|at| 120 * 16_384 + at * 10).collect::<Vec<_>>(),
        "appends do not overlap"
    );
    let n = Arc::try_unwrap(n).ok().unwrap().reopen().await;
    for (at, ino) in inodes.iter().enumerate() {
        let data = n.read(*ino).await;
        for block in 0..60u64 {
            for half in 0..2u64 {
                let offset = ((block * 2 + half) * 16_384) as usize;
                let writer = at as u64 + half * 4;
                assert!(data[offset..offset + 16_384] == noise(writer * 1000 + block, 16_384));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_changes_are_stored_without_being_asked() {
    let n = Namespace::with(VfsConfig {
        write_back_age: Duration::from_millis(50),
        ..quiet()
    })
    .await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    n.write(file, 0, b"data").await;
    for _ in 0..500 {
        if n.vfs.level(file).await.unwrap().is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still buffered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_synced_survives_a_crash_whatever_came_after() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    let data = noise(1, 500_000);
    n.write(file, 0, &data).await;
    n.vfs.fsync(file, None).await.unwrap();
    n.write(file, 100, b"not synced").await;
    let image = n.crash_image().await;
    assert!(image.read(file).await == data);
    assert_eq!(image.names(bucket).await, ["f"]);
    // Replacing a file by a rename never leaves an empty one.
    let fresh = n.file(bucket, "f.new").await;
    n.write(fresh, 0, b"whole").await;
    n.vfs
        .rename(bucket, b"f.new", bucket, b"f", vfs::RenameFlags::default())
        .await
        .unwrap();
    n.vfs.sync_namespace().await.unwrap();
    let image = n.crash_image().await;
    assert_eq!(image.get("b", "f").await.unwrap(), b"whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_can_never_be_stored_is_told_to_each_opener() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let file = n.file(bucket, "f").await;
    for _ in 0..2 {
        n.vfs.open_inode(file).await.unwrap();
    }
    n.write(file, 0, b"doomed").await;
    let store = n.store.clone();
    let shred = move |tx: &mut dyn meta::Transaction| store.destroy_domain(tx, store::DomainId(bucket.0));
    n.meta
        .write::<_, store::Error, _>(meta::Durability::Synced, shred)
        .await
        .unwrap();
    // Who waits for a level hears of it, too, and takes it from no opener.
    for _ in 0..2 {
        for level in [Level::Staged, Level::Placed] {
            let waited = n.vfs.wait_level(file, level, Duration::ZERO).await;
            assert!(matches!(waited, Err(Error::WriteLost)), "{waited:?}");
        }
        assert!(matches!(n.vfs.fsync(file, None).await, Err(Error::WriteLost)));
    }
    n.vfs.fsync(file, None).await.unwrap();
    n.vfs
        .wait_level(file, Level::Staged, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(n.vfs.getattr(file).await.unwrap().size, 0);
}
