use meta::Meta;

use super::client::{Peer, Peers};
use super::key::PeerKey;
use crate::ReadSource;
use crate::members::rows;
use crate::place::tests::pair::Pair;
use crate::place::tests::store::{all_read, write};

const LEN: usize = 200_000;

fn peer(meta: &Meta, member: u16) -> Peer {
    let row = rows::get(&*meta.snapshot().unwrap(), member).unwrap().unwrap();
    Peer {
        address: row.address,
        key: row.key,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_staged_is_read_from_it_and_waits_for_it_when_it_is_away() {
    let pair = Pair::open(true).await;
    let (one, two, metas) = (&pair.one, pair.two(), &pair.metas);
    let chunks = write(one, &metas[0], 0..4, LEN).await;
    all_read(two, &chunks[..3], LEN).await;
    let trace = two.last_read(chunks[0]).unwrap();
    assert_eq!(trace.source, Some(ReadSource::Gateway));
    // A connection that was kept and closed meanwhile is replaced; one that cannot be had is an error.
    one.shutdown().await;
    let waits = two.read(chunks[3], 0..10).await.unwrap_err().to_string();
    assert!(
        waits.contains("gateway one") && waits.contains("waits for it"),
        "{waits}"
    );
    two.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_members_that_live_are_answered_and_only_the_one_asked_is_believed() {
    let pair = Pair::open(true).await;
    let (one, metas) = (&pair.one, &pair.metas);
    let chunk = write(one, &metas[0], 0..1, LEN).await[0];
    let asked = peer(&metas[0], 0);
    let of_two = Peers::new(PeerKey::of(&pair.dir.path().join("two/store")).unwrap());
    let frame = of_two.frame(&asked, chunk).await.unwrap().unwrap();
    assert_eq!(one.inner.staging.frame(chunk).unwrap().unwrap(), frame);
    assert_eq!(of_two.frame(&asked, crate::ChunkId(77_777)).await, Ok(None));
    // A stranger, with a good key that nobody knows.
    let stranger = Peers::new(PeerKey::of(&pair.dir.path().join("stranger")).unwrap());
    assert!(stranger.frame(&asked, chunk).await.is_err());
    // Another server than the one that is asked.
    let false_one = Peer {
        key: peer(&metas[0], 1).key,
        ..asked.clone()
    };
    assert!(of_two.frame(&false_one, chunk).await.is_err());
    // A member that was declared dead, on the connection that it has.
    one.inner.members.declare_dead(vec![(1, 1)]).await.unwrap();
    assert!(of_two.frame(&asked, chunk).await.is_err());
    pair.stop().await;
}
