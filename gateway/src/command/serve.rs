//! `cess-gateway serve`: a gateway on a CESS network, from a configuration file.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cess::AccountId;
use cess::chain::ChainConfig;
use clap::Args;
use subxt_signer::SecretUri;
use subxt_signer::sr25519::Keypair;
use zeroize::Zeroizing;

use super::run;
use crate::config::Config;
use crate::data_dir::{DataDir, read_private};
use crate::gateway::{DoorLevels, Gateway, Plan};
use crate::ready::{ChainReady, MinerReady, NbdReady, Ready, S3Ready};

/// How long the announcement waits for the list of miners.
const MINERS_PATIENCE: Duration = Duration::from_secs(5);

/// How long a gateway that another declared dead may take to stop.
const LAST_STEPS: Duration = Duration::from_secs(30);

/// Run a gateway on a CESS network.
#[derive(Args)]
pub struct Serve {
    /// Configuration file; `deploy/cess-gateway.toml` documents every field.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/cess-gateway/cess-gateway.toml"
    )]
    config: PathBuf,
    /// Print one line of JSON once everything serves, instead of text.
    #[arg(long)]
    json: bool,
}

impl Serve {
    /// Runs until a signal.
    pub async fn run(self) -> Result<()> {
        let mut stop = run::StopSignal::listen()?;
        let config = Config::read(&self.config)?;
        let data = DataDir::lock(&config.data)?;
        let plan = plan(&config, &data)?;
        let access_key = plan
            .s3
            .as_ref()
            .and_then(|s3| s3.credentials.first())
            .map(|(key, _)| key.clone());
        let gateway = stop.or(Gateway::start(&data, plan, |_| async { Ok(()) })).await?;
        let nbd_uri = match (
            gateway.nbd_address,
            config.nbd.as_ref().and_then(|nbd| nbd.unix.as_ref()),
        ) {
            (Some(address), _) => Some(format!("nbd://{address}")),
            (None, Some(socket)) => Some(format!("nbd+unix:///?socket={}", socket.display())),
            (None, None) => None,
        };
        let listing = tokio::time::timeout(MINERS_PATIENCE, gateway.chain.miners());
        let miners = listing.await.ok().and_then(Result::ok).unwrap_or_else(|| {
            tracing::warn!("cannot list the miners now");
            Vec::new()
        });
        let ready = Ready {
            s3: gateway
                .s3_address
                .zip(config.s3.as_ref())
                .map(|(address, s3)| S3Ready {
                    endpoint: endpoint(address, gateway.s3_tls_address),
                    tls_endpoint: gateway.s3_tls_address.map(|address| format!("https://{address}")),
                    region: s3.region.clone(),
                    access_key: access_key.unwrap_or_default(),
                    secret_key: None,
                }),
            mount: gateway.mount_path.clone(),
            nbd: nbd_uri.map(|uri| NbdReady { uri }),
            admin: gateway.admin_address.clone(),
            chain: ChainReady {
                rpc: config.network.rpc.join(","),
            },
            devnet: None,
            miners: miners
                .into_iter()
                .filter_map(|miner| {
                    Some(MinerReady {
                        account: miner.account.to_ss58(cess::account::SS58_PREFIX),
                        endpoint: miner.endpoint?,
                    })
                })
                .collect(),
        };
        let data_text = config.data.display().to_string();
        let text = format!(
            "CESS Gateway serves.\n\n{}",
            ready.commands("cess-gateway", &data_text, None)
        );
        run::announce(&ready, self.json, &text)?;
        let lost = tokio::select! {
            () = stop.heard() => None,
            reason = gateway.store().lost() => Some(reason),
        };
        let Some(reason) = lost else {
            return gateway.stop(&data).await;
        };
        // Nothing it writes is taken; what is left is to let go of the mount and the doors.
        match tokio::time::timeout(LAST_STEPS, gateway.stop(&data)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("stopping: {error:#}"),
            Err(_) => tracing::warn!("stopping took too long"),
        }
        bail!("{reason}")
    }
}

/// The listener that is always there: it speaks TLS when no other one does.
fn endpoint(address: SocketAddr, tls: Option<SocketAddr>) -> String {
    let scheme = if tls == Some(address) { "https" } else { "http" };
    format!("{scheme}://{address}")
}

fn plan(config: &Config, data: &DataDir) -> Result<Plan> {
    let network = &config.network;
    let uri = read_private(&network.signer_file)?;
    // The parser's own message could repeat the secret.
    let signer = SecretUri::from_str(&uri)
        .ok()
        .and_then(|uri| Keypair::from_uri(&uri).ok())
        .with_context(|| format!("{} holds no usable secret URI", network.signer_file.display()))?;
    let account = |text: &str| {
        AccountId::from_ss58(text)
            .map(|(account, _)| account)
            .with_context(|| format!("account {text}"))
    };
    let miner_endpoints = network
        .miner_endpoints
        .iter()
        .map(|(miner, endpoint)| Ok((account(miner)?, endpoint.clone())))
        .collect::<Result<_>>()
        .context("in network.miner_endpoints")?;
    let passphrase = read_private(&config.keys.passphrase_file)?;
    let s3 = match &config.s3 {
        Some(s3) => Some(s3_frontend::S3Config {
            listen: s3.listen,
            region: s3.region.clone(),
            credentials: s3.credentials()?,
            domains: s3.domains.clone(),
            allow_customer_keys_over_http: s3.allow_customer_keys_over_http,
            tls: s3.tls.clone().map(Into::into),
            clients: s3.clients.clone().into(),
            website_domains: s3.website.domains.clone(),
            website_listen: s3.website.listen,
            forms_signed_v2: s3.forms_signed_v2,
            object_ownership: s3.object_ownership,
        }),
        None => None,
    };
    Ok(Plan {
        chain: ChainConfig {
            endpoints: network.rpc.clone(),
            signer,
            miner_endpoints,
            rpc_timeout: network.rpc_timeout,
        },
        owner: network
            .owner
            .as_deref()
            .map(account)
            .transpose()
            .context("in network.owner")?,
        territory: network.territory.clone(),
        miner_timeout: network.miner_timeout,
        engine: config.metadata.engine,
        places: config
            .metadata
            .places(&data.join(""), config.store.meta_cache.as_u64()),
        store: config.store.clone(),
        placement: config.placement.placement()?,
        pace: store::Pace::default(),
        passphrase_cost: store::PassphraseCost::NORMAL,
        passphrase: Zeroizing::new(passphrase.as_bytes().to_vec()),
        door_levels: DoorLevels {
            s3: config.s3.as_ref().and_then(|s3| s3.ack),
            mount: config.mount.as_ref().and_then(|mount| mount.ack),
            nbd: config.nbd.as_ref().and_then(|nbd| nbd.ack),
        },
        s3,
        mount: config.mount.as_ref().map(|mount| fuse_frontend::MountConfig {
            path: mount.path.clone(),
            allow_other: mount.allow_other,
            read_only: mount.read_only,
            threads: 2,
        }),
        nbd: config.nbd.as_ref().map(|nbd| block_frontend::NbdConfig {
            listen: nbd.listen,
            unix: nbd.unix.clone(),
        }),
        lifecycle_day: config
            .s3
            .as_ref()
            .map_or_else(crate::config::default_lifecycle_day, |s3| s3.lifecycle_day),
        admin: config.admin.listen,
        gateway: config.gateway.clone(),
        peers: config.peers.as_ref().map(|peers| store::PeerConfig {
            listen: peers.listen,
            advertise: peers.advertise.clone(),
        }),
    })
}
