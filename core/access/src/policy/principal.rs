//! Whom a statement is about.
use serde_json::Value;

use super::{Context, Malformed, malformed};
use crate::caller::{Account, Caller, CanonicalId, Identity};

/// One of those that a statement names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Principal {
    /// Everybody, also who does not sign.
    Everybody,
    /// An account, by its number or canonical id. A user of it needs its own policies besides.
    Account(String),
    /// A user by name.
    User { account: String, name: String },
    /// A user by unique id.
    UniqueId(String),
    /// A role in any session.
    Role { account: String, name: String },
    /// A role in one session.
    Assumed {
        account: String,
        role: String,
        session: String,
    },
    /// A service, or an identity provider: nobody who signs requests here.
    Other(String),
}

/// The principals of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principals {
    listed: Vec<Principal>,
    /// `NotPrincipal`: the statement is about all others.
    except: bool,
}

/// How a statement is about a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum About {
    /// It names his account: what it allows must be allowed by his own policies, too.
    Account,
    /// It names him, or everybody.
    Himself,
}

impl Principals {
    /// Reads `Principal`, or `NotPrincipal`.
    pub(crate) fn parse(value: &Value, except: bool) -> Result<Self, Malformed> {
        let mut listed = Vec::new();
        match value {
            Value::String(star) if star == "*" => listed.push(Principal::Everybody),
            Value::Object(kinds) if !kinds.is_empty() => {
                for (kind, names) in kinds {
                    let names = match names {
                        Value::Array(list) if !list.is_empty() => list.as_slice(),
                        one @ Value::String(_) => std::slice::from_ref(one),
                        _ => return Err(invalid()),
                    };
                    for name in names {
                        listed.push(principal(kind, name.as_str().ok_or_else(invalid)?)?);
                    }
                }
            }
            _ => return Err(invalid()),
        }
        Ok(Self { listed, except })
    }

    /// Whether and how the statement is about a caller.
    pub(crate) fn about(&self, caller: &Caller) -> Option<About> {
        let named = self.listed.iter().filter_map(|one| one.names(caller)).max();
        match (self.except, named) {
            (false, named) => named,
            // Who is named by his account alone is not excepted: AWS asks to name both.
            (true, None | Some(About::Account)) => Some(About::Himself),
            (true, Some(About::Himself)) => None,
        }
    }

    /// Whether strangers are among them.
    pub(crate) fn everybody(&self) -> bool {
        self.except || self.listed.contains(&Principal::Everybody)
    }

    /// Whether it is about all but those that it names.
    pub(crate) fn is_except(&self) -> bool {
        self.except
    }

    /// Whether it names the identity provider in whose session, or with whose token, somebody asks.
    pub(crate) fn name_provider(&self, context: &Context) -> bool {
        let provider = context.get("aws:federatedprovider").unwrap_or_default();
        !self.except && self.others().any(|name| provider.iter().any(|one| one == name))
    }

