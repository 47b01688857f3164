//! The whole network in one process: chain, miners, admin API.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use subxt_signer::SecretUri;
use subxt_signer::sr25519::Keypair;

use crate::admin::{Access, Admin};
use crate::chain::author::Author;
use crate::chain::{Node, NodeConfig, Operation, Sealing};
use crate::controls::{ChainFault, Controls, text_of};
use crate::error::{Error, Result};
use crate::miner::fault::Fault;
use crate::miner::link::Link;
use crate::miner::{DEVNET_SURI, Miner, MinerConfig, miner_uri};
use crate::runtime::genesis::Genesis;
use crate::runtime::primitives::AccountId32;
use crate::runtime::sminer::MINER_ITEMS;
use crate::runtime::tee_worker::MASTER_URI;
use crate::{gate, rpc};

/// Idle space that each miner shows on the chain, in bytes. Nominal: nothing is allocated.
pub const IDLE_SPACE: u128 = 4 << 40;
/// Planck of each well-known development account at genesis.
pub const DEVELOPMENT_FUNDS: u128 = 100_000_000_000_000_000_000_000_000;
/// Planck of each miner at genesis, for the fees of its reports.
const MINER_FUNDS: u128 = 1_000_000_000_000_000_000_000_000;
/// Accounts that are funded at genesis. The first may call as root.
const DEVELOPMENT_URIS: [&str; 6] = ["//Alice", "//Bob", "//Charlie", "//Dave", "//Eve", "//Ferdie"];

/// How a devnet starts.
#[derive(Clone, Debug)]
pub struct DevnetConfig {
    /// Directory of everything: `chain/blocks.log`, `miners/N/`, `admin.json`.
    pub dir: PathBuf,
    /// Address of the chain's RPC; port 0 takes a free one.
    pub rpc: SocketAddr,
    /// Address of the admin API; port 0 takes a free one.
    pub admin: SocketAddr,
    /// Time between blocks; zero makes a block as soon as there is something to put in.
    pub block_period: Duration,
    /// Number of miners. A file needs twelve.
    pub miners: usize,
    /// Address that the miners serve, each on a free port (the same one after a restart if it is
    /// still free).
    pub miner_base: IpAddr,
    /// Accounts funded at genesis besides the well-known ones, in planck.
    pub funded: Vec<(cess::AccountId, u128)>,
    /// Time between a miner's looks at its whole report area.
    pub report_period: Duration,
}

impl DevnetConfig {
    /// A devnet under `dir`: loopback, free ports, instant blocks, sixteen miners.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        Self {
            dir: dir.into(),
            rpc: any,
            admin: any,
            block_period: Duration::ZERO,
            miners: 16,
            miner_base: Ipv4Addr::LOCALHOST.into(),
            funded: Vec::new(),
            report_period: Duration::from_secs(1),
        }
    }
}

/// A miner and where it serves.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MinerEndpoint {
    /// SS58, prefix 11330.
    pub account: String,
    /// `ip:port`.
    pub endpoint: String,
}

/// A running devnet. Dropping it stops it.
pub struct Devnet {
    controls: Arc<Controls>,
    node: Arc<Node>,
    rpc_url: String,
    admin: Admin,
    author: Author,
}

impl Devnet {
    /// Starts chain, miners and admin API. Faults of an earlier run are healed.
    pub async fn start(config: DevnetConfig) -> Result<Self> {
        std::fs::create_dir_all(&config.dir)
            .map_err(Error::io(format!("creating {}", config.dir.display())))?;
        let mut seats = Vec::new();
        for index in 0..config.miners {
            seats.push(Seat::take(
                &config.dir.join("miners").join(index.to_string()),
                &config,
                index,
            )?);
        }
        let node = open_chain(&config.dir, &config.funded, &seats, config.block_period)?;
        register(&node, &seats)?;
        let rpc = Arc::new(rpc::start(node.clone(), config.rpc)?);
        let rpc_url = format!("ws://{}", rpc.address());
        let author = Author::start(node.clone())?;
        let mut miners = Vec::new();
        for seat in seats {
            let start = MinerConfig {
                dir: seat.dir,
                listener: seat.listener,
                key: seat.key,
                report_period: config.report_period,
            };
            miners.push(Miner::start(start, Link::Local(node.clone()))?);
        }
        let controls = Arc::new(Controls {
            chain: Some((node.clone(), rpc)),
            miners,
        });
        let admin = Admin::start(controls.clone(), config.admin, &config.dir)?;
        Ok(Self {
            controls,
            node,
            rpc_url,
            admin,
            author,
        })
    }

    /// `ws://ip:port` of the chain.
    pub fn rpc_url(&self) -> String {
        self.rpc_url.clone()
    }

    /// `http://ip:port` of the admin API.
    pub fn admin_url(&self) -> String {
        self.admin.access.url.clone()
    }

    /// Bearer token of the admin API.
    pub fn admin_token(&self) -> String {
        self.admin.access.token.clone()
    }

    /// Both of them.
    pub fn admin_access(&self) -> &Access {
        &self.admin.access
    }

    /// The miners, in order.
    pub fn miners(&self) -> Vec<MinerEndpoint> {
        let miners = self.controls.miners.iter();
        miners
            .map(|miner| MinerEndpoint {
                account: text_of(miner.account()),
                endpoint: miner.endpoint(),
            })
            .collect()
    }

    /// Requests for fragments, whole or in part, that all miners had since the start.
    pub fn fragments_served(&self) -> u64 {
        self.controls.miners.iter().map(Miner::served).sum()
    }

