//! `cess-gateway restore`: a namespace from the network, on a blank machine.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use bytesize::ByteSize;
use cess::AccountId;
use cess::chain::{Chain, ChainConfig};
use cess::miner::MinerClient;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use store::restore::{Progress, Report, Request};
use subxt_signer::SecretUri;
use subxt_signer::sr25519::Keypair;
use vfs::ChunkUser;
use zeroize::Zeroizing;

use super::somebody_watches;
use crate::config::{Config, Metadata, MetadataEngine, StoreSettings};
use crate::data_dir::{DataDir, read_private};

/// Ranges that are listed at most.
const LISTED: usize = 1000;
/// Chunks that a drill reads back, chosen at random.
const SAMPLE: usize = 256;

/// Bring a namespace back from the network on a blank machine, or prove that it can be.
#[derive(Args)]
pub struct Restore {
    /// Configuration file of the gateway to be; what is not given below is taken from it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Account (SS58) that owns the files. Default: the one of the configuration.
    #[arg(long, value_name = "SS58")]
    account: Option<String>,
    /// Empty directory to restore into. Default: `data` of the configuration.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// WebSocket URL of a chain node; may be repeated. Default: those of the configuration.
    #[arg(long, value_name = "URL")]
    rpc: Vec<String>,
    /// File (mode 0600) with the passphrase. Default: the one of the configuration.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Prove that a restore works: do it in a scratch directory, read samples back, and delete it.
    /// Neither the data directory nor a running gateway is touched.
    #[arg(long)]
    drill: bool,
    /// Where the drill's scratch directory is made. Default: the system's directory for such.
    #[arg(long, value_name = "DIR", requires = "drill")]
    scratch: Option<PathBuf>,
    /// Restore the checkpoint of this number, not the newest one that can be read.
    #[arg(long, value_name = "NUMBER")]
    checkpoint: Option<u32>,
    /// Go on without packs that cannot be read now; what is in them is lost.
    #[arg(long)]
    accept_loss: bool,
    /// When no checkpoint can be read, make files of what the packs say: contents without names.
    #[arg(long)]
    from_packs: bool,
    /// FID of a file to look at that the chain does not list for the account; may be repeated.
    #[arg(long, value_name = "FID")]
    file: Vec<String>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// What is printed at the end.
#[derive(Serialize)]
struct Outcome {
    /// Nothing was kept.
    drill: bool,
    /// What the store found and did.
    #[serde(flatten)]
    report: Report,
    /// What the namespace holds.
    holds: vfs::restored::Holds,
    /// Ranges of files that cannot be read; at most [`LISTED`].
    lost_content: Vec<ChunkUser>,
    /// Files made without a checkpoint.
    rescued_files: u64,
}

/// What is needed to begin.
struct Plan {
    store: store::StoreConfig,
    chain: ChainConfig,
    miner_timeout: Duration,
    owner: AccountId,
    passphrase: Zeroizing<Vec<u8>>,
}

impl Restore {
    /// Restores.
    pub async fn run(self) -> Result<()> {
        let config = self.config.as_deref().map(Config::read).transpose()?;
        let outcome = if self.drill {
            let above = self.scratch.clone().unwrap_or_else(std::env::temp_dir);
            let scratch = above.join(format!("cess-gateway-drill-{}", crate::random::hex::<6>()?));
            let outcome = self.restore_in(&scratch, config.as_ref()).await;
            if scratch.exists() {
                std::fs::remove_dir_all(&scratch)
                    .with_context(|| format!("cannot remove {}", scratch.display()))?;
            }
            outcome?
        } else {
            let Some(data) = self
                .data
                .clone()
                .or_else(|| config.as_ref().map(|config| config.data.clone()))
            else {
                bail!("restore into which directory? pass --data or --config");
            };
            self.restore_in(&data, config.as_ref()).await?
        };
        if self.json {
            println!("{}", serde_json::to_string(&outcome)?);
        } else {
            print!("{}", render(&outcome));
        }
        if self.drill && !outcome.report.sample_failed.is_empty() {
            bail!("not everything that was restored can be read");
        }
        Ok(())
    }

