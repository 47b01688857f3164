//! Miners, territory and chain that fail at each step.
use std::collections::BTreeSet;
use std::time::Duration;

use cess::chain::TerritoryState;

use super::world::World;
use crate::place::network::fake::Fault;
use crate::{ChainState, Level, PackState};

#[tokio::test(flavor = "multi_thread")]
async fn dead_miners_are_replaced_while_pushing() {
    let mut world = World::new(16);
    world.fake.fault([0, 3, 5, 9], Fault::Dead);
    world.record(&[1000, 9_000_000]).await;
    world.flush(Level::Verified).await.unwrap();
    let holders: BTreeSet<usize> = world.holders().into_iter().collect();
    assert_eq!(holders.len(), 12);
    assert!(holders.is_disjoint(&BTreeSet::from([0, 3, 5, 9])));
    assert_eq!(world.fake.most_declared(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_not_reported_goes_to_another_miner() {
    let mut world = World::new(14);
    world.fake.fault([2, 7], Fault::Silent);
    world.record(&[20_000_000]).await;
    world.flush(Level::Verified).await.unwrap();
    assert!(!world.holders().contains(&2) && !world.holders().contains(&7));
    world.all_read_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_report_still_completes_when_there_is_nobody_else() {
    let mut world = World::new(12);
    world.fake.fault([4], Fault::Silent);
    world.record(&[20_000_000]).await;
    let _ = world
        .flush_within(Level::Placed, Duration::from_millis(100))
        .await;
    world.until_error("no report in").await;
    assert_eq!(world.fake.open_deals(), 1);
    world.fake.fault([4], Fault::None);
    world.fake.report_now();
    world.flush(Level::Verified).await.unwrap();
    assert_eq!(world.fake.most_declared(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_that_dies_after_the_order_is_waited_for_when_there_is_nobody_else() {
    let mut world = World::new(12);
    world.fake.fault([4], Fault::Dead);
    world.record(&[1000]).await;
    let _ = world
        .flush_within(Level::Placed, Duration::from_millis(100))
        .await;
    world.until_error("no miner is left for 1 of 12 groups").await;
    world.fake.fault([4], Fault::None);
    world.flush(Level::Verified).await.unwrap();
    assert_eq!(world.fake.most_declared(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_than_twelve_miners_is_an_error_before_anything_is_ordered() {
    let mut world = World::new(12);
    world.fake.change_miner(3, |miner| miner.state = "frozen".into());
    world.record(&[1000]).await;
    let _ = world.flush_within(Level::Placed, Duration::from_millis(50)).await;
    world
        .until_error("miners: 11 can take 1 fragments of 8 MiB, 12 are needed")
        .await;
    assert_eq!(world.fake.most_declared(), 0);
    world
        .fake
        .change_miner(3, |miner| miner.state = "positive".into());
    world.flush(Level::Verified).await.unwrap();
    assert_eq!(world.packs()[0].last_error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_territory_that_cannot_pay_is_an_error_and_nothing_is_ordered() {
    let mut world = World::new(12);
    // Exactly what is needed is not enough.
    world
        .fake
        .change_territory(|territory| territory.remaining_space = 96 << 20);
    world.record(&[1000]).await;
    let _ = world.flush_within(Level::Placed, Duration::from_millis(50)).await;
    world
        .until_error("territory: 96 MiB remain, more than 96 MiB are needed")
        .await;
    world
        .fake
        .change_territory(|territory| territory.state = TerritoryState::Frozen);
    world.until_error("is Frozen; renew it").await;
    assert_eq!(world.fake.most_declared(), 0);
    world.fake.change_territory(|territory| {
        territory.state = TerritoryState::Active;
        territory.remaining_space = (96 << 20) + 1;
    });
    world.flush(Level::Verified).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_whose_answer_was_lost_is_not_sent_again() {
    let mut world = World::new(12);
    world.fake.lose_answers(true);
    world.record(&[1000]).await;
    world.flush(Level::Verified).await.unwrap();
    assert_eq!(world.fake.most_declared(), 1);
    assert_eq!(world.fake.open_deals(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_goes_away_only_delays() {
    let mut world = World::new(12);
    world.fake.fault(0..12, Fault::Silent);
    world.record(&[1000]).await;
    let _ = world.flush_within(Level::Placed, Duration::from_millis(50)).await;
    world.until_state(PackState::Declared).await;
    world.fake.chain_down(true);
    world.until_error("unreachable").await;
    world.fake.fault(0..12, Fault::None);
    world.fake.chain_down(false);
    world.fake.report_now();
    world.flush(Level::Verified).await.unwrap();
    assert_eq!(world.fake.most_declared(), 1);
    // Reads need no chain.
    world.fake.chain_down(true);
    world.remote.forget();
    world.all_read_back().await;
}

/// Bad miners are found by read-back, the pack is stored elsewhere and the old file deleted.
async fn found_and_avoided(fault: Fault, bad: usize) {
    let mut world = World::new(12 + bad);
    world.fake.fault(0..bad, fault);
    world.record(&[3_000_000, 70, 14_000_000]).await;
    world.flush(Level::Verified).await.unwrap();
    world.until("one pack", |packs| packs.len() == 1).await;
    let holders = world.holders();
    assert!(
        holders.iter().all(|holder| *holder >= bad),
        "{fault:?}: {holders:?}"
    );
    assert_eq!(world.fake.files().len(), 1);
    assert_eq!(world.fake.used_space(), 96 << 20);
    assert_eq!(world.fake.most_declared(), 1);
    world.until_reclaimed().await;
    world.all_read_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lying_miner_is_found_and_avoided() {
    found_and_avoided(Fault::Lie, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_lying_miners_are_found_and_avoided() {
    found_and_avoided(Fault::Lie, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_miners_are_found_and_avoided() {
    found_and_avoided(Fault::Forget, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupting_miners_are_found_and_avoided() {
    found_and_avoided(Fault::Corrupt, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_among_only_twelve_keeps_staging_and_orders_nothing_more() {
    let mut world = World::new(12);
    world.fake.fault([6], Fault::Lie);
    let chunks = world.record(&[1000]).await;
    world.flush(Level::Placed).await.unwrap();
    world
        .until_error("11 other miners are usable, 12 would be needed")
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.level(&chunks), Level::Placed);
    assert_eq!(
        (world.staged(), world.fake.files().len(), world.packs().len()),
        (1, 1, 1)
    );
    // It finds the fragment again, say from a disk that was away.
    world.fake.fault([6], Fault::None);
    world.fake.restore(6);
    world.flush(Level::Verified).await.unwrap();
    world.until_reclaimed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_that_dies_before_read_back_is_replaced_after_a_while() {
    let mut world = World::new(13);
    // Nothing is read back before the pack is placed: die in between.
    world.fake.fault(0..13, Fault::Silent);
    world.record(&[9_000_000]).await;
    let _ = world.flush_within(Level::Placed, Duration::from_millis(10)).await;
    world.until_state(PackState::Declared).await;
    world.fake.fault(0..13, Fault::None);
    world.flush(Level::Verified).await.unwrap();
    let holder = world.holders()[0];
    // Another pack meets the same miner dead, and is placed without it.
    world.fake.fault([holder], Fault::Dead);
    world.record(&[9_000_000]).await;
    world.flush(Level::Verified).await.unwrap();
    world.fake.fault([holder], Fault::None);
    world.all_read_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_corrupt_miners_do_not_stop_a_read() {
    let mut world = World::new(12);
    let chunks = world.record(&[3_000_000, 20_000_000]).await;
    world.flush(Level::Verified).await.unwrap();
    let holders = world.holders();
    world
        .fake
        .fault(holders[..2].iter().copied(), Fault::Slow(Duration::from_hours(1)));
    world.fake.fault(holders[2..4].iter().copied(), Fault::Corrupt);
    world.fake.fault(holders[4..6].iter().copied(), Fault::Forget);
    world.remote.forget();
    world.all_read_back().await;
    // Neighbours come from the segment that is decoded by now.
    let before = world.fake.bytes_read();
    world.read(chunks[0]).await.unwrap();
    assert_eq!(world.fake.bytes_read(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_chain_from_the_start_everything_waits_and_then_catches_up() {
    let fake = std::sync::Arc::new(crate::place::network::fake::Fake::new(12));
    fake.chain_down(true);
    let mut world = World::on(fake);
    let chunks = world.record(&[3_000_000]).await;
    let _ = world.flush_within(Level::Placed, Duration::from_millis(50)).await;
    world.until_error("unreachable").await;
    world.until_outlook(ChainState::Unreachable).await;
    assert_eq!(world.level(&chunks), Level::Staged);
    world.fake.chain_down(false);
    world.flush(Level::Verified).await.unwrap();
    world.until_outlook(ChainState::Serves).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outlook_says_what_is_wrong_with_the_chain_and_when_it_is_over() {
    let world = World::new(12);
    world.until_outlook(ChainState::Serves).await;
    assert_eq!(world.placing.outlook().reason, None);
    let reason = |world: &World| world.placing.outlook().reason.unwrap_or_default();
    world.fake.stall(true, false);
    world.until_outlook(ChainState::Stalled).await;
    assert!(
        reason(&world).starts_with("no block after "),
        "{}",
        reason(&world)
    );
    world.fake.stall(false, true);
    world.until_outlook(ChainState::Unfinal).await;
    assert!(reason(&world).contains("became final"), "{}", reason(&world));
    world.fake.stall(false, false);
    world.until_outlook(ChainState::Serves).await;
    world
        .fake
        .change_territory(|territory| territory.state = TerritoryState::Frozen);
    world.until_outlook(ChainState::Unpaid).await;
    assert!(
        reason(&world).contains("is Frozen; renew it"),
        "{}",
        reason(&world)
    );
    world.fake.change_territory(|territory| {
        territory.state = TerritoryState::Active;
        territory.remaining_space = 96 << 20;
    });
    let world = &world;
    world.until_reason("96 MiB remain").await;
    world
        .fake
        .change_territory(|territory| territory.remaining_space = 1 << 30);
    world.until_outlook(ChainState::Serves).await;
    let workers = world.workers.list();
    let watcher = workers.iter().find(|worker| worker.name == "watcher").unwrap();
    assert_eq!(watcher.failures, 3, "{watcher:?}");
}
