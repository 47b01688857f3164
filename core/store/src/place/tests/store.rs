//! A whole store over the fake network: plaintext in, plaintext back.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meta::{Durability, Meta};
use tempfile::TempDir;

use super::wait::until;
use super::world::{LONG, frame, pace};
use crate::place::network::fake::{Fake, Fault, OWNER, TERRITORY};
use crate::staging::Staging;
use crate::staging::row::{self, Place, StagedRow};
use crate::{
    ChunkId, DomainId, Error, Level, Owner, PackState, PassphraseCost, Store, StoreConfig, tables, testing,
};

pub(crate) const DOMAIN: DomainId = DomainId(1);

pub(crate) async fn open(dir: &Path, fake: &Arc<Fake>) -> (Store, Meta) {
    open_with(dir, fake, |_| {}).await
}

/// With other settings than usual.
pub(crate) async fn open_with(
    dir: &Path,
    fake: &Arc<Fake>,
    change: impl FnOnce(&mut StoreConfig),
) -> (Store, Meta) {
    let meta = testing::meta(dir);
    let store = open_over(dir, fake, meta.clone(), change).await;
    (store, meta)
}

/// Over metadata that are open already.
pub(crate) async fn open_over(
    dir: &Path,
    fake: &Arc<Fake>,
    meta: Meta,
    change: impl FnOnce(&mut StoreConfig),
) -> Store {
    let mut config = StoreConfig {
        pack_segments: 1,
        pack_max_age: Duration::from_secs(3600),
        staging_limit: 1 << 30,
        read_memory: 0,
        disk_cache: 32 << 20,
        passphrase_cost: PassphraseCost::LIGHT,
        owner: Some(OWNER),
        territory: TERRITORY.to_vec(),
        pace: pace(),
        ..StoreConfig::new(dir.join("store"))
    };
    change(&mut config);
    let network = Some((fake.clone() as _, OWNER));
    Store::open_over(config, meta, testing::passphrase("p"), network)
        .await
        .unwrap()
}

/// Content of the chunk that was written as number `number`.
pub(crate) fn content(number: u64, len: usize) -> Bytes {
    frame(ChunkId(number + 1_000_000), len)
}

pub(crate) async fn write(
    store: &Store,
    meta: &Meta,
    numbers: std::ops::Range<u64>,
    len: usize,
) -> Vec<ChunkId> {
    let mut staged = Vec::new();
    for number in numbers {
        let owner = Owner {
            inode: number,
            offset: 0,
        };
        staged.push(store.stage(DOMAIN, owner, content(number, len)).await.unwrap());
    }
    store.sync_staged().await.unwrap();
    let chunks = staged.iter().map(|staged| staged.id).collect();
    let store = store.clone();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        for chunk in &staged {
            store.record(tx, chunk)?;
        }
        Ok(())
    })
    .await
    .unwrap();
    chunks
}

pub(crate) async fn make_domain(store: &Store, meta: &Meta) {
    let store = store.clone();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| store.create_domain(tx, DOMAIN))
        .await
        .unwrap();
}

pub(crate) async fn all_read(store: &Store, chunks: &[ChunkId], len: usize) {
    for (number, chunk) in chunks.iter().enumerate() {
        let bytes = store.read(*chunk, 0..len as u32).await.unwrap();
        assert!(bytes == content(number as u64, len), "chunk {number}");
    }
}

