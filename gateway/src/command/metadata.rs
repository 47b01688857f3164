//! `cess-gateway meta`: the place where the namespace lives.
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use meta::migrate::{Step, migrate};

use super::somebody_watches;
use crate::config::{Config, MetadataEngine};
use crate::data_dir::DataDir;

/// The place where the namespace lives.
#[derive(Args)]
pub struct Metadata {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Move the namespace from one engine to another, compare both, and refuse the old one from then
    /// on. The gateway must not run; set `metadata.engine` to the new one before it is started again.
    Migrate(Migrate),
}

#[derive(Args)]
struct Migrate {
    /// Configuration file of the gateway: its `data`, and `[metadata.postgres]` if that is one of the two.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/cess-gateway/cess-gateway.toml"
    )]
    config: PathBuf,
    /// Engine that holds the namespace.
    #[arg(long, value_enum, value_name = "ENGINE")]
    from: MetadataEngine,
    /// Engine that is to hold it; it must hold none yet.
    #[arg(long, value_enum, value_name = "ENGINE")]
    to: MetadataEngine,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

impl Metadata {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let Action::Migrate(migrate) = self.action;
        // It blocks from its beginning to its end.
        tokio::task::spawn_blocking(move || migrate.run())
            .await
            .context("the move was cut off")?
    }
}

impl Migrate {
    fn run(self) -> Result<()> {
        if self.from == self.to {
            bail!("--from and --to are the same engine");
        }
        let config = Config::read(&self.config)?;
        let data = DataDir::lock(&config.data)?;
        let place = |engine| {
            let cache = config.store.meta_cache.as_u64();
            config.metadata.place(engine, &data.join(""), cache)
        };
        let (from, to) = (place(self.from)?, place(self.to)?);
        let bar = if somebody_watches(self.json) {
            ProgressBar::new(0).with_style(
                ProgressStyle::with_template("{msg:10} {bar:40} {human_pos}/{human_len} rows {eta}")
                    .context("the progress bar's template")?,
            )
        } else {
            ProgressBar::hidden()
        };
        let moved = migrate(&from, &to, &mut |step| {
            let (what, done, of) = match step {
                Step::Counting(done) => ("counting", done, done),
                Step::Copying(done, of) => ("copying", done, of),
                Step::Comparing(done, of) => ("comparing", done, of),
            };
            bar.set_message(what);
            bar.set_length(of);
            bar.set_position(done);
        })
        .with_context(|| format!("cannot move the metadata from {} to {}", from.name(), to.name()))?;
        bar.finish_and_clear();
        let digest = hex::encode(moved.digest);
        if self.json {
            let answer = serde_json::json!({
                "rows": moved.rows,
                "bytes": moved.bytes,
                "sha256": digest,
                "from": from.name(),
                "to": to.name(),
            });
            println!("{answer}");
        } else {
            println!(
                "moved {} rows ({}) from {} to {}; both are the same: SHA-256 {digest}",
                HumanCount(moved.rows),
                HumanBytes(moved.bytes),
                from.name(),
                to.name()
            );
            println!("set metadata.engine to the new one before the gateway is started again");
        }
        Ok(())
    }
}
