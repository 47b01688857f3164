//! `cess-gateway bucket`: list buckets and change their settings.
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use super::Target;
use crate::admin::levels::{Asked, AskedCompression, BucketSettings, Buckets, SetBucket};

/// Buckets.
#[derive(Args)]
pub struct Bucket {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List buckets and their settings.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Change a bucket's settings; what is left out stays as it is.
    Set {
        /// Name.
        bucket: String,
        /// Level that every fsync, FLUSH and PUT in it stands for at least.
        #[arg(long, value_enum)]
        ack: Option<Asked>,
        /// How what is written to it from now on is compressed. What does not shrink is stored as it
        /// is.
        #[arg(long, value_enum)]
        compression: Option<AskedCompression>,
        #[command(flatten)]
        target: Target,
    },
}

impl Bucket {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        match self.action {
            Action::List { target } => {
                let found: Buckets = target.client()?.get("/v1/buckets").await?;
                if target.json {
                    println!("{}", serde_json::to_string(&found)?);
                } else {
                    for bucket in &found.buckets {
                        show(bucket);
                    }
                }
                Ok(())
            }
            Action::Set {
                bucket,
                ack,
                compression,
                target,
            } => {
                let request = SetBucket {
                    bucket: bucket.clone(),
                    ack,
                    compression,
                };
                let settings: BucketSettings = target
                    .client()?
                    .post("/v1/buckets/set", &request)
                    .await
                    .context(bucket)?;
                if target.json {
                    println!("{}", serde_json::to_string(&settings)?);
                } else {
                    show(&settings);
                }
                Ok(())
            }
        }
    }
}

fn show(bucket: &BucketSettings) {
    let ack = bucket
        .ack
        .map_or_else(|| "default".to_owned(), |level| level.to_string());
    println!("{}  ack {ack}  compression {}", bucket.bucket, bucket.compression);
}
