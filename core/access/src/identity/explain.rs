//! Why somebody may do something, or may not: the same evaluation as of a request, for an operator.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::registry::Registry;
use super::{GATEWAY_NAME, Known};
use crate::caller::{Account, Caller, Identity, Policy, Session};
use crate::decision::{Grounds, Named, decide};
use crate::error::{Error, Kind, Result};
use crate::owner;
use crate::policy::{self, Context, Document, Question};

/// Name of a bucket's setting that holds its policy.
const POLICY: &str = "policy";
/// Name of a bucket's setting that holds its public access block.
const PUBLIC_ACCESS_BLOCK: &str = "public-access-block";
/// What names of buckets and objects begin with.
const S3_ARN: &str = "arn:aws:s3:::";

/// About whom it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// Somebody who does not sign.
    Anonymous,
    /// The account itself.
    Account,
    /// The user of this name.
    User(String),
    /// Whoever has taken the role of this name.
    Role(String),
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inquiry {
    /// Name of the account of who asks; none: the gateway's own.
    pub account: Option<String>,
    /// Who asks.
    pub who: Who,
    /// The action, `s3:GetObject`.
    pub action: String,
    /// The resource, `arn:aws:s3:::bucket/key`.
    pub resource: String,
    /// Condition keys of the request and their values.
    pub context: BTreeMap<String, Vec<String>>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Resource name of who asks, or `anonymous`.
    pub caller: String,
    /// Whether he may.
    pub allowed: bool,
    /// What decided.
    pub decision: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PublicAccessBlock {
    restrict_public_buckets: bool,
}

impl Registry {
    /// Explains what would become of a request, as far as policies decide it: ACLs are not looked at.
    pub async fn explain(&self, inquiry: &Inquiry) -> Result<Explained> {
        let caller = caller(&self.known(), inquiry)?;
        let bucket = inquiry
            .resource
            .strip_prefix(S3_ARN)
            .ok_or_else(|| Error::Invalid(format!("a resource is {S3_ARN}BUCKET or {S3_ARN}BUCKET/KEY")))?;
        let bucket = bucket.split('/').next().unwrap_or_default();
        let settings = self.vfs().bucket_settings(bucket).await?;
        let setting = |name: &str| settings.get(name).map(Vec::as_slice);
        let owner = owner::parse(setting(owner::SETTING))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let document = match setting(POLICY).map(text) {
            Some(text) => Some(Document::parse(&text, policy::Kind::Bucket(bucket))?),
            None => None,
        };
        let block: PublicAccessBlock = match setting(PUBLIC_ACCESS_BLOCK) {
            Some(row) => serde_json::from_slice(row).map_err(|error| {
                Error::Invalid(format!("the public access block cannot be read: {error}"))
            })?,
            None => PublicAccessBlock::default(),
        };
        let identity = caller.identity();
        let own = documents(
            identity
                .map_or(&[][..], Identity::policies)
                .iter()
                .map(|policy| &**policy),
        )?;
        let own: Vec<Named<'_>> = own
            .iter()
            .map(|(name, document)| Named { name, document })
            .collect();
        let context = context(&caller, inquiry);
        let decision = decide(
            Question {
                caller: &caller,
                action: &inquiry.action,
                resource: &inquiry.resource,
                context: &context,
            },
            &Grounds {
                own: &own,
                session: None,
                owner: &owner.id,
                bucket_owner: &owner.id,
                bucket: document.as_ref(),
                restricted: block.restrict_public_buckets
                    && document.as_ref().is_some_and(Document::is_public),
                acl: false,
            },
        );
        Ok(Explained {
            caller: identity.map_or_else(|| "anonymous".to_owned(), Identity::arn),
            allowed: decision.is_allowed(),
            decision: decision.to_string(),
        })
    }
}

fn caller(known: &Known, inquiry: &Inquiry) -> Result<Caller> {
    let name = inquiry.account.as_deref().unwrap_or(GATEWAY_NAME);
    let account = known
        .account_named(name)
        .ok_or_else(|| Error::NotFound(Kind::Account, name.to_owned()))?;
    let identity = match &inquiry.who {
        Who::Anonymous => return Ok(Caller::Anonymous),
        Who::Account => known.identity(&account.id, None),
        Who::User(user) => Some(
            known
                .identity(&account.id, Some(user))
                .ok_or_else(|| Error::NotFound(Kind::User, user.clone()))?,
        ),
        Who::Role(role) => Some(in_role(known, account, role)?),
    };
    Ok(identity.map_or(Caller::Anonymous, |identity| Caller::Known(identity.into())))
}

fn in_role(known: &Known, account: Account, name: &str) -> Result<Identity> {
    let (role, ..) = known
        .role(&account.id, name)
        .ok_or_else(|| Error::NotFound(Kind::Role, name.to_owned()))?;
    Ok(Identity {
        account,
        user: None,
        session: Some(Session {
            name: "explained".to_owned(),
            role: Some(role),
            policy: None,
            expires: i64::MAX,
            context: BTreeMap::new(),
        }),
    })
}

fn documents<'a>(policies: impl Iterator<Item = &'a Policy>) -> Result<Vec<(String, Document)>> {
    policies
        .map(|policy| {
            let document = Document::parse(&policy.text, policy::Kind::Identity)?;
            Ok((policy.name.clone(), document))
        })
        .collect()
}

fn context(caller: &Caller, inquiry: &Inquiry) -> Context {
    let mut context = Context::default();
    if let Some(identity) = caller.identity() {
        if let Some(user) = &identity.user {
            context.set("aws:username", user.name.as_str());
        }
        context.set("aws:userid", identity.user_id());
        context.set("aws:PrincipalArn", identity.arn());
        context.set("aws:PrincipalAccount", identity.account.id.number());
    }
    for (key, values) in &inquiry.context {
        context.set_all(key, values.clone());
    }
    context
}
