//! Settings of `cess-gateway serve`: one TOML file, every field documented here.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytesize::ByteSize;
use clap::ValueEnum as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::placement::PlacementSettings;

mod front;

pub use front::{Clients, Tls, Website};

/// The whole file. Unknown keys are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory for everything the gateway keeps on this machine. No default.
    pub data: PathBuf,
    /// This gateway among others on the same namespace.
    #[serde(default)]
    pub gateway: GatewaySettings,
    /// Encryption at rest.
    pub keys: Keys,
    /// The CESS network.
    pub network: Network,
    /// Where the namespace lives.
    #[serde(default)]
    pub metadata: Metadata,
    /// Sizes and levels of the data path.
    #[serde(default)]
    pub store: StoreSettings,
    /// Where packs may be placed.
    #[serde(default)]
    pub placement: PlacementSettings,
    /// Where other gateways on the namespace reach this one; left out: nowhere.
    pub peers: Option<Peers>,
    /// The S3 door; left out: closed.
    pub s3: Option<S3>,
    /// The mount; left out: none.
    pub mount: Option<Mount>,
    /// The NBD door; left out: closed.
    pub nbd: Option<Nbd>,
    /// The admin API.
    #[serde(default)]
    pub admin: Admin,
}

/// `[gateway]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewaySettings {
    /// What `status` and messages call it. Default: the machine's name.
    pub name: String,
    /// How long another gateway on the namespace is silent before it is declared dead, at least 5s. Default 15s.
    #[serde(deserialize_with = "duration")]
    pub patience: Duration,
}

/// Shortest patience: a database that fails over takes its time.
const PATIENCE_MIN: Duration = Duration::from_secs(5);

impl Default for GatewaySettings {
    fn default() -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        Self {
            name: name.unwrap_or_else(|| "gateway".to_owned()),
            patience: Duration::from_secs(15),
        }
    }
}

/// `[keys]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// File with the passphrase (mode 0600). Whoever loses it loses the data.
    pub passphrase_file: PathBuf,
}

/// `[network]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// WebSocket URLs of chain nodes, tried in order.
    pub rpc: Vec<String>,
    /// File (mode 0600) with the secret URI of the signing key: a mnemonic, `0x` seed, or `//Alice`.
    pub signer_file: PathBuf,
    /// Account (SS58) whose territory pays; default: the signer's own. Another account must have
    /// authorised the signer (`Oss.authorize`).
    pub owner: Option<String>,
    /// Name of the territory that pays.
    #[serde(default = "default_territory")]
    pub territory: String,
    /// Endpoints of miners by account (SS58): they stand in for, or override, what the chain says.
    #[serde(default)]
    pub miner_endpoints: BTreeMap<String, String>,
    /// Longest wait for an RPC answer. Default 30s.
    #[serde(default = "default_rpc_timeout", deserialize_with = "duration")]
    pub rpc_timeout: Duration,
    /// Longest wait for one fragment to go to or come from a miner. Default 60s.
    #[serde(default = "default_miner_timeout", deserialize_with = "duration")]
    pub miner_timeout: Duration,
}

/// `[metadata]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metadata {
    /// Which engine holds the namespace: fjall or sled, in `DATA/meta`, or postgres. `meta migrate`
    /// moves a namespace from one to another. Default fjall.
    pub engine: MetadataEngine,
    /// The database of the engine `postgres`; it may be there before it is used.
    pub postgres: Option<meta::PostgresConfig>,
}

/// Engines by name.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum MetadataEngine {
    /// fjall, on this machine.
    #[default]
    Fjall,
    /// sled, on this machine.
    Sled,
    /// PostgreSQL, or a database that speaks its protocol and dialect.
    Postgres,
}

impl Metadata {
    /// Where each engine that is configured keeps the namespace, or would.
    pub fn places(&self, data: &Path, cache_bytes: u64) -> BTreeMap<MetadataEngine, meta::Place> {
        let engines = MetadataEngine::value_variants().iter().copied();
        let place = |engine| Some((engine, self.place(engine, data, cache_bytes).ok()?));
        engines.filter_map(place).collect()
    }

