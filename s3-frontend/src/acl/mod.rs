//! Access control lists: who owns a bucket or an object, and what its owner grants to others.
//!
//! An ACL is kept as JSON in the setting `acl` of the bucket or the object (docs/FORMAT.md). Without one
//! everything is the owner's. Where the bucket's ownership setting has ACLs off they are neither taken
//! nor looked at.
mod wish;

use access::{Account, Caller, CanonicalId};
use s3s::dto;
use serde::{Deserialize, Serialize};

pub(crate) use wish::{Wish, explicit_grants};

/// Name of the setting that holds an ACL.
pub(crate) const SETTING: &str = "acl";
/// Most grants of an ACL (AWS limit).
pub(crate) const MAX_GRANTS: usize = 100;

/// Who owns it and what he grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acl {
    pub(crate) owner: Account,
    pub(crate) grants: Vec<Grant>,
}

/// One permission of one grantee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) to: Grantee,
    pub(crate) permission: Permission,
}

/// To whom something is granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grantee {
    Account(Account),
    Group(Group),
}

/// A group that S3 knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Group {
    /// Everybody, also who does not sign.
    AllUsers,
    /// Everybody who signs.
    AuthenticatedUsers,
    /// The service that writes access logs.
    LogDelivery,
}

impl Group {
    const ALL: [Self; 3] = [Self::AllUsers, Self::AuthenticatedUsers, Self::LogDelivery];

    pub(crate) fn uri(self) -> &'static str {
        match self {
            Self::AllUsers => "http://acs.amazonaws.com/groups/global/AllUsers",
            Self::AuthenticatedUsers => "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
            Self::LogDelivery => "http://acs.amazonaws.com/groups/s3/LogDelivery",
        }
    }

    pub(crate) fn of_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.uri() == uri)
    }

    /// Whether strangers are in it.
    pub(crate) fn is_public(self) -> bool {
        self != Self::LogDelivery
    }
}

/// What is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Permission {
    Read,
    Write,
    ReadAcp,
    WriteAcp,
    FullControl,
}

impl Permission {
    pub(crate) const ALL: [Self; 5] = [
        Self::Read,
        Self::Write,
        Self::ReadAcp,
        Self::WriteAcp,
        Self::FullControl,
    ];

    /// S3's name of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::ReadAcp => "READ_ACP",
            Self::WriteAcp => "WRITE_ACP",
            Self::FullControl => "FULL_CONTROL",
        }
    }

    /// The header that grants it.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Read => "x-amz-grant-read",
            Self::Write => "x-amz-grant-write",
            Self::ReadAcp => "x-amz-grant-read-acp",
            Self::WriteAcp => "x-amz-grant-write-acp",
            Self::FullControl => "x-amz-grant-full-control",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.name() == name)
    }
}

impl Acl {
    /// All is the owner's.
    pub(crate) fn private(owner: Account) -> Self {
        let grants = vec![Grant {
            to: Grantee::Account(owner.clone()),
            permission: Permission::FullControl,
        }];
        Self { owner, grants }
    }

    /// Out of a setting. `None` if it is damaged: then nothing is granted.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes)
            .inspect_err(|error| tracing::error!(%error, "an ACL cannot be read: nothing is granted"))
            .ok()
    }

    /// As a setting.
    pub(crate) fn write(&self) -> String {
        // Strings, lists and structs alone: JSON has a form for all of them.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether it grants a permission to a caller. `public` says whether what it grants to groups that
    /// strangers are in counts.
    pub(crate) fn grants(&self, caller: &Caller, permission: Permission, public: bool) -> bool {
        let identity = caller.identity();
        self.grants.iter().any(|grant| {
            let to_him = match &grant.to {
                Grantee::Account(account) => {
                    identity.is_some_and(|identity| identity.account.id == account.id)
                }
                Grantee::Group(Group::AllUsers) => public,
                Grantee::Group(Group::AuthenticatedUsers) => public && identity.is_some(),
                Grantee::Group(Group::LogDelivery) => false,
            };
            to_him && (grant.permission == permission || grant.permission == Permission::FullControl)
        })
    }

    /// Whether it grants anything to groups that strangers are in.
    pub(crate) fn is_public(&self) -> bool {
        let public = |grant: &Grant| matches!(grant.to, Grantee::Group(group) if group.is_public());
        self.grants.iter().any(public)
    }

    /// Whether it grants nothing but to its owner and to this account.
    pub(crate) fn is_private_to(&self, other: &CanonicalId) -> bool {
        self.grants.iter().all(|grant| match &grant.to {
            Grantee::Account(account) => account.id == self.owner.id || account.id == *other,
            Grantee::Group(_) => false,
        })
    }

    /// Its grants as S3 shows them.
    pub(crate) fn to_dto(&self) -> Vec<dto::Grant> {
        // Groups first: clients sort what follows by name.
        let groups = |grant: &&Grant| matches!(grant.to, Grantee::Group(_));
        let first = self.grants.iter().filter(groups);
        let rest = self.grants.iter().filter(|grant| !groups(grant));
        first.chain(rest).map(Grant::to_dto).collect()
    }
}

