//! The command line of `cess-devnet`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

use crate::admin::{Admin, AdminClient, find};
use crate::chain::author::Author;
use crate::controls::{Controls, account_of};
use crate::devnet::{Devnet, DevnetConfig, Seat, genesis, key_of};
use crate::error::{Error, Result};
use crate::miner::link::{Link, Remote};
use crate::miner::{DEVNET_SURI, Miner, MinerConfig, miner_uri};
use crate::runtime::primitives::AccountId32;

/// A CESS network on one machine: a chain and its miners, with faults on demand.
#[derive(Debug, Parser)]
#[command(name = "cess-devnet", version)]
pub struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Chain and miners in one process, until SIGTERM or Ctrl-C.
    Up(Up),
    /// The chain alone.
    Chain(Chain),
    /// Miners alone, for any chain that speaks the protocol.
    Miners(Miners),
    /// Throws a fault at a miner.
    Fault(FaultArgs),
    /// Throws a fault at the chain.
    ChainFault(ChainFaultArgs),
    /// Shows chain and miners.
    Status(StatusArgs),
}

/// `ACCOUNT=TCESS`.
fn funded(text: &str) -> Result<(cess::AccountId, u128)> {
    let (account, amount) = text
        .split_once('=')
        .ok_or_else(|| Error::Invalid("expected ACCOUNT=TCESS".into()))?;
    let tcess: u64 = amount
        .parse()
        .map_err(|_| Error::Invalid(format!("{amount}: not a number")))?;
    Ok((
        account_of(account)?.into(),
        u128::from(tcess) * 1_000_000_000_000_000_000,
    ))
}

#[derive(Debug, Args)]
struct Up {
    /// Directory of everything.
    #[arg(long)]
    data: PathBuf,
    /// Address of the chain's RPC.
    #[arg(long, default_value = "127.0.0.1:0")]
    rpc: SocketAddr,
    /// Address of the admin API.
    #[arg(long, default_value = "127.0.0.1:0")]
    admin: SocketAddr,
    /// Milliseconds between blocks; 0 makes them as needed.
    #[arg(long, default_value_t = 0)]
    period_ms: u64,
    /// Number of miners.
    #[arg(long, default_value_t = 16)]
    miners: usize,
    /// Address that the miners serve.
    #[arg(long, default_value = "127.0.0.1")]
    miner_ip: IpAddr,
    /// Funds an account at genesis; may be repeated.
    #[arg(long, value_name = "ACCOUNT=TCESS", value_parser = funded)]
    fund: Vec<(cess::AccountId, u128)>,
    /// Milliseconds between a miner's looks at its report area.
    #[arg(long, default_value_t = 1000)]
    report_ms: u64,
}

#[derive(Debug, Args)]
struct Chain {
    /// Directory of the chain.
    #[arg(long)]
    data: PathBuf,
    /// Address of the RPC.
    #[arg(long, default_value = "127.0.0.1:9944")]
    rpc: SocketAddr,
    /// Address of the admin API.
    #[arg(long, default_value = "127.0.0.1:0")]
    admin: SocketAddr,
    /// Milliseconds between blocks; 0 makes them as needed.
    #[arg(long, default_value_t = 6000)]
    period_ms: u64,
    /// Miners `//Miner//0`… that are positive from genesis.
    #[arg(long, default_value_t = 16)]
    miners: usize,
    /// Funds an account at genesis; may be repeated.
    #[arg(long, value_name = "ACCOUNT=TCESS", value_parser = funded)]
    fund: Vec<(cess::AccountId, u128)>,
}

