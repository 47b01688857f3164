//! What this crate's tests share.
pub(crate) mod failing;

use std::path::Path;
use std::sync::Arc;

use meta::{EngineKind, FjallEngine, Meta, MetaConfig};
use zeroize::Zeroizing;

use self::failing::{Failing, Faults};
use crate::{PassphraseCost, Store, StoreConfig};

/// A metadata store in `dir/meta`.
pub(crate) fn meta(dir: &Path) -> Meta {
    Meta::open(&MetaConfig {
        engine: EngineKind::Fjall,
        path: dir.join("meta"),
        cache_bytes: 8 << 20,
    })
    .unwrap()
}

/// A metadata store in `dir/meta`, opened as `count` gateways share one.
pub(crate) fn shared(dir: &Path, count: usize) -> Vec<Meta> {
    let path = dir.join("meta");
    std::fs::create_dir_all(&path).unwrap();
    let engine = meta::FjallEngine::open(&path, 8 << 20).unwrap();
    let first = meta::shared::Opening::first(Arc::new(engine));
    let mut openings: Vec<_> = (1..count).map(|_| first.another()).collect();
    openings.insert(0, first);
    openings
        .into_iter()
        .map(|opening| Meta::over(Arc::new(opening), &path.join("guard")).unwrap())
        .collect()
}

/// As [`meta`], on a disk that fails on demand.
pub(crate) fn failing_meta(dir: &Path) -> (Meta, Arc<Faults>) {
    let path = dir.join("meta");
    std::fs::create_dir_all(&path).unwrap();
    let faults = Arc::new(Faults::default());
    let engine = Failing {
        engine: FjallEngine::open(&path.join("fjall"), 8 << 20).unwrap(),
        faults: faults.clone(),
    };
    let meta = Meta::over(Arc::new(engine), &path.join("guard")).unwrap();
    (meta, faults)
}

/// Settings for a store in `dir/store` that opens quickly.
pub(crate) fn config(dir: &Path) -> StoreConfig {
    let mut config = StoreConfig::new(dir.join("store"));
    config.passphrase_cost = PassphraseCost::LIGHT;
    config.memory_cache = 16 << 20;
    config.disk_cache = 0;
    config
}

/// A store without a network in `dir`, and its metadata.
pub(crate) async fn store(dir: &Path) -> (Store, Meta) {
    open(config(dir), meta(dir)).await
}

/// A store without a network.
pub(crate) async fn open(config: StoreConfig, meta: Meta) -> (Store, Meta) {
    let store = Store::open(config, meta.clone(), passphrase("open sesame"), None)
        .await
        .unwrap();
    (store, meta)
}

/// A passphrase as the store takes it.
pub(crate) fn passphrase(text: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.as_bytes().to_vec())
}

/// Copies a directory with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = std::fs::read_dir(from)
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    // The guard file first: an image taken while commits go on may lag behind, never run ahead.
    entries.sort_by_key(|entry| entry.file_name() != "guard");
    for entry in entries {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// A file system of a few megabytes in memory, for as long as this lives.
pub(crate) struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` where this process may not mount.
    pub(crate) fn mount(path: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(size)).ok()?;
        Some(Self(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}
