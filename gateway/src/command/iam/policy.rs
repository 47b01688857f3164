//! `cess-gateway iam policy`.
use std::path::PathBuf;

use access::identity::{Answer, Order, PolicyTarget};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};

use super::{In, ask, render};

#[derive(Subcommand)]
pub(super) enum Policy {
    /// Make a policy, or replace it: what it is attached to follows at once.
    Put {
        /// Its name.
        name: String,
        /// File with the document, JSON.
        file: PathBuf,
        #[command(flatten)]
        within: In,
    },
    /// Print its document.
    Get {
        /// Its name.
        name: String,
        #[command(flatten)]
        within: In,
    },
    /// List all.
    List {
        #[command(flatten)]
        within: In,
    },
    /// Delete one that is attached to nothing.
    Delete {
        /// Its name.
        name: String,
        #[command(flatten)]
        within: In,
    },
    /// Attach it.
    Attach {
        /// Its name.
        name: String,
        #[command(flatten)]
        to: To,
        #[command(flatten)]
        within: In,
    },
    /// Detach it.
    Detach {
        /// Its name.
        name: String,
        #[command(flatten)]
        to: To,
        #[command(flatten)]
        within: In,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct To {
    /// A user.
    #[arg(long)]
    user: Option<String>,
    /// A group.
    #[arg(long)]
    group: Option<String>,
    /// A role.
    #[arg(long)]
    role: Option<String>,
}

impl To {
    fn target(self) -> Result<PolicyTarget> {
        match (self.user, self.group, self.role) {
            (Some(name), None, None) => Ok(PolicyTarget::User(name)),
            (None, Some(name), None) => Ok(PolicyTarget::Group(name)),
            (None, None, Some(name)) => Ok(PolicyTarget::Role(name)),
            _ => bail!("one of --user, --group and --role is needed"),
        }
    }
}

pub(super) async fn run(action: Policy) -> Result<()> {
    match action {
        Policy::Put { name, file, within } => {
            let document =
                std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let order = |account| Order::PutPolicy {
                account,
                name,
                document,
            };
            within.show(order, None).await
        }
        Policy::Get { name, within } => {
            let account = within.account;
            let answer = ask(&within.target, &Order::ListPolicies { account }).await?;
            if let Answer::Policies(found) = render::only(answer, &name)? {
                for policy in found {
                    println!("{}", policy.document.trim_end());
                }
            }
            Ok(())
        }
        Policy::List { within } => within.show(|account| Order::ListPolicies { account }, None).await,
        Policy::Delete { name, within } => {
            within
                .show(|account| Order::DeletePolicy { account, name }, None)
                .await
        }
        Policy::Attach { name, to, within } => {
            let target = to.target()?;
            let order = |account| Order::AttachPolicy {
                account,
                name,
                target,
            };
            within.show(order, None).await
        }
        Policy::Detach { name, to, within } => {
            let target = to.target()?;
            let order = |account| Order::DetachPolicy {
                account,
                name,
                target,
            };
            within.show(order, None).await
        }
    }
}
