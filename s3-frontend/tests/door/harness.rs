//! One door on one temporary directory.
use std::time::Duration;

use meta::{EngineKind, Meta, MetaConfig};
use s3_frontend::{S3Config, S3Server};
use store::{PassphraseCost, Store, StoreConfig};
use tempfile::TempDir;
use vfs::{Level, Vfs, VfsConfig};

use crate::client::Client;

pub const ACCESS: &str = "TESTACCESSKEY";
pub const SECRET: &str = "test/secret+key";
pub const REGION: &str = "us-east-1";
const MIB: u64 = 1 << 20;

/// A running door, its namespace and a client for it.
pub struct Harness {
    pub vfs: Vfs,
    pub client: Client,
    pub server: S3Server,
    _dir: TempDir,
}

impl Harness {
    /// Two keys, the region and one domain, on a free port.
    pub fn config() -> S3Config {
        S3Config {
            listen: ([127, 0, 0, 1], 0).into(),
            region: REGION.into(),
            credentials: vec![
                ("OTHERKEY".into(), "other".into()),
                (ACCESS.into(), SECRET.into()),
            ],
            domains: vec!["s3.test".into()],
            ..S3Config::default()
        }
    }

    /// Starts a door without a network behind it: everything stays staged.
    pub async fn start() -> Self {
        Self::start_with(Self::config()).await
    }

    /// Starts a door with these settings.
    pub async fn start_with(config: S3Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let meta = Meta::open(&MetaConfig {
            engine: EngineKind::Fjall,
            path: dir.path().join("meta"),
            cache_bytes: 8 * MIB,
        })
        .unwrap();
        let store = Store::open(
            StoreConfig {
                staging_limit: 1024 * MIB,
                memory_cache: 16 * MIB,
                disk_cache: 16 * MIB,
                passphrase_cost: PassphraseCost::LIGHT,
                ..StoreConfig::new(dir.path().join("store"))
            },
            meta.clone(),
            zeroize::Zeroizing::new(b"passphrase of a test".to_vec()),
            None,
        )
        .await
        .unwrap();
        let vfs = Vfs::open(
            VfsConfig {
                write_buffer: 16 * MIB,
                write_back_age: Duration::from_secs(1),
                ack: Level::Staged,
                ack_doors: Level::Staged,
                ack_timeout: Duration::from_secs(10),
            },
            meta,
            store,
        )
        .await
        .unwrap();
        let server = S3Server::start(config, vfs.clone()).await.unwrap();
        let client = Client::new(&format!("http://{}", server.address()), ACCESS, SECRET, REGION);
        Self {
            vfs,
            client,
            server,
            _dir: dir,
        }
    }

    /// Starts a door with one bucket.
    pub async fn with_bucket(bucket: &str) -> Self {
        let harness = Self::start().await;
        harness.client.put(&format!("/{bucket}")).send().await.expect(200);
        harness
    }
}
