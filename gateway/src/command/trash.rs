//! `cess-gateway trash`: what was deleted from a bucket, and bringing it back.
use anyhow::{Context as _, Result};
use bytesize::ByteSize;
use clap::{Args, Subcommand};
use vfs::Restored;

use super::Target;
use super::moment::moment;
use crate::admin::trash::{Emptied, EmptyTrash, Entries, Wanted};

/// What was deleted from buckets that keep a trash (`bucket set NAME --trash 7d`).
#[derive(Args)]
pub struct Trash {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List what was deleted, the newest first.
    List {
        /// Name of the bucket.
        bucket: String,
        /// A key as it was, or a directory of them (`docs/`). Default: everything.
        #[arg(default_value = "")]
        key: String,
        #[command(flatten)]
        target: Target,
    },
    /// Give deleted files their keys back. What has such a key by now stays as it is.
    Restore {
        /// Name of the bucket.
        bucket: String,
        /// A key as it was, a directory of them (`docs/`), or the name of an entry in the trash.
        #[arg(required_unless_present = "all", default_value = "")]
        key: String,
        /// Everything.
        #[arg(long, conflicts_with = "key")]
        all: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Delete everything in a bucket's trash for good.
    Empty {
        /// Name of the bucket.
        bucket: String,
        #[command(flatten)]
        target: Target,
    },
}

impl Trash {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        match self.action {
            Action::List { bucket, key, target } => {
                let request = Wanted {
                    bucket: bucket.clone(),
                    key,
                };
                let found = target.client()?.post("/v1/trash/list", &request).await;
                let found: Entries = found.context(bucket)?;
                if target.json {
                    println!("{}", serde_json::to_string(&found)?);
                    return Ok(());
                }
                for entry in &found.entries {
                    println!(
                        "{}  {}  {}  {}",
                        moment(entry.deleted.0.max(0) as u64 / 1_000_000),
                        entry.key,
                        ByteSize(entry.size).display().iec(),
                        entry.now
                    );
                }
                if found.more {
                    println!("… and older ones");
                }
                Ok(())
            }
            Action::Restore {
                bucket, key, target, ..
            } => {
                let request = Wanted {
                    bucket: bucket.clone(),
                    key,
                };
                let done = target.client()?.post("/v1/trash/restore", &request).await;
                let done: Restored = done.context(bucket)?;
                if target.json {
                    println!("{}", serde_json::to_string(&done)?);
                } else {
                    println!("{}", render(&done));
                }
                Ok(())
            }
            Action::Empty { bucket, target } => {
                let request = EmptyTrash {
                    bucket: bucket.clone(),
                };
                let done = target.client()?.post("/v1/trash/empty", &request).await;
                let done: Emptied = done.context(bucket)?;
                if target.json {
                    println!("{}", serde_json::to_string(&done)?);
                } else {
                    println!("{} deleted for good", done.deleted);
                }
                Ok(())
            }
        }
    }
}

fn render(done: &Restored) -> String {
    let taken = done.first_taken.as_ref().map_or_else(String::new, |key| {
        format!(
            "; {} stay in the trash, for their keys are taken ({key})",
            done.taken
        )
    });
    format!("{} restored{taken}", done.restored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_restored_is_named() {
        let mut done = Restored {
            restored: 3,
            ..Restored::default()
        };
        assert_eq!(render(&done), "3 restored");
        done.taken = 2;
        done.first_taken = Some("a/b".into());
        assert_eq!(
            render(&done),
            "3 restored; 2 stay in the trash, for their keys are taken (a/b)"
        );
    }
}
