//! Snapshots that rules take and delete. One test alone turns the clock of its process.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::time::Duration;

use namespace::Namespace;
use vfs::{Error, SnapshotRule};

async fn names(n: &Namespace, wanted: usize) -> Vec<String> {
    for _ in 0..6000 {
        let list = n.vfs.snapshots(Some("b/d")).await.unwrap();
        if list.len() == wanted {
            return list.into_iter().map(|snapshot| snapshot.name).collect();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not {wanted}: {:?}", n.vfs.snapshots(Some("b/d")).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_takes_and_deletes_its_own_and_no_others() {
    let n = Namespace::new().await;
    let bucket = n.bucket("b").await;
    n.dir(bucket, "d").await;
    n.vfs.create_snapshot("b/d", "mine").await.unwrap();
    let rule = SnapshotRule {
        hourly: 3,
        ..SnapshotRule::default()
    };
    let nothing = n
        .vfs
        .set_snapshot_rule("b/d", Some(SnapshotRule::default()))
        .await;
    assert!(matches!(nothing, Err(Error::Invalid(_))));
    let nowhere = n.vfs.set_snapshot_rule("b/e", Some(rule)).await;
    assert!(matches!(nowhere, Err(Error::NotFound)));
    n.vfs.set_snapshot_rule("b/d", Some(rule)).await.unwrap();
    let rules = n.vfs.snapshot_rules().await.unwrap();
    assert_eq!(
        (rules.len(), rules[0].path.as_str(), rules[0].rule),
        (1, "b/d/", rule)
    );
    let first = names(&n, 2).await;
    assert!(first[1].starts_with("auto-"), "{first:?}");
    let mut seen = vec![first[1].clone()];
    for hour in 1..6usize {
        store::clock::turn(Duration::from_hours(1));
        // Told again, it looks at once.
        n.vfs.set_snapshot_rule("b/d", Some(rule)).await.unwrap();
        let newest = loop {
            let list = n.vfs.snapshots(Some("b/d")).await.unwrap();
            let newest = list.last().unwrap().name.clone();
            if !seen.contains(&newest) {
                break newest;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        seen.push(newest);
        let now = names(&n, 1 + (hour + 1).min(3)).await;
        assert_eq!(now[0], "mine");
        assert_eq!(now[1..], seen[seen.len().saturating_sub(3)..]);
    }
    n.vfs.set_snapshot_rule("b/d", None).await.unwrap();
    assert!(n.vfs.snapshot_rules().await.unwrap().is_empty());
    store::clock::turn(Duration::from_hours(5));
    assert_eq!(names(&n, 4).await.len(), 4);
    // What is counted is seen a moment later than what was done.
    let counted = || {
        let workers = n.store.workers().list();
        let worker = workers
            .iter()
            .find(|worker| worker.name == "snapshotter")
            .unwrap();
        ["snapshots taken", "snapshots deleted"].map(|name| worker.counters[name])
    };
    tokio::time::timeout(Duration::from_secs(30), async {
        while counted() != [6, 3] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{:?}", counted()));
}
