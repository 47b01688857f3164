//! `cess-gateway volume`: make, list, resize and delete block volumes.
use anyhow::{Context as _, Result};
use bytesize::ByteSize;
use clap::{Args, Subcommand};
use vfs::VolumeInfo;

use super::Target;
use crate::admin::model::{CreateVolume, DeleteVolume, ResizeVolume, Volumes};

/// Block volumes.
#[derive(Args)]
pub struct Volume {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a volume. It takes no space until it is written to.
    Create {
        /// `bucket/key`; the bucket is made if it is missing.
        path: String,
        /// Size, e.g. 20GiB.
        #[arg(long)]
        size: ByteSize,
        /// Sector size in bytes.
        #[arg(long, default_value_t = 512, value_parser = sector)]
        sector: u32,
        /// Free text, shown to NBD clients.
        #[arg(long, default_value = "")]
        description: String,
        #[command(flatten)]
        target: Target,
    },
    /// List volumes.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Change a volume's size. An attached client sees it when it connects again.
    Resize {
        /// `bucket/key`.
        path: String,
        /// New size.
        #[arg(long)]
        size: ByteSize,
        /// Allow to cut data off.
        #[arg(long)]
        shrink: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Delete a volume that nothing is attached to.
    Delete {
        /// `bucket/key`.
        path: String,
        #[command(flatten)]
        target: Target,
    },
}

fn sector(text: &str) -> Result<u32, String> {
    match text {
        "512" => Ok(512),
        "4096" => Ok(4096),
        _ => Err("a sector is 512 or 4096 bytes".to_owned()),
    }
}

impl Volume {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        match self.action {
            Action::Create {
                path,
                size,
                sector,
                description,
                target,
            } => {
                let request = CreateVolume {
                    path: path.clone(),
                    size: size.as_u64(),
                    sector,
                    description,
                };
                let made = target.client()?.post("/v1/volumes", &request).await;
                let volume = made.context(path)?;
                show(&volume, target.json)
            }
            Action::List { target } => {
                let volumes: Volumes = target.client()?.get("/v1/volumes").await?;
                if target.json {
                    println!("{}", serde_json::to_string(&volumes)?);
                } else {
                    for volume in &volumes.volumes {
                        show(volume, false)?;
                    }
                }
                Ok(())
            }
            Action::Resize {
                path,
                size,
                shrink,
                target,
            } => {
                let request = ResizeVolume {
                    path: path.clone(),
                    size: size.as_u64(),
                    shrink,
                };
                let resized = target.client()?.post("/v1/volumes/resize", &request).await;
                let volume = resized.context(path)?;
                show(&volume, target.json)
            }
            Action::Delete { path, target } => {
                target
                    .client()?
                    .act("/v1/volumes/delete", &DeleteVolume { path: path.clone() })
                    .await
                    .with_context(|| path.clone())?;
                if target.json {
                    println!("{}", serde_json::json!({ "deleted": path }));
                } else {
                    println!("{path} is deleted");
                }
                Ok(())
            }
        }
    }
}

fn show(volume: &VolumeInfo, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(volume)?);
    } else {
        let size = |bytes| ByteSize(bytes).display().iec();
        println!(
            "{}  {} ({} bytes), {} allocated, sectors of {} bytes{}",
            volume.path,
            size(volume.size),
            volume.size,
            size(volume.allocated),
            volume.sector,
            if volume.description.is_empty() {
                String::new()
            } else {
                format!(", {}", volume.description)
            }
        );
    }
    Ok(())
}
