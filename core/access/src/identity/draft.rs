//! Orders carried out on a copy of the rows, and what they change of them.
use std::collections::BTreeSet;

use vfs::GatewaySettingChanges;
use zeroize::Zeroizing;

use super::rows::{
    AccountRow, Book, GroupRow, KeyRow, PolicyRow, RoleRow, Row, UserRow, place, secret_context,
};
use super::view::{AccountView, Answer, GroupView, KeyView, NewKey, PolicyView, RoleView, UserView};
use super::{GATEWAY_NAME, Order, PolicyTarget, gateway_account, names};
use crate::caller::{Account, CanonicalId};
use crate::error::{Error, Kind, Result};
use crate::policy::{self, Document};
use crate::{clock, random};

/// Bytes of randomness in a secret key: 40 characters.
const SECRET_BYTES: usize = 30;
/// Largest policy that can be attached, in bytes: AWS's 6,144 characters.
const POLICY_MAX: usize = 6144;
/// Shortest and longest that a role's sessions can be allowed to be, in seconds.
const MAX_SESSION: std::ops::RangeInclusive<u32> = 900..=43_200;

/// Seals secrets.
pub(crate) type Seal<'a> = &'a dyn Fn(&[u8], &[u8]) -> Vec<u8>;

/// The rows, with what was changed.
pub(crate) struct Draft<'a> {
    book: Book,
    changes: GatewaySettingChanges,
    seal: Seal<'a>,
}

impl<'a> Draft<'a> {
    /// Of these rows.
    pub(crate) fn new(book: Book, seal: Seal<'a>) -> Self {
        Self {
            book,
            changes: GatewaySettingChanges::new(),
            seal,
        }
    }

    /// What was changed.
    pub(crate) fn into_changes(self) -> GatewaySettingChanges {
        self.changes
    }

    /// Carries out an order.
    pub(crate) fn carry_out(&mut self, order: &Order) -> Result<Answer> {
        match order {
            Order::CreateAccount { name } => self.create_account(name),
            Order::ListAccounts => Ok(self.accounts()),
            Order::DeleteAccount { name } => self.delete_account(name),
            Order::CreateUser { account, name } => self.create_user(&self.account(account.as_deref())?, name),
            Order::ListUsers { account } => Ok(self.users(&self.account(account.as_deref())?)),
            Order::DeleteUser { account, name } => {
                self.delete_user(&self.account(account.as_deref())?.id, name)
            }
            Order::CreateGroup { account, name } => {
                self.create_group(&self.account(account.as_deref())?.id, name)
            }
            Order::ListGroups { account } => Ok(self.groups(&self.account(account.as_deref())?.id)),
            Order::DeleteGroup { account, name } => {
                self.delete_group(&self.account(account.as_deref())?.id, name)
            }
            Order::AddToGroup { account, group, user } => {
                self.set_member(&self.account(account.as_deref())?.id, group, user, true)
            }
            Order::RemoveFromGroup { account, group, user } => {
                self.set_member(&self.account(account.as_deref())?.id, group, user, false)
            }
            Order::PutPolicy {
                account,
                name,
                document,
            } => self.put_policy(&self.account(account.as_deref())?.id, name, document),
            Order::ListPolicies { account } => Ok(self.policies(&self.account(account.as_deref())?.id)),
            Order::DeletePolicy { account, name } => {
                self.delete_policy(&self.account(account.as_deref())?.id, name)
            }
            Order::AttachPolicy {
                account,
                name,
                target,
            } => self.set_attached(&self.account(account.as_deref())?.id, name, target, true),
            Order::DetachPolicy {
                account,
                name,
                target,
            } => self.set_attached(&self.account(account.as_deref())?.id, name, target, false),
            Order::PutRole {
                account,
                name,
                trust,
                max_session,
            } => self.put_role(&self.account(account.as_deref())?, name, trust, *max_session),
            Order::ListRoles { account } => Ok(self.roles(&self.account(account.as_deref())?)),
            Order::DeleteRole { account, name } => {
                self.delete::<RoleRow>(&place(&self.account(account.as_deref())?.id, name), name)
            }
            Order::CreateKey { account, user } => {
                self.create_key(self.account(account.as_deref())?.id, user.clone())
            }
            Order::ListKeys { account } => {
                let account = self.account(account.as_deref())?.id;
                let keys = self.book.keys.iter().filter(|(_, key)| key.account == account);
                Ok(Answer::Keys(keys.map(key_view).collect()))
            }
            Order::RotateKey { access_key } => self.rotate_key(access_key),
            Order::DisableKey { access_key } => self.set_disabled(access_key, true),
            Order::EnableKey { access_key } => self.set_disabled(access_key, false),
            Order::DeleteKey { access_key } => self.delete::<KeyRow>(access_key, access_key),
        }
    }

