//! `cess-gateway cache`: forget what only speeds things up.
use anyhow::Result;
use clap::{Args, Subcommand};

use super::Target;
use crate::admin::model::CachesDropped;

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
        let done: CachesDropped = target.client()?.post("/v1/cache/drop", &()).await?;
        if target.json {
            println!("{}", serde_json::json!({ "dropped": true, "left": done.left }));
        } else {
            println!("the caches are empty");
            if let Some(left) = done.left {
                println!("left are sealed bytes of small chunks in the metadata store: {left}");
            }
        }
        Ok(())
    }
}
