//! All rows in memory, and what a request asks of them.
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use vfs::GatewaySettings;

use super::rows::{Book, GroupRow, KeyRow, PolicyRow, RoleRow, Row, UserRow, place};
use super::{GATEWAY_NAME, gateway_account};
use crate::caller::{Account, CanonicalId, Identity, Policy, Role, User};
use crate::error::Result;

/// Why nobody is known by what a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such access key, or a disabled one.
    #[error("the access key is not known")]
    UnknownKey,
    /// The session token is not one of this namespace, not of this access key, missing, or whom it
    /// stands for is gone.
    #[error("the session token is invalid")]
    InvalidToken,
    /// The session is over.
    #[error("the session has expired")]
    ExpiredToken,
}

/// Identities as they were at one moment.
#[derive(Debug)]
pub struct Known {
    book: Book,
    /// Names of accounts by their ids.
    accounts: HashMap<CanonicalId, String>,
    /// Ids of accounts by their numbers.
    numbers: HashMap<String, CanonicalId>,
    /// Who signs with each key that is not disabled.
    holders: HashMap<String, Arc<Identity>>,
}

impl Known {
    /// Those of these rows.
    pub(crate) fn of(settings: &GatewaySettings) -> Result<Self> {
        let book = Book::read(settings)?;
        let mut accounts: HashMap<_, _> = book
            .accounts
            .iter()
            .map(|(name, row)| (row.id.clone(), name.clone()))
            .collect();
        let own = gateway_account();
        accounts.insert(own.id, own.name);
        let numbers = accounts.keys().map(|id| (id.number(), id.clone())).collect();
        let mut known = Self {
            book,
            accounts,
            numbers,
            holders: HashMap::new(),
        };
        known.holders = known.holders_by_key();
        Ok(known)
    }

    fn holders_by_key(&self) -> HashMap<String, Arc<Identity>> {
        // Users with several keys are built once.
        let mut built: HashMap<(&CanonicalId, Option<&str>), Option<Arc<Identity>>> = HashMap::new();
        let mut holders = HashMap::new();
        for (access_key, row) in self.book.keys.iter().filter(|(_, row)| !row.disabled) {
            let holder = built
                .entry((&row.account, row.user.as_deref()))
                .or_insert_with(|| self.identity(&row.account, row.user.as_deref()).map(Arc::new));
            if let Some(holder) = holder {
                holders.insert(access_key.clone(), Arc::clone(holder));
            }
        }
        holders
    }

    /// An account by its id.
    pub fn account(&self, id: &CanonicalId) -> Option<Account> {
        Some(Account {
            id: id.clone(),
            name: self.accounts.get(id)?.clone(),
        })
    }

    /// An account by its name.
    pub fn account_named(&self, name: &str) -> Option<Account> {
        if name == GATEWAY_NAME {
            return Some(gateway_account());
        }
        let row = self.book.accounts.get(name)?;
        self.account(&row.id)
    }

    /// An account by the number that resource names have.
    pub fn account_numbered(&self, number: &str) -> Option<Account> {
        self.account(self.numbers.get(number)?)
    }

    /// The account itself, or a user of it.
    pub fn identity(&self, account: &CanonicalId, user: Option<&str>) -> Option<Identity> {
        let account = self.account(account)?;
        let user = match user {
            None => None,
            Some(name) => Some(self.user(&account.id, name)?),
        };
        Some(Identity {
            account,
            user,
            session: None,
        })
    }

    /// A role and the trust policy of it: who may take it; and the longest session, in seconds.
    pub fn role(&self, account: &CanonicalId, name: &str) -> Option<(Role, &str, u32)> {
        let row = self.row::<RoleRow>(account, name)?;
        let role = Role {
            id: row.id.clone(),
            name: name.to_owned(),
            policies: self.attached(account, row.policies.iter()),
        };
        Some((role, &row.trust, row.max_session))
    }

    /// Who signs with an access key that is not a session's.
    pub(crate) fn holder(&self, access_key: &str) -> Option<&Arc<Identity>> {
        self.holders.get(access_key)
    }

    /// The row of a key that is not disabled.
    pub(crate) fn key(&self, access_key: &str) -> Option<&KeyRow> {
        self.book.keys.get(access_key).filter(|row| !row.disabled)
    }

    fn row<R: Row>(&self, account: &CanonicalId, name: &str) -> Option<&R> {
        R::of(&self.book).get(&place(account, name))
    }

    fn user(&self, account: &CanonicalId, name: &str) -> Option<User> {
        let row = self.row::<UserRow>(account, name)?;
        let of_groups = row
            .groups
            .iter()
            .filter_map(|group| self.row::<GroupRow>(account, group))
            .flat_map(|group| &group.policies);
        let names: BTreeSet<&String> = row.policies.iter().chain(of_groups).collect();
        Some(User {
            id: row.id.clone(),
            name: name.to_owned(),
            groups: row.groups.iter().cloned().collect(),
            policies: self.attached(account, names.into_iter()),
        })
    }

    fn attached<'a>(
        &self,
        account: &CanonicalId,
        names: impl Iterator<Item = &'a String>,
    ) -> Vec<Arc<Policy>> {
        names
            .filter_map(|name| {
                let row = self.row::<PolicyRow>(account, name)?;
                Some(Arc::new(Policy {
                    name: name.clone(),
                    text: row.document.clone(),
                }))
            })
            .collect()
    }
}
