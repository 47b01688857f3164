//! `cess-gateway flush`: wait for a level.
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use store::{Level, PackState};

use super::{Target, somebody_watches};
use crate::admin::client::Client;
use crate::admin::model;

/// Wait until everything acknowledged so far has reached a level.
#[derive(Args)]
pub struct Flush {
    /// Level to wait for.
    #[arg(long, value_enum, default_value = "placed")]
    wait: Wait,
    /// Longest wait.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    target: Target,
}

/// A level to wait for.
#[derive(Clone, Copy, ValueEnum)]
pub enum Wait {
    /// On the gateway's disk, synced.
    Staged,
    /// On twelve miners, listed by the chain.
    Placed,
    /// Read back from the miners and compared.
    Verified,
}

impl Wait {
    /// As the store names it.
    pub fn level(self) -> Level {
        match self {
            Self::Staged => Level::Staged,
            Self::Placed => Level::Placed,
            Self::Verified => Level::Verified,
        }
    }
}

impl Flush {
    /// Waits.
    pub async fn run(self) -> Result<()> {
        let level = self.wait.level();
        let client = self.target.client()?;
        let request = model::Flush {
            level,
            timeout: self.timeout.as_secs(),
        };
        if somebody_watches(self.target.json) {
            let bar = ProgressBar::new_spinner().with_style(
                ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}")
                    .context("the progress bar's template")?,
            );
            tokio::select! {
                done = client.act("/v1/flush", &request) => done?,
                () = show_progress(&client, &bar) => {}
            }
            bar.finish_and_clear();
        } else {
            client.act("/v1/flush", &request).await?;
        }
        if self.target.json {
            println!("{}", serde_json::json!({ "level": level }));
        } else {
            println!("everything acknowledged before is {level}");
        }
        Ok(())
    }
}

/// Draws what is still on its way, for ever.
async fn show_progress(client: &Client, bar: &ProgressBar) {
    loop {
        if let Ok(status) = client.get::<model::Status>("/v1/status").await {
            let at = |state| {
                status
                    .store
                    .packs
                    .iter()
                    .filter(|pack| pack.state == state)
                    .count()
            };
            bar.set_message(format!(
                "{} not packed; packs: {} closed, {} hashed, {} declared, {} placed, {} verified",
                ByteSize(status.store.unpacked_bytes).display().iec(),
                at(PackState::Closed),
                at(PackState::Hashed),
                at(PackState::Declared),
                at(PackState::Placed),
                at(PackState::Verified),
            ));
        }
        bar.tick();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
