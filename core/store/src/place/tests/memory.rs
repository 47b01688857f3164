//! Memory of packs on their way, with many of them and slow miners.
use std::time::Duration;

use super::world::{World, settings};
use crate::Level;
use crate::place::Settings;
use crate::place::memory::SEGMENT_MEMORY;
use crate::place::network::fake::Fault;

/// Fragments of one segment.
const SEGMENT_PUSHED: u64 = 12 * (8 << 20);

/// Places six packs over slow miners, some of them dead, with room for so many segments; answers
/// the most bytes that were taken and that were being pushed at a time.
async fn place_many(segments: u64) -> (u64, u64) {
    let mut world = World::with(
        15,
        Settings {
            upload_memory: segments * SEGMENT_MEMORY,
            ..settings()
        },
    );
    world.fake.fault(0..15, Fault::Slow(Duration::from_millis(100)));
    world.fake.fault([2, 9], Fault::Dead);
    world.record(&[20_000_000; 6]).await;
    world.flush(Level::Verified).await.unwrap();
    let (now, most, limit) = world.placing.upload_memory();
    assert_eq!(now, 0);
    assert_eq!(limit, segments * SEGMENT_MEMORY);
    world.fake.fault(0..15, Fault::None);
    world.all_read_back().await;
    (most, world.fake.most_pushing())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_packs_stay_in_the_memory_of_one_segment() {
    let (most, pushing) = place_many(1).await;
    assert_eq!(most, SEGMENT_MEMORY);
    assert!(pushing <= SEGMENT_PUSHED, "{pushing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_pushed_in_parallel_as_far_as_memory_goes() {
    let (most, pushing) = place_many(3).await;
    assert!(most <= 3 * SEGMENT_MEMORY, "{most}");
    assert!(pushing <= 3 * SEGMENT_PUSHED, "{pushing}");
    assert!(pushing > SEGMENT_PUSHED, "nothing was parallel: {pushing}");
}