    /// The chain, for tests that look inside.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Throws a fault at a miner, or at all where `account` is `None`.
    pub async fn fault(&self, account: Option<cess::AccountId>, fault: Fault) -> Result<()> {
        self.controls.fault(account.map(AccountId32::from), fault).await
    }

    /// Throws a fault at the chain.
    pub fn chain_fault(&self, fault: ChainFault) -> Result<()> {
        self.controls.chain_fault(fault)
    }

    /// Chain and miners, as `cess-devnet status --json` shows them.
    pub async fn status(&self) -> serde_json::Value {
        self.controls.status().await
    }

    /// Stops. The block under construction is finished first.
    pub async fn shutdown(self) {
        let Self {
            controls,
            admin,
            author,
            ..
        } = self;
        admin.close().await;
        // Joins a thread that may be syncing a block.
        let stopped = tokio::task::spawn_blocking(move || author.stop()).await;
        if let Err(error) = stopped {
            tracing::error!(%error, "the block author");
        }
        // The admin API held the only other reference.
        let Some(Controls { chain, miners }) = Arc::into_inner(controls) else {
            return;
        };
        for miner in miners {
            miner.stop().await;
        }
        if let Some((_, rpc)) = chain
            && let Some(mut rpc) = Arc::into_inner(rpc)
        {
            rpc.close().await;
        }
    }
}

/// A key, and the port it serves.
pub(crate) struct Seat {
    pub(crate) key: Keypair,
    pub(crate) listener: TcpListener,
    pub(crate) endpoint: String,
    pub(crate) dir: PathBuf,
}

impl Seat {
    fn take(dir: &Path, config: &DevnetConfig, index: usize) -> Result<Self> {
        Self::take_at(dir, config.miner_base, 0, &miner_uri(DEVNET_SURI, index))
    }

    /// Binds the port of the last run, or `port` (0 for a free one), and remembers it.
    pub(crate) fn take_at(dir: &Path, ip: IpAddr, port: u16, uri: &str) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(Error::io(format!("creating {}", dir.display())))?;
        let memory = dir.join("port");
        let last = std::fs::read_to_string(&memory)
            .ok()
            .and_then(|text| text.trim().parse::<u16>().ok());
        let listener = match last
            .filter(|_| port == 0)
            .map(|last| gate::bind(SocketAddr::new(ip, last)))
        {
            Some(Ok(listener)) => listener,
            _ => gate::bind(SocketAddr::new(ip, port))?,
        };
        let address = listener.local_addr().map_err(Error::io("miner address"))?;
        std::fs::write(&memory, address.port().to_string()).map_err(Error::io("remembering a port"))?;
        Ok(Self {
            key: key_of(uri)?,
            listener,
            endpoint: address.to_string(),
            dir: dir.to_owned(),
        })
    }

    fn account(&self) -> AccountId32 {
        AccountId32(self.key.public_key().0)
    }
}

/// The key of a secret URI. The URI is not repeated in the error.
pub fn key_of(uri: &str) -> Result<Keypair> {
    uri.parse::<SecretUri>()
        .ok()
        .and_then(|uri| Keypair::from_uri(&uri).ok())
        .ok_or_else(|| Error::Invalid("not a secret URI".into()))
}

/// Opens the chain under `dir/chain`; `miners` are positive from its genesis.
pub(crate) fn open_chain(
    dir: &Path,
    funded: &[(cess::AccountId, u128)],
    miners: &[Seat],
    period: Duration,
) -> Result<Arc<Node>> {
    let seats: Vec<_> = miners
        .iter()
        .map(|seat| (seat.account(), seat.endpoint.clone()))
        .collect();
    let genesis = genesis(funded, seats)?;
    let sealing = Sealing {
        period,
        ..Sealing::default()
    };
    Node::open(NodeConfig {
        dir: dir.join("chain"),
        sealing,
        genesis,
    })
}

/// Block 0 of a devnet.
pub(crate) fn genesis(
    funded: &[(cess::AccountId, u128)],
    miners: Vec<(AccountId32, String)>,
) -> Result<Genesis> {
    let mut accounts: Vec<_> = funded
        .iter()
        .map(|(account, planck)| ((*account).into(), *planck))
        .collect();
    for uri in DEVELOPMENT_URIS {
        accounts.push((AccountId32(key_of(uri)?.public_key().0), DEVELOPMENT_FUNDS));
    }
    accounts.extend(miners.iter().map(|(account, _)| (*account, MINER_FUNDS)));
    Ok(Genesis {
        funded: accounts,
        miners,
        idle_space: IDLE_SPACE,
        tee_master: key_of(MASTER_URI)?.public_key().0,
        sudo: AccountId32(key_of(DEVELOPMENT_URIS[0])?.public_key().0),
    })
}

/// Adds miners that the chain does not know yet and corrects endpoints, in one block.
fn register(node: &Arc<Node>, seats: &[Seat]) -> Result<()> {
    let mut changed = false;
    for seat in seats {
        let account = seat.account();
        let known = node.view(None, |view| MINER_ITEMS.get(view, &account)).flatten();
        let idle = known.as_ref().map_or(IDLE_SPACE, |info| {
            info.declaration_space
                .saturating_sub(info.service_space)
                .saturating_sub(info.lock_space)
        });
        if known
            .as_ref()
            .is_none_or(|info| info.endpoint.0 != seat.endpoint.as_bytes())
        {
            node.operate(Operation::AddMiner(account, seat.endpoint.clone(), idle));
            changed = true;
        }
        // A miner that was full when the last run ended is not any more.
        if known.is_some_and(|info| info.idle_space == 0) {
            node.operate(Operation::SetIdle(account, idle));
            changed = true;
        }
    }
    if changed {
        node.seal()?;
    }
    Ok(())
}
