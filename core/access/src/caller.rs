//! Who a request comes from.
//!
//! An **account** owns buckets and may do everything with what is its own. A **user** belongs to an
//! account and may do what policies allow him: his own and those of his groups. A **session** stands
//! for an account, a user or a role for a limited time, and may narrow what he may do.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Digits of an account's number, as Amazon resource names have it.
const NUMBER_DIGITS: u64 = 1_000_000_000_000;

/// An account's canonical id: 64 lower-case hex digits. Only that form can be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CanonicalId(Arc<str>);

/// Not 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a canonical id has 64 lower-case hex digits")]
pub struct NotCanonical;

impl CanonicalId {
    /// The id with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(hex::encode(bytes).into())
    }

    /// Its 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The account's number, 12 decimal digits, which stands for it in resource names
    /// (`arn:aws:iam::NUMBER:user/NAME`). Derived from the id: accounts are not numbered in any order.
    pub fn number(&self) -> String {
        let digest = Sha256::digest(self.0.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        format!("{:012}", u64::from_be_bytes(first) % NUMBER_DIGITS)
    }
}

impl TryFrom<String> for CanonicalId {
    type Error = NotCanonical;

    fn try_from(text: String) -> Result<Self, NotCanonical> {
        let hex = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if text.len() == 64 && hex {
            Ok(Self(text.into()))
        } else {
            Err(NotCanonical)
        }
    }
}

impl From<CanonicalId> for String {
    fn from(id: CanonicalId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for CanonicalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Owns buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Canonical id.
    pub id: CanonicalId,
    /// Name, shown as the display name of owners.
    pub name: String,
}

/// A named policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name, for explanations.
    pub name: String,
    /// The document, JSON.
    pub text: String,
}

/// Belongs to an account and may do what policies allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Unique id, never used again (`aws:userid`): `AIDA` and 17 letters and digits.
    pub id: String,
    /// Name, unique in the account (`aws:username`).
    pub name: String,
    /// Names of the groups that he is in.
    pub groups: Vec<String>,
    /// His own policies and those of his groups.
    pub policies: Vec<Arc<Policy>>,
}

/// Stands for somebody for a limited time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Name that whoever took the role chose; of a session without a role: the name of who asked.
    pub name: String,
    /// The role that was taken, if one was: then the role's policies count, not a user's.
    pub role: Option<Role>,
    /// Narrows what may be done: what it does not allow may not be done.
    pub policy: Option<Arc<Policy>>,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
    /// Condition keys and their values: claims of the identity provider, who took the role.
    pub context: BTreeMap<String, Vec<String>>,
}

/// The role of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Unique id: `AROA` and 17 letters and digits.
    pub id: String,
    /// Name, unique in the account.
    pub name: String,
    /// What it may do.
    pub policies: Vec<Arc<Policy>>,
}

/// Somebody who signed a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account that he belongs to.
    pub account: Account,
    /// The user; `None` for the account itself and for roles.
    pub user: Option<User>,
    /// The session in which he asks, if he does in one.
    pub session: Option<Session>,
}

impl Identity {
    /// Whether it is the account itself, which may do all that an account may. A session policy
    /// narrows even that.
    pub fn is_account(&self) -> bool {
        self.user.is_none() && self.role().is_none()
    }

    /// The role that he took.
    pub fn role(&self) -> Option<&Role> {
        self.session.as_ref().and_then(|session| session.role.as_ref())
    }

    /// The policies that allow or deny him: of the role in a session with one, else of the user.
    pub fn policies(&self) -> &[Arc<Policy>] {
        match (self.role(), &self.user) {
            (Some(role), _) => &role.policies,
            (None, Some(user)) => &user.policies,
            (None, None) => &[],
        }
    }

    /// His Amazon resource name: of the account (`…:root`), the user, or the role in its session.
    pub fn arn(&self) -> String {
        let number = self.account.id.number();
        match (&self.session, &self.user) {
            (
                Some(Session {
                    role: Some(role),
                    name,
                    ..
                }),
                _,
            ) => {
                format!("arn:aws:sts::{number}:assumed-role/{}/{name}", role.name)
            }
            (_, Some(user)) => format!("arn:aws:iam::{number}:user/{}", user.name),
            (_, None) => format!("arn:aws:iam::{number}:root"),
        }
    }

    /// His unique id (`aws:userid`): of the role and its session `AROA…:NAME`.
    pub fn user_id(&self) -> String {
        match (&self.session, &self.user) {
            (
                Some(Session {
                    role: Some(role),
                    name,
                    ..
                }),
                _,
            ) => format!("{}:{name}", role.id),
            (_, Some(user)) => user.id.clone(),
            (_, None) => self.account.id.number(),
        }
    }
}

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody signed it.
    Anonymous,
    /// Somebody known signed it.
    Known(Arc<Identity>),
}

impl Caller {
    /// Who signed it.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Anonymous => None,
            Self::Known(identity) => Some(identity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            id: CanonicalId::from_bytes([7; 32]),
            name: "acme".into(),
        }
    }

    #[test]
    fn canonical_ids_have_one_form() {
        let id = CanonicalId::from_bytes([0xab; 32]);
        assert_eq!(CanonicalId::try_from(id.to_string()), Ok(id.clone()));
        assert_eq!(id.number().len(), 12);
        assert!(id.number().bytes().all(|byte| byte.is_ascii_digit()));
        for bad in ["", "ab", &"AB".repeat(32), &"g".repeat(64), &"a".repeat(65)] {
            assert_eq!(CanonicalId::try_from(bad.to_owned()), Err(NotCanonical), "{bad}");
        }
    }

    #[test]
    fn who_asks_has_his_name_and_his_policies() {
        let policy = |name: &str| {
            Arc::new(Policy {
                name: name.into(),
                text: "{}".into(),
            })
        };
        let mut identity = Identity {
            account: account(),
            user: None,
            session: None,
        };
        let number = account().id.number();
        assert!(identity.is_account());
        assert_eq!(identity.arn(), format!("arn:aws:iam::{number}:root"));
        assert_eq!(identity.user_id(), number);
        identity.user = Some(User {
            id: "AIDA1".into(),
            name: "ann".into(),
            groups: vec![],
            policies: vec![policy("of the user")],
        });
        assert!(!identity.is_account());
        assert_eq!(identity.arn(), format!("arn:aws:iam::{number}:user/ann"));
        assert_eq!(identity.policies()[0].name, "of the user");
        identity.user = None;
        identity.session = Some(Session {
            name: "shift".into(),
            role: Some(Role {
                id: "AROA1".into(),
                name: "night".into(),
                policies: vec![policy("of the role")],
            }),
            policy: None,
            expires: 1,
            context: BTreeMap::new(),
        });
        assert!(!identity.is_account());
        assert_eq!(
            identity.arn(),
            format!("arn:aws:sts::{number}:assumed-role/night/shift")
        );
        assert_eq!(identity.user_id(), "AROA1:shift");
        assert_eq!(identity.policies()[0].name, "of the role");
    }
}
