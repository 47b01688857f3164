//! `cess-gateway dev`: a gateway on a CESS network in a box.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cess::AccountId;
use cess::chain::{Chain, ChainConfig};
use cess_devnet::{Devnet, DevnetConfig};
use clap::{Args, FromArgMatches as _};
use subxt_signer::sr25519::Keypair;
use zeroize::Zeroizing;

use super::run;
use crate::config::{Metadata, MetadataEngine, StoreSettings};
use crate::data_dir::{DataDir, read_or_make_private, write_private};
use crate::gateway::{DoorLevels, Gateway, Plan};
use crate::ready::{ChainReady, DevnetReady, MinerReady, NbdReady, Ready, S3Ready};

/// Name of the territory that `dev` buys.
const TERRITORY: &str = "gateway";
/// Shortest lease that the chain sells.
const TERRITORY_DAYS: u32 = 30;
/// Coins of the account that pays: enough to lease and to place for as long as a trial lasts.
const FUNDS_PLANCK: u128 = 1_000_000_000 * 1_000_000_000_000_000_000;
/// Miners in a box look for finished groups this often; real ones twice a minute.
const REPORT_PERIOD: Duration = Duration::from_secs(1);
/// Shortest time between two checkpoints.
const CHECKPOINT_LEAST: Duration = Duration::from_secs(5);
const REGION: &str = "us-east-1";

/// Run a gateway on a CESS network in a box.
#[derive(Args)]
pub struct Dev {
    /// Directory for everything: the network, the gateway, the mount point.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "cess-dev",
        env = "CESS_GATEWAY_DATA"
    )]
    data: PathBuf,
    /// Print one line of JSON once everything serves, instead of text.
    #[arg(long)]
    json: bool,
    /// Address of the S3 door. Port 0: a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    s3: SocketAddr,
    /// Address of the NBD door. Port 0: a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    nbd: SocketAddr,
    /// Mount point; default DIR/mnt.
    #[arg(long, value_name = "PATH")]
    mount: Option<PathBuf>,
    /// Do not mount.
    #[arg(long, conflicts_with = "mount")]
    no_mount: bool,
    /// Address of the chain's RPC. Port 0: a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    rpc: SocketAddr,
    /// Miners of the network; at least 12.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(12..=200))]
    miners: u16,
    /// Time between blocks; 0s makes one as soon as there is something to put in.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    block_period: Duration,
    /// Territory to lease on the first run, in GiB.
    #[arg(long, value_name = "GIB", default_value_t = 1024)]
    territory: u32,
    /// A pack that is not full goes to the network at this age.
    #[arg(long, value_name = "TIME", default_value = "5min", value_parser = humantime::parse_duration)]
    pack_max_age: Duration,
    /// Segments of 32 MiB in a full pack.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pack_segments: u32,
    /// Plaintext kept in memory.
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    memory_cache: bytesize::ByteSize,
    /// Ciphertext kept on disk.
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
    disk_cache: bytesize::ByteSize,
    /// Most sealed data that may wait for the network.
    #[arg(long, value_name = "SIZE", default_value = "20GiB")]
    staging_limit: bytesize::ByteSize,
}

/// What the first run makes and every later one finds again.
struct Secrets {
    passphrase: Zeroizing<String>,
    signer: Keypair,
    access_key: String,
    secret_key: Zeroizing<String>,
}

/// A gateway and its network, running.
pub struct InABox {
    /// The gateway.
    pub gateway: Gateway,
    /// Its network.
    pub devnet: Devnet,
    data: DataDir,
    secrets: Secrets,
}

impl InABox {
    /// How to reach the S3 door.
    pub fn s3(&self) -> Result<crate::bench::S3> {
        let address = self.gateway.s3_address.context("the S3 door is closed")?;
        Ok(crate::bench::S3 {
            endpoint: format!("http://{address}"),
            region: REGION.to_owned(),
            access_key: self.secrets.access_key.clone(),
            secret_key: self.secrets.secret_key.to_string(),
        })
    }

    /// Stops the gateway, then its network.
    pub async fn stop(self) -> Result<()> {
        self.gateway.stop(&self.data).await?;
        self.devnet.shutdown().await;
        Ok(())
    }
}

