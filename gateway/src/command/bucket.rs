//! `cess-gateway bucket`: list buckets and change their settings.
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use super::Target;
use crate::admin::levels::{Asked, AskedCompression, BucketSettings, Buckets, SetBucket};
use crate::admin::trash::AskedTrash;
use crate::admin::versioning::BucketVersioning;

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
        /// How long what is deleted from it stays restorable, e.g. 7d, or off. It takes space until
        /// then.
        #[arg(long, value_name = "TIME", value_parser = trash)]
        trash: Option<AskedTrash>,
        /// Keep what is replaced or deleted as versions, as S3 does. Off is refused while there are
        /// versions.
        #[arg(long, value_enum)]
        versioning: Option<BucketVersioning>,
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
                trash,
                versioning,
                target,
            } => {
                let request = SetBucket {
                    bucket: bucket.clone(),
                    ack,
                    compression,
                    trash,
                    versioning,
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
    let trash = bucket.trash.map_or_else(
        || "off".to_owned(),
        |seconds| humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string(),
    );
    println!(
        "{}  ack {ack}  compression {}  trash {trash}  versioning {}",
        bucket.bucket, bucket.compression, bucket.versioning
    );
}

fn trash(text: &str) -> Result<AskedTrash, String> {
    if text == "off" {
        return Ok(AskedTrash::Off);
    }
    let kept = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    Ok(AskedTrash::Keep(kept.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trash_is_a_time_or_off() {
        assert_eq!(trash("off"), Ok(AskedTrash::Off));
        assert_eq!(trash("7d"), Ok(AskedTrash::Keep(7 * 86_400)));
        assert!(trash("long").is_err());
    }
}
