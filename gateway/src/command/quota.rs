//! `cess-gateway quota`: how much buckets and directories may hold.
use anyhow::{Context as _, Result};
use bytesize::ByteSize;
use clap::{Args, Subcommand};
use vfs::QuotaInfo;

use super::Target;
use crate::admin::quotas::{GetQuota, Limit, Quotas, SetQuota};

/// Limits of buckets and directories.
#[derive(Args)]
pub struct Quota {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Limit a bucket or directory; what is left out stays as it is.
    Set {
        /// `bucket` or `bucket/directory`.
        path: String,
        /// Most bytes of content, e.g. 10GiB, or none.
        #[arg(long, value_parser = bytes, required_unless_present = "inodes")]
        bytes: Option<Limit>,
        /// Most files and directories, itself included, or none.
        #[arg(long, value_parser = inodes)]
        inodes: Option<Limit>,
        #[command(flatten)]
        target: Target,
    },
    /// Show one.
    Get {
        /// `bucket` or `bucket/directory`.
        path: String,
        #[command(flatten)]
        target: Target,
    },
    /// List all.
    List {
        #[command(flatten)]
        target: Target,
    },
}

fn bytes(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit::None);
    }
    let size: ByteSize = text.parse()?;
    Ok(Limit::Most(size.as_u64()))
}

fn inodes(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit::None);
    }
    let count = text.parse::<u64>();
    count.map(Limit::Most).map_err(|error| error.to_string())
}

impl Quota {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        match self.action {
            Action::Set {
                path,
                bytes,
                inodes,
                target,
            } => {
                let request = SetQuota {
                    path: path.clone(),
                    bytes,
                    inodes,
                };
                let quota = target.client()?.post("/v1/quotas/set", &request).await;
                show(&quota.context(path)?, target.json)
            }
            Action::Get { path, target } => {
                let request = GetQuota { path: path.clone() };
                let quota = target.client()?.post("/v1/quotas/get", &request).await;
                show(&quota.context(path)?, target.json)
            }
            Action::List { target } => {
                let found: Quotas = target.client()?.get("/v1/quotas").await?;
                if target.json {
                    println!("{}", serde_json::to_string(&found)?);
                } else {
                    for quota in &found.quotas {
                        show(quota, false)?;
                    }
                }
                Ok(())
            }
        }
    }
}

fn show(quota: &QuotaInfo, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(quota)?);
    } else {
        println!("{}", render(quota));
    }
    Ok(())
}

fn render(quota: &QuotaInfo) -> String {
    let size = |bytes: u64| ByteSize(bytes).display().iec();
    let bytes = quota
        .limits
        .bytes
        .map_or_else(|| "no limit".to_owned(), |limit| size(limit).to_string());
    let inodes = quota
        .limits
        .inodes
        .map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
    format!(
        "{}  {} of {bytes}, {} inodes of {inodes}{}",
        quota.path,
        size(quota.used_bytes),
        quota.used_inodes,
        if quota.counted {
            ""
        } else {
            "; still being counted, not enforced yet"
        }
    )
}

#[cfg(test)]
mod tests {
    use vfs::QuotaLimits;

    use super::*;

    #[test]
    fn limits_are_sizes_and_numbers_or_none() {
        assert_eq!(bytes("10GiB"), Ok(Limit::Most(10 << 30)));
        assert_eq!(bytes("none"), Ok(Limit::None));
        assert!(bytes("much").is_err());
        assert_eq!(inodes("1000"), Ok(Limit::Most(1000)));
        assert!(inodes("-1").is_err());
    }

    #[test]
    fn a_quota_says_what_is_used_and_whether_it_holds() {
        let mut quota = QuotaInfo {
            path: "b/d/".into(),
            ino: 7,
            limits: QuotaLimits {
                bytes: Some(1 << 30),
                inodes: None,
            },
            used_bytes: 1 << 20,
            used_inodes: 3,
            counted: true,
        };
        assert_eq!(render(&quota), "b/d/  1.0 MiB of 1.0 GiB, 3 inodes of no limit");
        quota.counted = false;
        assert!(render(&quota).ends_with("; still being counted, not enforced yet"));
    }
}
