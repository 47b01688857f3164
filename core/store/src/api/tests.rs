//! The store without a network, from outside.
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use meta::{Durability, Meta};

use crate::testing::{self, noise};
use crate::{CHUNK_MAX, ChunkId, Compression, DomainId, Error, Level, Owner, Result, StagedChunk, Store};

const DOMAIN: DomainId = DomainId(1);

fn owner(offset: u64) -> Owner {
    Owner { inode: 7, offset }
}

async fn with_domain(dir: &Path) -> (Store, Meta) {
    let (store, meta) = testing::store(dir).await;
    create_domain(&store, &meta).await;
    (store, meta)
}

async fn create_domain(store: &Store, meta: &Meta) {
    let made = store.clone();
    meta.write(Durability::Synced, move |tx| made.create_domain(tx, DOMAIN))
        .await
        .unwrap();
}

async fn stage(store: &Store, bytes: &[u8]) -> StagedChunk {
    store
        .stage(DOMAIN, owner(0), Bytes::copy_from_slice(bytes))
        .await
        .unwrap()
}

async fn record(store: &Store, meta: &Meta, chunk: StagedChunk) -> ChunkId {
    let (id, store) = (chunk.id, store.clone());
    store.sync_staged().await.unwrap();
    meta.write(Durability::Synced, move |tx| store.record(tx, &chunk))
        .await
        .unwrap();
    id
}

async fn write(store: &Store, meta: &Meta, bytes: &[u8]) -> ChunkId {
    let chunk = stage(store, bytes).await;
    record(store, meta, chunk).await
}

async fn release(store: &Store, meta: &Meta, chunk: ChunkId) -> Result<()> {
    let store = store.clone();
    meta.write(Durability::Buffered, move |tx| store.release(tx, chunk))
        .await
}

async fn retain(store: &Store, meta: &Meta, chunk: ChunkId) {
    let store = store.clone();
    meta.write(Durability::Buffered, move |tx| store.retain(tx, chunk))
        .await
        .unwrap();
}

async fn read(store: &Store, chunk: ChunkId) -> Result<Bytes> {
    store.inner.memory.clear();
    store.inner.plain(chunk).await
}

/// Waits until the settler has caught up: `done` becomes true.
async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never happened");
}

