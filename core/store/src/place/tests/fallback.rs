//! What was reached and is lost again while somebody waits for it, or while it is looked at.
use std::time::Duration;

use super::wait::until;
use super::world::{LONG, World};
use crate::pack::record;
use crate::place::network::fake::Fault;
use crate::place::{levels, verify};
use crate::{Level, PackState};

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_two_packs_is_not_answered_once_the_first_has_fallen_back() {
    let mut world = World::new(12);
    // Placed, and never read back.
    world.fake.stall(false, true);
    let mut chunks = world.record(&[9_000_000]).await;
    world.flush(Level::Placed).await.unwrap();
    let first = world.packs()[0].id;
    world.fake.fault(0..12, Fault::Silent);
    chunks.extend(world.record(&[8_000_000]).await);
    let waiting = levels::wait(&world.meta, Some(&world.placing), &chunks, Level::Placed, LONG);
    tokio::pin!(waiting);
    let short = Duration::from_millis(300);
    while !world.packs().iter().any(|pack| pack.state == PackState::Declared) {
        assert!(tokio::time::timeout(short, &mut waiting).await.is_err());
    }
    // Its chunks are ordered anew, which takes until the pool lets go of the order.
    world.fake.hold_pool(true);
    verify::retire(&world.placing.shared, first, false, "liars".into())
        .await
        .unwrap();
    world.fake.fault(0..12, Fault::None);
    world.fake.report_now();
    world
        .until("the second pack is placed", |packs| {
            packs
                .iter()
                .any(|pack| pack.id != first && pack.state == PackState::Placed)
        })
        .await;
    assert_eq!(world.level(&chunks), Level::Staged);
    assert!(tokio::time::timeout(short, &mut waiting).await.is_err());
    until(|| !world.fake.pooled().is_empty(), || world.packs()).await;
    world.fake.include_pool();
    world.fake.hold_pool(false);
    waiting.await.unwrap();
    assert_eq!(world.level(&chunks), Level::Placed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_took_the_place_of_one_that_was_read_back_is_read_back_itself() {
    let mut world = World::new(13);
    // Lists nothing new, and holds nothing.
    world.fake.change_miner(12, |miner| miner.state = "frozen".into());
    world.fake.fault([5], Fault::Forget);
    let chunks = world.record(&[1000]).await;
    world.flush(Level::Placed).await.unwrap();
    world
        .until_error("11 other miners are usable, 12 would be needed")
        .await;
    // All but one are read back by now. A final block names another holder for one of those.
    let index = world.holders().iter().position(|holder| *holder != 5).unwrap();
    let stranger = world.fake.accounts()[12];
    let before = world.fake.accounts()[world.holders()[index]];
    let name = |account| {
        world
            .fake
            .change_files(|file| file.segments[0].1[index].miner = account);
    };
    name(stranger);
    let pack = world.packs()[0].id;
    let noted = || {
        let names = record::names(&*world.meta.snapshot().unwrap(), pack)
            .unwrap()
            .unwrap();
        names.holder(0, index).unwrap().account == stranger.0
    };
    until(noted, || world.packs()).await;
    world.fake.fault([5], Fault::None);
    let doubt = format!(
        "fragment {index} at {}",
        stranger.to_ss58(cess::account::SS58_PREFIX)
    );
    world
        .until("one fragment is doubted, or none", |packs| {
            packs[0].state == PackState::Verified
                || packs[0]
                    .last_error
                    .as_ref()
                    .is_some_and(|error| error.contains(&doubt) && !error.contains("; fragment"))
        })
        .await;
    assert_eq!(world.level(&chunks), Level::Placed);
    name(before);
    world.flush(Level::Verified).await.unwrap();
}
