//! `cess-gateway iam role`.
use std::path::PathBuf;
use std::time::Duration;

use access::identity::Order;
use anyhow::{Context as _, Result};
use clap::Subcommand;

use super::In;

#[derive(Subcommand)]
pub(super) enum Role {
    /// Make a role, or change who may take it and for how long.
    Put {
        /// Its name.
        name: String,
        /// File with the trust policy, JSON: who may take it.
        trust: PathBuf,
        /// Longest session, 15m to 12h.
        #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
        max_session: Duration,
        #[command(flatten)]
        within: In,
    },
    /// List all.
    List {
        #[command(flatten)]
        within: In,
    },
    /// Show one.
    Show {
        /// Its name.
        name: String,
        #[command(flatten)]
        within: In,
    },
    /// Delete it. Its sessions end.
    Delete {
        /// Its name.
        name: String,
        #[command(flatten)]
        within: In,
    },
}

pub(super) async fn run(action: Role) -> Result<()> {
    match action {
        Role::Put {
            name,
            trust,
            max_session,
            within,
        } => {
            let trust = std::fs::read_to_string(&trust)
                .with_context(|| format!("cannot read {}", trust.display()))?;
            let max_session = u32::try_from(max_session.as_secs()).unwrap_or(u32::MAX);
            let order = |account| Order::PutRole {
                account,
                name,
                trust,
                max_session,
            };
            within.show(order, None).await
        }
        Role::List { within } => within.show(|account| Order::ListRoles { account }, None).await,
        Role::Show { name, within } => {
            within
                .show(|account| Order::ListRoles { account }, Some(&name))
                .await
        }
        Role::Delete { name, within } => {
            within
                .show(|account| Order::DeleteRole { account, name }, None)
                .await
        }
    }
}