    /// The account of this name; `None`: the gateway's own.
    fn account(&self, name: Option<&str>) -> Result<Account> {
        match name {
            None | Some(GATEWAY_NAME) => Ok(gateway_account()),
            Some(name) => {
                let row = self.find::<AccountRow>(name, name)?;
                Ok(Account {
                    id: row.id.clone(),
                    name: name.to_owned(),
                })
            }
        }
    }

    fn find<R: Row>(&self, rest: &str, name: &str) -> Result<&R> {
        R::of(&self.book)
            .get(rest)
            .ok_or_else(|| Error::NotFound(R::KIND, name.to_owned()))
    }

    fn free<R: Row>(&self, rest: &str, name: &str) -> Result<()> {
        names::check(R::KIND, name)?;
        if R::of(&self.book).contains_key(rest) {
            return Err(Error::Exists(R::KIND, name.to_owned()));
        }
        Ok(())
    }

    fn put<R: Row>(&mut self, rest: &str, row: R) -> Result<()> {
        let json = serde_json::to_vec(&row)
            .map_err(|error| Error::Vfs(vfs::Error::Internal(format!("cannot encode a row: {error}"))))?;
        self.changes.insert(R::name(rest), Some(json));
        R::of_mut(&mut self.book).insert(rest.to_owned(), row);
        Ok(())
    }

    fn delete<R: Row>(&mut self, rest: &str, name: &str) -> Result<Answer> {
        if R::of_mut(&mut self.book).remove(rest).is_none() {
            return Err(Error::NotFound(R::KIND, name.to_owned()));
        }
        self.changes.insert(R::name(rest), None);
        Ok(Answer::Done)
    }

    fn create_account(&mut self, name: &str) -> Result<Answer> {
        self.free::<AccountRow>(name, name)?;
        if name == GATEWAY_NAME {
            return Err(Error::Exists(Kind::Account, name.to_owned()));
        }
        let row = AccountRow {
            id: CanonicalId::from_bytes(random::bytes()),
            created: clock::now(),
        };
        let view = self.account_view(&Account {
            id: row.id.clone(),
            name: name.to_owned(),
        });
        self.put(name, row)?;
        Ok(Answer::Accounts(vec![view]))
    }

    fn accounts(&self) -> Answer {
        let own = std::iter::once(gateway_account());
        let others = self.book.accounts.iter().map(|(name, row)| Account {
            id: row.id.clone(),
            name: name.clone(),
        });
        Answer::Accounts(
            own.chain(others)
                .map(|account| self.account_view(&account))
                .collect(),
        )
    }

    fn account_view(&self, account: &Account) -> AccountView {
        AccountView {
            name: account.name.clone(),
            id: account.id.clone(),
            number: account.id.number(),
            keys: self.book.keys_of(&account.id, None).map(key_view).collect(),
        }
    }

    fn delete_account(&mut self, name: &str) -> Result<Answer> {
        if name == GATEWAY_NAME {
            return Err(Error::Invalid(
                "the gateway's own account cannot be deleted".into(),
            ));
        }
        let id = self.find::<AccountRow>(name, name)?.id.clone();
        let has = [
            ("users", self.book.in_account::<UserRow>(&id).next().is_some()),
            ("groups", self.book.in_account::<GroupRow>(&id).next().is_some()),
            ("roles", self.book.in_account::<RoleRow>(&id).next().is_some()),
            (
                "policies",
                self.book.in_account::<PolicyRow>(&id).next().is_some(),
            ),
            ("access keys", self.book.keys_of(&id, None).next().is_some()),
        ];
        let has: Vec<_> = has
            .iter()
            .filter(|(_, some)| *some)
            .map(|(what, _)| *what)
            .collect();
        if !has.is_empty() {
            return Err(in_use(Kind::Account, name, has.join(", ")));
        }
        self.delete::<AccountRow>(name, name)
    }

    fn create_user(&mut self, account: &Account, name: &str) -> Result<Answer> {
        let rest = place(&account.id, name);
        self.free::<UserRow>(&rest, name)?;
        let row = UserRow {
            id: names::user_id(),
            created: clock::now(),
            groups: BTreeSet::new(),
            policies: BTreeSet::new(),
        };
        let view = self.user_view(account, name, &row);
        self.put(&rest, row)?;
        Ok(Answer::Users(vec![view]))
    }

    fn users(&self, account: &Account) -> Answer {
        let users = self.book.in_account::<UserRow>(&account.id);
        Answer::Users(
            users
                .map(|(name, row)| self.user_view(account, name, row))
                .collect(),
        )
    }

