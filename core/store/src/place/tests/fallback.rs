//! What was reached and is lost again while somebody waits for it, or while it is looked at.
use std::time::Duration;

use super::wait::until;
use super::world::{LONG, World};
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
