//! `cess-gateway iam key`.
use std::path::PathBuf;

use access::identity::{Answer, NewKey, Order};
use anyhow::{Context as _, Result};
use clap::Subcommand;

use super::{In, Target, ask, print, show};
use crate::data_dir::write_private;

#[derive(Subcommand)]
pub(super) enum Key {
    /// Make an access key. Its secret is shown this once.
    Create {
        /// User that it is for; left out: the account itself, which may do all with what it owns.
        #[arg(long)]
        user: Option<String>,
        /// Write `ACCESS_KEY:SECRET_KEY` to this file (mode 0600) instead of showing it.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        within: In,
    },
    /// List those of an account.
    List {
        #[command(flatten)]
        within: In,
    },
    /// Make another for the same user, and disable this one.
    Rotate {
        /// Access key.
        access_key: String,
        /// Write `ACCESS_KEY:SECRET_KEY` to this file (mode 0600) instead of showing it.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        target: Target,
    },
    /// Refuse what is signed with it.
    Disable {
        /// Access key.
        access_key: String,
        #[command(flatten)]
        target: Target,
    },
    /// Take what is signed with it again.
    Enable {
        /// Access key.
        access_key: String,
        #[command(flatten)]
        target: Target,
    },
    /// Delete it for good.
    Delete {
        /// Access key.
        access_key: String,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn run(action: Key) -> Result<()> {
    match action {
        Key::Create { user, to, within } => {
            let account = within.account;
            made(&within.target, &Order::CreateKey { account, user }, to).await
        }
        Key::List { within } => within.show(|account| Order::ListKeys { account }, None).await,
        Key::Rotate {
            access_key,
            to,
            target,
        } => made(&target, &Order::RotateKey { access_key }, to).await,
        Key::Disable { access_key, target } => show(&target, &Order::DisableKey { access_key }, None).await,
        Key::Enable { access_key, target } => show(&target, &Order::EnableKey { access_key }, None).await,
        Key::Delete { access_key, target } => show(&target, &Order::DeleteKey { access_key }, None).await,
    }
}

/// Shows a key just made, or writes it where it was asked for.
async fn made(target: &Target, order: &Order, to: Option<PathBuf>) -> Result<()> {
    match (ask(target, order).await?, to) {
        (
            Answer::Key(NewKey {
                access_key,
                secret_key,
            }),
            Some(file),
        ) => {
            let pair = format!("{access_key}:{secret_key}");
            if let Err(error) = write_private(&file, format!("{pair}\n").as_bytes()) {
                // It is told this once: whoever made it must not be left without.
                println!("{pair}");
                return Err(error).context("the key is made and shown here, but could not be written");
            }
            println!("{access_key}");
            Ok(())
        }
        (answer, _) => print(target, &answer),
    }
}
