//! Callers for tests.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::caller::{Account, Caller, CanonicalId, Identity, Role, Session, User};

pub(crate) fn account(seed: u8) -> Account {
    Account {
        id: CanonicalId::from_bytes([seed; 32]),
        name: format!("account {seed}"),
    }
}

pub(crate) fn anonymous() -> Caller {
    Caller::Anonymous
}

fn known(seed: u8, user: Option<User>, session: Option<Session>) -> Caller {
    Caller::Known(Arc::new(Identity {
        account: account(seed),
        user,
        session,
    }))
}

/// The account itself.
pub(crate) fn of_account(seed: u8) -> Caller {
    known(seed, None, None)
}

/// A user of the account.
pub(crate) fn of_user(seed: u8, name: &str) -> Caller {
    let user = User {
        id: format!("AIDA{name}"),
        name: name.into(),
        groups: vec![],
        policies: vec![],
    };
    known(seed, Some(user), None)
}

/// Who took a role of the account.
pub(crate) fn of_role(seed: u8, role: &str, session: &str) -> Caller {
    let session = Session {
        name: session.into(),
        role: Some(Role {
            id: format!("AROA{role}"),
            name: role.into(),
            policies: vec![],
        }),
        policy: None,
        expires: i64::MAX,
        context: BTreeMap::new(),
    };
    known(seed, None, Some(session))
}