impl Dev {
    /// Everything with its defaults in `dir`, without a mount.
    pub fn scratch(dir: &Path) -> Self {
        let words = [
            "dev".as_ref(),
            "--no-mount".as_ref(),
            "--data".as_ref(),
            dir.as_os_str(),
        ];
        let matches = Self::augment_args(clap::Command::new("dev")).get_matches_from(words);
        Self::from_arg_matches(&matches).expect("these arguments are valid")
    }

    /// Runs until a signal.
    pub async fn run(self) -> Result<()> {
        let mut stop = run::StopSignal::listen()?;
        let running = self.start().await?;
        let ready = ready(&running.gateway, &running.secrets, &running.devnet);
        let env_file = running.data.join("env.sh");
        write_env(&env_file, &running.secrets)?;
        let env_text = env_file.display().to_string();
        let program = std::env::current_exe()
            .map_or_else(|_| "cess-gateway".to_owned(), |path| path.display().to_string());
        let data_text = running.data.join("").display().to_string();
        let text = format!(
            "CESS Gateway serves, on a network of {} miners in a box. Paste into another shell:\n\n{}\nCtrl-C stops everything; the data stays in {}.",
            self.miners,
            ready.commands(&program, data_text.trim_end_matches('/'), Some(&env_text)),
            data_text.trim_end_matches('/'),
        );
        run::announce(&ready, self.json, &text)?;
        stop.heard().await;
        if !self.json {
            eprintln!("stopping");
        }
        running.stop().await
    }

    /// Starts the network, and the gateway on it.
    pub async fn start(&self) -> Result<InABox> {
        let data = DataDir::lock(&self.data)?;
        let secrets = Secrets::open(&data)?;
        let owner = AccountId(secrets.signer.public_key().0);
        let devnet = Devnet::start(DevnetConfig {
            dir: data.join("devnet"),
            rpc: self.rpc,
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            block_period: self.block_period,
            miners: usize::from(self.miners),
            miner_base: IpAddr::V4(Ipv4Addr::LOCALHOST),
            funded: vec![(owner, FUNDS_PLANCK)],
            report_period: REPORT_PERIOD,
        })
        .await
        .context("cannot start the network in a box")?;

        let plan = self.plan(&data, &secrets, &devnet);
        let gib = self.territory;
        let gateway = Gateway::start(
            &data,
            plan,
            |chain| async move { lease_territory(&chain, gib).await },
        )
        .await?;
        Ok(InABox {
            gateway,
            devnet,
            data,
            secrets,
        })
    }

    fn plan(&self, data: &DataDir, secrets: &Secrets, devnet: &Devnet) -> Plan {
        Plan {
            chain: ChainConfig {
                endpoints: vec![devnet.rpc_url()],
                signer: secrets.signer.clone(),
                miner_endpoints: std::collections::BTreeMap::new(),
                rpc_timeout: Duration::from_secs(30),
            },
            owner: None,
            territory: TERRITORY.to_owned(),
            miner_timeout: Duration::from_secs(60),
            engine: MetadataEngine::default(),
            places: Metadata::default().places(&data.join(""), StoreSettings::default().meta_cache.as_u64()),
            store: StoreSettings {
                pack_max_age: self.pack_max_age,
                pack_segments: self.pack_segments,
                memory_cache: self.memory_cache,
                disk_cache: self.disk_cache,
                staging_limit: self.staging_limit,
                // A trial is over before an interval fit for a real network is.
                checkpoint_interval: self.pack_max_age.max(CHECKPOINT_LEAST),
                ..StoreSettings::default()
            },
            placement: store::Placement::default(),
            pace: store::Pace {
                // Where blocks are made when they are needed, silence is no fault.
                stalled: if self.block_period.is_zero() {
                    Duration::MAX
                } else {
                    store::Pace::default().stalled
                },
                ..pace()
            },
            passphrase_cost: store::PassphraseCost::LIGHT,
            passphrase: Zeroizing::new(secrets.passphrase.as_bytes().to_vec()),
            door_levels: DoorLevels::default(),
            s3: Some(s3_frontend::S3Config {
                listen: self.s3,
                region: REGION.to_owned(),
                credentials: vec![(secrets.access_key.clone(), secrets.secret_key.to_string())],
                ..s3_frontend::S3Config::default()
            }),
            mount: (!self.no_mount).then(|| fuse_frontend::MountConfig {
                path: self.mount.clone().unwrap_or_else(|| data.join("mnt")),
                allow_other: false,
                read_only: false,
                threads: 2,
            }),
            nbd: Some(block_frontend::NbdConfig {
                listen: Some(self.nbd),
                unix: None,
            }),
            lifecycle_day: crate::config::default_lifecycle_day(),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            gateway: crate::config::GatewaySettings::default(),
            peers: None,
        }
    }
}

