//! `cess-gateway iam explain`.
use std::collections::BTreeMap;

use access::identity::{Explained, Inquiry, Who};
use anyhow::Result;
use clap::Args;

use super::In;

/// Say whether somebody may do something, and which statement decides. ACLs are not looked at.
#[derive(Args)]
pub(super) struct Explain {
    /// A user; without one of these: the account itself.
    #[arg(long, conflicts_with_all = ["role", "anonymous"])]
    user: Option<String>,
    /// A role.
    #[arg(long, conflicts_with = "anonymous")]
    role: Option<String>,
    /// Somebody who does not sign.
    #[arg(long)]
    anonymous: bool,
    /// The action, e.g. s3:GetObject.
    #[arg(long)]
    action: String,
    /// The bucket or object, e.g. arn:aws:s3:::bucket/key.
    #[arg(long)]
    resource: String,
    /// A condition key of the request, e.g. aws:SourceIp=192.0.2.1; may be given again.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    context: Vec<(String, String)>,
    #[command(flatten)]
    within: In,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is needed")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) async fn run(asked: Explain) -> Result<()> {
    let who = match (asked.user, asked.role, asked.anonymous) {
        (Some(user), ..) => Who::User(user),
        (None, Some(role), _) => Who::Role(role),
        (None, None, true) => Who::Anonymous,
        (None, None, false) => Who::Account,
    };
    let mut context: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in asked.context {
        context.entry(key).or_default().push(value);
    }
    let inquiry = Inquiry {
        account: asked.within.account,
        who,
        action: asked.action,
        resource: asked.resource,
        context,
    };
    let target = asked.within.target;
    let explained: Explained = target.client()?.post("/v1/iam/explain", &inquiry).await?;
    if target.json {
        println!("{}", serde_json::to_string(&explained)?);
    } else {
        println!("{}: {}", explained.caller, explained.decision);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn condition_keys_come_with_their_values() {
        assert_eq!(
            pair("aws:SourceIp=::1"),
            Ok(("aws:SourceIp".into(), "::1".into()))
        );
        assert_eq!(pair("k=a=b"), Ok(("k".into(), "a=b".into())));
        assert!(pair("k").is_err());
    }
}
