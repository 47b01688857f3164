//! Crashes: everything dropped in the middle, and a copy of the directory opened.
use std::time::Duration;

use super::world::World;
use crate::place::network::fake::Fault;
use crate::{Level, PackState};

async fn ends_well(world: &World) {
    world.flush(Level::Verified).await.unwrap();
    world.until_reclaimed().await;
    assert_eq!(world.fake.most_declared(), 1, "declared once");
    assert_eq!((world.fake.open_deals(), world.fake.locked_space()), (0, 0));
    assert_eq!(world.fake.files().len(), 1);
    world.all_read_back().await;
}

/// Holds the pack where `hold` keeps it, crashes there, and lets it go on after `heal`.
async fn crash_at(state: PackState, hold: impl Fn(&World), heal: impl Fn(&World)) {
    let mut world = World::new(12);
    hold(&world);
    world.record(&[1000, 9_000_000, 500_000]).await;
    let _ = world.flush_within(Level::Placed, Duration::from_millis(1)).await;
    world.until_state(state).await;
    // What is only buffered may be lost in a crash; here it is not, so that the state is reached.
    world.meta.sync().await.unwrap();
    let world = world.crash().await;
    assert!(world.packs()[0].state >= state);
    heal(&world);
    ends_well(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pack_goes_on() {
    crash_at(PackState::Closed, |_| {}, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hashed_pack_goes_on() {
    crash_at(
        PackState::Hashed,
        |world| world.fake.chain_down(true),
        |world| world.fake.chain_down(false),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_pack_goes_on_with_the_same_deal() {
    crash_at(
        PackState::Declared,
        |world| world.fake.fault(3..12, Fault::Silent),
        |world| {
            world.fake.fault(3..12, Fault::None);
            world.fake.report_now();
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_placed_pack_goes_on_being_read_back() {
    crash_at(
        PackState::Placed,
        |world| world.fake.fault([5], Fault::Lie),
        |world| {
            world.fake.fault([5], Fault::None);
            world.fake.restore(5);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_pack_gives_staging_back() {
    crash_at(PackState::Verified, |_| {}, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_at_any_moment_order_nothing_twice_and_lose_nothing() {
    let mut world = World::new(13);
    world.record(&[1000, 9_000_000, 500_000]).await;
    for round in 0..12u64 {
        // Ever later moments of the whole path.
        let _ = world
            .flush_within(Level::Verified, Duration::from_millis(40 * round))
            .await;
        world = world.crash().await;
    }
    ends_well(&world).await;
}
