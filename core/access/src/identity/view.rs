//! What an order answers: what there is, as people and the admin API see it.
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::caller::CanonicalId;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Name.
    pub name: String,
    /// Canonical id, 64 hex digits.
    pub id: CanonicalId,
    /// Number, 12 digits, that stands for it in resource names.
    pub number: String,
    /// Its own access keys: they may do all that it may.
    pub keys: Vec<KeyView>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserView {
    /// Name.
    pub name: String,
    /// Unique id.
    pub id: String,
    /// Amazon resource name.
    pub arn: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Groups that it is in.
    pub groups: Vec<String>,
    /// Policies attached to it; those of its groups count, too.
    pub policies: Vec<String>,
    /// Its access keys.
    pub keys: Vec<KeyView>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// Name.
    pub name: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Users in it.
    pub users: Vec<String>,
    /// Policies attached to it.
    pub policies: Vec<String>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleView {
    /// Name.
    pub name: String,
    /// Unique id.
    pub id: String,
    /// Amazon resource name.
    pub arn: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Policy document: who may take it.
    pub trust: String,
    /// Policies attached to it.
    pub policies: Vec<String>,
    /// Longest session, in seconds.
    pub max_session: u32,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    /// Name.
    pub name: String,
    /// JSON.
    pub document: String,
    /// What it is attached to: `user NAME`, `group NAME`, `role NAME`.
    pub attached: Vec<String>,
}

/// An access key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// Access key.
    pub access_key: String,
    /// User; none: of the account itself.
    pub user: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Whether requests signed with it are refused.
    pub disabled: bool,
}

/// An access key just made: its secret is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
}

/// Shows the access key, never the secret.
impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// What an order answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done,
    /// Accounts.
    Accounts(Vec<AccountView>),
    /// Users of an account.
    Users(Vec<UserView>),
    /// Groups of an account.
    Groups(Vec<GroupView>),
    /// Roles of an account.
    Roles(Vec<RoleView>),
    /// Policies of an account.
    Policies(Vec<PolicyView>),
    /// Access keys.
    Keys(Vec<KeyView>),
    /// A key just made.
    Key(NewKey),
}
