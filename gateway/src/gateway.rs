//! The wiring: metadata, chain, store and namespace below, three doors and the admin API above.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cess::AccountId;
use cess::chain::{Chain, ChainConfig};
use cess::miner::MinerClient;
use subxt_signer::sr25519::Keypair;
use vfs::Vfs;
use zeroize::Zeroizing;

use crate::admin::{Admin, AdminState};
use crate::config::{GatewaySettings, MetadataEngine, StoreSettings};
use crate::data_dir::{AdminAddress, DataDir};

/// How long requests under way may take to finish when the gateway stops.
const DOOR_GRACE: Duration = Duration::from_secs(10);

/// How long a start waits for the chain before it goes on without.
const CHAIN_PATIENCE: Duration = Duration::from_secs(10);

/// What a gateway is made of. Filled from a configuration file by `serve`, and by `dev` itself.
pub struct Plan {
    /// Chain nodes and the key that pays.
    pub chain: ChainConfig,
    /// Account whose territory pays; `None`: the signer's.
    pub owner: Option<AccountId>,
    /// Its territory.
    pub territory: String,
    /// Longest wait for one fragment.
    pub miner_timeout: Duration,
    /// Which engine holds the namespace.
    pub engine: MetadataEngine,
    /// Where each engine that is configured keeps it, or would.
    pub places: BTreeMap<MetadataEngine, meta::Place>,
    /// Sizes and levels.
    pub store: StoreSettings,
    /// Where packs may be placed.
    pub placement: store::Placement,
    /// Pauses and patience with chain and miners.
    pub pace: store::Pace,
    /// What guessing the passphrase costs.
    pub passphrase_cost: store::PassphraseCost,
    /// Unlocks the keys.
    pub passphrase: Zeroizing<Vec<u8>>,
    /// What the doors' acknowledgements stand for at least.
    pub door_levels: DoorLevels,
    /// Doors.
    pub s3: Option<s3_frontend::S3Config>,
    /// Doors.
    pub mount: Option<fuse_frontend::MountConfig>,
    /// Doors.
    pub nbd: Option<block_frontend::NbdConfig>,
    /// Length of a day to lifecycle rules.
    pub lifecycle_day: Duration,
    /// Address of the admin API.
    pub admin: SocketAddr,
    /// This gateway among others on the namespace.
    pub gateway: GatewaySettings,
    /// Where they reach it.
    pub peers: Option<store::PeerConfig>,
}

/// Levels that the doors ask for; `None`: the gateway's.
#[derive(Clone, Copy, Debug, Default)]
pub struct DoorLevels {
    /// S3.
    pub s3: Option<store::Level>,
    /// The mount.
    pub mount: Option<store::Level>,
    /// NBD.
    pub nbd: Option<store::Level>,
}

impl DoorLevels {
    /// The strictest of them.
    fn highest(&self) -> store::Level {
        let asked = self.s3.max(self.mount).max(self.nbd);
        asked.unwrap_or(store::Level::Staged)
    }
}

/// A running gateway.
pub struct Gateway {
    /// The chain it met.
    pub chain: Chain,
    /// Address and token of its admin API.
    pub admin_address: AdminAddress,
    /// Address of the S3 door.
    pub s3_address: Option<SocketAddr>,
    /// Address on which the S3 door speaks TLS: a second one, or the same.
    pub s3_tls_address: Option<SocketAddr>,
    /// TCP address of the NBD door.
    pub nbd_address: Option<SocketAddr>,
    /// Mount point.
    pub mount_path: Option<PathBuf>,
    vfs: Vfs,
    store: store::Store,
    s3: Option<s3_frontend::S3Server>,
    mount: Option<fuse_frontend::Mount>,
    nbd: Option<block_frontend::NbdServer>,
    admin: Admin,
}

