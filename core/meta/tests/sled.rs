//! sled against the conformance suite, and what its files are worth after a power cut.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::path::Path;
use std::sync::Arc;

use meta::{Durability, Engine, EngineKind, Error, Meta, MetaConfig, SledEngine};

// What asks for more than sled can do is not used.
#[allow(dead_code)]
mod conformance;

struct Sled;

impl conformance::directory::Embedded for Sled {
    fn open(path: &Path) -> Arc<dyn Engine> {
        Arc::new(SledEngine::open(&path.join("sled"), 8 << 20).unwrap())
    }
}

type Directory = conformance::directory::Directory<Sled>;

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
}

#[test]
fn a_killed_writer_loses_nothing_that_was_acknowledged() {
    conformance::kill::run::<Directory>("a_killed_writer_loses_nothing_that_was_acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_opener_is_told_the_store_is_in_use_until_the_first_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let config = MetaConfig {
        engine: EngineKind::Sled,
        path: dir.path().to_owned(),
        cache_bytes: 8 << 20,
    };
    let meta = Meta::open(&config).unwrap();
    let put = meta.write::<_, Error, _>(Durability::Synced, |tx| tx.put(b"a", b"1"));
    put.await.unwrap();
    assert!(matches!(Meta::open(&config), Err(Error::InUse)));
    drop(meta);
    let meta = Meta::open(&config).unwrap();
    assert_eq!(meta.snapshot().unwrap().get(b"a").unwrap(), Some(b"1".to_vec()));
}
