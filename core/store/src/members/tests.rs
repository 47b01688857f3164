use std::time::Instant;

use meta::Durability;

use super::beat::Observer;
use super::lease::{Lease, Wish};
use super::*;
use crate::testing;

const PATIENCE: Duration = Duration::from_secs(10);

async fn join(meta: &Meta, dir: &Path, name: &str) -> Arc<Members> {
    Members::join(meta.clone(), &dir.join(name), name.to_owned(), PATIENCE, [7; 32])
        .await
        .unwrap()
}

fn granted(wish: Wish) -> Lease {
    match wish {
        Wish::Granted(lease) => lease,
        Wish::Taken { by } => panic!("taken by {by:?}"),
    }
}

fn taken(wish: Wish) -> MemberRef {
    match wish {
        Wish::Taken { by } => by,
        Wish::Granted(_) => panic!("granted"),
    }
}

async fn put(members: &Members, key: &[u8]) -> Result<()> {
    let key = key.to_vec();
    members
        .meta
        .write(Durability::Synced, move |tx| Ok(tx.put(&key, b"x")?))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_keeps_its_number_and_begins_a_generation_at_each_start() {
    let dir = tempfile::tempdir().unwrap();
    let metas = testing::shared(dir.path(), 3);
    let (one, two) = (
        join(&metas[0], dir.path(), "one").await,
        join(&metas[1], dir.path(), "two").await,
    );
    assert_eq!((one.me().member, two.me().member), (0, 1));
    let again = join(&metas[2], dir.path(), "one").await;
    assert_eq!((again.me().member, again.me().generation), (0, 2));
    // Its earlier start may still be running somewhere, and commits nothing any more.
    assert!(is_end(&put(&one, b"k").await.unwrap_err()));
    put(&two, b"k").await.unwrap();
    assert!(!lives(&*metas[1].snapshot().unwrap(), one.me()).unwrap());
    assert!(lives(&*metas[1].snapshot().unwrap(), again.me()).unwrap());
    let listed = two.list().unwrap();
    let names: Vec<_> = listed
        .iter()
        .map(|one| (&*one.name, one.own, one.alive))
        .collect();
    assert_eq!(names, [("one", false, true), ("two", true, true)]);
    again.leave().await.unwrap();
    assert!(!two.list().unwrap()[0].alive);
}

/// As after a move of a running gateway's metadata from one database to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_says_which_start_is_to_be_ended_here() {
    let dir = tempfile::tempdir().unwrap();
    let metas = testing::shared(dir.path(), 2);
    let (one, two) = (
        join(&metas[0], dir.path(), "one").await,
        join(&metas[1], dir.path(), "two").await,
    );
    let me = one.me();
    let moved = metas[0].write(Durability::Synced, move |tx| -> Result<()> {
        let mut row = rows::get(tx, me.member)?.unwrap();
        row.start = 4711;
        rows::put(tx, me.member, &row)
    });
    moved.await.unwrap();
    assert!(one.beat(1).await.unwrap());
    two.declare_dead(vec![(0, 1)]).await.unwrap();
    assert!(is_end(&put(&one, b"k").await.unwrap_err()));
}

