//! What the disk cache is worth when the network is gone, and that it is not believed.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meta::Durability;
use tempfile::TempDir;

use super::store::{DOMAIN, all_read, make_domain, open, write};
use super::wait::until;
use super::world::LONG;
use crate::place::network::fake::{Fake, Fault};
use crate::testing::SmallDisk;
use crate::{ChunkId, Error, Level};

const LEN: usize = 60_000;

/// Flips bytes all over the files under `directory`.
fn spoil(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            spoil(&path);
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        // Past the entries' headers, into the frames.
        for at in (500..bytes.len()).step_by(5000) {
            bytes[at] ^= 0x80;
        }
        std::fs::write(&path, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_lately_is_read_without_the_network_until_the_caches_are_dropped() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..20, LEN).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    assert_eq!(
        store.status().unwrap().staging_bytes,
        0,
        "a flush to verified empties staging"
    );

    fake.fault(0..12, Fault::Dead);
    store.inner.memory.clear();
    all_read(&store, &chunks, LEN).await;
    // Over a restart, too.
    store.shutdown().await;
    drop((store, meta));
    let (store, _meta) = open(dir.path(), &fake).await;
    all_read(&store, &chunks, LEN).await;

    store.drop_caches().await.unwrap();
    assert!(matches!(
        store.read(chunks[0], 0..1).await,
        Err(Error::Unavailable { .. })
    ));
    fake.fault(0..12, Fault::None);
    // A prefetch fetches neighbours together; whatever it gets, the reads are right.
    store.prefetch(&chunks);
    all_read(&store, &chunks, LEN).await;
    // What the network gave once is here now.
    fake.fault(0..12, Fault::Dead);
    store.inner.memory.clear();
    all_read(&store, &chunks, LEN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_disk_cache_is_a_miss() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..10, LEN).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    // A frame that is whole and authentic, and another chunk's.
    let frame = store.inner.disk.get(chunks[0]).await.unwrap();
    store.inner.disk.insert(chunks[1], frame).await;
    store.inner.memory.clear();
    all_read(&store, &chunks, LEN).await;
    store.shutdown().await;
    drop((store, meta));
    spoil(&dir.path().join("store/cache"));
    let (store, _meta) = open(dir.path(), &fake).await;
    all_read(&store, &chunks, LEN).await;
}

/// What is done to the files of the disk cache between two runs.
fn damage(directory: &Path, how: &dyn Fn(&Path)) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            damage(&path, how);
        } else {
            how(&path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_files_that_were_cut_off_replaced_or_lost_are_misses() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..30, LEN).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    store.shutdown().await;
    drop((store, meta));
    let cache = dir.path().join("store/cache");
    let cut = |path: &Path| {
        let len = path.metadata().unwrap().len();
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(len / 3).unwrap();
    };
    let replace = |path: &Path| std::fs::write(path, crate::testing::noise(100_000, 7)).unwrap();
    let lose = |path: &Path| std::fs::remove_file(path).unwrap();
    let empty = |path: &Path| std::fs::write(path, []).unwrap();
    let ways: [&dyn Fn(&Path); 4] = [&cut, &replace, &lose, &empty];
    for how in ways {
        damage(&cache, how);
        std::fs::write(cache.join("garbage"), b"garbage").unwrap();
        let (store, meta) = open(dir.path(), &fake).await;
        all_read(&store, &chunks, LEN).await;
        // It works as a cache again.
        store.inner.memory.clear();
        fake.fault(0..12, Fault::Dead);
        all_read(&store, &chunks, LEN).await;
        fake.fault(0..12, Fault::None);
        store.shutdown().await;
        drop((store, meta));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_of_a_destroyed_domain_is_not_served_and_leaves_memory() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..5, LEN).await;
    all_read(&store, &chunks, LEN).await;
    assert!(store.in_memory(chunks[0]));
    // A transaction that is rolled back destroys nothing.
    let destroying = store.clone();
    let spared = meta
        .write::<(), Error, _>(Durability::Synced, move |tx| {
            destroying.destroy_domain(tx, DOMAIN)?;
            Err(Error::ShuttingDown)
        })
        .await;
    assert!(spared.is_err());
    all_read(&store, &chunks, LEN).await;
    let destroying = store.clone();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        destroying.destroy_domain(tx, DOMAIN)
    })
    .await
    .unwrap();
    for chunk in &chunks {
        assert!(matches!(store.read(*chunk, 0..1).await, Err(Error::Key(_))));
    }
    assert_eq!(store.inner.memory.usage().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_of_a_destroyed_domain_goes_though_nobody_reads_it() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    write(&store, &meta, 0..5, LEN).await;
    assert!(store.inner.memory.usage().0 > 5 * LEN as u64);
    let destroying = store.clone();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        destroying.destroy_domain(tx, DOMAIN)
    })
    .await
    .unwrap();
    until(
        || store.inner.memory.usage().0 == 0,
        || store.inner.memory.usage(),
    )
    .await;
}

/// Set in the process that is killed: where its store lies.
const VICTIM: &str = "STORE_TEST_CACHE_VICTIM";

/// Fills the disk cache, says which chunks are in it, and waits to be killed.
async fn victim(dir: &Path) {
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir, &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..50, LEN).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    // The cache writes behind.
    while store.status().unwrap().disk_cache.0 < (chunks.len() * LEN) as u64 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ids: Vec<String> = chunks.iter().map(|chunk| chunk.0.to_string()).collect();
    std::fs::write(dir.join("new"), ids.join(" ")).unwrap();
    std::fs::rename(dir.join("new"), dir.join("ready")).unwrap();
    tokio::time::sleep(2 * LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_cache_survives_a_kill() {
    if let Some(dir) = std::env::var_os(VICTIM) {
        return victim(Path::new(&dir)).await;
    }
    let dir = TempDir::new().unwrap();
    let this = "place::tests::caches::the_disk_cache_survives_a_kill";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", this, "--nocapture"])
        .env(VICTIM, dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let ready = dir.path().join("ready");
    while !ready.exists() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let ids = std::fs::read_to_string(ready).unwrap();
    let chunks: Vec<ChunkId> = ids.split(' ').map(|id| ChunkId(id.parse().unwrap())).collect();
    // Its network died with it.
    let fake = Arc::new(Fake::new(12));
    fake.fault(0..12, Fault::Dead);
    let (store, _meta) = open(dir.path(), &fake).await;
    all_read(&store, &chunks, LEN).await;
    assert_eq!(fake.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_cache_disk_only_stops_caching() {
    let dir = TempDir::new().unwrap();
    let cache = dir.path().join("store/cache");
    let Some(_disk) = SmallDisk::mount(&cache, "size=6m") else {
        eprintln!("skipped: this needs the right to mount");
        return;
    };
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..200, LEN).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    for _ in 0..3 {
        store.inner.memory.clear();
        all_read(&store, &chunks, LEN).await;
    }
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, LEN).await;
    store.shutdown().await;
    drop((store, meta));
    let (store, _meta) = open(dir.path(), &fake).await;
    all_read(&store, &chunks, LEN).await;
    store.shutdown().await;
}
