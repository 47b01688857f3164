//! Territory given back from packs in which little lives.
use std::sync::Arc;
use std::time::Duration;

use cess::chain::TerritoryState;
use meta::{Durability, Meta};
use tempfile::TempDir;

use super::store::{all_read, content, make_domain, open, open_with, reclaimed, write};
use super::wait::until;
use super::world::{LONG, World, settings};
use crate::place::Settings;
use crate::place::network::fake::{Fake, Fault};
use crate::reclaim::{mover, tally};
use crate::{ChunkId, Error, Level, Store, testing};

pub(super) const LEN: usize = 200_000;

/// Packs of `each` chunks, closed one after the other.
pub(super) async fn packs(store: &Store, meta: &Meta, count: u64, each: u64) -> Vec<ChunkId> {
    let mut chunks = Vec::new();
    for pack in 0..count {
        chunks.extend(write(store, meta, pack * each..(pack + 1) * each, LEN).await);
        store.flush(Level::Verified, LONG).await.unwrap();
    }
    assert_eq!(store.status().unwrap().packs.len() as u64, count);
    chunks
}

async fn release(store: &Store, meta: &Meta, chunks: &[ChunkId]) {
    let (store, gone) = (store.clone(), chunks.to_vec());
    meta.write::<(), Error, _>(Durability::Synced, move |tx| {
        gone.iter().try_for_each(|chunk| store.release(tx, *chunk))
    })
    .await
    .unwrap();
}

/// Waits until the chain lists `count` files.
async fn files(store: &Store, fake: &Fake, count: usize) {
    // The rows of a pack go after its file.
    let done = || fake.files().len() == count && store.status().unwrap().packs.len() == count;
    until(done, || store.status()).await;
}