    /// Where `engine` keeps the namespace of the gateway whose data directory is `data`.
    pub fn place(&self, engine: MetadataEngine, data: &Path, cache_bytes: u64) -> Result<meta::Place> {
        let path = data.join("meta");
        let directory = |engine, path| {
            meta::Place::Directory(meta::MetaConfig {
                engine,
                path,
                cache_bytes,
            })
        };
        Ok(match engine {
            MetadataEngine::Fjall => directory(meta::EngineKind::Fjall, path),
            MetadataEngine::Sled => directory(meta::EngineKind::Sled, path),
            MetadataEngine::Postgres => {
                let Some(config) = self.postgres.clone() else {
                    bail!("the engine postgres needs [metadata.postgres]");
                };
                meta::Place::Database {
                    config: Box::new(config),
                    path,
                }
            }
        })
    }
}

/// `[store]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// Most bytes of sealed data waiting on this disk for the network. Default 20 GiB.
    pub staging_limit: ByteSize,
    /// Bytes that stay free on the disks under `data`: nothing is written beyond. Default 512 MiB.
    pub disk_reserve: ByteSize,
    /// Plaintext kept in memory. Default 256 MiB.
    pub memory_cache: ByteSize,
    /// Memory for reading from miners beside the caches, at least 128 MiB. Default 256 MiB.
    pub read_memory: ByteSize,
    /// Ciphertext kept on disk. Default 2 GiB.
    pub disk_cache: ByteSize,
    /// Memory for the metadata engine's block cache. Default 128 MiB.
    pub meta_cache: ByteSize,
    /// Most written bytes that are buffered in memory before writers wait. Default 128 MiB.
    pub write_buffer: ByteSize,
    /// Buffered bytes are staged at this age without an fsync. Default 5s.
    #[serde(deserialize_with = "duration")]
    pub write_back_age: Duration,
    /// How chunks of buckets that ask for nothing are compressed before they are sealed: off, lz4 or
    /// zstd; what does not shrink is stored as it is. Default zstd.
    pub compression: store::Compression,
    /// Segments of 32 MiB in a full pack, 1 to 1000. Default 4.
    pub pack_segments: u32,
    /// A pack that is not full closes at this age; the fuller, the earlier. Default 1h.
    #[serde(deserialize_with = "duration")]
    pub pack_max_age: Duration,
    /// Memory for segments under way to the network: hashed, pushed or read back. One takes 112 MiB,
    /// which is the least. Default 224 MiB.
    pub upload_memory: ByteSize,
    /// How often a checkpoint of the metadata is taken, if they changed; 0s: never, and nothing can be
    /// restored. Default 10min.
    #[serde(deserialize_with = "duration")]
    pub checkpoint_interval: Duration,
    /// Pack again by itself what lives in packs that are not worth their territory. Default true.
    pub reclaim: bool,
    /// A byte of territory freed is worth leasing it for this long. Default 30d.
    #[serde(deserialize_with = "duration")]
    pub reclaim_horizon: Duration,
    /// A byte moved to free it, down or up, costs as much as leasing it for this long. Default 10d.
    #[serde(deserialize_with = "duration")]
    pub reclaim_transfer: Duration,
    /// A pack that lost something within this time is left alone: it may lose all. Default 10min.
    #[serde(deserialize_with = "duration")]
    pub reclaim_quiet: Duration,
    /// Time in which every segment on the network is looked at once. Default 7d.
    #[serde(deserialize_with = "duration")]
    pub scrub_interval: Duration,
    /// Most bytes per second read from miners for that; 0: no limit. Default 4MiB.
    pub scrub_rate: ByteSize,
    /// Fragments (of 12) below which a segment is stored again, 4 to 12. Default 8.
    pub repair_below: usize,
    /// How long a miner may be out of reach before its fragments count as lost. Default 6h.
    #[serde(deserialize_with = "duration")]
    pub miner_patience: Duration,
    /// What every acknowledgement means at least: staged, placed or verified. Doors, buckets, files
    /// and requests can ask for more. Default staged.
    pub ack: store::Level,
    /// Longest wait for a level above staged before the door answers "not yet". Default 10min.
    #[serde(deserialize_with = "duration")]
    pub ack_timeout: Duration,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            staging_limit: ByteSize::gib(20),
            disk_reserve: ByteSize::mib(512),
            memory_cache: ByteSize::mib(256),
            read_memory: ByteSize::mib(256),
            disk_cache: ByteSize::gib(2),
            meta_cache: ByteSize::mib(128),
            write_buffer: ByteSize::mib(128),
            write_back_age: Duration::from_secs(5),
            compression: store::Compression::Zstd,
            pack_segments: 4,
            pack_max_age: Duration::from_secs(3600),
            upload_memory: ByteSize::mib(224),
            checkpoint_interval: Duration::from_secs(600),
            reclaim: true,
            reclaim_horizon: Duration::from_secs(30 * 86_400),
            reclaim_transfer: Duration::from_secs(10 * 86_400),
            reclaim_quiet: Duration::from_secs(600),
            scrub_interval: Duration::from_hours(7 * 24),
            scrub_rate: ByteSize::mib(4),
            repair_below: 8,
            miner_patience: Duration::from_hours(6),
            ack: store::Level::Staged,
            ack_timeout: Duration::from_secs(600),
        }
    }
}

