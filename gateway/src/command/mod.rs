//! The commands of `cess-gateway`, one file each.
mod bench;
mod bucket;
mod cache;
mod clone;
pub mod dev;
mod explain;
mod flush;
mod kms;
mod level;
mod member;
mod metadata;
mod moment;
mod quota;
mod reclaim;
mod remove;
mod restore;
mod run;
mod scrub;
mod serve;
mod snapshot;
mod status;
mod trash;
mod volume;
mod worker;

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::admin::client::Client;
use crate::data_dir::{AdminAddress, find_gateway};

/// S3, a network drive and block volumes on the CESS decentralised storage network.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    command: Command,
    /// What to log on standard error, e.g. `info` or `store=debug,warn`.
    #[arg(
        long,
        global = true,
        env = "CESS_GATEWAY_LOG",
        default_value = "warn",
        value_name = "FILTER"
    )]
    log: String,
}

#[derive(Subcommand)]
enum Command {
    /// Run a gateway on a CESS network in a box: no account, no coins, nothing to configure.
    Dev(dev::Dev),
    /// Run a gateway on a CESS network, from a configuration file.
    Serve(serve::Serve),
    /// Make, list, resize and delete block volumes.
    Volume(volume::Volume),
    /// List buckets and change their settings.
    Bucket(bucket::Bucket),
    /// Make, list, disable and enable keys that S3 clients name for encryption.
    Kms(kms::Kms),
    /// List, restore and delete for good what was deleted from buckets that keep a trash.
    Trash(trash::Trash),
    /// Limit what buckets and directories may hold.
    Quota(quota::Quota),
    /// Wait until everything acknowledged so far is staged, placed or verified.
    Flush(flush::Flush),
    /// Show the level that a file, object or volume has reached, or wait for one.
    Level(level::Level),
    /// Show packs, miners, staging, caches, chain and territory.
    Status(status::Status),
    /// List, pause, resume and limit background work.
    Worker(worker::Worker),
    /// Get territory back from packs in which little lives, or show what that would cost.
    Reclaim(reclaim::Reclaim),
    /// Show the life of one object: chunks, packs, miners, blocks, times, health.
    Explain(explain::Explain),
    /// Show the health of what is on the network, or look at it now.
    Scrub(scrub::Scrub),
    /// Bring a namespace back from the network on a blank machine, or prove that it can be.
    Restore(restore::Restore),
    /// Take, list and delete snapshots.
    Snapshot(snapshot::Snapshot),
    /// Make a writable clone of a file, volume or directory.
    Clone(clone::CloneFile),
    /// Remove a directory with all below it, for good.
    Remove(remove::Remove),
    /// List the gateways on the namespace, or give one up for good.
    Member(member::Member),
    /// Move the namespace to another metadata engine.
    Meta(metadata::Metadata),
    /// Forget what only speeds things up.
    Cache(cache::Cache),
    /// Measure this build against a network in a box.
    Bench(bench::Bench),
}

/// How a command finds the gateway.
#[derive(Args, Clone)]
pub struct Target {
    /// Data directory of the running gateway.
    #[arg(long, value_name = "DIR", env = "CESS_GATEWAY_DATA")]
    data: Option<PathBuf>,
    /// Admin URL of the running gateway instead; the token is read from CESS_GATEWAY_TOKEN.
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    admin: Option<String>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

impl Target {
    /// A client of the gateway that was named.
    fn client(&self) -> Result<Client> {
        let address = match (&self.data, &self.admin) {
            (_, Some(url)) => {
                if !url.starts_with("http://") && !url.starts_with("https://") {
                    bail!("--admin {url}: a URL begins with http:// or https://");
                }
                let Ok(token) = std::env::var("CESS_GATEWAY_TOKEN") else {
                    bail!("--admin needs the token in CESS_GATEWAY_TOKEN");
                };
                AdminAddress {
                    url: url.trim_end_matches('/').to_owned(),
                    token,
                }
            }
            (Some(data), None) => find_gateway(data)?,
            (None, None) => bail!("which gateway? pass --data DIR or --admin URL"),
        };
        Client::new(address)
    }
}

/// Whether somebody watches, so that progress is worth drawing.
fn somebody_watches(json: bool) -> bool {
    !json && std::io::stderr().is_terminal()
}

/// Starts the log on standard error.
pub fn start_log(arguments: &Arguments) {
    let filter = tracing_subscriber::EnvFilter::try_new(&arguments.log).unwrap_or_else(|error| {
        eprintln!("warning: --log {}: {error}; logging warnings", arguments.log);
        tracing_subscriber::EnvFilter::new("warn")
    });
    // s3s logs computed signatures when it debugs, and every refused request as an error.
    let filter = match "s3s=off".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would be told on standard error, too, which is what could not be written.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// Runs the command that was asked for.
pub async fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Dev(command) => command.run().await,
        Command::Serve(command) => command.run().await,
        Command::Volume(command) => command.run().await,
        Command::Bucket(command) => command.run().await,
        Command::Kms(command) => command.run().await,
        Command::Trash(command) => command.run().await,
        Command::Quota(command) => command.run().await,
        Command::Flush(command) => command.run().await,
        Command::Level(command) => command.run().await,
        Command::Status(command) => command.run().await,
        Command::Worker(command) => command.run().await,
        Command::Reclaim(command) => command.run().await,
        Command::Explain(command) => command.run().await,
        Command::Scrub(command) => command.run().await,
        Command::Restore(command) => command.run().await,
        Command::Snapshot(command) => command.run().await,
        Command::Clone(command) => command.run().await,
        Command::Remove(command) => command.run().await,
        Command::Member(command) => command.run().await,
        Command::Meta(command) => command.run().await,
        Command::Cache(command) => command.run().await,
        Command::Bench(command) => command.run().await,
    }
}
