//! The path when nothing breaks.
use std::collections::BTreeSet;
use std::time::Duration;

use cess::codec::SEGMENT_SIZE;

use super::world::{World, settings};
use crate::place::network::fake::{Fault, OWNER};
use crate::{ChunkId, Error, Level, PackState};

#[tokio::test(flavor = "multi_thread")]
async fn chunks_reach_twelve_miners_and_read_back_with_eight_of_them_dead() {
    let mut world = World::new(15);
    let chunks = world
        .record(&[200_000, 70, 262_200, 5_000_000, 9_000_000, 33])
        .await;
    assert_eq!(world.level(&chunks), Level::Staged);
    world.flush(Level::Placed).await.unwrap();
    assert!(world.level(&chunks) >= Level::Placed);
    world.flush(Level::Verified).await.unwrap();
    assert_eq!(world.level(&chunks), Level::Verified);
    let packs = world.packs();
    assert_eq!(packs.len(), 1);
    assert_eq!(packs[0].state, PackState::Verified);
    assert_eq!(packs[0].miners.iter().collect::<BTreeSet<_>>().len(), 12);
    assert_eq!(packs[0].chunks, 6);
    assert_eq!(packs[0].last_error, None);
    let files = world.fake.files();
    assert_eq!(packs[0].fid, Some(files[0].0.to_string()));
    assert_eq!(world.fake.used_space(), 96 << 20);
    world.until_reclaimed().await;

    world.all_read_back().await;
    let holders = world.holders();
    // Data fragments first: what is left is parity.
    world.fake.fault(holders[..8].iter().copied(), Fault::Dead);
    world.remote.forget();
    world.all_read_back().await;
    // Two fragments of this pack are zeros and need no miner; with eleven dead there are too few.
    world.fake.fault(holders[8..11].iter().copied(), Fault::Dead);
    world.remote.forget();
    assert!(matches!(
        world.read(chunks[0]).await,
        Err(Error::Unavailable { .. })
    ));
    world.fake.fault(holders, Fault::None);
    world.all_read_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_of_several_segments_is_one_file() {
    let mut world = World::with(
        12,
        crate::place::Settings {
            pack_segments: 2,
            ..settings()
        },
    );
    let len = 4_000_000;
    let count = 2 * (SEGMENT_SIZE / len) + 3;
    world.record(&vec![len; count]).await;
    world.flush(Level::Verified).await.unwrap();
    let packs = world.packs();
    assert_eq!(packs.iter().map(|pack| pack.segments).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(packs.iter().map(|pack| pack.chunks).sum::<u64>(), count as u64);
    world.until_reclaimed().await;
    world.all_read_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pack_closes_by_itself_and_the_rest_waits() {
    let mut world = World::new(12);
    let len = 8_000_000;
    world.record(&[len; 6]).await;
    world.until_state(PackState::Verified).await;
    assert_eq!(world.packs().len(), 1);
    assert_eq!(world.packs()[0].chunks, 4);
    assert_eq!(world.level(&[ChunkId(5)]), Level::Staged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_has_packs_of_its_own() {
    let mut world = World::new(12);
    let len = 8_000_000;
    // Two writers in turns; only one of them fills a pack.
    let chunks = world.record_of(&[len; 9], |number| 1 + number % 2).await;
    world.until_state(PackState::Verified).await;
    let packs = world.packs();
    assert_eq!(packs.iter().map(|pack| pack.chunks).collect::<Vec<_>>(), [4]);
    for chunk in chunks {
        let packed = chunk.0 % 2 == 0 && chunk.0 < 8;
        let expected = if packed { Level::Verified } else { Level::Staged };
        assert_eq!(world.level(&[chunk]), expected, "{chunk:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_pack_closes_however_empty() {
    let aged = crate::place::Settings {
        pack_max_age: Duration::from_millis(50),
        ..settings()
    };
    let mut world = World::with(12, aged);
    let chunks = world.record(&[10]).await;
    world.until_state(PackState::Verified).await;
    assert_eq!(world.level(&chunks), Level::Verified);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_half_of_a_small_staging_does_not_wait_for_a_full_pack() {
    let config = |staging_limit, pack_segments| crate::StoreConfig {
        staging_limit,
        pack_segments,
        ..crate::StoreConfig::new("nowhere".into())
    };
    let of = |staging_limit, pack_segments| {
        let settings = crate::place::Settings::of(&config(staging_limit, pack_segments), OWNER).unwrap();
        (settings.pack_segments, settings.most_waiting)
    };
    assert_eq!(of(16 << 30, 8), (8, 8 << 30));
    assert_eq!(of(512 << 20, 8), (8, 256 << 20), "two packs");
    assert_eq!(of(500 << 20, 8), (7, 250 << 20));
    assert_eq!(of(10 << 20, 8), (1, 5 << 20));

    let mut world = World::with(
        12,
        crate::place::Settings {
            most_waiting: 5 << 20,
            ..settings()
        },
    );
    let mut chunks = world.record(&[5_000_000]).await;
    // Nobody waits for them, and their hour is far from over.
    world
        .until("the packer looked", |_| world.placing.shared.waiting() > 0)
        .await;
    assert_eq!(world.packs().len(), 0);
    chunks.extend(world.record(&[500_000]).await);
    world.until_state(PackState::Verified).await;
    assert_eq!(world.level(&chunks), Level::Verified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_covers_what_was_recorded_before_and_says_when_it_is_too_early() {
    let mut world = World::new(12);
    world.flush(Level::Verified).await.unwrap();
    assert!(world.packs().is_empty(), "nothing to do, nothing done");
    world.fake.chain_down(true);
    world.record(&[1000]).await;
    let early = world
        .flush_within(Level::Placed, Duration::from_millis(100))
        .await;
    assert!(matches!(early, Err(Error::NotYet(Level::Placed))));
    world.flush_within(Level::Staged, Duration::ZERO).await.unwrap();
    world.fake.chain_down(false);
    world.flush(Level::Placed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_in_which_nothing_lives_is_deleted_from_the_chain() {
    let mut world = World::new(12);
    let chunks = world.record(&[1000, 2000, 3000]).await;
    world.flush(Level::Verified).await.unwrap();
    world.release(&chunks[..2]).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(world.fake.deleted(), 0, "one chunk lives");
    world.read(chunks[2]).await.unwrap();
    world.release(&chunks[2..]).await;
    world.until("forgotten", |packs| packs.is_empty()).await;
    assert_eq!(world.fake.deleted(), 1);
    assert_eq!(world.fake.used_space(), 0);
    let missing = world
        .remote
        .fetch_frame(chunks[2], &|_| true, &crate::read::trace::Log::new(false))
        .await;
    assert!(matches!(missing, Err(Error::UnknownChunk(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_dies_before_it_is_declared_never_is() {
    let mut world = World::new(12);
    world.fake.chain_down(true);
    let chunks = world.record(&[1000, 2000]).await;
    let _ = world.flush_within(Level::Placed, Duration::from_millis(50)).await;
    world.until_state(PackState::Hashed).await;
    world.release(&chunks).await;
    world.until("forgotten", |packs| packs.is_empty()).await;
    assert_eq!(world.staged(), 0, "its space in staging is given back");
    world.fake.chain_down(false);
    world.flush(Level::Verified).await.unwrap();
    assert_eq!(world.fake.most_declared(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_that_wait_together_are_declared_together() {
    let mut world = World::new(12);
    world.fake.chain_down(true);
    world.record(&[16_000_000; 3]).await;
    let _ = world.flush_within(Level::Placed, Duration::from_millis(50)).await;
    world
        .until("two hashed", |packs| {
            packs
                .iter()
                .filter(|pack| pack.state == PackState::Hashed)
                .count()
                == 2
        })
        .await;
    world.fake.chain_down(false);
    world.flush(Level::Verified).await.unwrap();
    assert_eq!(world.fake.batches().iter().sum::<usize>(), 2);
    assert_eq!(world.fake.files().len(), 2);
    world.all_read_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_placer_leaves_packs_where_they_are() {
    let mut world = World::new(12);
    world.workers.pause("placer").unwrap();
    world.record(&[1000]).await;
    let _ = world.flush_within(Level::Placed, Duration::from_millis(10)).await;
    world.until("closed", |packs| packs.len() == 1).await;
    assert_eq!(world.packs()[0].state, PackState::Closed);
    world.workers.resume("placer").unwrap();
    world.flush(Level::Verified).await.unwrap();
    let workers = world.workers.list();
    let placer = workers.iter().find(|worker| worker.name == "placer").unwrap();
    assert_eq!(placer.counters["packs placed"], 1);
    // Zero fragments are pushed like others.
    assert_eq!(placer.counters["bytes pushed"], (12 * 8) << 20);
    assert_eq!(placer.last_error, None);
}
