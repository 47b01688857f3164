//! A namespace without a network and without doors, in this process.
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use meta::Meta;
use store::{Store, StoreConfig};
use vfs::{Level, Vfs, VfsConfig};
use zeroize::Zeroizing;

/// Block cache of the metadata engine.
pub const META_CACHE: u64 = 128 << 20;

/// Opens the store and the namespace of `dir` over metadata that are open.
pub async fn open(dir: &Path, meta: &Meta) -> Result<(Store, Vfs)> {
    let config = StoreConfig {
        staging_limit: 1 << 40,
        passphrase_cost: store::PassphraseCost::LIGHT,
        ..StoreConfig::new(dir.join("store"))
    };
    let passphrase = Zeroizing::new(b"bench".to_vec());
    let store = Store::open(config, meta.clone(), passphrase, None).await?;
    let config = VfsConfig {
        write_buffer: 128 << 20,
        write_back_age: Duration::from_secs(5),
        ack: Level::Staged,
        ack_doors: Level::Staged,
        ack_timeout: Duration::from_secs(600),
    };
    let vfs = Vfs::open(config, meta.clone(), store.clone()).await?;
    Ok((store, vfs))
}
