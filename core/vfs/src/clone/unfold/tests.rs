//! How long somebody waits for the names of a clone.
use std::time::Duration;

use meta::{EngineKind, Meta, MetaConfig};
use store::{Level, PassphraseCost, Store, StoreConfig};

use super::NAMES;
use crate::vfs::Core;
use crate::{Creator, Error, InodeNo, Kind, Result, Vfs, VfsConfig, dentry};

const ME: Creator = Creator {
    uid: 0,
    gid: 0,
    mode: 0o755,
};

async fn open(dir: &std::path::Path) -> (Store, Vfs) {
    let meta = Meta::open(&MetaConfig {
        engine: EngineKind::Fjall,
        path: dir.join("meta"),
        cache_bytes: 16 << 20,
    })
    .unwrap();
    let config = StoreConfig {
        passphrase_cost: PassphraseCost::LIGHT,
        memory_cache: 16 << 20,
        disk_cache: 0,
        ..StoreConfig::new(dir.join("store"))
    };
    let passphrase = zeroize::Zeroizing::new(b"a passphrase for tests".to_vec());
    let store = Store::open(config, meta.clone(), passphrase, None).await.unwrap();
    let config = VfsConfig {
        write_buffer: 64 << 20,
        write_back_age: Duration::from_secs(3600),
        ack: Level::Staged,
        ack_doors: Level::Staged,
        ack_timeout: Duration::from_secs(1),
    };
    let vfs = Vfs::open(config, meta, store.clone()).await.unwrap();
    (store, vfs)
}

fn look(core: &Core, dir: InodeNo) -> Result<Option<dentry::Entry>> {
    dentry::resolve(&core.rows(), dir, b"f000")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_into_a_large_clone_waits_only_so_long_and_the_next_goes_on() {
    const STEPS: usize = 3;
    let dir = tempfile::tempdir().unwrap();
    let (store, vfs) = open(dir.path()).await;
    let bucket = vfs.create_bucket("b").await.unwrap().ino;
    let origin = vfs.mkdir(bucket, b"d", ME).await.unwrap().ino;
    for number in 0..=(STEPS - 1) * NAMES {
        let name = format!("f{number:03}");
        vfs.mknod(origin, name.as_bytes(), Kind::File, 0, ME)
            .await
            .unwrap();
    }
    // It registers as soon as it runs.
    while store.workers().pause("unfolder").is_err() {
        tokio::task::yield_now().await;
    }
    let clone = vfs.make_clone("b/d/", "b/e/").await.unwrap().ino;
    let core = &vfs.core;
    for left in (0..STEPS).rev() {
        assert!(matches!(look(core, clone), Err(Error::Conflict)));
        let waited = core.unfold_wanted_for(Duration::ZERO).await;
        assert_eq!(matches!(waited, Err(Error::Busy(_))), left > 0, "{waited:?}");
    }
    assert!(look(core, clone).unwrap().is_some());
    vfs.shutdown().await.unwrap();
    store.shutdown().await;
}
