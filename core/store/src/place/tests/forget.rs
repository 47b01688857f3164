//! A gateway that never comes back.
use super::pair::Pair;
use super::several::release;
use super::store::{all_read, reclaimed, write};
use super::wait::until;
use super::world::LONG;
use crate::members::Members;
use crate::{Error, Level, PackState, PackStatus};

const LARGE: usize = 200_000;
const SMALL: usize = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_never_comes_back_is_given_up_with_what_only_its_disk_had() {
    let mut pair = Pair::open(false).await;
    let meta = pair.metas[0].clone();
    let placed = write(pair.two(), &pair.metas[1], 0..3, LARGE).await;
    pair.two().wait_level(&placed, Level::Placed, LONG).await.unwrap();
    // In a pack that is not placed, and in none; of each what rides in rows and what does not.
    pair.fake.chain_down(true);
    let mut small = write(pair.two(), &pair.metas[1], 0..2, SMALL).await;
    let mut large = write(pair.two(), &pair.metas[1], 0..2, LARGE).await;
    pair.close_packs_of_two();
    let hashed = |pack: &PackStatus| pack.state == PackState::Hashed;
    until(|| pair.packs_of_two().iter().any(hashed), || pair.one.status()).await;
    small.extend(write(pair.two(), &pair.metas[1], 2..4, SMALL).await);
    large.extend(write(pair.two(), &pair.metas[1], 2..4, LARGE).await);
    let alive = pair.one.forget_plan(1).unwrap_err();
    assert!(alive.to_string().contains("gateway two runs"), "{alive}");

    pair.kill_two().await;
    pair.fake.chain_down(false);
    let one = &pair.one;
    assert!(one.forget_plan(0).is_err(), "not itself");
    let plan = one.forget_plan(1).unwrap();
    let mut lost: Vec<u64> = large.iter().map(|chunk| chunk.0).collect();
    lost.sort_unstable();
    let mut told = plan.lost.clone();
    told.sort_unstable();
    assert_eq!((told, plan.adopted), (lost, 4));
    assert!(plan.lost_bytes > 4 * LARGE as u64);
    assert_eq!(one.forget_plan(1).unwrap(), plan, "asking changes nothing");
    let mut done = one.forget(1).await.unwrap();
    done.lost.sort_unstable();
    assert_eq!(done.lost_bytes, plan.lost_bytes);

    for chunk in &large {
        assert!(one.read(*chunk, 0..10).await.is_err());
        let waited = one.wait_level(&[*chunk], Level::Placed, LONG).await;
        assert!(matches!(waited, Err(Error::Damaged(_))), "{waited:?}");
    }
    // Everything else is there, and on its way without the dead one; nobody else waits for what is lost.
    one.flush(Level::Verified, LONG).await.unwrap();
    assert_eq!(one.level(&placed).unwrap(), Level::Verified);
    all_read(one, &placed, LARGE).await;
    all_read(one, &small, SMALL).await;
    reclaimed(one).await;
    let gone = one.status().unwrap().gateways.remove(1);
    assert!(gone.forgotten && gone.staged_bytes == 0);
    let again = one.forget(1).await.unwrap();
    assert_eq!((again.lost.len(), again.adopted), (0, 0));
    release(one, &meta, &large).await;
    release(one, &meta, &small).await;

    let directory = pair.dir.path().join("two/store");
    let back = Members::join(pair.metas[1].clone(), &directory, "two".into(), LONG, [0; 32]).await;
    let refused = back.err().unwrap();
    assert!(refused.to_string().contains("given up"), "{refused}");
    pair.stop().await;
}