    /// The identity providers and services that it names.
    pub(crate) fn others(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().filter_map(|one| match one {
            Principal::Other(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

fn invalid() -> Malformed {
    malformed("Invalid principal in policy".to_owned())
}

fn principal(kind: &str, name: &str) -> Result<Principal, Malformed> {
    if name.is_empty() {
        return Err(invalid());
    }
    match kind {
        "AWS" if name == "*" => Ok(Principal::Everybody),
        "AWS" => aws(name).ok_or_else(invalid),
        "CanonicalUser" => {
            let id = CanonicalId::try_from(name.to_owned()).map_err(|_| invalid())?;
            Ok(Principal::Account(id.as_str().to_owned()))
        }
        "Service" | "Federated" if name != "*" => Ok(Principal::Other(name.to_owned())),
        _ => Err(invalid()),
    }
}

/// An account, user, role or session, by number, id or resource name. Wildcards do not name anybody.
fn aws(name: &str) -> Option<Principal> {
    if name.contains(['*', '?']) {
        return None;
    }
    let Some(rest) = name.strip_prefix("arn:aws:") else {
        let number = name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit());
        if number || CanonicalId::try_from(name.to_owned()).is_ok() {
            return Some(Principal::Account(name.to_owned()));
        }
        let unique = name.len() >= 16 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        return unique.then(|| Principal::UniqueId(name.to_owned()));
    };
    let (service, rest) = rest.split_once("::")?;
    let (account, resource) = rest.split_once(':')?;
    let account = account.to_owned();
    match (service, resource.split_once('/')) {
        ("iam", None) if resource == "root" && !account.is_empty() => Some(Principal::Account(account)),
        // What stands before the last slash is a path, which names nobody.
        ("iam", Some(("user", name))) => Some(Principal::User {
            account,
            name: last(name)?,
        }),
        ("iam", Some(("role", name))) => Some(Principal::Role {
            account,
            name: last(name)?,
        }),
        ("sts", Some(("assumed-role", name))) => {
            let (role, session) = name.split_once('/')?;
            (!role.is_empty() && !session.is_empty()).then(|| Principal::Assumed {
                account,
                role: role.to_owned(),
                session: session.to_owned(),
            })
        }
        _ => None,
    }
}

fn last(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

impl Principal {
    fn names(&self, caller: &Caller) -> Option<About> {
        if *self == Self::Everybody {
            return Some(About::Himself);
        }
        let identity = caller.identity()?;
        let whole = self.is_account(&identity.account) && !identity.is_account();
        if whole {
            return Some(About::Account);
        }
        self.is(identity).then_some(About::Himself)
    }

    fn is_account(&self, account: &Account) -> bool {
        matches!(self, Self::Account(name) if is(name, account))
    }

    fn is(&self, identity: &Identity) -> bool {
        let account = &identity.account;
        match self {
            Self::Everybody => true,
            Self::Account(_) => self.is_account(account),
            Self::User { account: of, name } => {
                identity.role().is_none()
                    && is(of, account)
                    && identity.user.as_ref().is_some_and(|user| user.name == *name)
            }
            Self::UniqueId(id) => {
                let role = identity.role().map(|role| &role.id);
                role.or(identity.user.as_ref().map(|user| &user.id)) == Some(id)
            }
            Self::Role { account: of, name } => {
                is(of, account) && identity.role().is_some_and(|role| role.name == *name)
            }
            Self::Assumed {
                account: of,
                role,
                session,
            } => {
                is(of, account)
                    && identity.role().is_some_and(|taken| taken.name == *role)
                    && identity.session.as_ref().is_some_and(|s| s.name == *session)
            }
            Self::Other(_) => false,
        }
    }
}

/// Whether this names the account: by its number or its canonical id, never by the name that anybody
/// may choose.
fn is(name: &str, account: &Account) -> bool {
    name == account.id.as_str() || name == account.id.number()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::samples::{anonymous, of_account, of_role, of_user};

    #[test]
    fn names_are_read_strictly() {
        let id = "ab".repeat(32);
        for good in [
            json!("*"),
            json!({"AWS": "*"}),
            json!({"AWS": "123456789012"}),
            json!({"AWS": ["arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:user/a/b"]}),
            json!({"AWS": "arn:aws:sts::123456789012:assumed-role/r/s"}),
            json!({"AWS": "AIDAABCDEFGHIJKLMNOPQ"}),
            json!({"CanonicalUser": id}),
            json!({"Service": "logging.s3.amazonaws.com"}),
        ] {
            assert!(Principals::parse(&good, false).is_ok(), "{good}");
        }
        for bad in [
            json!("someone"),
            json!({}),
            json!([]),
            json!(1),
            json!({"AWS": []}),
            json!({"AWS": [1]}),
            json!({"AWS": ""}),
            json!({"AWS": "name"}),
            json!({"AWS": "arn:aws:iam::123456789012:user/*"}),
            json!({"AWS": "arn:aws:iam::123456789012:user/"}),
            json!({"AWS": "arn:aws:iam::123456789012:group/g"}),
            json!({"AWS": "arn:aws:s3:::bucket"}),
            json!({"CanonicalUser": "short"}),
            json!({"Who": "*"}),
        ] {
            assert!(Principals::parse(&bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_account_is_named_and_its_users_through_it() {
        let about = |value: serde_json::Value, except: bool, caller: &Caller| {
            Principals::parse(&value, except).unwrap().about(caller)
        };
        let (root, ann) = (of_account(1), of_user(1, "ann"));
        let account = root.identity().unwrap().account.clone();
        let number = account.id.number();
        for name in [
            json!({"AWS": format!("arn:aws:iam::{number}:root")}),
            json!({"AWS": number}),
            json!({"AWS": account.id.as_str()}),
            json!({"CanonicalUser": account.id.as_str()}),
        ] {
            assert_eq!(about(name.clone(), false, &root), Some(About::Himself));
            assert_eq!(about(name.clone(), false, &ann), Some(About::Account));
            assert_eq!(about(name.clone(), false, &of_user(2, "ann")), None);
            assert_eq!(about(name.clone(), false, &anonymous()), None);
            assert_eq!(about(name.clone(), true, &ann), Some(About::Himself));
            assert_eq!(about(name, true, &anonymous()), Some(About::Himself));
        }
        let user = json!({"AWS": format!("arn:aws:iam::{number}:user/ann")});
        assert_eq!(about(user.clone(), false, &ann), Some(About::Himself));
        assert_eq!(about(user.clone(), false, &of_user(1, "bob")), None);
        assert_eq!(about(user.clone(), false, &root), None);
        assert_eq!(about(user, true, &of_user(1, "bob")), Some(About::Himself));
        let role = of_role(1, "night", "shift");
        for (name, expected) in [
            (format!("arn:aws:iam::{number}:role/night"), Some(About::Himself)),
            (
                format!("arn:aws:sts::{number}:assumed-role/night/shift"),
                Some(About::Himself),
            ),
            (format!("arn:aws:sts::{number}:assumed-role/night/other"), None),
            (format!("arn:aws:iam::{number}:user/night"), None),
            (format!("arn:aws:iam::{number}:root"), Some(About::Account)),
        ] {
            assert_eq!(about(json!({"AWS": name}), false, &role), expected, "{name}");
        }
        // An account that calls itself by another's number is not that account.
        let mut liar = of_account(3).identity().unwrap().clone();
        liar.account.name = number.clone();
        let liar = Caller::Known(std::sync::Arc::new(liar));
        assert_eq!(about(json!({"AWS": number}), false, &liar), None);
    }
}