    async fn restore_in(&self, path: &Path, config: Option<&Config>) -> Result<Outcome> {
        // What is missing is said before anything is made.
        let place = self.place(path, config)?;
        let engines = meta::Place::engines_in(&path.join("meta"));
        if engines.is_empty() && path.join("store/staging").exists() {
            bail!(
                "{} holds the staging of a gateway, which a restore would delete; choose an empty directory",
                path.display()
            );
        }
        if let Some(other) = engines.into_iter().find(|engine| *engine != place.engine()) {
            bail!(
                "{} holds a gateway with the metadata engine {other}; choose an empty directory",
                path.display()
            );
        }
        let plan = self.plan(path, config)?;
        let request = self.request()?;
        let _alone = DataDir::lock(path)?;
        let chain = Chain::connect(plan.chain)
            .await
            .context("cannot reach the chain")?;
        let key = Keypair::from_secret_key(crate::random::bytes()?).context("cannot make a miner key")?;
        let miners = MinerClient::new(key, plan.miner_timeout).context("cannot make the miner client")?;
        let name = place.name();
        // A database is asked from a thread that may block.
        let meta = tokio::task::spawn_blocking(move || meta::Meta::at(&place))
            .await
            .context("opening the metadata was cut off")?
            .with_context(|| format!("cannot open the metadata: {name}"))?;
        let others = meta.others().await.context("cannot read the metadata")?;
        if others > 0 {
            bail!("{others} gateways use these metadata: {name}");
        }
        let bar = Bar::new(somebody_watches(self.json))?;
        let report = store::restore::restore(
            plan.store,
            meta.clone(),
            plan.passphrase,
            (chain, miners),
            plan.owner,
            &request,
            &|progress| bar.show(progress),
        )
        .await;
        bar.clear();
        let mut report = report.context("the restore did not come to its end; run it again to go on")?;
        let mut rescued_files = 0;
        if report.checkpoint.is_some() {
            vfs::restored::begin_anew(&meta).await?;
        } else {
            let rescued = vfs::restored::rescue(&meta, std::mem::take(&mut report.found)).await?;
            store::restore::finish(&meta, &rescued.uses).await?;
            rescued_files = rescued.files;
        }
        let lost_content = vfs::restored::lost_content(&meta, &report.lost, LISTED).await?;
        Ok(Outcome {
            drill: self.drill,
            holds: vfs::restored::holds(&meta).await?,
            report,
            lost_content,
            rescued_files,
        })
    }

    /// Where the namespace is to live: as configured. A drill leaves nothing anywhere, so it makes do with a
    /// file of its own.
    fn place(&self, data: &Path, config: Option<&Config>) -> Result<meta::Place> {
        let cache = config.map_or_else(StoreSettings::default, |config| config.store.clone());
        let cache = cache.meta_cache.as_u64();
        match config.filter(|_| !self.drill) {
            Some(config) => config.metadata.place(config.metadata.engine, data, cache),
            None => Metadata::default().place(MetadataEngine::Fjall, data, cache),
        }
    }

    fn request(&self) -> Result<Request> {
        let more = self
            .file
            .iter()
            .map(|fid| {
                let mut bytes = [0; 32];
                hex::decode_to_slice(fid, &mut bytes).with_context(|| format!("--file {fid} is no FID"))?;
                Ok(cess::Hash(bytes))
            })
            .collect::<Result<_>>()?;
        Ok(Request {
            checkpoint: self.checkpoint,
            accept_loss: self.accept_loss,
            more,
            without_checkpoint: self.from_packs,
            sample: if self.drill { SAMPLE } else { 0 },
        })
    }

