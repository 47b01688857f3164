//! `cess-gateway kms`: keys that S3 clients name for encryption (SSE-KMS).
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use super::Target;
use crate::admin::kms::{CreateKey, EnableKey, NamedKeys};

/// Keys that S3 clients name for encryption (SSE-KMS).
#[derive(Args)]
pub struct Kms {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List keys.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Make a key. `alias/aws/s3` is the one of requests that name none.
    Create {
        /// Its name: letters, digits and any of /_-.:
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Make everything that is encrypted under a key unreadable, until it is enabled.
    Disable {
        /// Its name.
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Let a key be used again.
    Enable {
        /// Its name.
        name: String,
        #[command(flatten)]
        target: Target,
    },
}

impl Kms {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        match self.action {
            Action::List { target } => {
                let found: NamedKeys = target.client()?.get("/v1/kms").await?;
                if target.json {
                    println!("{}", serde_json::to_string(&found)?);
                    return Ok(());
                }
                for key in &found.keys {
                    let state = if key.enabled { "enabled" } else { "disabled" };
                    println!("{state:8}  {}", key.name);
                }
                Ok(())
            }
            Action::Create { name, target } => {
                let request = CreateKey { name: name.clone() };
                let done = target.client()?.act("/v1/kms/create", &request).await;
                done.context(name)
            }
            Action::Disable { name, target } => enable(&target, name, false).await,
            Action::Enable { name, target } => enable(&target, name, true).await,
        }
    }
}

async fn enable(target: &Target, name: String, enabled: bool) -> Result<()> {
    let request = EnableKey {
        name: name.clone(),
        enabled,
    };
    let done = target.client()?.act("/v1/kms/enable", &request).await;
    done.context(name)
}
