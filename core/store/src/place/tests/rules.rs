//! Placement rules: before an order, while pushing, and after completion.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::world::{World, settings};
use crate::place::Settings;
use crate::place::rules::{Placement, Rules};
use crate::{Level, PackState};

fn under(placement: Placement) -> Settings {
    Settings {
        rules: Arc::new(Rules::open(placement).unwrap()),
        ..settings()
    }
}

/// Miner `n` is at 10.0.n.1.
fn give_addresses(world: &World) {
    for number in 0..world.fake.accounts().len() {
        world.fake.change_miner(number, |miner| {
            miner.endpoint = Some(format!("http://10.0.{number}.1:15001"));
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_to_miners_that_rules_exclude() {
    let mut world = World::with(
        18,
        under(Placement {
            deny_accounts: vec![cess::AccountId([1; 32])],
            deny_networks: vec!["10.0.1.0/24".parse().unwrap(), "10.0.4.0/23".parse().unwrap()],
            ..Placement::default()
        }),
    );
    give_addresses(&world);
    world.record(&[3_000_000]).await;
    world.flush(Level::Verified).await.unwrap();
    let holders: BTreeSet<usize> = world.holders().into_iter().collect();
    assert_eq!(holders.len(), 12);
    // Account 1 is that of miner 0; 10.0.4.0/23 holds 10.0.4.1 and 10.0.5.1.
    assert!(holders.is_disjoint(&BTreeSet::from([0, 1, 4, 5])), "{holders:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_leave_fewer_than_twelve_are_named_before_anything_is_ordered() {
    let dir = tempfile::TempDir::new().unwrap();
    let geoip = dir.path().join("countries.mmdb");
    crate::place::rules::test_database(&geoip, &[("10.0.0.0/21", "DE"), ("10.0.8.0/22", "FR")]);
    let mut world = World::with(
        14,
        under(Placement {
            deny_accounts: vec![cess::AccountId([1; 32])],
            deny_networks: vec!["10.0.9.0/24".parse().unwrap()],
            allow_countries: vec!["DE".parse().unwrap(), "FR".parse().unwrap()],
            geoip: Some(geoip),
            ..Placement::default()
        }),
    );
    give_addresses(&world);
    world.record(&[1000]).await;
    let _ = world.flush_within(Level::Placed, Duration::from_millis(50)).await;
    world
        .until_error(
            "miners: 10 can take 1 fragments of 8 MiB, 12 are needed; excluded: 1 by \
             placement.deny_accounts, 1 by placement.deny_networks, 2 by placement.allow_countries",
        )
        .await;
    assert_eq!(world.fake.most_sent(), 0);
    // Two of them move.
    for number in [12, 13] {
        world.fake.change_miner(number, |miner| {
            miner.endpoint = Some(format!("http://10.0.2.{number}:15001"));
        });
    }
    world.flush(Level::Verified).await.unwrap();
    assert!(!world.holders().contains(&0) && !world.holders().contains(&9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_rules_exclude_is_found_after_completion_and_avoided() {
    let mut world = World::new(14);
    world.workers.pause("verifier").unwrap();
    world.record(&[3_000_000]).await;
    world.flush(Level::Placed).await.unwrap();
    world.until_state(PackState::Placed).await;
    let excluded = world.holders()[3];
    let denied = world.fake.accounts()[excluded];
    let world = world
        .crash_into(under(Placement {
            deny_accounts: vec![denied],
            ..Placement::default()
        }))
        .await;
    world.flush(Level::Verified).await.unwrap();
    world.until("one pack", |packs| packs.len() == 1).await;
    assert!(!world.holders().contains(&excluded), "{:?}", world.holders());
    assert_eq!(world.fake.files().len(), 1);
    let workers = world.workers.list();
    let verifier = workers.iter().find(|worker| worker.name == "verifier").unwrap();
    assert_eq!(verifier.counters["packs stored again for placement rules"], 1);
    world.all_read_back().await;
}