impl Gateway {
    /// Opens what is below and starts what is above, with or without a chain that can be reached.
    /// `prepare` runs before anything is opened (`dev` buys its territory there).
    pub async fn start<P, F>(data: &DataDir, plan: Plan, prepare: P) -> Result<Self>
    where
        P: FnOnce(Chain) -> F,
        F: Future<Output = Result<()>>,
    {
        let rpc = plan.chain.endpoints.join(", ");
        let chain = meet(&plan.chain)
            .await
            .with_context(|| format!("cannot work with the chain at {rpc}"))?;
        prepare(chain.clone()).await?;
        let owner = plan.owner.unwrap_or_else(|| chain.account());
        // Miners accept any key, so the one that pays stays out of what they see.
        let miner_key =
            Keypair::from_secret_key(crate::random::bytes()?).context("cannot make a miner key")?;
        let miners =
            MinerClient::new(miner_key, plan.miner_timeout).context("cannot make the miner client")?;

        let mut others = plan.places.clone();
        let place = others.remove(&plan.engine).context("no place for the metadata")?;
        let engine = place.engine();
        let others: Vec<_> = others.into_values().collect();
        let meta = tokio::task::spawn_blocking(move || meta::Meta::at_among(&place, &others))
            .await
            .context("opening the metadata was cut off")?
            .context("cannot open the metadata")?;
        require_own(data, engine, &meta).await?;
        let store_config = store_config(data, &plan, owner);
        let store = store::Store::open(
            store_config,
            meta.clone(),
            plan.passphrase,
            Some((chain.clone(), miners)),
        )
        .await
        .context("cannot open the store")?;
        let vfs_config = vfs::VfsConfig {
            write_buffer: plan.store.write_buffer.as_u64(),
            write_back_age: plan.store.write_back_age,
            ack: plan.store.ack,
            ack_doors: plan.door_levels.highest(),
            ack_timeout: plan.store.ack_timeout,
        };
        let vfs = Vfs::open(vfs_config, meta.clone(), store.clone())
            .await
            .context("cannot open the namespace")?;
        vfs.run_lifecycle(plan.lifecycle_day);

        let s3 = match plan.s3 {
            Some(config) => {
                let listen = config.listen;
                Some(
                    s3_frontend::S3Server::start(config, vfs.demanding(plan.door_levels.s3, None))
                        .await
                        .with_context(|| format!("cannot serve S3 on {listen}"))?,
                )
            }
            None => None,
        };
        let nbd = match plan.nbd {
            Some(config) => {
                let tcp = config.listen.map(|address| address.to_string());
                let unix = config.unix.as_ref().map(|socket| socket.display().to_string());
                let listen = tcp.into_iter().chain(unix).collect::<Vec<_>>().join(" and ");
                Some(
                    block_frontend::NbdServer::start(config, vfs.demanding(plan.door_levels.nbd, None))
                        .await
                        .with_context(|| format!("cannot serve NBD on {listen}"))?,
                )
            }
            None => None,
        };
        let state = AdminState {
            vfs: vfs.clone(),
            store: store.clone(),
            meta,
            places: Arc::new(plan.places),
            chain: chain.clone(),
            owner,
            territory: plan.territory.clone(),
            mount: plan.mount.as_ref().map(|mount| mount.path.clone()),
            certificate: s3.as_ref().and_then(s3_frontend::S3Server::certificate),
            started: std::time::Instant::now(),
            stopping: Arc::default(),
        };
        let token = crate::random::hex::<24>()?;
        let admin = Admin::start(plan.admin, token.clone(), state).await?;
        // Last of what can fail, so that a failed start leaves no mount behind.
        let mount_path = plan.mount.as_ref().map(|mount| mount.path.clone());
        let mount = match plan.mount {
            Some(config) => {
                let path = config.path.clone();
                Some(
                    fuse_frontend::Mount::start(config, vfs.demanding(plan.door_levels.mount, None))
                        .with_context(|| format!("cannot mount on {}", path.display()))?,
                )
            }
            None => None,
        };
        let admin_address = AdminAddress {
            url: format!("http://{}", admin.address()),
            token,
        };
        data.announce(&admin_address)?;
        Ok(Self {
            chain,
            admin_address,
            s3_address: s3.as_ref().map(s3_frontend::S3Server::address),
            s3_tls_address: s3.as_ref().and_then(s3_frontend::S3Server::tls_address),
            nbd_address: nbd.as_ref().and_then(block_frontend::NbdServer::address),
            mount_path,
            vfs,
            store,
            s3,
            mount,
            nbd,
            admin,
        })
    }

