//! Whole segments from miners that do not answer: nobody waits for others' for ever.
use std::time::Duration;

use super::world::{LONG, World, settings};
use crate::place::network::fake::Fault;
use crate::read::trace::Log;
use crate::{ChunkId, Error, Level};

/// Content for all four data fragments.
const LENS: [usize; 4] = [8_000_000; 4];
const HOUR: Duration = Duration::from_secs(3600);

/// Where requests take at most `limit`.
fn world(miners: usize, limit: Duration) -> World {
    let mut settings = settings();
    settings.pace.get_timeout = limit;
    World::with(miners, settings)
}

/// Lets only `miners` take what is placed next.
async fn only(world: &World, miners: std::ops::Range<usize>) {
    for number in 0..world.fake.accounts().len() {
        world.fake.change_miner(number, |miner| {
            miner.idle_space = if miners.contains(&number) { 1 << 40 } else { 0 };
        });
    }
    // Until the list that is believed is a new one.
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn place(world: &mut World) -> ChunkId {
    let chunks = world.record(&LENS).await;
    world.flush(Level::Verified).await.unwrap();
    chunks[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_whose_miners_are_silent_keeps_nobody_from_decoding_another() {
    let mut world = world(24, HOUR);
    only(&world, 0..12).await;
    let silent = place(&mut world).await;
    only(&world, 12..24).await;
    let other = place(&mut world).await;
    let packs: Vec<u64> = world.packs().iter().map(|pack| pack.id).collect();
    world.fake.fault(0..12, Fault::Slow(10 * HOUR));
    let before = world.fake.requests();
    let (log, other_log) = (Log::new(false), Log::new(false));
    let waits = world.remote.whole_segment(silent, packs[0], 0, &log);
    let answered = async {
        // There is room for one segment at a time; the first reader has had its turn.
        while world.fake.requests() < before + 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let other = world.remote.whole_segment(other, packs[1], 0, &other_log);
        tokio::time::timeout(LONG, other).await
    };
    let bytes = tokio::select! {
        biased;
        early = waits => panic!("nobody answers: {early:?}"),
        answered = answered => answered.unwrap().unwrap(),
    };
    assert_eq!(bytes.len(), 32 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_room_to_decode_in_is_told_so() {
    let mut world = world(12, Duration::from_secs(1));
    let chunk = place(&mut world).await;
    let pack = world.packs()[0].id;
    let room = world.remote.memory().decode().await;
    let log = Log::new(false);
    let read = world.remote.whole_segment(chunk, pack, 0, &log);
    let refused = tokio::time::timeout(LONG, read).await.unwrap();
    let Err(Error::Unavailable { chunk: named, reason }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(named, chunk);
    assert!(reason.contains("store.read_memory"), "{reason}");
    drop(room);
    world.remote.whole_segment(chunk, pack, 0, &log).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_one_segment_share_its_failure() {
    let mut world = world(12, Duration::from_secs(1));
    let chunk = place(&mut world).await;
    let pack = world.packs()[0].id;
    world.fake.fault(0..12, Fault::Slow(HOUR));
    let before = world.fake.requests();
    let log = Log::new(false);
    let readers = (0..20).map(|_| world.remote.whole_segment(chunk, pack, 0, &log));
    for refused in futures::future::join_all(readers).await {
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    }
    // Twelve by what is known, twelve by what the chain says.
    let asked = world.fake.requests() - before;
    assert!(asked <= 24, "{asked} requests");
    world.fake.fault(0..12, Fault::None);
    world.remote.whole_segment(chunk, pack, 0, &log).await.unwrap();
}
