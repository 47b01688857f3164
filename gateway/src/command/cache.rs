//! `cess-gateway cache`: forget what only speeds things up.
use anyhow::Result;
use clap::{Args, Subcommand};

use super::Target;

/// The caches.
#[derive(Args)]
pub struct Cache {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Empty the memory cache and the disk cache, and rewrite the metadata store without what it
    /// holds of small chunks that left staging: no sealed byte of anything verified stays on this
    /// disk. Nothing is lost: reads ask staging and miners again.
    Drop {
        #[command(flatten)]
        target: Target,
    },
}

impl Cache {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let Action::Drop { target } = self.action;
        target.client()?.act("/v1/cache/drop", &()).await?;
        if target.json {
            println!("{{\"dropped\":true}}");
        } else {
            println!("the caches are empty");
        }
        Ok(())
    }
}
