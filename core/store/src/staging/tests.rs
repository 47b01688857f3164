//! Staging on disks that tear, rot, fail and fill up.
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use meta::{Durability, Meta};

use super::file::RECORD_HEADER;
use super::row::Place;
use super::*;
use crate::testing::failing::Faults;
use crate::testing::{self, noise};
use crate::{DomainId, StagedChunk, Store};

const DOMAIN: DomainId = DomainId(1);
const LEN: usize = 30_000;

async fn store(dir: &Path) -> (Store, Meta) {
    let (store, meta) = testing::store(dir).await;
    make_domain(&store, &meta).await;
    (store, meta)
}

/// A store whose metadata lie on a disk that fails on demand.
async fn store_on_failing_metadata(dir: &Path) -> (Store, Meta, Arc<Faults>) {
    let (meta, faults) = testing::failing_meta(dir);
    let (store, meta) = testing::open(testing::config(dir), meta).await;
    make_domain(&store, &meta).await;
    (store, meta, faults)
}

async fn make_domain(store: &Store, meta: &Meta) {
    let made = store.clone();
    meta.write(Durability::Synced, move |tx| made.create_domain(tx, DOMAIN))
        .await
        .unwrap();
}

async fn stage(store: &Store, seed: u64) -> StagedChunk {
    let owner = Owner { inode: 1, offset: 0 };
    store
        .stage(DOMAIN, owner, Bytes::from(noise(LEN, seed)))
        .await
        .unwrap()
}

async fn record(store: &Store, meta: &Meta, chunk: &StagedChunk) -> Result<ChunkId> {
    let (recording, named) = (store.clone(), chunk.clone());
    meta.write(Durability::Synced, move |tx| recording.record(tx, &named))
        .await?;
    Ok(chunk.id)
}

/// Writes `count` chunks, one sync for all.
async fn write(store: &Store, meta: &Meta, count: u64) -> Vec<ChunkId> {
    let mut staged = Vec::new();
    for seed in 0..count {
        staged.push(stage(store, seed).await);
    }
    store.sync_staged().await.unwrap();
    let mut chunks = Vec::new();
    for chunk in &staged {
        chunks.push(record(store, meta, chunk).await.unwrap());
    }
    chunks
}

/// The file of a chunk, and where its record lies.
fn place(dir: &Path, store: &Store, chunk: ChunkId) -> (PathBuf, u64, u64) {
    let row = Staging::row(&*store.inner.meta.snapshot().unwrap(), chunk)
        .unwrap()
        .unwrap();
    let Place::File { file, offset } = row.place else {
        panic!("it rides in a row")
    };
    let path = dir.join(format!("store/staging/{file:016x}.stg"));
    (path, offset, record_len(row.frame_len as usize))
}

