//! The rows: one setting of the gateway each, in JSON.
//!
//! | name | row |
//! |---|---|
//! | `iam/account/NAME` | [`AccountRow`] |
//! | `iam/user/ACCOUNT/NAME` | [`UserRow`]; ACCOUNT is a canonical id, here and below |
//! | `iam/group/ACCOUNT/NAME` | [`GroupRow`] |
//! | `iam/role/ACCOUNT/NAME` | [`RoleRow`] |
//! | `iam/policy/ACCOUNT/NAME` | [`PolicyRow`] |
//! | `iam/key/ACCESS KEY` | [`KeyRow`] |
//!
//! Fields that a later build adds are ignored by this one; those it adds are optional. Moments are
//! seconds since 1970.
use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vfs::GatewaySettings;

use crate::caller::CanonicalId;
use crate::error::{Error, Kind, Result};

/// Begins the names of all rows.
pub(crate) const PREFIX: &str = "iam/";

/// An account beside the gateway's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AccountRow {
    pub id: CanonicalId,
    pub created: i64,
}

/// A user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UserRow {
    pub id: String,
    pub created: i64,
    #[serde(default)]
    pub groups: BTreeSet<String>,
    #[serde(default)]
    pub policies: BTreeSet<String>,
}

/// A group of users.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GroupRow {
    pub created: i64,
    #[serde(default)]
    pub policies: BTreeSet<String>,
}

/// What can be taken for a time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RoleRow {
    pub id: String,
    pub created: i64,
    /// Policy document: who may take it.
    pub trust: String,
    #[serde(default)]
    pub policies: BTreeSet<String>,
    /// Longest session, in seconds.
    pub max_session: u32,
}

/// A policy that can be attached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PolicyRow {
    pub created: i64,
    /// JSON.
    pub document: String,
}

/// An access key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyRow {
    pub account: CanonicalId,
    /// None: of the account itself.
    #[serde(default)]
    pub user: Option<String>,
    pub created: i64,
    #[serde(default)]
    pub disabled: bool,
    /// The secret, sealed ([`secret_context`]), in hex.
    pub secret: String,
}

/// What the secret of an access key is sealed for: it opens in no other key's row.
pub(crate) fn secret_context(access_key: &str) -> Vec<u8> {
    [b"cess-gateway secret of access key 1 ", access_key.as_bytes()].concat()
}

/// The part of a row's name behind its kind, of what belongs to an account.
pub(crate) fn place(account: &CanonicalId, name: &str) -> String {
    format!("{account}/{name}")
}

/// A kind of row.
pub(crate) trait Row: Clone + Serialize + DeserializeOwned {
    /// What it is a row of.
    const KIND: Kind;
    /// How its names go on after [`PREFIX`].
    const NAME: &'static str;
    /// Those of a book, by the rest of their names.
    fn of(book: &Book) -> &BTreeMap<String, Self>;
    /// The same.
    fn of_mut(book: &mut Book) -> &mut BTreeMap<String, Self>;

    /// The whole name of a row.
    fn name(rest: &str) -> String {
        format!("{PREFIX}{}/{rest}", Self::NAME)
    }
}

/// All rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    pub accounts: BTreeMap<String, AccountRow>,
    pub users: BTreeMap<String, UserRow>,
    pub groups: BTreeMap<String, GroupRow>,
    pub roles: BTreeMap<String, RoleRow>,
    pub policies: BTreeMap<String, PolicyRow>,
    pub keys: BTreeMap<String, KeyRow>,
}

macro_rules! rows {
    ($($row:ident $name:literal $field:ident $kind:ident;)*) => {
        $(impl Row for $row {
            const KIND: Kind = Kind::$kind;
            const NAME: &'static str = $name;
            fn of(book: &Book) -> &BTreeMap<String, Self> {
                &book.$field
            }
            fn of_mut(book: &mut Book) -> &mut BTreeMap<String, Self> {
                &mut book.$field
            }
        })*

        impl Book {
            /// Reads all rows. Settings under other names are left alone.
            pub(crate) fn read(settings: &GatewaySettings) -> Result<Self> {
                let mut book = Self::default();
                for (name, row) in settings {
                    let Some((kind, rest)) = name.strip_prefix(PREFIX).and_then(|name| name.split_once('/'))
                    else {
                        continue;
                    };
                    match kind {
                        $($name => {
                            book.$field.insert(rest.to_owned(), parse(name, row)?);
                        })*
                        _ => {}
                    }
                }
                Ok(book)
            }
        }
    };
}

rows! {
    AccountRow "account" accounts Account;
    UserRow "user" users User;
    GroupRow "group" groups Group;
    RoleRow "role" roles Role;
    PolicyRow "policy" policies Policy;
    KeyRow "key" keys Key;
}

fn parse<T: DeserializeOwned>(name: &str, row: &[u8]) -> Result<T> {
    // The row itself stays out of the message: it may hold a sealed secret.
    serde_json::from_slice(row)
        .map_err(|_| Error::Vfs(vfs::Error::Damaged(format!("the setting {name} cannot be read"))))
}

impl Book {
    /// Names and rows of what belongs to an account.
    pub(crate) fn in_account<'a, R: Row + 'a>(
        &'a self,
        account: &CanonicalId,
    ) -> impl Iterator<Item = (&'a str, &'a R)> {
        let prefix = place(account, "");
        let from = prefix.clone();
        R::of(self)
            .range(from..)
            .map_while(move |(place, row)| Some((place.strip_prefix(&prefix)?, row)))
    }

    /// Access keys of an account or a user in it.
    pub(crate) fn keys_of<'a>(
        &'a self,
        account: &'a CanonicalId,
        user: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a String, &'a KeyRow)> {
        self.keys
            .iter()
            .filter(move |(_, key)| key.account == *account && key.user.as_deref() == user)
    }
}
