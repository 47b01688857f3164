//! `cess-gateway meta`: the place where the namespace lives.
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use meta::migrate::{Step, migrate};

use super::somebody_watches;
use crate::admin::client::Client;
use crate::admin::metadata::{MoveLine, MoveMetadata};
use crate::config::{Config, MetadataEngine};
use crate::data_dir::{AdminAddress, DataDir, find_gateway};

/// The place where the namespace lives.
#[derive(Args)]
pub struct Metadata {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Move the namespace from one engine to another, compare both, and refuse the old one from then
    /// on. A gateway that runs goes on with the new one. Set `metadata.engine` to it before the next start.
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
        if migrate.from == migrate.to {
            bail!("--from and --to are the same engine");
        }
        let config = Config::read(&migrate.config)?;
        match DataDir::lock(&config.data) {
            // It blocks from its beginning to its end.
            Ok(data) => tokio::task::spawn_blocking(move || migrate.at_rest(&config, &data))
                .await
                .context("the move was cut off")?,
            Err(held) => match find_gateway(&config.data) {
                Ok(gateway) => migrate.live(gateway).await,
                Err(_) => Err(held),
            },
        }
    }
}

impl Migrate {
    fn bar(&self) -> Result<ProgressBar> {
        if !somebody_watches(self.json) {
            return Ok(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{msg:10} {bar:40} {human_pos}/{human_len} rows {eta}");
        Ok(ProgressBar::new(0).with_style(style.context("the progress bar's template")?))
    }

    /// Has the running gateway do it.
    async fn live(self, gateway: AdminAddress) -> Result<()> {
        let bar = self.bar()?;
        let request = MoveMetadata {
            from: self.from,
            to: self.to,
        };
        let mut last = None;
        Client::new(gateway)?
            .follow("/v1/metadata/move", &request, |line| {
                let (what, done, of) = match &line {
                    MoveLine::Copying(done) => ("copying", *done, *done),
                    MoveLine::Comparing(done, of) => ("comparing", *done, *of),
                    MoveLine::Moved { .. } | MoveLine::Failed(_) => {
                        last = Some(line);
                        return;
                    }
                };
                bar.set_message(what);
                bar.set_length(of);
                bar.set_position(done);
            })
            .await?;
        bar.finish_and_clear();
        match last {
            Some(MoveLine::Moved {
                rows,
                bytes,
                stopped,
                from,
                to,
            }) => {
                if self.json {
                    let answer = serde_json::json!({
                        "rows": rows, "bytes": bytes, "stopped": stopped, "from": from, "to": to,
                    });
                    println!("{answer}");
                } else {
                    println!(
                        "moved {} rows ({}) from {from} to {to} under the running gateway; changes waited {stopped} ms",
                        HumanCount(rows),
                        HumanBytes(bytes),
                    );
                    println!("it uses the new engine now; set metadata.engine to it before the next start");
                }
                Ok(())
            }
            Some(MoveLine::Failed(error)) => bail!("the metadata were not moved: {error}"),
            _ => bail!(
                "the gateway ended in the middle of the move: the next start says where the metadata are"
            ),
        }
    }

    /// Does it while no gateway runs.
    fn at_rest(self, config: &Config, data: &DataDir) -> Result<()> {
        let place = |engine| {
            let cache = config.store.meta_cache.as_u64();
            config.metadata.place(engine, &data.join(""), cache)
        };
        let (from, to) = (place(self.from)?, place(self.to)?);
        let bar = self.bar()?;
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
