//! Declarations that hang, expire or meet a stranger's: each file is ordered once.
use std::time::Duration;

use super::world::World;
use crate::place::network::fake::Fault;
use crate::{Level, PackState};

/// Starts to place one pack.
async fn begin(world: &mut World) {
    world.record(&[3_000_000]).await;
    let _ = world.flush_within(Level::Placed, Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_that_hangs_in_a_pool_is_waited_for_across_a_crash() {
    let mut world = World::new(12);
    world.fake.hold_pool(true);
    begin(&mut world).await;
    // The answer never came: whatever is sent from now on would be a second one.
    world.until_error("unreachable").await;
    world.fake.hold_pool(false);
    let world = world.crash().await;
    // Long enough for many looks.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.fake.most_sent(), 1);
    assert_eq!(world.packs()[0].state, PackState::Hashed);
    world.fake.include_pool();
    world.flush(Level::Verified).await.unwrap();
    assert_eq!((world.fake.most_sent(), world.fake.most_declared()), (1, 1));
    world.all_read_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_that_can_never_be_included_is_sent_again() {
    let mut world = World::new(12);
    world.fake.hold_pool(true);
    begin(&mut world).await;
    world.until_error("unreachable").await;
    world.fake.hold_pool(false);
    world.fake.expire_pool();
    world.flush(Level::Verified).await.unwrap();
    assert_eq!((world.fake.most_sent(), world.fake.most_declared()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_file_under_our_fid_makes_us_take_another() {
    let mut world = World::new(12);
    world.fake.hold_pool(true);
    begin(&mut world).await;
    world.until_error("unreachable").await;
    // They saw it in the pool and were quicker; ours never gets into a block.
    let seen = world.fake.pooled()[0];
    world.fake.stranger_completes(seen);
    world.fake.hold_pool(false);
    // As long as ours could come, nothing is decided.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.packs()[0].fid, Some(seen.to_string()));
    world.fake.expire_pool();
    world.flush(Level::Verified).await.unwrap();
    assert_ne!(world.packs()[0].fid, Some(seen.to_string()));
    assert_eq!(world.fake.most_sent(), 1);
    assert_eq!(world.fake.used_space(), 96 << 20);
    world.all_read_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_in_a_strangers_file_is_given_up() {
    let mut world = World::new(12);
    world.fake.hold_pool(true);
    begin(&mut world).await;
    world.until_error("unreachable").await;
    let seen = world.fake.pooled()[0];
    world.fake.stranger_completes(seen);
    world.fake.hold_pool(false);
    // Ours comes second and makes us pay for their file.
    world.fake.include_pool();
    world.flush(Level::Verified).await.unwrap();
    assert_ne!(world.packs()[0].fid, Some(seen.to_string()));
    assert_eq!(world.fake.used_space(), 96 << 20);
    assert_eq!(world.fake.locked_space(), 0);
    world.all_read_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_overwrites_our_open_deal_makes_us_take_another_fid() {
    let mut world = World::new(13);
    world.fake.fault(0..13, Fault::Silent);
    begin(&mut world).await;
    world.until_state(PackState::Declared).await;
    let seen = world.fake.deals()[0];
    world.fake.stranger_declares(seen);
    world.fake.fault(0..13, Fault::None);
    world.flush(Level::Verified).await.unwrap();
    let packs = world.packs();
    assert_eq!(packs.len(), 1);
    assert_ne!(packs[0].fid, Some(seen.to_string()));
    let workers = world.workers.list();
    let placer = workers.iter().find(|worker| worker.name == "placer").unwrap();
    assert_eq!(placer.counters["packs laid out again"], 1);
    world.all_read_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_staging_before_the_file_is_final() {
    let mut world = World::new(12);
    world.fake.stall(false, true);
    let chunks = world.record(&[3_000_000]).await;
    world.flush(Level::Placed).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((world.level(&chunks), world.staged()), (Level::Placed, 1));
    assert_eq!(world.packs()[0].last_error, None);
    world.fake.stall(false, false);
    world.flush(Level::Verified).await.unwrap();
    world.until_reclaimed().await;
}

/// The chain takes a completed file back, with or without its order; the pack gets there again.
async fn retracted(order: bool) {
    let mut world = World::new(12);
    world.fake.stall(false, true);
    let chunks = world.record(&[3_000_000]).await;
    world.flush(Level::Placed).await.unwrap();
    world.fake.fault(0..12, Fault::Silent);
    world.fake.retract(order);
    world
        .until("back", |packs| packs[0].state < PackState::Placed)
        .await;
    assert_eq!(world.level(&chunks), Level::Staged);
    world.fake.stall(false, false);
    world.fake.fault(0..12, Fault::None);
    world.fake.report_now();
    world.flush(Level::Verified).await.unwrap();
    assert_eq!(world.fake.most_sent(), 1 + u32::from(order));
    assert_eq!(
        (world.fake.used_space(), world.fake.locked_space()),
        (96 << 20, 0)
    );
    world.until_reclaimed().await;
    world.all_read_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retracted_report_is_waited_for_again() {
    retracted(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retracted_order_is_sent_again() {
    retracted(true).await;
}