#[derive(Debug, Args)]
struct Miners {
    /// RPC of the chain, `ws://` or `wss://`.
    #[arg(long)]
    chain: String,
    /// Secret URI; miner number N signs with `SURI//N`. Better given in the environment.
    #[arg(long, env = "CESS_DEVNET_SURI", hide_env_values = true, default_value = DEVNET_SURI)]
    suri: String,
    /// Number of miners.
    #[arg(long, default_value_t = 16)]
    count: usize,
    /// Directory of the fragments.
    #[arg(long)]
    data: PathBuf,
    /// Address to serve, and to tell the chain.
    #[arg(long, default_value = "127.0.0.1")]
    ip: IpAddr,
    /// Port of the first miner, the others follow; 0 takes free ones.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Address of the admin API.
    #[arg(long, default_value = "127.0.0.1:0")]
    admin: SocketAddr,
    /// Milliseconds between looks at the report area.
    #[arg(long, default_value_t = 1000)]
    report_ms: u64,
}

#[derive(Debug, Args)]
struct FaultArgs {
    /// Data directory of the devnet, or of the gateway that runs it.
    #[arg(long)]
    data: PathBuf,
    /// Every miner.
    #[arg(long)]
    all: bool,
    /// `[ACCOUNT] FAULT`: the account as SS58 or hex, unless `--all`; the fault is one of dead,
    /// slow:MS, corrupt, forget, lie, full, heal.
    #[arg(required = true, num_args = 1..=2, value_names = ["ACCOUNT", "FAULT"])]
    target: Vec<String>,
}

