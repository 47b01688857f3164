//! What can be ordered about identities. The admin API takes orders as JSON.
use serde::{Deserialize, Serialize};

/// What a policy is attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyTarget {
    /// The user of this name.
    User(String),
    /// The group of this name: all its users.
    Group(String),
    /// The role of this name.
    Role(String),
}

/// Whose an access key is: of a user, or with `None` of the account itself.
pub type Holder = Option<String>;

/// An order. `account` is a name; without one it is the gateway's own account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
#[allow(missing_docs)] // each says what it does by its name, and `view` what it answers
pub enum Order {
    CreateAccount {
        name: String,
    },
    ListAccounts,
    /// One that owns nothing any more.
    DeleteAccount {
        name: String,
    },
    CreateUser {
        account: Option<String>,
        name: String,
    },
    ListUsers {
        account: Option<String>,
    },
    /// One without access keys. Its sessions end.
    DeleteUser {
        account: Option<String>,
        name: String,
    },
    CreateGroup {
        account: Option<String>,
        name: String,
    },
    ListGroups {
        account: Option<String>,
    },
    /// One without users.
    DeleteGroup {
        account: Option<String>,
        name: String,
    },
    AddToGroup {
        account: Option<String>,
        group: String,
        user: String,
    },
    RemoveFromGroup {
        account: Option<String>,
        group: String,
        user: String,
    },
    /// Makes or replaces a policy; what it is attached to follows at once.
    PutPolicy {
        account: Option<String>,
        name: String,
        document: String,
    },
    ListPolicies {
        account: Option<String>,
    },
    /// One that is attached to nothing.
    DeletePolicy {
        account: Option<String>,
        name: String,
    },
    AttachPolicy {
        account: Option<String>,
        name: String,
        target: PolicyTarget,
    },
    DetachPolicy {
        account: Option<String>,
        name: String,
        target: PolicyTarget,
    },
    /// Makes a role, or changes who may take it and for how long.
    PutRole {
        account: Option<String>,
        name: String,
        /// Policy document.
        trust: String,
        /// Longest session, in seconds: 900 to 43,200.
        max_session: u32,
    },
    ListRoles {
        account: Option<String>,
    },
    /// Its sessions end.
    DeleteRole {
        account: Option<String>,
        name: String,
    },
    CreateKey {
        account: Option<String>,
        user: Holder,
    },
    /// Of the whole account.
    ListKeys {
        account: Option<String>,
    },
    /// Makes another for the same user, or account, and disables this one.
    RotateKey {
        access_key: String,
    },
    DisableKey {
        access_key: String,
    },
    EnableKey {
        access_key: String,
    },
    DeleteKey {
        access_key: String,
    },
}