/// Sizes on both sides of what rides in a row, compressible and not.
fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for (n, len) in [1, 100, 4096, 16_384, 16_385, 100_000, CHUNK_MAX]
        .into_iter()
        .enumerate()
    {
        samples.push(noise(len, n as u64));
        samples.push(vec![n as u8; len]);
    }
    samples
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_domain_is_compressed_as_it_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = with_domain(dir.path()).await;
    let text = b"the same words again and again; ".repeat(4000);
    let mut before = 0;
    let mut sealed = async || {
        let chunk = write(&store, &meta, &text).await;
        assert_eq!(store.read(chunk, 0..text.len() as u32).await.unwrap(), text);
        let now = store.status().unwrap().unpacked_bytes;
        let bytes = now - before;
        before = now;
        bytes
    };
    assert_eq!(store.compression(DOMAIN).unwrap(), Compression::Zstd);
    assert!(sealed().await < 2000);
    store
        .set_compression(DOMAIN, Some(Compression::None))
        .await
        .unwrap();
    assert_eq!(sealed().await, text.len() as u64 + 48);
    store
        .set_compression(DOMAIN, Some(Compression::Lz4))
        .await
        .unwrap();
    assert!((500..3000).contains(&sealed().await));
    store.set_compression(DOMAIN, None).await.unwrap();
    assert!(sealed().await < 500 + 1500);
    assert!(matches!(
        store.set_compression(DomainId(99), None).await,
        Err(Error::Key(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_recorded_reads_back_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut chunks = Vec::new();
    {
        let (store, meta) = with_domain(dir.path()).await;
        for sample in samples() {
            chunks.push((write(&store, &meta, &sample).await, sample));
        }
        for (chunk, sample) in &chunks {
            assert_eq!(read(&store, *chunk).await.unwrap(), sample);
            let len = sample.len() as u32;
            assert_eq!(
                store.read(*chunk, len / 3..len / 2).await.unwrap(),
                sample[(len / 3) as usize..(len / 2) as usize]
            );
            assert!(matches!(
                store.read(*chunk, 0..len + 1).await,
                Err(Error::Damaged(_))
            ));
        }
        assert_eq!(
            store
                .level(&chunks.iter().map(|(id, _)| *id).collect::<Vec<_>>())
                .unwrap(),
            Level::Staged
        );
        store.flush(Level::Staged, Duration::from_secs(5)).await.unwrap();
        assert!(matches!(
            store.flush(Level::Placed, Duration::from_secs(5)).await,
            Err(Error::NotYet(_))
        ));
        store.shutdown().await;
        assert!(matches!(
            store.read(ChunkId(1), 0..1).await,
            Err(Error::ShuttingDown)
        ));
        let refused = store.stage(DOMAIN, owner(0), Bytes::from_static(b"x")).await;
        assert!(matches!(refused, Err(Error::ShuttingDown)));
    }
    let (store, meta) = testing::store(dir.path()).await;
    for (chunk, sample) in &chunks {
        assert_eq!(read(&store, *chunk).await.unwrap(), sample);
    }
    let next = write(&store, &meta, b"after").await;
    assert!(chunks.iter().all(|(chunk, _)| *chunk < next), "no id comes twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_image_has_every_recorded_chunk_and_only_unsynced_bytes_are_lost() {
    let dir = tempfile::tempdir().unwrap();
    let image = tempfile::tempdir().unwrap();
    let (store, meta) = with_domain(dir.path()).await;
    let mut chunks = Vec::new();
    for sample in samples() {
        chunks.push((write(&store, &meta, &sample).await, sample));
    }
    let synced: u64 = staging_files(dir.path()).iter().map(|(_, len)| len).sum();
    // Staged, neither synced nor recorded, when the machine stops.
    let lost = stage(&store, &noise(CHUNK_MAX, 77)).await;
    testing::copy(dir.path(), image.path());
    let (file, len) = staging_files(image.path()).pop().unwrap();
    assert!(len > synced);
    let torn = std::fs::File::options().write(true).open(&file).unwrap();
    torn.set_len(synced + 1000).unwrap();

    let (copy, copied_meta) = testing::store(image.path()).await;
    for (chunk, sample) in &chunks {
        assert_eq!(read(&copy, *chunk).await.unwrap(), sample);
    }
    let status = copy.status().unwrap();
    assert!(status.unpacked_bytes > 0 && status.staging_bytes > status.unpacked_bytes);
    let after = noise(50_000, 5);
    let next = write(&copy, &copied_meta, &after).await;
    assert!(next > lost.id, "the id of the lost chunk is not used again");
    assert_eq!(read(&copy, next).await.unwrap(), after);
}

fn staging_files(dir: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut files: Vec<_> = std::fs::read_dir(dir.join("store/staging"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.path(), entry.metadata().unwrap().len())
        })
        .collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_in_staging_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = with_domain(dir.path()).await;
    let (large, small) = (noise(60_000, 1), noise(100, 2));
    let (in_file, in_row) = (
        write(&store, &meta, &large).await,
        write(&store, &meta, &small).await,
    );
    let (file, len) = staging_files(dir.path()).pop().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[len as usize / 2] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert!(matches!(read(&store, in_file).await, Err(Error::Damaged(_))));
    let key = crate::tables::chunk_key(crate::tables::INLINE, in_row);
    meta.write::<(), Error, _>(Durability::Buffered, move |tx| {
        let mut frame = tx.get(&key)?.unwrap_or_default();
        frame[50] ^= 1;
        Ok(tx.put(&key, &frame)?)
    })
    .await
    .unwrap();
    assert!(matches!(read(&store, in_row).await, Err(Error::Damaged(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_does_not_pass_for_another_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = with_domain(dir.path()).await;
    let (one, two) = (
        write(&store, &meta, b"one").await,
        write(&store, &meta, b"two").await,
    );
    meta.write::<(), Error, _>(Durability::Buffered, move |tx| {
        let frame = tx
            .get(&crate::tables::chunk_key(crate::tables::INLINE, one))?
            .unwrap_or_default();
        Ok(tx.put(&crate::tables::chunk_key(crate::tables::INLINE, two), &frame)?)
    })
    .await
    .unwrap();
    assert_eq!(read(&store, one).await.unwrap(), b"one".as_slice());
    assert!(matches!(read(&store, two).await, Err(Error::Damaged(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_comes_back_at_the_last_release_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = with_domain(dir.path()).await;
    let empty = store.status().unwrap().staging_bytes;
    let mut chunks = Vec::new();
    for sample in [noise(100_000, 1), noise(10, 2)] {
        chunks.push((write(&store, &meta, &sample).await, sample));
    }
    let full = store.status().unwrap().staging_bytes;
    for (chunk, sample) in &chunks {
        retain(&store, &meta, *chunk).await;
        retain(&store, &meta, *chunk).await;
        for _ in 0..2 {
            release(&store, &meta, *chunk).await.unwrap();
            assert_eq!(read(&store, *chunk).await.unwrap(), sample);
        }
    }
    assert_eq!(store.status().unwrap().staging_bytes, full);
    for (chunk, _) in &chunks {
        release(&store, &meta, *chunk).await.unwrap();
        assert!(matches!(read(&store, *chunk).await, Err(Error::UnknownChunk(_))));
        assert!(matches!(
            release(&store, &meta, *chunk).await,
            Err(Error::UnknownChunk(_))
        ));
    }
    until(|| store.inner.staging.bytes() == empty).await;
    let status = store.status().unwrap();
    assert_eq!((status.staging_bytes, status.unpacked_bytes), (empty, 0));
    // Nothing about them is left.
    let snapshot = meta.snapshot().unwrap();
    for table in [
        crate::tables::STAGED,
        crate::tables::UNPACKED,
        crate::tables::REFS,
        crate::tables::FREED,
        crate::tables::INLINE,
    ] {
        assert_eq!(
            crate::tables::rows_from(&*snapshot, table, ChunkId(0))
                .unwrap()
                .count(),
            0,
            "{table:x}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolled_back_release_gives_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = with_domain(dir.path()).await;
    let sample = noise(100_000, 1);
    let chunk = write(&store, &meta, &sample).await;
    let full = store.status().unwrap().staging_bytes;
    let releasing = store.clone();
    let failed: Result<()> = meta
        .write(Durability::Buffered, move |tx| {
            releasing.release(tx, chunk)?;
            Err(Error::ShuttingDown)
        })
        .await;
    assert!(failed.is_err());
    // A release that does commit makes the settler look: it must find only that one.
    let other = write(&store, &meta, b"other").await;
    release(&store, &meta, other).await.unwrap();
    until(|| store.inner.staging.bytes() == full).await;
    assert_eq!(read(&store, chunk).await.unwrap(), sample);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_nobody_recorded_are_garbage_and_recorded_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = with_domain(dir.path()).await;
    let kept = write(&store, &meta, &noise(100_000, 1)).await;
    let full = store.status().unwrap().staging_bytes;
    for len in [10, 200_000] {
        drop(stage(&store, &noise(len, 2)).await);
        // Recorded in a transaction that is rolled back.
        let (naming, chunk) = (store.clone(), stage(&store, &noise(len, 3)).await);
        let failed: Result<()> = meta
            .write(Durability::Buffered, move |tx| {
                naming.record(tx, &chunk)?;
                Err(Error::ShuttingDown)
            })
            .await;
        assert!(failed.is_err());
    }
    until(|| store.inner.staging.bytes() == full).await;
    // A copy that outlives its chunk does not give the space back a second time.
    let chunk = stage(&store, &noise(50_000, 4)).await;
    let id = record(&store, &meta, chunk.clone()).await;
    release(&store, &meta, id).await.unwrap();
    until(|| store.inner.staging.bytes() == full).await;
    drop(chunk);
    let again = write(&store, &meta, &noise(50_000, 5)).await;
    let before = store.status().unwrap().staging_bytes;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(store.status().unwrap().staging_bytes, before);
    for chunk in [kept, again] {
        assert!(read(&store, chunk).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reclaimed_chunks_leave_and_dead_files_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let sample = noise(CHUNK_MAX, 1);
    let mut chunks = Vec::new();
    {
        let (store, meta) = with_domain(dir.path()).await;
        for _ in 0..4 {
            chunks.push(write(&store, &meta, &sample).await);
        }
        store.shutdown().await;
    }
    let (store, meta) = testing::store(dir.path()).await;
    let later = write(&store, &meta, &sample).await;
    assert_eq!(store.inner.staging.file_count(), 2);
    store.inner.staging.reclaim(&chunks[..2]).await.unwrap();
    assert_eq!(store.inner.staging.file_count(), 2);
    assert_eq!(read(&store, chunks[2]).await.unwrap(), sample);
    store.inner.staging.reclaim(&chunks).await.unwrap();
    assert_eq!(store.inner.staging.file_count(), 1);
    assert_eq!(staging_files(dir.path()).len(), 1);
    for chunk in &chunks {
        assert!(matches!(read(&store, *chunk).await, Err(Error::UnknownChunk(_))));
    }
    assert_eq!(read(&store, later).await.unwrap(), sample);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_deletes_files_that_nothing_names_and_counts_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (chunk, bytes) = {
        let (store, meta) = with_domain(dir.path()).await;
        let chunk = write(&store, &meta, &noise(100_000, 1)).await;
        write(&store, &meta, b"small").await;
        store.shutdown().await;
        (chunk, store.status().unwrap().staging_bytes)
    };
    let orphan = dir.path().join("store/staging/00000000000fffff.stg");
    std::fs::write(&orphan, b"nothing names me").unwrap();
    std::fs::write(dir.path().join("store/staging/README"), b"not ours").unwrap();
    let (store, meta) = testing::store(dir.path()).await;
    assert!(!orphan.exists());
    assert!(dir.path().join("store/staging/README").exists());
    assert_eq!(store.status().unwrap().staging_bytes, bytes);
    assert!(read(&store, chunk).await.is_ok());
    // A release whose space was not given back before the stop is given back after it.
    store.inner.stop.cancel();
    release(&store, &meta, chunk).await.unwrap();
    store.shutdown().await;
    drop((store, meta));
    let (store, _meta) = testing::store(dir.path()).await;
    assert!(store.status().unwrap().staging_bytes < 1000);
    assert_eq!(
        staging_files(dir.path()).len(),
        1,
        "only the file that is not ours"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_staging_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = testing::config(dir.path());
    config.staging_limit = 1 << 20;
    let (store, meta) = testing::open(config, testing::meta(dir.path())).await;
    create_domain(&store, &meta).await;
    let mut chunks = Vec::new();
    let error = loop {
        match store
            .stage(DOMAIN, owner(0), Bytes::from(noise(200_000, 1)))
            .await
        {
            Ok(chunk) => chunks.push(record(&store, &meta, chunk).await),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, Error::StagingFull { retry_after } if retry_after > Duration::ZERO),
        "{error:?}"
    );
    assert_eq!(chunks.len(), 5);
    assert!(store.status().unwrap().staging_bytes <= 1 << 20);
    for chunk in &chunks {
        assert!(read(&store, *chunk).await.is_ok(), "reads go on");
    }
    release(&store, &meta, chunks[0]).await.unwrap();
    let retried = stage(&store, &noise(200_000, 2)).await;
    record(&store, &meta, retried).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = with_domain(dir.path()).await;
    for len in [0, CHUNK_MAX + 1] {
        assert!(
            store
                .stage(DOMAIN, owner(0), Bytes::from(vec![0; len]))
                .await
                .is_err()
        );
    }
    let no_key = store
        .stage(DomainId(99), owner(0), Bytes::from_static(b"x"))
        .await;
    assert!(matches!(no_key, Err(Error::Key(_))));
    assert!(matches!(
        store.read(ChunkId(12345), 0..1).await,
        Err(Error::UnknownChunk(_))
    ));
    assert!(matches!(
        release(&store, &meta, ChunkId(12345)).await,
        Err(Error::UnknownChunk(_))
    ));
    let chunk = write(&store, &meta, b"x").await;
    assert!(matches!(
        store.read(chunk, Range { start: 1, end: 0 }).await,
        Err(Error::Damaged(_))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_domain_cannot_be_read_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = with_domain(dir.path()).await;
    let chunks = [
        write(&store, &meta, &noise(100_000, 1)).await,
        write(&store, &meta, b"small").await,
    ];
    let destroying = store.clone();
    meta.write(Durability::Synced, move |tx| {
        destroying.destroy_domain(tx, DOMAIN)
    })
    .await
    .unwrap();
    for chunk in chunks {
        assert!(matches!(read(&store, chunk).await, Err(Error::Key(_))));
        // Its space can still be given back.
        release(&store, &meta, chunk).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passphrase_does_not_open_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let meta = {
        let (store, meta) = with_domain(dir.path()).await;
        store.shutdown().await;
        meta
    };
    let wrong = testing::passphrase("open sesam");
    let opened = Store::open(testing::config(dir.path()), meta.clone(), wrong, None).await;
    let Err(Error::Key(text)) = opened.map(|_| ()) else {
        panic!("opened")
    };
    assert!(text.contains("passphrase"));
    testing::open(testing::config(dir.path()), meta).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_at_once_each_read_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = with_domain(dir.path()).await;
    let tasks: Vec<_> = (0..16u64)
        .map(|task| {
            let (store, meta) = (store.clone(), meta.clone());
            tokio::spawn(async move {
                let mut mine = Vec::new();
                for n in 0..10 {
                    let sample = noise(if n % 2 == 0 { 50_000 } else { 500 }, task * 100 + n);
                    mine.push((write(&store, &meta, &sample).await, sample));
                }
                mine
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    store.inner.memory.clear();
    store.prefetch(&all.iter().map(|(chunk, _)| *chunk).collect::<Vec<_>>());
    for (chunk, sample) in &all {
        assert_eq!(store.read(*chunk, 0..sample.len() as u32).await.unwrap(), sample);
    }
    let mut ids: Vec<_> = all.iter().map(|(chunk, _)| *chunk).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 160);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_comes_back_while_others_keep_writing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, meta) = with_domain(dir.path()).await;
    let chunk = write(&store, &meta, &noise(100_000, 1)).await;
    release(&store, &meta, chunk).await.unwrap();
    for _ in 0..2000 {
        let freed = meta
            .snapshot()
            .unwrap()
            .get(&crate::tables::chunk_key(crate::tables::FREED, chunk))
            .unwrap();
        if freed.is_none() {
            return;
        }
        // Each chunk that ends wakes the settler.
        drop(stage(&store, b"another").await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("never given back");
}