    fn plan(&self, data: &Path, config: Option<&Config>) -> Result<Plan> {
        let network = config.map(|config| &config.network);
        let account = |text: &str| {
            AccountId::from_ss58(text)
                .map(|(account, _)| account)
                .with_context(|| format!("account {text}"))
        };
        let owner = match (&self.account, network) {
            (Some(text), _) => account(text)?,
            (None, Some(network)) => match &network.owner {
                Some(text) => account(text)?,
                None => {
                    let uri = read_private(&network.signer_file)?;
                    // The parser's own message could repeat the secret.
                    let signer = SecretUri::from_str(&uri)
                        .ok()
                        .and_then(|uri| Keypair::from_uri(&uri).ok())
                        .with_context(|| {
                            format!("{} holds no usable secret URI", network.signer_file.display())
                        })?;
                    AccountId::from(&signer)
                }
            },
            (None, None) => bail!("whose files? pass --account or --config"),
        };
        let endpoints = match network {
            _ if !self.rpc.is_empty() => self.rpc.clone(),
            Some(network) => network.rpc.clone(),
            None => bail!("which network? pass --rpc or --config"),
        };
        let file = self
            .passphrase_file
            .as_ref()
            .or_else(|| config.map(|config| &config.keys.passphrase_file))
            .context("which passphrase? pass --passphrase-file or --config")?;
        let passphrase = Zeroizing::new(read_private(file)?.as_bytes().to_vec());
        let miner_endpoints = match network {
            Some(network) => network
                .miner_endpoints
                .iter()
                .map(|(miner, endpoint)| Ok((account(miner)?, endpoint.clone())))
                .collect::<Result<_>>()
                .context("in network.miner_endpoints")?,
            None => BTreeMap::new(),
        };
        let settings = config.map(|config| config.store.clone()).unwrap_or_default();
        Ok(Plan {
            store: store::StoreConfig {
                disk_reserve: settings.disk_reserve.as_u64(),
                memory_cache: settings.memory_cache.as_u64(),
                read_memory: settings.read_memory.as_u64(),
                // A drill reads nothing twice that memory could not hold.
                disk_cache: if self.drill {
                    0
                } else {
                    settings.disk_cache.as_u64()
                },
                ..store::StoreConfig::new(data.join("store"))
            },
            chain: ChainConfig {
                endpoints,
                // Nothing is signed.
                signer: Keypair::from_secret_key(crate::random::bytes()?).context("cannot make a key")?,
                miner_endpoints,
                rpc_timeout: network.map_or(Duration::from_secs(30), |network| network.rpc_timeout),
            },
            miner_timeout: network.map_or(Duration::from_secs(60), |network| network.miner_timeout),
            owner,
            passphrase,
        })
    }
}

/// Draws how far it is, if somebody watches.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(watched: bool) -> Result<Self> {
        if !watched {
            return Ok(Self(None));
        }
        let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} {msg}")
            .context("the progress bar's template")?;
        Ok(Self(Some(ProgressBar::new(0).with_style(style))))
    }

    fn show(&self, progress: Progress) {
        let Some(bar) = &self.0 else { return };
        let (what, done, of) = match progress {
            Progress::Files(done, of) => ("files looked at", done, of),
            Progress::Blocks(done, of) => ("blocks of the checkpoint read", done, of),
            Progress::Rows(done, of) => ("rows put back", done, of),
        };
        bar.set_length(of);
        bar.set_position(done);
        bar.set_message(what);
    }

    fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// A range of a file that cannot be read, in words.
pub(super) fn range(user: &ChunkUser) -> String {
    let name = user.path.clone().unwrap_or_else(|| format!("inode {}", user.ino));
    let end = user.offset + u64::from(user.len);
    format!("{name} bytes {} to {end}", user.offset)
}

fn render(outcome: &Outcome) -> String {
    let report = &outcome.report;
    let mut out = String::new();
    // Writing to a String cannot fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    let moment = |millis: u64| humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(millis));
    let begun = if outcome.drill { "drill" } else { "restore" };
    match &report.checkpoint {
        Some(found) => line(format!(
            "{begun}: checkpoint {} of {}, {} rows, in {:.1} s",
            found.number,
            moment(found.taken),
            found.rows,
            report.seconds
        )),
        None => line(format!(
            "{begun}: no checkpoint; {} files made of what the packs say, in {:.1} s",
            outcome.rescued_files, report.seconds
        )),
    }
    line(format!(
        "packs    {} of {} files ({} of something else), {} chunks, {}, {} of them dead",
        report.packs,
        report.files,
        report.foreign,
        report.chunks,
        ByteSize(report.bytes).display().iec(),
        report.dead
    ));
    if !outcome.drill && report.segments > 0 {
        line(format!(
            "         {} segments were not read back: they count as placed until the scrubber has looked at them",
            report.segments
        ));
    }
    for fid in &report.other_namespaces {
        line(format!(
            "         file {fid} is of another namespace under this passphrase: --file {fid} restores that one"
        ));
    }
    for (fid, reason) in &report.unreadable {
        line(format!("         {fid} cannot be read: {reason}"));
    }
    for found in &report.others {
        line(format!(
            "         checkpoint {} was not used: {}",
            found.number,
            found.passed_over.as_deref().unwrap_or("no reason")
        ));
    }
    let holds = &outcome.holds;
    line(format!(
        "holds    {} buckets, {} inodes, {} volumes, {} snapshots, {} clones, {} uploads in flight",
        holds.buckets, holds.inodes, holds.volumes, holds.snapshots, holds.clones, holds.uploads
    ));
    if outcome.drill {
        line(format!(
            "samples  {} chunks read back, {} could not be",
            report.sampled,
            report.sample_failed.len()
        ));
        for reason in &report.sample_failed {
            line(format!("         {reason}"));
        }
    }
    if report.lost.is_empty() {
        line("lost     nothing that the checkpoint knows".to_owned());
    } else {
        line(format!(
            "lost     {} chunks had not reached the network; reading these ranges is an error:",
            report.lost.len()
        ));
        for user in &outcome.lost_content {
            line(format!("         {}", range(user)));
        }
    }
    if outcome.drill {
        line("The scratch directory is removed; nothing else was touched.".to_owned());
    } else {
        line(
            "Start the gateway with `cess-gateway serve`. Never start the lost one again: it would stop."
                .to_owned(),
        );
    }
    out
}
