//! fjall against the conformance suite, and the ways its log can be hurt.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meta::{Durability, Engine, EngineKind, Error, FjallEngine, Meta, MetaConfig};

mod conformance;

fn config(path: &Path) -> MetaConfig {
    MetaConfig {
        engine: EngineKind::Fjall,
        path: path.to_owned(),
        cache_bytes: 8 << 20,
    }
}

async fn put(meta: &Meta, key: u32, durability: Durability) {
    meta.write::<_, Error, _>(durability, move |tx| {
        tx.put(&key.to_be_bytes(), &[key as u8; 100])
    })
    .await
    .unwrap();
}

/// The journal that holds the latest commits.
fn journal(dir: &Path) -> PathBuf {
    let mut found: Vec<_> = std::fs::read_dir(dir.join("fjall"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    found.sort();
    found.pop().expect("a journal")
}

struct Fjall;

impl conformance::directory::Embedded for Fjall {
    fn open(path: &Path) -> Arc<dyn Engine> {
        Arc::new(FjallEngine::open(&path.join("fjall"), 8 << 20).unwrap())
    }
}

type Directory = conformance::directory::Directory<Fjall>;

#[test]
fn rows_conform() {
    conformance::rows::all::<Directory>();
}

#[test]
fn isolation_conforms() {
    conformance::isolation::all::<Directory>();
}

#[test]
fn load_conforms() {
    conformance::load::all::<Directory>();
}

#[test]
fn feed_conforms() {
    conformance::feed::all::<Directory>();
}

#[test]
fn backups_conform() {
    conformance::backup::all::<Directory>();
}

#[test]
fn files_conform() {
    conformance::files::images::<Directory>();
    conformance::files::scouring::<Directory>();
}

#[test]
fn a_killed_writer_loses_nothing_that_was_acknowledged() {
    conformance::kill::run::<Directory>("a_killed_writer_loses_nothing_that_was_acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copied_directory_reopens_with_all_that_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let meta = Meta::open(&config(dir.path())).unwrap();
    for key in 1..=50 {
        put(
            &meta,
            key,
            if key % 10 == 0 {
                Durability::Synced
            } else {
                Durability::Buffered
            },
        )
        .await;
    }
    let image = tempfile::tempdir().unwrap();
    conformance::copy(dir.path(), image.path());
    let copied = Meta::open(&config(image.path())).unwrap();
    let view = copied.snapshot().unwrap();
    for key in 1..=50u32 {
        assert_eq!(view.get(&key.to_be_bytes()).unwrap(), Some(vec![key as u8; 100]));
    }
    // The image lives on by itself.
    put(&copied, 51, Durability::Synced).await;
    assert_eq!(meta.snapshot().unwrap().get(&51u32.to_be_bytes()).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_opener_is_told_the_store_is_in_use_until_the_first_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let meta = Meta::open(&config(dir.path())).unwrap();
    put(&meta, 1, Durability::Synced).await;
    assert!(matches!(Meta::open(&config(dir.path())), Err(Error::InUse)));
    drop(meta);
    let meta = Meta::open(&config(dir.path())).unwrap();
    assert!(
        meta.snapshot()
            .unwrap()
            .get(&1u32.to_be_bytes())
            .unwrap()
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torn_tail_of_an_unacknowledged_commit_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let image = tempfile::tempdir().unwrap();
    {
        let meta = Meta::open(&config(dir.path())).unwrap();
        put(&meta, 1, Durability::Synced).await;
        let synced = written_length(&journal(dir.path()));
        put(&meta, 2, Durability::Buffered).await;
        conformance::copy(dir.path(), image.path());
        // Half of the second commit reached the disk.
        let written = written_length(&journal(image.path()));
        assert!(written > synced);
        cut(&journal(image.path()), synced + (written - synced) / 2);
    }
    let meta = Meta::open(&config(image.path())).unwrap();
    let view = meta.snapshot().unwrap();
    assert!(view.get(&1u32.to_be_bytes()).unwrap().is_some());
    assert!(view.get(&2u32.to_be_bytes()).unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_that_lost_acknowledged_commits_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let image = tempfile::tempdir().unwrap();
    {
        let meta = Meta::open(&config(dir.path())).unwrap();
        put(&meta, 1, Durability::Synced).await;
        let first = written_length(&journal(dir.path()));
        for key in 2..10 {
            put(&meta, key, Durability::Synced).await;
        }
        conformance::copy(dir.path(), image.path());
        // One bad byte in the middle: everything after it would silently vanish.
        let path = journal(image.path());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[first as usize + 60] ^= 0xff;
        std::fs::write(&path, bytes).unwrap();
    }
    assert!(matches!(
        Meta::open(&config(image.path())),
        Err(Error::Damaged(_))
    ));
}

/// Length of the journal without the zeros it was made with.
fn written_length(journal: &Path) -> u64 {
    let bytes = std::fs::read(journal).unwrap();
    bytes
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last as u64 + 1)
}

/// Zeroes everything from `length` on, as a write that never reached the disk leaves it.
fn cut(journal: &Path, length: u64) {
    let mut bytes = std::fs::read(journal).unwrap();
    bytes[length as usize..].fill(0);
    std::fs::write(journal, bytes).unwrap();
}

/// Recovery cuts the journal off behind the last commit, so that it grows with the next one.
#[test]
fn a_journal_that_recovery_cut_off_is_scoured_too() {
    let dir = tempfile::tempdir().unwrap();
    let secret = b"not to be found when it was deleted";
    for start in 0..2 {
        let engine = FjallEngine::open(dir.path(), 8 << 20).unwrap();
        let mut tx = engine.begin().unwrap();
        if start == 0 {
            tx.put(b"row", secret).unwrap();
        } else {
            tx.delete(b"row").unwrap();
        }
        tx.commit().unwrap();
        engine.sync().unwrap();
        if start == 1 {
            engine.scour().unwrap();
        }
    }
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(secret.len()).any(|part| part == secret);
            assert!(!found, "{}", path.display());
        }
    }
}
