//! `cess-gateway snapshot`: take, list and delete snapshots, by hand and by rule.
use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use vfs::{SnapshotInfo, SnapshotRule};

use super::Target;
use super::moment::moment;
use crate::admin::snapshots::{RuleList, SetRule, SnapshotList, SnapshotName};

/// Snapshots of buckets, directories, files and volumes.
#[derive(Args)]
pub struct Snapshot {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Take one. It is instant and takes no space until something changes.
    Create {
        /// `PATH@NAME`; PATH is `bucket`, `bucket/directory/` or `bucket/key`.
        #[arg(value_parser = full_name)]
        snapshot: Named,
        #[command(flatten)]
        target: Target,
    },
    /// List them.
    List {
        /// Only those of this `bucket`, `bucket/directory/` or `bucket/key`.
        path: Option<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Have them taken and deleted by a rule; without numbers, show the rules.
    Policy {
        /// `bucket`, `bucket/directory/` or `bucket/key`.
        path: Option<String>,
        /// Keep the last of each of so many hours.
        #[arg(long, value_name = "N", requires = "path")]
        hourly: Option<u32>,
        /// Keep the last of each of so many days.
        #[arg(long, value_name = "N", requires = "path")]
        daily: Option<u32>,
        /// Keep the last of each of so many weeks.
        #[arg(long, value_name = "N", requires = "path")]
        weekly: Option<u32>,
        /// End the rule. The snapshots that it made stay.
        #[arg(long, requires = "path", conflicts_with_all = ["hourly", "daily", "weekly"])]
        off: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Delete one. Space that only it needs is given back in the background.
    Delete {
        /// `PATH@NAME`.
        #[arg(value_parser = full_name)]
        snapshot: Named,
        #[command(flatten)]
        target: Target,
    },
}

/// A snapshot as an argument.
#[derive(Clone)]
struct Named {
    path: String,
    name: String,
}

/// Takes `PATH@NAME` apart, at the last `@`.
fn full_name(text: &str) -> Result<Named, String> {
    match text.rsplit_once('@') {
        Some((path, name)) if !path.is_empty() && !name.is_empty() => Ok(Named {
            path: path.to_owned(),
            name: name.to_owned(),
        }),
        _ => Err("a snapshot is PATH@NAME".to_owned()),
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.path, self.name)
    }
}

impl From<Named> for SnapshotName {
    fn from(named: Named) -> Self {
        Self {
            path: named.path,
            name: named.name,
        }
    }
}

impl Snapshot {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        match self.action {
            Action::Create { snapshot, target } => {
                let name = snapshot.to_string();
                let request = SnapshotName::from(snapshot);
                let made = target.client()?.post("/v1/snapshots", &request).await;
                show(&made.context(name)?, target.json)
            }
            Action::List { path, target } => {
                let query = match &path {
                    Some(path) => format!("?{}", encode(path)),
                    None => String::new(),
                };
                let list: SnapshotList = target.client()?.get(&format!("/v1/snapshots{query}")).await?;
                if target.json {
                    println!("{}", serde_json::to_string(&list)?);
                } else {
                    for snapshot in &list.snapshots {
                        show(snapshot, false)?;
                    }
                }
                Ok(())
            }
            Action::Policy {
                path,
                hourly,
                daily,
                weekly,
                off,
                target,
            } => {
                let client = target.client()?;
                let rule = SnapshotRule {
                    hourly: hourly.unwrap_or(0),
                    daily: daily.unwrap_or(0),
                    weekly: weekly.unwrap_or(0),
                };
                let path = path.unwrap_or_default();
                let asked = hourly.or(daily).or(weekly).is_some();
                if asked || off {
                    let request = SetRule {
                        path: path.clone(),
                        rule: asked.then_some(rule),
                    };
                    let done = client.act("/v1/snapshots/rules", &request).await;
                    done.with_context(|| path.clone())?;
                }
                let mut list: RuleList = client.get("/v1/snapshots/rules").await?;
                let bare = |path: &str| path.trim_end_matches('/').to_owned();
                list.rules
                    .retain(|info| path.is_empty() || bare(&info.path) == bare(&path));
                if target.json {
                    println!("{}", serde_json::to_string(&list)?);
                } else {
                    for info in &list.rules {
                        let SnapshotRule {
                            hourly,
                            daily,
                            weekly,
                        } = info.rule;
                        println!("{}  {hourly} hourly, {daily} daily, {weekly} weekly", info.path);
                    }
                }
                Ok(())
            }
            Action::Delete { snapshot, target } => {
                let name = snapshot.to_string();
                let request = SnapshotName::from(snapshot);
                let client = target.client()?;
                let deleted = client.act("/v1/snapshots/delete", &request).await;
                deleted.with_context(|| name.clone())?;
                if target.json {
                    println!("{}", serde_json::json!({ "deleted": name }));
                } else {
                    println!("{name} is deleted");
                }
                Ok(())
            }
        }
    }
}

fn encode(path: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("path", path)
        .finish()
}

fn show(snapshot: &SnapshotInfo, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(snapshot)?);
    } else {
        let millis = (snapshot.created.0 / 1_000_000).max(0) as u64;
        let automatic = if snapshot.automatic { ", by its rule" } else { "" };
        println!(
            "{}@{}  {}{automatic}",
            snapshot.path,
            snapshot.name,
            moment(millis)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_at_sign_parts_path_and_name() {
        let named = full_name("b/a@b@c").unwrap();
        assert_eq!((named.path.as_str(), named.name.as_str()), ("b/a@b", "c"));
        for bad in ["", "b/a", "@c", "b@"] {
            assert!(full_name(bad).is_err(), "{bad}");
        }
    }
}
