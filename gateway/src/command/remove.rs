//! `cess-gateway remove`: a directory with all below it.
use anyhow::{Context as _, Result};
use clap::Args;

use super::Target;
use crate::admin::snapshots::RemoveTree;

/// Remove a directory with all below it, for good. It is out of sight at once, whatever it holds.
///
/// Nothing of it goes to the bucket's trash; snapshots keep what they have. A clone goes without having been
/// filled first.
#[derive(Args)]
pub struct Remove {
    /// `bucket/directory`.
    path: String,
    #[command(flatten)]
    target: Target,
}

impl Remove {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let request = RemoveTree {
            path: self.path.clone(),
        };
        let done = self.target.client()?.act("/v1/trees/remove", &request).await;
        done.with_context(|| self.path.clone())?;
        if self.target.json {
            println!("{}", serde_json::json!({ "removed": self.path }));
        } else {
            println!("{} is gone; its space comes back in the background", self.path);
        }
        Ok(())
    }
}