    fn user_view(&self, account: &Account, name: &str, row: &UserRow) -> UserView {
        UserView {
            name: name.to_owned(),
            id: row.id.clone(),
            arn: format!("arn:aws:iam::{}:user/{name}", account.id.number()),
            created: row.created,
            groups: row.groups.iter().cloned().collect(),
            policies: row.policies.iter().cloned().collect(),
            keys: self.book.keys_of(&account.id, Some(name)).map(key_view).collect(),
        }
    }

    fn delete_user(&mut self, account: &CanonicalId, name: &str) -> Result<Answer> {
        let keys: Vec<_> = self
            .book
            .keys_of(account, Some(name))
            .map(|(access_key, _)| access_key.clone())
            .collect();
        if !keys.is_empty() {
            return Err(in_use(
                Kind::User,
                name,
                format!("access keys {}", keys.join(", ")),
            ));
        }
        self.delete::<UserRow>(&place(account, name), name)
    }

    fn create_group(&mut self, account: &CanonicalId, name: &str) -> Result<Answer> {
        let rest = place(account, name);
        self.free::<GroupRow>(&rest, name)?;
        let row = GroupRow {
            created: clock::now(),
            policies: BTreeSet::new(),
        };
        let view = self.group_view(account, name, &row);
        self.put(&rest, row)?;
        Ok(Answer::Groups(vec![view]))
    }

    fn groups(&self, account: &CanonicalId) -> Answer {
        let groups = self.book.in_account::<GroupRow>(account);
        Answer::Groups(
            groups
                .map(|(name, row)| self.group_view(account, name, row))
                .collect(),
        )
    }

    fn group_view(&self, account: &CanonicalId, name: &str, row: &GroupRow) -> GroupView {
        let users = self.book.in_account::<UserRow>(account);
        GroupView {
            name: name.to_owned(),
            created: row.created,
            users: users
                .filter(|(_, user)| user.groups.contains(name))
                .map(|(user, _)| user.to_owned())
                .collect(),
            policies: row.policies.iter().cloned().collect(),
        }
    }

    fn delete_group(&mut self, account: &CanonicalId, name: &str) -> Result<Answer> {
        let rest = place(account, name);
        let users = self
            .group_view(account, name, self.find::<GroupRow>(&rest, name)?)
            .users;
        if !users.is_empty() {
            return Err(in_use(Kind::Group, name, format!("users {}", users.join(", "))));
        }
        self.delete::<GroupRow>(&rest, name)
    }

    fn set_member(&mut self, account: &CanonicalId, group: &str, user: &str, member: bool) -> Result<Answer> {
        self.find::<GroupRow>(&place(account, group), group)?;
        let rest = place(account, user);
        let mut row = self.find::<UserRow>(&rest, user)?.clone();
        set(&mut row.groups, group, member);
        self.put(&rest, row)?;
        Ok(Answer::Done)
    }

    fn put_policy(&mut self, account: &CanonicalId, name: &str, document: &str) -> Result<Answer> {
        names::check(Kind::Policy, name)?;
        if document.len() > POLICY_MAX {
            return Err(Error::Invalid(format!("a policy has at most {POLICY_MAX} bytes")));
        }
        Document::parse(document, policy::Kind::Identity)?;
        let rest = place(account, name);
        let before = self.book.policies.get(&rest);
        let row = PolicyRow {
            created: before.map_or_else(clock::now, |row| row.created),
            document: document.to_owned(),
        };
        self.put(&rest, row)?;
        Ok(Answer::Done)
    }

    fn policies(&self, account: &CanonicalId) -> Answer {
        let policies = self
            .book
            .in_account::<PolicyRow>(account)
            .map(|(name, row)| PolicyView {
                name: name.to_owned(),
                document: row.document.clone(),
                attached: self.attached(account, name),
            });
        Answer::Policies(policies.collect())
    }

    /// What a policy is attached to.
    fn attached(&self, account: &CanonicalId, policy: &str) -> Vec<String> {
        let users = self.book.in_account::<UserRow>(account);
        let users = users.map(|(name, row)| ("user", name, &row.policies));
        let groups = self.book.in_account::<GroupRow>(account);
        let groups = groups.map(|(name, row)| ("group", name, &row.policies));
        let roles = self.book.in_account::<RoleRow>(account);
        let roles = roles.map(|(name, row)| ("role", name, &row.policies));
        users
            .chain(groups)
            .chain(roles)
            .filter(|(_, _, policies)| policies.contains(policy))
            .map(|(kind, name, _)| format!("{kind} {name}"))
            .collect()
    }