/// `[peers]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// Address on which other gateways of the namespace ask for what lies in this one's staging.
    pub listen: SocketAddr,
    /// `host:port` that they use. Default: `listen`.
    pub advertise: Option<String>,
}

/// `[s3]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// Address. Default 127.0.0.1:9000.
    #[serde(default = "default_s3_listen")]
    pub listen: SocketAddr,
    /// Region that signatures must name. Default us-east-1.
    #[serde(default = "default_region")]
    pub region: String,
    /// Host names under which buckets are virtual hosts (`bucket.NAME`). Path style always works.
    #[serde(default)]
    pub domains: Vec<String>,
    /// Whose the objects of a new bucket are, unless whoever makes it says so: `BucketOwnerEnforced`
    /// (the bucket owner's; ACLs are off), `BucketOwnerPreferred` or `ObjectWriter`. Default
    /// BucketOwnerEnforced.
    #[serde(default)]
    pub object_ownership: s3_frontend::ObjectOwnership,
    /// File (mode 0600) with lines `ACCESS_KEY:SECRET_KEY`.
    pub credentials_file: PathBuf,
    /// What this door's acknowledgements mean at least, beside `store.ack`. Default: nothing more.
    pub ack: Option<store::Level>,
    /// Take encryption keys of clients (SSE-C) over plain HTTP, where everybody on the way can read them.
    /// On a loopback address they are taken anyway. Default false.
    #[serde(default)]
    pub allow_customer_keys_over_http: bool,
    /// Length of a day to lifecycle rules: shorter for tests only. Default 24h.
    #[serde(default = "default_lifecycle_day", deserialize_with = "duration")]
    pub lifecycle_day: Duration,
    /// TLS; left out: none.
    pub tls: Option<Tls>,
    /// What one client may take.
    #[serde(default)]
    pub clients: Clients,
    /// Buckets as web sites.
    #[serde(default)]
    pub website: Website,
    /// Take browser forms whose policy is signed as before SigV4 (HMAC-SHA1). Default false.
    #[serde(default)]
    pub forms_signed_v2: bool,
}

/// `[mount]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// An empty directory; made if missing.
    pub path: PathBuf,
    /// Let other users of the machine use it. Default false.
    #[serde(default)]
    pub allow_other: bool,
    /// Refuse writes. Default false.
    #[serde(default)]
    pub read_only: bool,
    /// What an fsync in this mount means at least, beside `store.ack`. Default: nothing more.
    pub ack: Option<store::Level>,
}

/// `[nbd]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nbd {
    /// TCP address. Whoever reaches it can read and write every file: keep it on loopback or a
    /// trusted network. Default none.
    pub listen: Option<SocketAddr>,
    /// Unix socket. Default none.
    pub unix: Option<PathBuf>,
    /// What FLUSH and FUA mean at least, beside `store.ack`. Default: nothing more.
    pub ack: Option<store::Level>,
}

/// `[admin]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address. Default 127.0.0.1:0, a free port that `DATA/gateway.json` names.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

impl Config {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text)?;
        if config.network.rpc.is_empty() {
            bail!("network.rpc names no chain node");
        }
        if !(1..=1000).contains(&config.store.pack_segments) {
            bail!(
                "store.pack_segments is {}, must be 1 to 1000",
                config.store.pack_segments
            );
        }
        if config.store.upload_memory < ByteSize::mib(112) {
            bail!(
                "store.upload_memory is {}, must be at least 112MiB: what one segment takes",
                config.store.upload_memory
            );
        }
        if !(4..=12).contains(&config.store.repair_below) {
            bail!(
                "store.repair_below is {}, must be 4 to 12",
                config.store.repair_below
            );
        }
        if config.gateway.patience < PATIENCE_MIN {
            bail!(
                "gateway.patience is {:?}, must be at least 5s",
                config.gateway.patience
            );
        }
        if config.network.territory.len() > 63 {
            bail!("network.territory is longer than 63 bytes");
        }
        if config.metadata.engine == MetadataEngine::Postgres && config.metadata.postgres.is_none() {
            bail!("metadata.engine is postgres, and [metadata.postgres] is missing");
        }
        if let Some(peers) = &config.peers {
            if config.metadata.engine != MetadataEngine::Postgres {
                bail!(
                    "[peers] is for several gateways on one namespace, which takes metadata.engine = \"postgres\""
                );
            }
            if peers.advertise.is_none() && peers.listen.ip().is_unspecified() {
                bail!(
                    "peers.listen is every address of this machine: peers.advertise must say which others use"
                );
            }
        }
        config.placement.placement()?;
        if config.s3.as_ref().is_some_and(|s3| s3.clients.connections == 0) {
            bail!("s3.clients.connections is 0, must be at least 1");
        }
        if let Some(nbd) = &config.nbd
            && nbd.listen.is_none()
            && nbd.unix.is_none()
        {
            bail!("[nbd] needs `listen` or `unix`");
        }
        Ok(config)
    }
}