impl Grant {
    fn to_dto(&self) -> dto::Grant {
        let none = |type_: &'static str| dto::Grantee {
            display_name: None,
            email_address: None,
            id: None,
            type_: dto::Type::from_static(type_),
            uri: None,
        };
        let grantee = match &self.to {
            Grantee::Account(account) => dto::Grantee {
                display_name: Some(account.name.clone()),
                id: Some(account.id.to_string()),
                ..none(dto::Type::CANONICAL_USER)
            },
            Grantee::Group(group) => dto::Grantee {
                uri: Some(group.uri().to_owned()),
                ..none(dto::Type::GROUP)
            },
        };
        dto::Grant {
            grantee: Some(grantee),
            permission: Some(dto::Permission::from_static(self.permission.name())),
        }
    }
}

/// An account as an owner element shows it.
pub(crate) fn owner_dto(account: &Account) -> dto::Owner {
    dto::Owner {
        display_name: Some(account.name.clone()),
        id: Some(account.id.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use access::Identity;

    use super::*;

    fn account(seed: u8) -> Account {
        Account {
            id: CanonicalId::from_bytes([seed; 32]),
            name: format!("account {seed}"),
        }
    }

    fn caller(seed: u8) -> Caller {
        Caller::Known(Arc::new(Identity {
            account: account(seed),
            user: None,
            session: None,
        }))
    }

    #[test]
    fn grants_reach_whom_they_name() {
        let mut acl = Acl::private(account(1));
        let grant = |to, permission| Grant { to, permission };
        assert!(acl.grants(&caller(1), Permission::WriteAcp, true));
        assert!(!acl.grants(&caller(2), Permission::Read, true));
        acl.grants
            .push(grant(Grantee::Account(account(2)), Permission::Read));
        assert!(acl.grants(&caller(2), Permission::Read, false));
        assert!(!acl.grants(&caller(2), Permission::Write, false) && !acl.is_public());
        assert!(acl.is_private_to(&account(2).id) && !acl.is_private_to(&account(3).id));
        acl.grants.push(grant(
            Grantee::Group(Group::AuthenticatedUsers),
            Permission::Write,
        ));
        assert!(acl.grants(&caller(3), Permission::Write, true) && acl.is_public());
        assert!(!acl.grants(&caller(3), Permission::Write, false));
        assert!(!acl.grants(&Caller::Anonymous, Permission::Write, true));
        acl.grants
            .push(grant(Grantee::Group(Group::AllUsers), Permission::FullControl));
        assert!(acl.grants(&Caller::Anonymous, Permission::ReadAcp, true));
        acl.grants = vec![grant(Grantee::Group(Group::LogDelivery), Permission::Write)];
        assert!(!acl.is_public() && !acl.grants(&caller(1), Permission::Write, true));
    }

    #[test]
    fn an_acl_is_kept_and_read_again() {
        let mut acl = Acl::private(account(1));
        acl.grants.push(Grant {
            to: Grantee::Group(Group::AllUsers),
            permission: Permission::ReadAcp,
        });
        assert_eq!(Acl::read(acl.write().as_bytes()), Some(acl));
        assert_eq!(Acl::read(b"{}"), None);
    }
}