/// Waits until staging holds nothing.
pub(crate) async fn reclaimed(store: &Store) {
    until(|| store.status().unwrap().staging_bytes == 0, || store.status()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_verified_is_read_from_four_miners_with_nothing_left_here() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let len = 200_000;
    let mut chunks = write(&store, &meta, 0..40, len).await;
    chunks.extend(write(&store, &meta, 40..45, len).await);
    assert_eq!(store.level(&chunks).unwrap(), Level::Staged);
    store.wait_level(&chunks[..3], Level::Placed, LONG).await.unwrap();
    store.flush(Level::Verified, LONG).await.unwrap();
    assert_eq!(store.level(&chunks).unwrap(), Level::Verified);
    reclaimed(&store).await;
    let status = store.status().unwrap();
    assert_eq!(status.unpacked_bytes, 0);
    assert!(
        status
            .packs
            .iter()
            .all(|pack| pack.state == PackState::Verified && pack.miners.len() == 12)
    );

    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, len).await;
    let accounts = fake.accounts();
    let (_, holders) = &fake.files()[0];
    let dead = accounts
        .iter()
        .enumerate()
        .filter(|(_, account)| holders[..8].contains(account));
    fake.fault(dead.map(|(number, _)| number), Fault::Dead);
    fake.chain_down(true);
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, len).await;
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_moment_loses_no_recorded_chunk() {
    let mut dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(13));
    let (mut store, mut meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let len = 100_000;
    let mut chunks = Vec::new();
    for round in 0..8 {
        chunks.extend(write(&store, &meta, round * 6..round * 6 + 6, len).await);
        let _ = store
            .flush(Level::Verified, Duration::from_millis(60 * round))
            .await;
        // The dead must not go on ordering space while the copy is taken.
        store.shutdown().await;
        let copy = TempDir::new().unwrap();
        testing::copy(dir.path(), copy.path());
        drop((store, meta));
        dir = copy;
        (store, meta) = open(dir.path(), &fake).await;
        store.drop_caches().await.unwrap();
        all_read(&store, &chunks, len).await;
    }
    store.flush(Level::Verified, LONG).await.unwrap();
    assert_eq!(
        (fake.most_declared(), fake.open_deals(), fake.locked_space()),
        (1, 0, 0)
    );
    reclaimed(&store).await;
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, len).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_pack_goes_and_its_chunks_with_it() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..5, 50_000).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    let (releasing, gone) = (store.clone(), chunks.clone());
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        gone.iter().try_for_each(|chunk| releasing.release(tx, *chunk))
    })
    .await
    .unwrap();
    until(|| store.status().unwrap().packs.is_empty(), || store.status()).await;
    assert_eq!(fake.deleted(), 1);
    store.drop_caches().await.unwrap();
    assert!(matches!(
        store.read(chunks[0], 0..1).await,
        Err(Error::UnknownChunk(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_explains_itself() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..5, 50_000).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    let segment = fake.data_of_first_file();
    let header = crate::pack::segment::Header::parse(&segment).unwrap();
    let sealed = &segment[header.index_range()];
    let plain = store
        .inner
        .keys
        .open_index(&segment[..super::super::build::BOUND], sealed)
        .unwrap();
    let index = crate::pack::index::Index::decode(&plain).unwrap();
    assert!(index.complete);
    assert_eq!(index.keys.len(), 1);
    assert_eq!(index.keys[0].domain, DOMAIN);
    let found: Vec<_> = index
        .entries
        .iter()
        .map(|entry| (entry.chunk, entry.owner.inode))
        .collect();
    let expected: Vec<_> = chunks.iter().copied().zip(0..).collect();
    assert_eq!(found, expected);
    let lens: u64 = index.entries.iter().map(|entry| u64::from(entry.len)).sum();
    assert_eq!(u64::from(header.index_offset), 64 + lens);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_cannot_pass_a_chunk_off_as_one_of_a_destroyed_domain() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..3, 50_000).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    fake.fault(0..12, Fault::Relabel);
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, 50_000).await;
    // A domain that is destroyed in truth is told from damage.
    store.drop_caches().await.unwrap();
    let destroying = store.clone();
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        destroying.destroy_domain(tx, DOMAIN)
    })
    .await
    .unwrap();
    for fault in [Fault::Relabel, Fault::None] {
        fake.fault(0..12, fault);
        assert!(matches!(store.read(chunks[0], 0..1).await, Err(Error::Key(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_staging_disk_refuses_to_give_comes_from_the_network() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..3, 50_000).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    // A place that no disk has: reading there is an error, not damaged bytes. The file is one that is
    // still needed.
    let kept = write(&store, &meta, 3..4, 50_000).await[0];
    let kept = Staging::row(&*meta.snapshot().unwrap(), kept).unwrap().unwrap();
    let Place::File { file, .. } = kept.place else {
        panic!("it rides in a row")
    };
    let row = StagedRow {
        plain_len: 50_000,
        frame_len: 50_048,
        owner: Owner { inode: 0, offset: 0 },
        place: Place::File {
            file,
            offset: 1 << 63,
        },
    };
    let key = tables::chunk_key(tables::STAGED, chunks[0]);
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        Ok(tx.put(&key, &row::encode(&row)?)?)
    })
    .await
    .unwrap();
    assert!(matches!(
        store.inner.staging.frame(chunks[0]),
        Err(Error::Disk(_))
    ));
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, 50_000).await;
}
