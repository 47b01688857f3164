//! The disk cache alone.
use super::*;
use crate::testing::{SmallDisk, noise};

const BUDGET: u64 = 32 << 20;

async fn fill(cache: &DiskCache, chunks: std::ops::Range<u64>) {
    for chunk in chunks {
        cache.insert(ChunkId(chunk), noise(100_000, chunk).into()).await;
    }
}

async fn hits(cache: &DiskCache, chunks: std::ops::Range<u64>) -> usize {
    let mut hits = 0;
    for chunk in chunks {
        if let Some(frame) = cache.get(ChunkId(chunk)).await {
            assert_eq!(frame, noise(100_000, chunk));
            hits += 1;
        }
    }
    hits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_frames_over_a_restart_and_forgets_them_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let cache = DiskCache::open(&path, BUDGET).await;
    assert!(cache.is_on().await);
    fill(&cache, 0..50).await;
    assert_eq!(hits(&cache, 0..50).await, 50);
    assert!(cache.get(ChunkId(99)).await.is_none());
    cache.close().await;
    assert!(
        cache.get(ChunkId(1)).await.is_none(),
        "closed is empty, not broken"
    );
    cache.insert(ChunkId(1), Bytes::from_static(b"late")).await;

    let cache = DiskCache::open(&path, BUDGET).await;
    assert_eq!(hits(&cache, 0..50).await, 50);
    assert!(
        cache.usage().0 >= 5_000_000 && cache.usage().0 <= BUDGET,
        "{:?}",
        cache.usage()
    );
    cache.remove(ChunkId(7)).await;
    assert!(cache.get(ChunkId(7)).await.is_none());

    cache.clear().await.unwrap();
    assert_eq!(hits(&cache, 0..50).await, 0);
    assert!(
        cache.usage().0 < 100_000,
        "no content on disk: {:?}",
        cache.usage()
    );
    fill(&cache, 0..10).await;
    assert_eq!(hits(&cache, 0..10).await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_budget_begins_anew_and_none_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let cache = DiskCache::open(&path, BUDGET).await;
    fill(&cache, 0..5).await;
    cache.close().await;
    let cache = DiskCache::open(&path, 2 * BUDGET).await;
    assert_eq!(hits(&cache, 0..5).await, 0);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
    cache.close().await;
    let off = DiskCache::open(&path, 0).await;
    assert!(!off.is_on().await && !path.exists());
    fill(&off, 0..5).await;
    assert_eq!(hits(&off, 0..5).await, 0);
    off.clear().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stays_in_its_budget_and_survives_garbage_in_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let cache = DiskCache::open(&path, BUDGET).await;
    for round in 0..20 {
        fill(&cache, round * 50..round * 50 + 50).await;
        // Reading them lets the disk keep up.
        hits(&cache, round * 50..round * 50 + 50).await;
    }
    assert!(cache.usage().0 <= BUDGET, "{:?}", cache.usage());
    cache.close().await;
    for block in std::fs::read_dir(std::fs::read_dir(&path).unwrap().next().unwrap().unwrap().path()).unwrap()
    {
        let block = block.unwrap().path();
        let mut bytes = std::fs::read(&block).unwrap();
        for at in (0..bytes.len()).step_by(1000) {
            bytes[at] ^= 0x55;
        }
        std::fs::write(&block, bytes).unwrap();
    }
    let cache = DiskCache::open(&path, BUDGET).await;
    for chunk in 0..1000 {
        // Whatever it answers is the caller's to authenticate; it must answer.
        let _ = cache.get(ChunkId(chunk)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_a_write_ends_the_cache_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let Some(_disk) = SmallDisk::mount(&path, "size=6m") else {
        eprintln!("skipped: this needs the right to mount");
        return;
    };
    // Without a reserve writes run into the end of the disk.
    let cache = DiskCache::open_with_reserve(&path, BUDGET, 0).await;
    for round in 0..20 {
        fill(&cache, round * 50..round * 50 + 50).await;
        hits(&cache, round * 50..round * 50 + 50).await;
    }
    cache.close().await;
    // With one they do not come that far.
    let cache = DiskCache::open(&path, BUDGET).await;
    cache.clear().await.unwrap();
    fill(&cache, 0..50).await;
    assert_eq!(hits(&cache, 0..50).await, 0);
    assert!(cache.is_on().await);
    cache.close().await;
}