/// As after a move of a running gateway's metadata to a database: its row tells no start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_joins_beside_a_gateway_that_could_not_be_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut metas = testing::shared(dir.path(), 3);
    let one = join(&metas[0], dir.path(), "one").await;
    let me = one.me();
    let moved = metas[0].write(Durability::Synced, move |tx| -> Result<()> {
        let mut row = rows::get(tx, me.member)?.unwrap();
        row.start = 0;
        rows::put(tx, me.member, &row)
    });
    moved.await.unwrap();
    let two = async |meta: &Meta| {
        Members::join(
            meta.clone(),
            &dir.path().join("two"),
            "two".to_owned(),
            PATIENCE,
            [7; 32],
        )
        .await
    };
    assert!(matches!(two(&metas[1]).await, Err(Error::Elsewhere(_))));
    assert!(lives(&*metas[1].snapshot().unwrap(), me).unwrap());
    // Once it is gone nothing of it holds anybody up.
    drop(one);
    drop(metas.remove(0));
    drop(metas.remove(0));
    let two = two(&metas[0]).await.unwrap();
    assert!(!lives(&*metas[0].snapshot().unwrap(), me).unwrap());
    assert_eq!(two.me().member, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_of_one_process_has_one_member_that_lives() {
    let dir = tempfile::tempdir().unwrap();
    let meta = testing::meta(dir.path());
    let before = join(&meta, dir.path(), "before").await;
    let now = join(&meta, dir.path(), "now").await;
    // Whatever became of its identity: nobody else could have come, and what lies in staging is its own.
    assert_eq!((before.me().member, now.me().member), (0, 0));
    assert!(now.me().generation > before.me().generation);
    let alive: Vec<_> = now.list().unwrap().iter().map(|one| one.alive).collect();
    assert_eq!(alive, [true]);
    assert!(!now.is_shared());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_silent_for_too_long_is_declared_dead_and_commits_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let metas = testing::shared(dir.path(), 2);
    let (one, two) = (
        join(&metas[0], dir.path(), "one").await,
        join(&metas[1], dir.path(), "two").await,
    );
    let lease = granted(one.lease(b"volume").await.unwrap());
    let mut observer = Observer::new();
    let start = Instant::now();
    let look = |observer: &mut Observer, seconds: u64| {
        observer.look(&two, start + Duration::from_secs(seconds)).unwrap()
    };
    assert!(look(&mut observer, 0).is_empty());
    for second in [2, 4, 6, 8] {
        assert!(look(&mut observer, second).is_empty(), "{second}");
    }
    // One beat begins the count anew.
    assert!(one.beat(1).await.unwrap());
    for second in [10, 12, 14, 16, 18] {
        assert!(look(&mut observer, second).is_empty(), "{second}");
    }
    assert_eq!(taken(two.lease(b"volume").await.unwrap()), one.me());
    let silent = look(&mut observer, 20);
    assert_eq!(silent, [(0, 1)]);
    two.declare_dead(silent).await.unwrap();
    assert!(is_end(&put(&one, b"late").await.unwrap_err()));
    assert!(!one.beat(2).await.unwrap());
    assert_eq!(one.lost().await, DEAD);
    // What it held is free; that it lets go of it changes nothing.
    let taken_over = granted(two.lease(b"volume").await.unwrap());
    assert!(lease.release().await.is_err());
    assert!(look(&mut observer, 40).is_empty(), "once is enough");
    taken_over.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_blamed_while_the_database_is_away_or_the_observer_slept() {
    let dir = tempfile::tempdir().unwrap();
    let metas = testing::shared(dir.path(), 2);
    let _one = join(&metas[0], dir.path(), "one").await;
    let two = join(&metas[1], dir.path(), "two").await;
    let mut observer = Observer::new();
    let start = Instant::now();
    let look = |observer: &mut Observer, seconds: u64| {
        observer.look(&two, start + Duration::from_secs(seconds)).unwrap()
    };
    assert!(look(&mut observer, 0).is_empty());
    assert!(look(&mut observer, 3600).is_empty(), "it counts as two beats");
    observer.excuse();
    assert!(look(&mut observer, 7200).is_empty(), "the database was away");
    assert!(look(&mut observer, 7204).is_empty());
    assert_eq!(look(&mut observer, 7206), [(0, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_has_one_holder_and_whoever_waits_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let metas = testing::shared(dir.path(), 2);
    let (one, two) = (
        join(&metas[0], dir.path(), "one").await,
        join(&metas[1], dir.path(), "two").await,
    );
    let lease = granted(one.lease(b"a").await.unwrap());
    assert_eq!(taken(one.lease(b"a").await.unwrap()), one.me());
    assert_eq!(taken(two.lease(b"a").await.unwrap()), one.me());
    let other = granted(two.lease(b"b").await.unwrap());
    let waits = tokio::spawn({
        let two = two.clone();
        async move { two.await_lease(b"a").await }
    });
    tokio::task::yield_now().await;
    drop(lease);
    let lease = waits.await.unwrap().unwrap();
    assert_eq!(taken(one.lease(b"a").await.unwrap()), two.me());
    // A gateway that ends frees all that it held.
    two.leave().await.unwrap();
    let (_a, _b) = (
        granted(one.lease(b"a").await.unwrap()),
        granted(one.lease(b"b").await.unwrap()),
    );
    // What the dead one frees late is not the new holder's lease.
    lease.release().await.unwrap();
    other.release().await.unwrap();
    let _back = join(&metas[1], dir.path(), "two").await;
    assert_eq!(taken(two.lease(b"a").await.unwrap()), one.me());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_becomes_the_keeper_when_the_keeper_dies() {
    let dir = tempfile::tempdir().unwrap();
    let metas = testing::shared(dir.path(), 2);
    let (one, two) = (
        join(&metas[0], dir.path(), "one").await,
        join(&metas[1], dir.path(), "two").await,
    );
    let (first, lease) = Keeper::begin(&one).await.unwrap();
    assert!(first.is_open() && lease.is_some());
    run_keeper(one.clone(), first.clone(), lease).await;
    let (second, lease) = Keeper::begin(&two).await.unwrap();
    assert!(!second.is_open() && lease.is_none());
    let running = tokio::spawn(run_keeper(two.clone(), second.clone(), lease));
    two.declare_dead(vec![(0, 1)]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), second.opened())
        .await
        .unwrap();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_the_keeper_has_segments_looked_at_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let metas = testing::shared(dir.path(), 2);
    let (one, two) = (
        join(&metas[0], dir.path(), "one").await,
        join(&metas[1], dir.path(), "two").await,
    );
    let waits = tokio::spawn({
        let one = one.clone();
        async move { one.look_asked().await }
    });
    tokio::task::yield_now().await;
    two.ask_to_look([(7, 0), (1 << 40, 3)].into()).await.unwrap();
    let asked = waits.await.unwrap().unwrap();
    assert_eq!(asked, [(7, 0), (1 << 40, 3)].into());
    // One more came in while it looked: that stays to be done.
    two.ask_to_look([(7, 1)].into()).await.unwrap();
    one.looked(asked).await.unwrap();
    assert_eq!(one.look_asked().await.unwrap(), [(7, 1)].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_stores_share_a_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let metas = testing::shared(dir.path(), 2);
    let open = |number: usize| {
        let mut config = testing::config(&dir.path().join(number.to_string()));
        config.member_patience = Duration::from_millis(500);
        testing::open(config, metas[number].clone())
    };
    let (one, _) = open(0).await;
    let (two, _) = open(1).await;
    assert!(one.is_keeper() && !two.is_keeper() && one.is_shared());
    assert_ne!(one.me(), two.me());
    // Beats keep both alive for longer than their patience.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(two.members().unwrap().iter().all(|member| member.alive));
    one.shutdown().await;
    tokio::time::timeout(Duration::from_secs(30), two.keeper())
        .await
        .unwrap();
    assert!(!two.members().unwrap()[0].alive);
    two.shutdown().await;
}