impl Secrets {
    fn open(data: &DataDir) -> Result<Self> {
        let file = |name: &str| data.join("secrets").join(name);
        let seed = read_or_make_private(&file("signer"), crate::random::hex::<32>)?;
        let mut seed_bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(seed.as_bytes(), seed_bytes.as_mut_slice())
            .with_context(|| format!("{} is damaged", file("signer").display()))?;
        Ok(Self {
            passphrase: read_or_make_private(&file("passphrase"), crate::random::hex::<16>)?,
            signer: Keypair::from_secret_key(*seed_bytes).context("the signing key is damaged")?,
            access_key: read_or_make_private(&file("access-key"), || {
                Ok(format!("CESS{}", crate::random::hex::<8>()?.to_uppercase()))
            })?
            .to_string(),
            secret_key: read_or_make_private(&file("secret-key"), crate::random::hex::<20>)?,
        })
    }
}

/// Patience for a network on this machine: blocks every second, miners a system call away.
fn pace() -> store::Pace {
    store::Pace {
        tick: Duration::from_millis(250),
        poll: Duration::from_millis(100),
        poll_max: Duration::from_secs(1),
        report_timeout: Duration::from_secs(20),
        put_timeout: Duration::from_secs(20),
        retry: Duration::from_millis(250),
        retry_max: Duration::from_secs(5),
        declare_gather: Duration::from_millis(100),
        verify_patience: Duration::from_secs(15),
        get_timeout: Duration::from_secs(10),
        upkeep: Duration::from_secs(2),
        miners_fresh: Duration::from_secs(2),
        ..store::Pace::default()
    }
}

/// Leases the territory on the first run.
async fn lease_territory(chain: &Chain, gib: u32) -> Result<()> {
    let held = chain
        .territory(chain.account(), TERRITORY.as_bytes())
        .await
        .context("cannot ask the chain for the territory")?;
    if held.is_none() {
        chain
            .mint_territory(TERRITORY.as_bytes(), gib, TERRITORY_DAYS)
            .await
            .with_context(|| format!("cannot lease a territory of {gib} GiB"))?;
    }
    Ok(())
}

fn ready(gateway: &Gateway, secrets: &Secrets, devnet: &Devnet) -> Ready {
    Ready {
        s3: gateway.s3_address.map(|address| S3Ready {
            endpoint: format!("http://{address}"),
            tls_endpoint: None,
            region: REGION.to_owned(),
            access_key: secrets.access_key.clone(),
            secret_key: Some(secrets.secret_key.to_string()),
        }),
        mount: gateway.mount_path.clone(),
        nbd: gateway.nbd_address.map(|address| NbdReady {
            uri: format!("nbd://{address}"),
        }),
        admin: gateway.admin_address.clone(),
        chain: ChainReady {
            rpc: devnet.rpc_url(),
        },
        devnet: Some(DevnetReady {
            admin: devnet.admin_url(),
        }),
        miners: devnet
            .miners()
            .into_iter()
            .map(|miner| MinerReady {
                account: miner.account,
                endpoint: format!("http://{}", miner.endpoint),
            })
            .collect(),
    }
}

/// A shell file with the S3 credentials, so that they need not stand on a command line.
fn write_env(path: &Path, secrets: &Secrets) -> Result<()> {
    let text = format!(
        "export AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\nexport AWS_DEFAULT_REGION={REGION}\n",
        secrets.access_key,
        secrets.secret_key.as_str(),
    );
    write_private(path, text.as_bytes())
}
