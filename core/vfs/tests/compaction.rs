//! Extents stay few, and nothing is lost while they are made fewer.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use bytes::Bytes;
use futures::TryStreamExt;
use namespace::{Namespace, noise, quiet};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use vfs::{InodeNo, Level, VfsConfig};

const EXTENT: u8 = 0x04;
const RAGGED: u8 = 0x23;
const BLOCK: usize = 256 << 10;

/// Synced writes of 4 KiB at random places; answers what the file holds then.
async fn scatter(n: &Namespace, ino: InodeNo, mut model: Vec<u8>, writes: u64, seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    for number in 0..writes {
        let at = random.random_range(0..model.len() / 4096) * 4096;
        let data = noise(seed * 1_000_000 + number, 4096);
        model[at..at + 4096].copy_from_slice(&data);
        n.write(ino, at as u64, &data).await;
        n.vfs.fsync(ino, None).await.unwrap();
    }
    model
}

async fn file_of(n: &Namespace, blocks: usize) -> (InodeNo, Vec<u8>) {
    let bucket = n.bucket("b").await;
    let ino = n.file(bucket, "f").await;
    let model = noise(7, blocks * BLOCK);
    n.write(ino, 0, &model).await;
    n.vfs.fsync(ino, None).await.unwrap();
    assert_eq!((n.rows(EXTENT), n.rows(RAGGED)), (blocks, 0));
    (ino, model)
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_in_many_pieces_become_one_chunk_each_and_the_old_ones_go() {
    let n = Namespace::new().await;
    let (ino, model) = file_of(&n, 4).await;
    let before = n.vfs.getattr(ino).await.unwrap();
    let model = scatter(&n, ino, model, 60, 1).await;
    let (extents, written) = (n.rows(EXTENT), n.vfs.getattr(ino).await.unwrap());
    assert!(extents > 60, "{extents}");
    let etag = n.vfs.head_object("b", b"f").await.unwrap().etag;
    let done = n.vfs.compact().await.unwrap();
    assert_eq!((done.files, n.rows(EXTENT), n.rows(RAGGED)), (1, 4, 0));
    assert_eq!(done.extents, extents as u64 - 4);
    assert_eq!(done.bytes, 4 * BLOCK as u64);
    assert_eq!(n.read(ino).await, model);
    // Nobody sees that anything happened.
    assert_eq!(n.vfs.getattr(ino).await.unwrap(), written);
    assert_eq!(written.allocated, before.allocated);
    assert_eq!(n.vfs.head_object("b", b"f").await.unwrap().etag, etag);
    n.settle().await;
    assert_eq!(n.chunks(), 4);
    // There is nothing left to do, and it survives.
    assert_eq!(n.vfs.compact().await.unwrap(), vfs::Compacted::default());
    n.vfs.sync_namespace().await.unwrap();
    let image = n.crash_image().await;
    assert_eq!(image.read(ino).await, model);
    n.vfs
        .unlink(n.vfs.directory_at("b").await.unwrap(), b"f")
        .await
        .unwrap();
    n.settle().await;
    assert_eq!(n.chunks(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_appends_are_put_together_and_few_pieces_are_left_alone() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    let log = n.file(bucket, "log").await;
    let mut model = Vec::new();
    for number in 0..40 {
        let line = noise(number, 100);
        n.vfs.append(log, Bytes::copy_from_slice(&line)).await.unwrap();
        model.extend(line);
        n.vfs.fsync(log, None).await.unwrap();
    }
    assert_eq!(n.rows(EXTENT), 40);
    n.vfs.compact().await.unwrap();
    assert_eq!(n.rows(EXTENT), 1);
    assert_eq!(n.read(log).await, model);
    let model = scatter(&n, log, [model, noise(9, BLOCK)].concat(), 0, 3).await;
    n.write(log, 0, &model).await;
    n.vfs.fsync(log, None).await.unwrap();
    n.write(log, 8192, &[1; 10]).await;
    n.vfs.fsync(log, None).await.unwrap();
    let extents = n.rows(EXTENT);
    let done = n.vfs.compact().await.unwrap();
    assert_eq!((done.files, done.extents, n.rows(EXTENT)), (1, 0, extents));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_come_meanwhile_win() {
    let n = Namespace::new().await;
    let (ino, mut model) = file_of(&n, 2).await;
    for round in 0..8 {
        model = scatter(&n, ino, model, 30, 10 + round).await;
        let (vfs, writer) = (n.vfs.clone(), n.vfs.clone());
        let compacting = tokio::spawn(async move { vfs.compact().await });
        let mut random = StdRng::seed_from_u64(round);
        for number in 0..20u64 {
            let at = random.random_range(0..model.len() / 512) * 512;
            let data = noise(round * 100 + number, 512);
            model[at..at + 512].copy_from_slice(&data);
            writer.write(ino, at as u64, Bytes::from(data)).await.unwrap();
            if number % 3 == 0 {
                writer.fsync(ino, None).await.unwrap();
            }
            assert_eq!(
                n.vfs.read(ino, at as u64, 512).await.unwrap(),
                model[at..at + 512]
            );
        }
        compacting.await.unwrap().unwrap();
        assert!(n.read(ino).await == model, "round {round}");
    }
    n.vfs.fsync(ino, None).await.unwrap();
    let image = n.crash_image().await;
    assert!(image.read(ino).await == model);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_old_extents_reads_on() {
    let n = Namespace::new().await;
    let (ino, model) = file_of(&n, 2).await;
    let model = scatter(&n, ino, model, 40, 5).await;
    let reader = n.vfs.get_object("b", b"f").await.unwrap();
    n.vfs.compact().await.unwrap();
    n.write(ino, 0, &vec![0; 2 * BLOCK]).await;
    n.vfs.fsync(ino, None).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    n.vfs.drop_caches().await.unwrap();
    let pieces: Vec<Bytes> = reader.stream(0..u64::MAX).try_collect().await.unwrap();
    assert!(pieces.concat() == model);
    n.settle().await;
    assert_eq!(n.chunks(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_more_than_staged_is_left_alone_and_shared_bytes_are_not_copied() {
    let n = Namespace::new().await;
    let (ino, model) = file_of(&n, 1).await;
    scatter(&n, ino, model, 20, 2).await;
    let extents = n.rows(EXTENT);
    n.vfs.set_ack(ino, Some(Level::Placed)).await.unwrap();
    assert_eq!(n.vfs.compact().await.unwrap().extents, 0);
    assert_eq!(n.rows(EXTENT), extents);
    n.vfs.set_ack(ino, None).await.unwrap();
    // A copy shares every chunk: rewriting either would store the bytes twice.
    n.vfs
        .copy_object(
            "b",
            b"f",
            "b",
            b"g",
            vfs::object::CopyMeta::Keep,
            Default::default(),
        )
        .await
        .unwrap();
    n.write(ino, 100, &[1; 10]).await;
    n.vfs.fsync(ino, None).await.unwrap();
    assert_eq!(n.vfs.compact().await.unwrap().bytes, 0);
}

/// A snapshot or a clone has the extents as they are, without a row that says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_snapshot_or_a_clone_has_is_not_copied() {
    let n = Namespace::new().await;
    let (ino, model) = file_of(&n, 2).await;
    let bucket = n.vfs.directory_at("b").await.unwrap();
    let model = scatter(&n, ino, model, 80, 3).await;
    n.settle().await;
    let (extents, chunks) = (n.rows(EXTENT), n.chunks());
    n.vfs.create_snapshot("b/f", "s").await.unwrap();
    n.vfs.make_clone("b/f@s", "b/c").await.unwrap();
    let clone = n.lookup(bucket, "c").await.unwrap().ino;
    // Noted again, of both: the files grow by a piece each.
    for file in [ino, clone] {
        n.write(file, (2 * BLOCK) as u64 + 100, &[1; 10]).await;
        n.vfs.fsync(file, None).await.unwrap();
    }
    n.settle().await;
    assert_eq!(n.vfs.compact().await.unwrap().bytes, 0);
    n.settle().await;
    assert_eq!(n.chunks(), chunks + 2);
    for file in [ino, clone] {
        assert_eq!(n.read(file).await[..2 * BLOCK], model);
    }
    // What changes from then on is a file's own, and is put together without the rest.
    let mut changed = n.read(ino).await;
    for at in 0..16 {
        changed[at * 4096..(at + 1) * 4096].copy_from_slice(&noise(100 + at as u64, 4096));
        n.write(ino, at as u64 * 4096, &noise(100 + at as u64, 4096))
            .await;
        n.vfs.fsync(ino, None).await.unwrap();
    }
    n.settle().await;
    assert_eq!(n.vfs.compact().await.unwrap().bytes, 16 * 4096);
    assert_eq!(n.read(ino).await, changed);
    // When nobody else has them they are rewritten like any others.
    n.vfs.unlink(bucket, b"c").await.unwrap();
    n.vfs.delete_snapshot("b/f", "s").await.unwrap();
    for _ in 0..6000 {
        n.settle().await;
        if n.rows(0x31) == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    n.write(ino, (2 * BLOCK) as u64 + 100, &[2; 10]).await;
    n.vfs.fsync(ino, None).await.unwrap();
    n.vfs.compact().await.unwrap();
    assert_eq!(n.read(ino).await[..2 * BLOCK], changed[..2 * BLOCK]);
    assert!(n.rows(EXTENT) < extents / 4, "{}", n.rows(EXTENT));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_door_asks_for_by_itself_is_not_put_back() {
    for ack_doors in [Level::Placed, Level::Staged] {
        let n = Namespace::with(VfsConfig { ack_doors, ..quiet() }).await;
        let (ino, model) = file_of(&n, 1).await;
        let model = scatter(&n, ino, model, 20, 2).await;
        // What was overwritten counts as shared until it is released.
        n.settle().await;
        let extents = n.rows(EXTENT);
        let done = n.vfs.compact().await.unwrap();
        let left = if ack_doors > Level::Staged { extents } else { 1 };
        assert_eq!((done.files, n.rows(EXTENT)), (1, left), "{ack_doors}");
        assert_eq!(n.read(ino).await, model);
    }
}