    /// The namespace.
    pub const fn vfs(&self) -> &Vfs {
        &self.vfs
    }

    /// The store.
    pub const fn store(&self) -> &store::Store {
        &self.store
    }

    /// Stops from the top down: no door takes new work, what is buffered becomes durable, then the
    /// store's workers stop at a safe point.
    pub async fn stop(self, data: &DataDir) -> Result<()> {
        data.withdraw();
        let s3 = async {
            if let Some(s3) = self.s3 {
                s3.shutdown(DOOR_GRACE).await;
            }
        };
        let nbd = async {
            if let Some(nbd) = self.nbd {
                nbd.shutdown(DOOR_GRACE).await;
            }
        };
        let mount = async {
            if let Some(mount) = self.mount {
                mount.shutdown().await;
            }
        };
        tokio::join!(s3, nbd, mount, self.admin.shutdown());
        self.vfs
            .shutdown()
            .await
            .context("cannot write back what was buffered")?;
        self.store.shutdown().await;
        Ok(())
    }
}

/// A client of the chain. One that cannot be reached now is gone on without: what is here can be
/// served and staged. One that can be reached and is not usable is refused.
async fn meet(config: &ChainConfig) -> Result<Chain, cess::Error> {
    let chain = Chain::lazy(config.clone())?;
    let reason = match tokio::time::timeout(CHAIN_PATIENCE, chain.meet()).await {
        Ok(Ok(())) => return Ok(chain),
        Ok(Err(cess::Error::Unreachable(reason))) => reason,
        Ok(Err(error)) => return Err(error),
        Err(_) => format!("no answer within {CHAIN_PATIENCE:?}"),
    };
    tracing::warn!(
        reason,
        "the chain cannot be reached; serving without: writes stay staged until it can"
    );
    Ok(chain)
}

/// Refuses to begin a namespace in a directory in which another engine has one: what that one's rows name in
/// staging would be taken for rubbish.
async fn require_own(data: &DataDir, engine: &str, meta: &meta::Meta) -> Result<()> {
    let directory = data.join("meta");
    let used = meta::Place::engines_in(&directory);
    let Some(other) = used.into_iter().find(|used| *used != engine) else {
        return Ok(());
    };
    let meta = meta.clone();
    let empty = tokio::task::spawn_blocking(move || meta.is_empty())
        .await
        .context("looking into the metadata was cut off")?
        .context("cannot read the metadata")?;
    if empty {
        bail!(
            "{} holds the metadata of the engine {other}, and the engine {engine} has none: set metadata.engine back, \
             or move them with `meta migrate`",
            directory.display()
        );
    }
    Ok(())
}

fn store_config(data: &DataDir, plan: &Plan, owner: AccountId) -> store::StoreConfig {
    let settings = &plan.store;
    store::StoreConfig {
        staging_limit: settings.staging_limit.as_u64(),
        disk_reserve: settings.disk_reserve.as_u64(),
        memory_cache: settings.memory_cache.as_u64(),
        read_memory: settings.read_memory.as_u64(),
        disk_cache: settings.disk_cache.as_u64(),
        compression: settings.compression,
        passphrase_cost: plan.passphrase_cost,
        pack_segments: settings.pack_segments,
        pack_max_age: settings.pack_max_age,
        upload_memory: settings.upload_memory.as_u64(),
        owner: Some(owner),
        territory: plan.territory.as_bytes().to_vec(),
        placement: plan.placement.clone(),
        health: store::HealthSettings {
            scrub_interval: settings.scrub_interval,
            scrub_rate: settings.scrub_rate.as_u64(),
            repair_below: settings.repair_below,
            miner_patience: settings.miner_patience,
        },
        pace: plan.pace.clone(),
        checkpoint_interval: Some(settings.checkpoint_interval).filter(|interval| !interval.is_zero()),
        reclaim: store::ReclaimConfig {
            automatic: settings.reclaim,
            horizon: settings.reclaim_horizon,
            transfer: settings.reclaim_transfer,
            quiet: settings.reclaim_quiet,
        },
        name: plan.gateway.name.clone(),
        member_patience: plan.gateway.patience,
        peers: plan.peers.clone(),
        ..store::StoreConfig::new(data.join("store"))
    }
}