    fn delete_policy(&mut self, account: &CanonicalId, name: &str) -> Result<Answer> {
        let attached = self.attached(account, name);
        if !attached.is_empty() {
            return Err(in_use(Kind::Policy, name, attached.join(", ")));
        }
        self.delete::<PolicyRow>(&place(account, name), name)
    }

    fn set_attached(
        &mut self,
        account: &CanonicalId,
        policy: &str,
        target: &PolicyTarget,
        attached: bool,
    ) -> Result<Answer> {
        self.find::<PolicyRow>(&place(account, policy), policy)?;
        match target {
            PolicyTarget::User(name) => {
                let rest = place(account, name);
                let mut row = self.find::<UserRow>(&rest, name)?.clone();
                set(&mut row.policies, policy, attached);
                self.put(&rest, row)?;
            }
            PolicyTarget::Group(name) => {
                let rest = place(account, name);
                let mut row = self.find::<GroupRow>(&rest, name)?.clone();
                set(&mut row.policies, policy, attached);
                self.put(&rest, row)?;
            }
            PolicyTarget::Role(name) => {
                let rest = place(account, name);
                let mut row = self.find::<RoleRow>(&rest, name)?.clone();
                set(&mut row.policies, policy, attached);
                self.put(&rest, row)?;
            }
        }
        Ok(Answer::Done)
    }

    fn put_role(&mut self, account: &Account, name: &str, trust: &str, max_session: u32) -> Result<Answer> {
        names::check(Kind::Role, name)?;
        if !MAX_SESSION.contains(&max_session) {
            return Err(Error::Invalid(format!(
                "the longest session of a role is {} to {} seconds",
                MAX_SESSION.start(),
                MAX_SESSION.end()
            )));
        }
        Document::parse(trust, policy::Kind::Trust)?;
        let rest = place(&account.id, name);
        let before = self.book.roles.get(&rest).cloned();
        let mut row = before.unwrap_or_else(|| RoleRow {
            id: names::role_id(),
            created: clock::now(),
            trust: String::new(),
            policies: BTreeSet::new(),
            max_session,
        });
        trust.clone_into(&mut row.trust);
        row.max_session = max_session;
        let view = role_view(account, name, &row);
        self.put(&rest, row)?;
        Ok(Answer::Roles(vec![view]))
    }

    fn roles(&self, account: &Account) -> Answer {
        let roles = self.book.in_account::<RoleRow>(&account.id);
        Answer::Roles(roles.map(|(name, row)| role_view(account, name, row)).collect())
    }

    fn create_key(&mut self, account: CanonicalId, user: Option<String>) -> Result<Answer> {
        if let Some(user) = &user {
            self.find::<UserRow>(&place(&account, user), user)?;
        }
        let access_key = names::access_key();
        let secret = Zeroizing::new(random::bytes::<SECRET_BYTES>());
        let secret_key = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, secret.as_slice());
        let sealed = (self.seal)(&secret_context(&access_key), secret_key.as_bytes());
        let row = KeyRow {
            account,
            user,
            created: clock::now(),
            disabled: false,
            secret: hex::encode(sealed),
        };
        self.put(&access_key, row)?;
        Ok(Answer::Key(NewKey {
            access_key,
            secret_key,
        }))
    }

    fn rotate_key(&mut self, access_key: &str) -> Result<Answer> {
        let row = self.find::<KeyRow>(access_key, access_key)?.clone();
        self.set_disabled(access_key, true)?;
        self.create_key(row.account, row.user)
    }

    fn set_disabled(&mut self, access_key: &str, disabled: bool) -> Result<Answer> {
        let mut row = self.find::<KeyRow>(access_key, access_key)?.clone();
        row.disabled = disabled;
        self.put(access_key, row)?;
        Ok(Answer::Done)
    }
}

fn in_use(kind: Kind, name: &str, by: String) -> Error {
    Error::InUse {
        kind,
        name: name.to_owned(),
        by,
    }
}

fn set(names: &mut BTreeSet<String>, name: &str, present: bool) {
    if present {
        names.insert(name.to_owned());
    } else {
        names.remove(name);
    }
}

fn key_view((access_key, row): (&String, &KeyRow)) -> KeyView {
    KeyView {
        access_key: access_key.clone(),
        user: row.user.clone(),
        created: row.created,
        disabled: row.disabled,
    }
}

fn role_view(account: &Account, name: &str, row: &RoleRow) -> RoleView {
    RoleView {
        name: name.to_owned(),
        id: row.id.clone(),
        arn: format!("arn:aws:iam::{}:role/{name}", account.id.number()),
        created: row.created,
        trust: row.trust.clone(),
        policies: row.policies.iter().cloned().collect(),
        max_session: row.max_session,
    }
}
