//! Background work goes on with the others when one of many things cannot be done.
#![allow(clippy::unwrap_used, clippy::panic)] // tests
mod namespace;

use std::time::Duration;

use meta::{Durability, EngineKind, Meta, MetaConfig};
use namespace::{Namespace, quiet};
use tempfile::TempDir;
use vfs::{Error, InodeNo, Precondition, QuotaLimits};

const INODE: u8 = 0x02;
const USAGE: u8 = 0x21;
const TRASHED: u8 = 0x25;

fn key(table: u8, ino: InodeNo, rest: &[u8]) -> Vec<u8> {
    [&[table][..], &ino.0.to_be_bytes(), rest].concat()
}

async fn put(n: &Namespace, key: Vec<u8>, value: Option<&'static [u8]>) {
    n.meta
        .write::<_, meta::Error, _>(Durability::Synced, move |tx| match value {
            Some(value) => tx.put(&key, value),
            None => tx.delete(&key),
        })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trash_is_emptied_around_what_cannot_be_deleted() {
    let n = Namespace::new().await;
    for bucket in ["a", "b"] {
        n.bucket(bucket).await;
        n.vfs.set_trash(bucket, Some(Duration::ZERO)).await.unwrap();
        for key in ["1", "2", "3"] {
            n.put(bucket, key, b"x").await.unwrap();
            n.vfs
                .delete_object(bucket, key.as_bytes(), Precondition::default())
                .await
                .unwrap();
        }
    }
    assert_eq!(n.rows(TRASHED), 6);
    let trash = n.vfs.directory_at("a/.trash").await.unwrap();
    let entries = n.vfs.readdir(trash, None, 10).await.unwrap();
    put(&n, key(INODE, entries[0].attr.ino, b""), Some(b"garbage")).await;
    assert!(matches!(n.vfs.expire_trash().await, Err(Error::Damaged(_))));
    assert_eq!(
        n.rows(TRASHED),
        1,
        "the others of its bucket, and those of the next"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_cannot_be_folded_keeps_no_other_from_it_and_is_folded_later() {
    let n = Namespace::new().await;
    let (a, b) = (n.bucket("a").await, n.bucket("b").await);
    for dir in [a, b] {
        let limits = QuotaLimits {
            bytes: Some(1 << 30),
            inodes: None,
        };
        n.vfs.set_quota(dir, limits).await.unwrap();
    }
    let changes = |dir: InodeNo| {
        let (from, to) = (key(USAGE, dir, b""), key(USAGE, InodeNo(dir.0 + 1), b""));
        let view = n.meta.snapshot().unwrap();
        view.range(
            std::ops::Bound::Included(&from),
            std::ops::Bound::Excluded(&to),
            false,
        )
        .unwrap()
        .count()
    };
    let folded = async |dir: InodeNo| {
        for _ in 0..1000 {
            if changes(dir) == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} changes of {dir:?} stay", changes(dir));
    };
    folded(a).await;
    folded(b).await;
    n.store.workers().pause("accountant").unwrap();
    for bucket in ["a", "b"] {
        for number in 0..10 {
            n.put(bucket, &format!("{number}"), b"12345").await.unwrap();
        }
    }
    put(&n, key(USAGE, a, &[0; 16]), Some(b"garbage")).await;
    n.store.workers().resume("accountant").unwrap();
    folded(b).await;
    assert!(changes(a) > 1);
    assert_eq!(n.vfs.quota(b).await.unwrap().unwrap().used_bytes, 50);
    // Nothing changes any more: it is not forgotten all the same.
    put(&n, key(USAGE, a, &[0; 16]), None).await;
    folded(a).await;
    assert_eq!(n.vfs.quota(a).await.unwrap().unwrap().used_bytes, 50);
}

/// An engine that cannot forget does not make dropping the caches fail: it is told what is left.
#[tokio::test(flavor = "multi_thread")]
async fn caches_are_dropped_where_the_engine_cannot_forget() {
    let n = Namespace::new().await;
    assert_eq!(n.vfs.drop_caches().await.unwrap(), None);
    let dir = TempDir::new().unwrap();
    let meta = Meta::open(&MetaConfig {
        engine: EngineKind::Sled,
        path: dir.path().join("meta"),
        cache_bytes: 8 << 20,
    })
    .unwrap();
    let n = Namespace::over(dir, quiet(), meta).await;
    n.bucket("b").await;
    n.put("b", "o", b"content").await.unwrap();
    let left = n.vfs.drop_caches().await.unwrap().unwrap();
    assert!(left.contains("sled"), "{left}");
    assert_eq!(n.get("b", "o").await.unwrap(), b"content");
}