/// Waits until a pack is on its way.
async fn declared(store: &Store, fake: &Fake) {
    until(|| fake.open_deals() > 0, || store.status()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_closed_early_are_merged_and_no_level_falls_meanwhile() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = packs(&store, &meta, 3, 4).await;
    let before = fake.used_space();

    let plan = store.reclaim_plan().await.unwrap();
    assert_eq!(plan.packs.len(), 3);
    assert_eq!(plan.freed_bytes as u128, before / 3 * 2);
    assert!(plan.worth > plan.cost);
    assert_eq!(store.status().unwrap().packs.len(), 3, "a plan changes nothing");

    store.drop_caches().await.unwrap();
    // The new pack cannot be placed yet.
    fake.fault(0..14, Fault::Silent);
    assert_eq!(store.reclaim().await.unwrap().packs, plan.packs);
    assert_eq!(store.level(&chunks).unwrap(), Level::Verified, "back in staging");
    declared(&store, &fake).await;
    assert_eq!(
        store.level(&chunks).unwrap(),
        Level::Verified,
        "on the way out again"
    );
    store.wait_level(&chunks, Level::Verified, LONG).await.unwrap();
    assert_eq!(
        fake.files().len(),
        3,
        "nothing is deleted before the new pack is verified"
    );
    fake.fault(0..14, Fault::None);
    fake.report_now();

    files(&store, &fake, 1).await;
    assert_eq!(fake.used_space(), before / 3);
    assert_eq!(store.level(&chunks).unwrap(), Level::Verified);
    store.flush(Level::Verified, LONG).await.unwrap();
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, LEN).await;
    assert!(
        store.reclaim_plan().await.unwrap().packs.is_empty(),
        "one stays one"
    );
    assert_eq!(fake.most_declared(), 1);
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dies_on_its_way_is_forgotten_with_its_packs() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = packs(&store, &meta, 2, 6).await;
    release(&store, &meta, &chunks[..2]).await;
    fake.fault(0..14, Fault::Silent);
    store.reclaim().await.unwrap();
    declared(&store, &fake).await;
    // One each of either old pack, in the pack that is on its way.
    release(&store, &meta, &[chunks[3], chunks[9]]).await;
    fake.fault(0..14, Fault::None);
    fake.report_now();
    files(&store, &fake, 1).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    let tallies = crate::reclaim::tally::all(&*meta.snapshot().unwrap()).unwrap();
    let [(_, tally)] = tallies[..] else {
        panic!("{tallies:?}")
    };
    assert_eq!((tally.chunks, tally.dead_chunks), (10, 2));
    assert_eq!(tally.dead_bytes, 2 * 200_048);
    store.drop_caches().await.unwrap();
    // Everything goes: the last file, too.
    let mut rest = Vec::new();
    for (number, chunk) in (0..).zip(&chunks) {
        if ![0, 1, 3, 9].contains(&number) {
            let bytes = store.read(*chunk, 0..LEN as u32).await.unwrap();
            assert!(bytes == content(number, LEN), "chunk {number}");
            rest.push(*chunk);
        }
    }
    release(&store, &meta, &rest).await;
    files(&store, &fake, 0).await;
    assert_eq!((fake.used_space(), fake.locked_space()), (0, 0));
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_in_the_middle_of_a_move_lose_nothing_and_it_ends_well() {
    let mut dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (mut store, mut meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = packs(&store, &meta, 3, 4).await;
    store.drop_caches().await.unwrap();
    for round in 0..6 {
        // Ever later moments of a move: reading back, naming, packing, placing, deleting.
        let moving = store.clone();
        let task = tokio::spawn(async move { moving.reclaim().await });
        tokio::time::sleep(Duration::from_millis(8 << round)).await;
        store.shutdown().await;
        task.abort();
        let _ = task.await;
        let copy = TempDir::new().unwrap();
        testing::copy(dir.path(), copy.path());
        drop((store, meta));
        dir = copy;
        (store, meta) = open(dir.path(), &fake).await;
        store.drop_caches().await.unwrap();
        all_read(&store, &chunks, LEN).await;
        assert_eq!(store.level(&chunks).unwrap(), Level::Verified);
    }
    store.reclaim().await.unwrap();
    store.flush(Level::Verified, LONG).await.unwrap();
    files(&store, &fake, 1).await;
    assert_eq!(
        (fake.most_declared(), fake.open_deals(), fake.locked_space()),
        (1, 0, 0)
    );
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, LEN).await;
    assert_eq!(store.status().unwrap().packs.len(), 1);
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_moved_for_which_the_territory_cannot_pay() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = packs(&store, &meta, 3, 4).await;
    reclaimed(&store).await;
    let before = fake.requests();
    let refused = async |why: &str| {
        for plan in [store.reclaim_plan().await, store.reclaim().await] {
            let plan = plan.unwrap();
            assert!(plan.packs.is_empty(), "{plan:#?}");
            let held_back = plan.held_back.unwrap();
            assert!(held_back.contains(why), "{held_back}");
        }
        assert_eq!(store.status().unwrap().staging_bytes, 0);
        assert_eq!(fake.requests(), before, "nothing was fetched");
    };
    // As much as is needed is not enough for the chain.
    let mut room = 0;
    fake.change_territory(|territory| {
        room = std::mem::replace(&mut territory.remaining_space, 96 << 20);
    });
    refused("room for 0 more segment(s) of 96 MiB").await;
    fake.change_territory(|territory| {
        territory.remaining_space = room;
        territory.state = TerritoryState::Frozen;
    });
    refused("is Frozen; renew it").await;
    fake.change_territory(|territory| {
        territory.remaining_space = (96 << 20) + 1;
        territory.state = TerritoryState::Active;
    });
    let plan = store.reclaim().await.unwrap();
    assert_eq!((plan.packs.len(), plan.held_back), (3, None));
    files(&store, &fake, 1).await;
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, LEN).await;
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_stops_before_the_segment_that_staging_has_no_room_for_and_goes_on_later() {
    let mut world = World::with(
        12,
        Settings {
            pack_segments: 2,
            ..settings()
        },
    );
    let chunks = world.record(&[8_000_000; 6]).await;
    world.flush(Level::Verified).await.unwrap();
    let pack = world.packs()[0].id;
    world
        .until("at rest", |packs| {
            let tally = tally::get(&*world.meta.snapshot().unwrap(), pack).unwrap();
            packs[0].segments == 2 && tally.is_some_and(|tally| tally.settled)
        })
        .await;
    let shared = &world.placing.shared;
    // Nobody else moves, and what is brought back is not packed meanwhile.
    world.workers.pause("reclaimer").unwrap();
    world.workers.pause("packer").unwrap();
    world.staging.set_room(Some(33_000_000));
    let stopped = mover::move_out(shared, pack).await;
    assert!(matches!(stopped, Err(Error::StagingFull { .. })), "{stopped:?}");
    assert_eq!(world.staged(), 4, "one segment");
    assert_eq!(world.level(&chunks), Level::Verified);
    let left = mover::left_bytes(&*world.meta.snapshot().unwrap(), pack, 2).unwrap();
    assert_eq!(left, 2 * 8_000_000);
    world.staging.set_room(None);
    mover::move_out(shared, pack).await.unwrap();
    assert_eq!(world.staged(), 6);
    world.workers.resume("packer").unwrap();
    world.flush(Level::Verified).await.unwrap();
    world
        .until("the old pack goes", |packs| {
            packs.iter().all(|seen| seen.id != pack)
        })
        .await;
    world.all_read_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_what_an_operator_asked_for_and_waits_for_it() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = packs(&store, &meta, 3, 4).await;
    // The second pack would take days.
    store.workers().limit("reclaimer", Some(1)).unwrap();
    let moving = store.clone();
    let asked = tokio::spawn(async move { moving.reclaim().await });
    let moved = || {
        let workers = store.workers().list();
        let reclaimer = workers.iter().find(|worker| worker.name == "reclaimer");
        reclaimer.is_some_and(|reclaimer| reclaimer.counters.contains_key("bytes moved"))
    };
    until(moved, || store.workers().list()).await;
    store.shutdown().await;
    let idle = |worker: &crate::workers::WorkerStatus| worker.working_on.is_empty();
    assert!(store.workers().list().iter().all(idle), "nobody works any more");
    let ended = tokio::time::timeout(LONG, asked).await.unwrap().unwrap();
    assert!(matches!(ended, Err(Error::ShuttingDown)), "{ended:?}");
    assert!(matches!(store.reclaim().await, Err(Error::ShuttingDown)));
    drop((store, meta));
    let (store, _meta) = open(dir.path(), &fake).await;
    assert_eq!(store.level(&chunks).unwrap(), Level::Verified);
    store.reclaim().await.unwrap();
    store.flush(Level::Verified, LONG).await.unwrap();
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, LEN).await;
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pays_is_reclaimed_without_being_asked() {
    let dir = TempDir::new().unwrap();
    let fake = Arc::new(Fake::new(14));
    let (store, meta) = open_with(dir.path(), &fake, |config| {
        config.reclaim.quiet = Duration::ZERO;
        config.pack_max_age = Duration::from_secs(3);
    })
    .await;
    make_domain(&store, &meta).await;
    let mut chunks = write(&store, &meta, 0..4, LEN).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    chunks.extend(write(&store, &meta, 4..8, LEN).await);
    store.wait_level(&chunks, Level::Verified, LONG).await.unwrap();
    files(&store, &fake, 1).await;
    store.drop_caches().await.unwrap();
    all_read(&store, &chunks, LEN).await;
    store.shutdown().await;
}
