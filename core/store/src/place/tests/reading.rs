//! What a read costs, and what it does when miners are slow, wrong or gone.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::store::{all_read, make_domain, open, write};
use super::world::{LONG, World, frame, settings};
use crate::place::network::fake::{Fake, Fault};
use crate::read::trace::Log;
use crate::{ChunkId, Level, ReadOutcome, ReadSource, ReadTrace, Store};

const LEN: usize = 262_200;
const READ: u64 = LEN as u64;

/// A world with a segment of chunks on the network: 0 to 30 lie in fragment 0, 31 straddles two.
async fn placed() -> (World, Vec<ChunkId>) {
    let mut world = World::new(12);
    let chunks = world.record(&[LEN; 120]).await;
    world.flush(Level::Verified).await.unwrap();
    (world, chunks)
}

/// Requests and bytes that `read` takes.
async fn cost(world: &World, chunk: ChunkId) -> (u64, u64) {
    let before = (world.fake.requests(), world.fake.bytes_read());
    world.read(chunk).await.unwrap();
    (
        world.fake.requests() - before.0,
        world.fake.bytes_read() - before.1,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_read_costs_one_ranged_request() {
    let (world, chunks) = placed().await;
    assert_eq!(cost(&world, chunks[7]).await, (1, READ));
    assert_eq!(
        cost(&world, chunks[31]).await,
        (2, READ),
        "it lies in two fragments"
    );
    let before = (world.fake.requests(), world.fake.bytes_read());
    let runs = world.remote.runs(&chunks[..10]);
    assert_eq!(runs.len(), 1);
    let frames = world.remote.fetch_run(&runs[0], &Log::new(true)).await;
    assert_eq!(world.fake.requests() - before.0, 1);
    assert_eq!(world.fake.bytes_read() - before.1, 10 * READ, "read in one go");
    assert_eq!(frames.len(), 10);
    for (chunk, bytes) in frames {
        assert_eq!(bytes, frame(chunk, LEN));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_miner_held_is_rebuilt_from_the_same_range_of_four_others() {
    let (world, chunks) = placed().await;
    let holders = world.holders();
    world.fake.fault([holders[0]], Fault::Dead);
    assert_eq!(cost(&world, chunks[0]).await, (5, 4 * READ));
    assert_eq!(cost(&world, chunks[1]).await, (5, 4 * READ));
    // By now it is asked only when the others cannot help.
    assert_eq!(cost(&world, chunks[2]).await, (4, 4 * READ));
    // Nothing else is decoded when only four are left.
    world.fake.fault(holders[..8].iter().copied(), Fault::Dead);
    world.all_read_back().await;
    assert!(world.remote.memory_used() == 0, "no segment was decoded");
    let neighbours = world.remote.runs(&chunks[..10]);
    let frames = world.remote.fetch_run(&neighbours[0], &Log::new(true)).await;
    assert_eq!(frames.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_that_is_back_after_an_outage_is_read_from_soon() {
    let (world, chunks) = placed().await;
    world.fake.fault(0..12, Fault::Dead);
    for chunk in &chunks[..20] {
        world.read(*chunk).await.unwrap_err();
    }
    world.fake.fault(0..12, Fault::None);
    // Failures in such numbers fade within minutes.
    let deadline = tokio::time::Instant::now() + LONG;
    while cost(&world, chunks[0]).await.0 > 1 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_than_were_stored_cost_a_rebuild_and_the_miner_its_name() {
    let (world, chunks) = placed().await;
    let holders = world.holders();
    world.fake.fault([holders[0]], Fault::Corrupt);
    assert_eq!(cost(&world, chunks[0]).await, (5, 5 * READ));
    cost(&world, chunks[1]).await;
    cost(&world, chunks[2]).await;
    assert_eq!(cost(&world, chunks[3]).await, (4, 4 * READ), "it is known by now");
    // One more, among those that a rebuild takes: now only hashes tell who is right.
    world.fake.fault([holders[1], holders[4]], Fault::Corrupt);
    world.all_read_back().await;
    assert_eq!(world.remote.memory_used(), 32 << 20, "a segment was decoded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_that_became_slow_is_hedged_by_its_own_measure() {
    let mut settings = settings();
    // No constant patience would end within this test.
    settings.pace.hedge = Duration::from_hours(2);
    settings.pace.get_timeout = Duration::from_hours(1);
    let mut world = World::with(12, settings);
    let chunks = world.record(&[LEN; 40]).await;
    world.flush(Level::Verified).await.unwrap();
    world.all_read_back().await;
    let slow = world.holders()[0];
    world.fake.fault([slow], Fault::Slow(Duration::from_hours(3)));
    for chunk in &chunks[..10] {
        world.read(*chunk).await.unwrap();
    }
}

async fn placed_store(dir: &TempDir, chunks: u64) -> (Arc<Fake>, Store, Vec<ChunkId>) {
    let fake = Arc::new(Fake::new(12));
    let (store, meta) = open(dir.path(), &fake).await;
    make_domain(&store, &meta).await;
    let chunks = write(&store, &meta, 0..chunks, 200_000).await;
    store.flush(Level::Verified, LONG).await.unwrap();
    store.drop_caches().await.unwrap();
    (fake, store, chunks)
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_one_chunk_share_one_request() {
    let dir = TempDir::new().unwrap();
    let (fake, store, chunks) = placed_store(&dir, 3).await;
    let before = fake.requests();
    let readers = (0..40u32).map(|number| {
        let (store, chunk) = (store.clone(), chunks[1]);
        async move { store.read(chunk, number * 4096..number * 4096 + 4096).await }
    });
    let parts = futures::future::try_join_all(readers).await.unwrap();
    assert_eq!(fake.requests() - before, 1);
    let whole = store.read(chunks[1], 0..40 * 4096).await.unwrap();
    assert!(parts.concat() == whole);
    assert_eq!(fake.requests() - before, 1, "it is in memory now");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_ahead_comes_in_few_requests_and_readers_join_it() {
    let dir = TempDir::new().unwrap();
    let (fake, store, chunks) = placed_store(&dir, 40).await;
    let before = fake.requests();
    assert_eq!(store.prefetch(&chunks), 40);
    assert_eq!(store.prefetch(&chunks), 40, "they are on their way");
    all_read(&store, &chunks, 200_000).await;
    // Eight million bytes in runs of at most four, one of which may straddle two fragments.
    let requests = fake.requests() - before;
    assert!((2..=4).contains(&requests), "{requests}");
    let trace = store.last_read(chunks[5]).unwrap();
    assert!(
        trace.ahead && trace.source == Some(ReadSource::Range),
        "{trace:?}"
    );
    assert_eq!(store.status().unwrap().read_memory.0, 0, "all room is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_ahead_of_readers_stays_in_its_memory() {
    let dir = TempDir::new().unwrap();
    let (fake, store, chunks) = placed_store(&dir, 150).await;
    fake.fault(0..12, Fault::Slow(Duration::from_millis(200)));
    assert!(store.prefetch_limit() > 0);
    let taken = store.prefetch(&chunks);
    assert!(taken > 0 && taken < chunks.len(), "{taken}");
    let (used, most) = store.status().unwrap().read_memory;
    assert!(used > 0 && used <= most, "{used} of {most}");
    assert_eq!(store.prefetch(&chunks[taken..]), 0);
    all_read(&store, &chunks, 200_000).await;
    assert_eq!(store.status().unwrap().read_memory.0, 0);
}

/// Accounts that were asked, by outcome.
fn asked(trace: &ReadTrace, outcome: impl Fn(&ReadOutcome) -> bool) -> BTreeSet<&str> {
    let steps = trace.steps.iter().filter(|step| outcome(&step.outcome));
    steps.map(|step| step.miner.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_read_of_a_chunk_can_be_told() {
    let dir = TempDir::new().unwrap();
    let (fake, store, chunks) = placed_store(&dir, 3).await;
    assert_eq!(store.last_read(chunks[0]), None);
    store.read(chunks[0], 0..4096).await.unwrap();
    let trace = store.last_read(chunks[0]).unwrap();
    assert_eq!((trace.source, trace.steps.len()), (Some(ReadSource::Range), 1));
    assert_eq!(trace.steps[0].outcome, ReadOutcome::Answered);
    assert!(store.in_memory(chunks[0]));

    store.inner.memory.clear();
    store.read(chunks[0], 0..4096).await.unwrap();
    let trace = store.last_read(chunks[0]).unwrap();
    assert_eq!(
        (trace.source, trace.steps.len()),
        (Some(ReadSource::DiskCache), 0)
    );

    fake.fault(0..12, Fault::Dead);
    assert!(store.read(chunks[1], 0..1).await.is_err());
    let trace = store.last_read(chunks[1]).unwrap();
    assert!(trace.source.is_none() && trace.error.is_some(), "{trace:?}");
    let failed = asked(&trace, |outcome| matches!(outcome, ReadOutcome::Failed(_)));
    // So few chunks leave three data fragments empty: those need nobody.
    assert_eq!(failed.len(), 9, "everybody was asked");

    fake.fault(0..12, Fault::None);
    store.read(chunks[1], 0..1).await.unwrap();
    let trace = store.last_read(chunks[1]).unwrap();
    assert_eq!(
        trace.source,
        Some(ReadSource::Rebuilt),
        "the holder keeps failing"
    );
    assert_eq!(
        asked(&trace, |outcome| *outcome == ReadOutcome::Answered).len(),
        1
    );
}
