//! What the disk cache is worth when the network is gone, and that it is not believed.
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::store::{all_read, make_domain, open, write};
use super::world::LONG;
use crate::place::network::fake::{Fake, Fault};
use crate::{Error, Level};

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