/// Which of the chunks staging gives back as they were written; the others must be called damaged.
fn good(store: &Store, chunks: &[ChunkId]) -> Vec<bool> {
    let staging = &store.inner.staging;
    chunks
        .iter()
        .map(|chunk| match staging.frame(*chunk) {
            Ok(Some(_)) => true,
            Err(Error::Damaged(named)) => {
                assert_eq!(named, *chunk);
                false
            }
            other => panic!("{chunk:?}: {other:?}"),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_anywhere_spoils_its_own_record_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = store(dir.path()).await;
    let chunks = write(&store, &meta, 3).await;
    let (path, from, len) = place(dir.path(), &store, chunks[1]);
    let file = File::options().read(true).write(true).open(path).unwrap();
    let header = RECORD_HEADER as u64;
    // Magic, checksum, chunk id, length, first and last byte of the frame's header, inside, tag.
    let regions = [
        0,
        3,
        4,
        7,
        8,
        15,
        16,
        19,
        header,
        header + 31,
        header + 32,
        len / 2,
        len - 16,
        len - 1,
    ];
    for at in regions {
        let mut byte = [0];
        file.read_exact_at(&mut byte, from + at).unwrap();
        for flip in [0x01, 0x80] {
            file.write_all_at(&[byte[0] ^ flip], from + at).unwrap();
            assert_eq!(
                good(&store, &chunks),
                [true, false, true],
                "byte {at} flipped by {flip}"
            );
        }
        file.write_all_at(&byte, from + at).unwrap();
        assert_eq!(good(&store, &chunks), [true; 3]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_cut_off_anywhere_keeps_what_lies_before() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = store(dir.path()).await;
    let chunks = write(&store, &meta, 3).await;
    let (path, from, len) = place(dir.path(), &store, chunks[1]);
    let whole = std::fs::read(&path).unwrap();
    let header = RECORD_HEADER as u64;
    for cut in [
        0,
        1,
        header - 1,
        header,
        header + 1,
        header + 32,
        len / 2,
        len - 1,
        len,
    ] {
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(from + cut)
            .unwrap();
        assert_eq!(good(&store, &chunks), [true, cut == len, false], "cut at {cut}");
        // Bytes that never reached the disk read as zeroes when the length did.
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(whole.len() as u64).unwrap();
        assert_eq!(
            good(&store, &chunks),
            [true, cut == len, false],
            "zeroes from {cut}"
        );
        file.write_all_at(&whole, 0).unwrap();
    }
    assert_eq!(good(&store, &chunks), [true; 3]);
    // The same after a restart, with a file gone altogether.
    let image = tempfile::tempdir().unwrap();
    testing::copy(dir.path(), image.path());
    let (gone, _, _) = place(image.path(), &store, chunks[0]);
    std::fs::remove_file(gone).unwrap();
    let (copy, copied) = testing::store(image.path()).await;
    assert_eq!(good(&copy, &chunks), [false; 3]);
    let next = write(&copy, &copied, 1).await;
    assert_eq!(good(&copy, &next), [true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_sync_lost_is_never_named_and_the_next_write_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = store(dir.path()).await;
    let before = write(&store, &meta, 2).await;
    let broken = &store.inner.staging.files.broken;
    let (lost, late) = (stage(&store, 7).await, stage(&store, 8).await);
    broken.syncs.store(true, Ordering::SeqCst);
    assert!(matches!(store.sync_staged().await, Err(Error::Disk(_))));
    broken.syncs.store(false, Ordering::SeqCst);
    // The disk says that it is well, and another writer's sync succeeds.
    store.sync_staged().await.unwrap();
    for chunk in [&lost, &late] {
        assert!(matches!(record(&store, &meta, chunk).await, Err(Error::Disk(_))));
    }
    let again = stage(&store, 7).await;
    store.sync_staged().await.unwrap();
    let again = record(&store, &meta, &again).await.unwrap();
    assert_eq!(good(&store, &before), [true; 2]);
    assert_eq!(good(&store, &[again]), [true]);
    drop((lost, late));
    // A restart finds what was acknowledged.
    let image = tempfile::tempdir().unwrap();
    testing::copy(dir.path(), image.path());
    let (copy, _meta) = testing::store(image.path()).await;
    assert_eq!(good(&copy, &before), [true; 2]);
    assert_eq!(good(&copy, &[again]), [true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_is_refused_and_the_next_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = store(dir.path()).await;
    let before = write(&store, &meta, 1).await;
    let used = store.status().unwrap().staging_bytes;
    let broken = &store.inner.staging.files.broken;
    broken.writes.store(true, Ordering::SeqCst);
    let owner = Owner { inode: 1, offset: 0 };
    for seed in 0..5 {
        let refused = store.stage(DOMAIN, owner, Bytes::from(noise(LEN, seed))).await;
        assert!(matches!(refused, Err(Error::Disk(_))));
    }
    assert_eq!(
        store.status().unwrap().staging_bytes,
        used,
        "what was refused takes nothing"
    );
    broken.writes.store(false, Ordering::SeqCst);
    let after = write(&store, &meta, 2).await;
    assert_eq!(good(&store, &before), [true]);
    assert_eq!(good(&store, &after), [true; 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_its_reserve_takes_nothing_in_and_gives_everything_out() {
    let dir = tempfile::tempdir().unwrap();
    let (first, meta) = store(dir.path()).await;
    let chunks = write(&first, &meta, 2).await;
    first.shutdown().await;
    drop(first);
    let mut config = testing::config(dir.path());
    config.disk_reserve = 1 << 60;
    let (store, meta) = testing::open(config, meta).await;
    let owner = Owner { inode: 1, offset: 0 };
    for len in [10, LEN] {
        let refused = store.stage(DOMAIN, owner, Bytes::from(noise(len, 1))).await;
        assert!(matches!(refused, Err(Error::StagingFull { .. })));
    }
    assert!(store.require_room().is_err());
    assert!(store.status().unwrap().trouble.is_some());
    assert_eq!(good(&store, &chunks), [true; 2]);
    store.read(chunks[0], 0..LEN as u32).await.unwrap();
    // Deleting is how room comes back.
    let (releasing, gone) = (store.clone(), chunks[0]);
    meta.write::<(), Error, _>(Durability::Synced, move |tx| releasing.release(tx, gone))
        .await
        .unwrap();
}

/// Waits until staging holds so many bytes.
async fn until_bytes(staging: &Staging, bytes: u64) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while staging.bytes() != bytes {
        let now = tokio::time::Instant::now();
        assert!(now < deadline, "{} bytes, not {bytes}", staging.bytes());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_is_staged_twice_gives_back_what_no_row_stands_for() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = store(dir.path()).await;
    let staging = &store.inner.staging;
    let chunk = ChunkId(1_000_000);
    // In a row, and in a file.
    for len in [100, LEN] {
        let before = staging.bytes();
        let put = async || {
            let admission = staging.admit(len).await.unwrap();
            let owner = Owner { inode: 1, offset: 0 };
            staging
                .put(admission, chunk, owner, len as u32, vec![7; len])
                .unwrap()
        };
        drop((put().await, put().await));
        until_bytes(staging, before).await;
        // The first one is named in a transaction that comes to nothing.
        let lost = put().await;
        let one = staging.bytes();
        let kept = put().await;
        staging.sync().await.unwrap();
        let naming = lost.clone();
        let failed = meta
            .write(Durability::Synced, move |tx| -> Result<()> {
                Staging::name(tx, chunk, &naming)?;
                Err(Error::ShuttingDown)
            })
            .await;
        assert!(failed.is_err());
        let naming = kept.clone();
        meta.write(Durability::Synced, move |tx| Staging::name(tx, chunk, &naming))
            .await
            .unwrap();
        drop(lost);
        until_bytes(staging, one).await;
        assert!(staging.frame(chunk).unwrap().is_some());
        drop(kept);
        staging.reclaim(&[chunk]).await.unwrap();
        until_bytes(staging, before).await;
        assert!(staging.frame(chunk).unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_a_commit_in_doubt_names_stay_until_it_is_decided() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta, faults) = store_on_failing_metadata(dir.path()).await;
    let staging = &store.inner.staging;
    let before = staging.bytes();
    let chunk = stage(&store, 1).await;
    store.sync_staged().await.unwrap();
    faults.commits.store(true, Ordering::SeqCst);
    assert!(record(&store, &meta, &chunk).await.is_err());
    let (id, row) = (chunk.id, chunk.frame.row);
    let Place::File { file, offset } = row.place else {
        panic!("it rides in a row")
    };
    drop(chunk);
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The journal may have it: a restart now could bring the row back.
    let frame = staging.files.read(file, offset, id, row.frame_len).unwrap();
    assert!(frame.is_some());
    assert!(staging.bytes() > before);
    // It did not come through.
    faults.heal();
    until_bytes(staging, before).await;
    assert_eq!(staging.file_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_that_cannot_be_given_back_is_tried_again_without_being_told() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta, faults) = store_on_failing_metadata(dir.path()).await;
    let staging = &store.inner.staging;
    let before = staging.bytes();
    let chunks = write(&store, &meta, 2).await;
    let held = staging.bytes();
    faults.syncs.store(true, Ordering::SeqCst);
    let releasing = store.clone();
    meta.write::<(), Error, _>(Durability::Buffered, move |tx| {
        for chunk in &chunks {
            releasing.release(tx, *chunk)?;
        }
        Ok(())
    })
    .await
    .unwrap();
    assert!(meta.sync().await.is_err());
    // All looks that the release asked for come to nothing.
    tokio::time::sleep(settle::LOOKS.iter().sum::<Duration>() + Duration::from_secs(1)).await;
    assert_eq!(staging.bytes(), held);
    faults.heal();
    until_bytes(staging, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_a_row_may_name_is_not_forgotten_when_replacing_fails() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta, faults) = store_on_failing_metadata(dir.path()).await;
    let staging = &store.inner.staging;
    let chunks = write(&store, &meta, 1).await;
    let held = staging.bytes();
    let frame = staging.frame(chunks[0]).unwrap().unwrap();
    faults.syncs.store(true, Ordering::SeqCst);
    assert!(staging.replace(chunks[0], frame.clone()).await.is_err());
    faults.heal();
    // The row names the new record, and the old one goes.
    until_bytes(staging, held).await;
    staging.settler().give_back().await.unwrap();
    assert_eq!(staging.frame(chunks[0]).unwrap(), Some(frame));
    assert_eq!((staging.bytes(), staging.file_count()), (held, 1));
    // One that comes to nothing takes nothing.
    faults.commits.store(true, Ordering::SeqCst);
    let frame = staging.frame(chunks[0]).unwrap().unwrap();
    assert!(staging.replace(chunks[0], frame.clone()).await.is_err());
    faults.heal();
    until_bytes(staging, held).await;
    assert_eq!(good(&store, &chunks), [true]);
}
