//! `cess-gateway clone`: a file, volume or directory that begins as another one.
use anyhow::{Context as _, Result};
use bytesize::ByteSize;
use clap::Args;

use super::Target;
use crate::admin::snapshots::{Cloned, MakeClone};

/// Make a writable clone of a file, volume or directory. It is instant and shares all its bytes at first.
#[derive(Args)]
pub struct CloneFile {
    /// `bucket/key` as it is now, or `bucket/key@snapshot`.
    from: String,
    /// `bucket/key` of the clone, in the same bucket.
    to: String,
    #[command(flatten)]
    target: Target,
}

impl CloneFile {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let request = MakeClone {
            from: self.from.clone(),
            to: self.to,
        };
        let made = self.target.client()?.post("/v1/clones", &request).await;
        let made: Cloned = made.context(self.from)?;
        if self.target.json {
            println!("{}", serde_json::to_string(&made)?);
        } else {
            println!("{}  {}", made.path, ByteSize(made.size).display().iec());
        }
        Ok(())
    }
}