#[derive(Debug, Args)]
struct ChainFaultArgs {
    /// Data directory of the devnet, or of the gateway that runs it.
    #[arg(long)]
    data: PathBuf,
    /// stall, finality-stall, rpc-dead[:MS], reorg:N, prune:N, period:MS, lag:N, seal:N, tag:FID,
    /// miner-state:ACCOUNT:STATE, territories:STATE (active, frozen, expired) or heal.
    fault: String,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// Data directory of the devnet, or of the gateway that runs it.
    #[arg(long)]
    data: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Command {
    /// Does what was asked; returns when it is done, or stopped by a signal.
    pub async fn run(self) -> Result<()> {
        match self.verb {
            Verb::Up(args) => up(args).await,
            Verb::Chain(args) => chain(args).await,
            Verb::Miners(args) => miners(args).await,
            Verb::Fault(args) => {
                let (account, fault) = match (args.all, args.target.as_slice()) {
                    (true, [fault]) => ("all", fault),
                    (false, [account, fault]) => (account.as_str(), fault),
                    _ => return Err(Error::Invalid("expected ACCOUNT FAULT, or --all FAULT".into())),
                };
                AdminClient::new(find(&args.data)?).fault(account, fault).await
            }
            Verb::ChainFault(args) => AdminClient::new(find(&args.data)?).chain_fault(&args.fault).await,
            Verb::Status(args) => {
                let status = AdminClient::new(find(&args.data)?).status().await?;
                print(&if args.json {
                    status.to_string()
                } else {
                    table(&status)
                });
                Ok(())
            }
        }
    }
}

/// One line to standard output. A closed pipe is the reader's business.
fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

async fn up(args: Up) -> Result<()> {
    let devnet = Devnet::start(DevnetConfig {
        dir: args.data,
        rpc: args.rpc,
        admin: args.admin,
        block_period: Duration::from_millis(args.period_ms),
        miners: args.miners,
        miner_base: args.miner_ip,
        funded: args.fund,
        report_period: Duration::from_millis(args.report_ms),
    })
    .await?;
    let line = json!({
        "chain": { "rpc": devnet.rpc_url() },
        "admin": { "url": devnet.admin_url() },
        "miners": devnet.miners(),
    });
    print(&line.to_string());
    stopped().await?;
    devnet.shutdown().await;
    Ok(())
}

async fn chain(args: Chain) -> Result<()> {
    let mut seats = Vec::new();
    for index in 0..args.miners {
        let key = key_of(&miner_uri(DEVNET_SURI, index))?;
        seats.push((AccountId32(key.public_key().0), String::new()));
    }
    let sealing = crate::chain::Sealing {
        period: Duration::from_millis(args.period_ms),
        ..crate::chain::Sealing::default()
    };
    let genesis = genesis(&args.fund, seats)?;
    let config = crate::chain::NodeConfig {
        dir: args.data.join("chain"),
        sealing,
        genesis,
    };
    let node = crate::chain::Node::open(config)?;
    let gate = Arc::new(crate::rpc::start(node.clone(), args.rpc)?);
    let author = Author::start(node.clone())?;
    let rpc = format!("ws://{}", gate.address());
    let controls = Arc::new(Controls {
        chain: Some((node, gate)),
        miners: vec![],
    });
    let admin = Admin::start(controls, args.admin, &args.data)?;
    print(&json!({ "chain": { "rpc": rpc }, "admin": { "url": admin.access.url } }).to_string());
    stopped().await?;
    drop(admin);
    author.stop();
    Ok(())
}

async fn miners(args: Miners) -> Result<()> {
    let unreachable = |error: crate::miner::link::LinkError| Error::Unreachable(error.to_string());
    let remote = Remote::connect(&args.chain).await.map_err(unreachable)?;
    let mut miners = Vec::new();
    for index in 0..args.count {
        let port = if args.port == 0 {
            0
        } else {
            args.port + index as u16
        };
        let dir = args.data.join("miners").join(index.to_string());
        let seat = Seat::take_at(&dir, args.ip, port, &miner_uri(&args.suri, index))?;
        let account = AccountId32(seat.key.public_key().0);
        let link = Link::Remote(remote.clone());
        let info = link.miner(account).await.map_err(unreachable)?;
        let Some(info) = info else {
            let account = crate::controls::text_of(account);
            return Err(Error::Invalid(format!(
                "{account} is not a registered miner of this chain"
            )));
        };
        if info.endpoint.0 != seat.endpoint.as_bytes()
            && !remote
                .update_endpoint(&seat.key, &seat.endpoint)
                .await
                .map_err(unreachable)?
        {
            return Err(Error::Invalid(format!(
                "the chain refused the endpoint {}",
                seat.endpoint
            )));
        }
        let config = MinerConfig {
            dir: seat.dir,
            listener: seat.listener,
            key: seat.key,
            report_period: Duration::from_millis(args.report_ms),
        };
        miners.push(Miner::start(config, link)?);
    }
    let list: Vec<_> = miners
        .iter()
        .map(|miner| json!({ "account": crate::controls::text_of(miner.account()), "endpoint": miner.endpoint() }))
        .collect();
    let controls = Arc::new(Controls { chain: None, miners });
    let admin = Admin::start(controls, args.admin, &args.data)?;
    print(&json!({ "admin": { "url": admin.access.url }, "miners": list }).to_string());
    stopped().await
}

/// Waits for SIGTERM or SIGINT.
async fn stopped() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("signals"))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// The status for people.
fn table(status: &Value) -> String {
    let mut lines = Vec::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let chain = &status["chain"];
    if !chain.is_null() {
        let faults: Vec<_> = [
            ("stalled", chain["stalled"] == true),
            ("finality stalled", chain["finality_stalled"] == true),
            ("RPC dead", chain["rpc_open"] == false),
        ]
        .iter()
        .filter_map(|(name, on)| on.then_some(*name))
        .collect();
        lines.push(format!(
            "chain  {}  best {}  final {}  pending {}  {}",
            text(&chain["rpc"]),
            chain["best"]["number"],
            chain["finalized"]["number"],
            chain["pending"],
            if faults.is_empty() {
                "healthy".to_owned()
            } else {
                faults.join(", ")
            },
        ));
    }
    for miner in status["miners"].as_array().into_iter().flatten() {
        let faults: Vec<_> = miner["faults"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect();
        lines.push(format!(
            "miner  {}  {}  waiting {}  stored {}  {}",
            text(&miner["account"]),
            text(&miner["endpoint"]),
            miner["waiting"],
            miner["stored"],
            if faults.is_empty() {
                "healthy".to_owned()
            } else {
                faults.join(", ")
            },
        ));
    }
    lines.join("\n")
}