impl S3 {
    /// The key pairs of `credentials_file`.
    pub fn credentials(&self) -> Result<Vec<(String, String)>> {
        parse_credentials(&crate::data_dir::read_private(&self.credentials_file)?)
            .with_context(|| format!("in {}", self.credentials_file.display()))
    }
}

fn parse_credentials(text: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The text of the line stays out of the message: it may be a secret.
        let Some((access, secret)) = line.split_once(':') else {
            bail!("line {} is not ACCESS_KEY:SECRET_KEY", number + 1);
        };
        pairs.push((access.trim().to_owned(), secret.trim().to_owned()));
    }
    if pairs.is_empty() {
        bail!("no key pair in it");
    }
    Ok(pairs)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(serde::de::Error::custom)
}

fn default_territory() -> String {
    "gateway".to_owned()
}
fn default_rpc_timeout() -> Duration {
    Duration::from_secs(30)
}
fn default_miner_timeout() -> Duration {
    Duration::from_secs(60)
}
fn default_s3_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9000))
}
/// A day of the calendar.
pub fn default_lifecycle_day() -> Duration {
    Duration::from_hours(24)
}
fn default_region() -> String {
    "us-east-1".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example_is_valid() {
        let example = include_str!("../../deploy/cess-gateway.toml");
        let config = Config::parse(example).unwrap();
        assert_eq!(config.store.staging_limit, ByteSize::gib(20));
        assert_eq!(config.store.pack_max_age, Duration::from_secs(3600));
        assert!(config.s3.is_some() && config.mount.is_some() && config.nbd.is_some());
    }

    #[test]
    fn the_example_shows_the_defaults() {
        let config = Config::parse(include_str!("../../deploy/cess-gateway.toml")).unwrap();
        assert_eq!(
            format!("{:?}", config.store),
            format!("{:?}", StoreSettings::default())
        );
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let text = "data = '/x'\nbogus = 1\n[keys]\npassphrase_file='p'\n[network]\nrpc=['ws://x']\nsigner_file='s'\n";
        assert!(format!("{:#}", Config::parse(text).unwrap_err()).contains("bogus"));
    }

    #[test]
    fn peers_are_for_an_engine_that_can_be_shared() {
        let text = |engine: &str, listen: &str| {
            format!(
                "data = '/x'\n[keys]\npassphrase_file='p'\n[network]\nrpc=['ws://x']\nsigner_file='s'\n\
                 [metadata]\nengine='{engine}'\n[metadata.postgres]\nhosts=['h']\ndatabase='d'\nuser='u'\n\
                 [peers]\nlisten='{listen}'\n"
            )
        };
        assert!(Config::parse(&text("postgres", "10.0.0.1:7000")).is_ok());
        let refused = |text: &str| format!("{:#}", Config::parse(text).unwrap_err());
        assert!(refused(&text("fjall", "10.0.0.1:7000")).contains("postgres"));
        assert!(refused(&text("postgres", "0.0.0.0:7000")).contains("advertise"));
    }

    #[test]
    fn the_example_shows_the_defaults_of_clients() {
        let config = Config::parse(include_str!("../../deploy/cess-gateway.toml")).unwrap();
        let clients = config.s3.unwrap().clients;
        assert_eq!(format!("{clients:?}"), format!("{:?}", Clients::default()));
    }

    #[test]
    fn credentials_are_parsed_and_never_shown() {
        let pairs = parse_credentials("# people\nAK : SK \n\n").unwrap();
        assert_eq!(pairs, [("AK".to_owned(), "SK".to_owned())]);
        let error = parse_credentials("only-a-secret").unwrap_err().to_string();
        assert!(!error.contains("only-a-secret"), "{error}");
    }
}
