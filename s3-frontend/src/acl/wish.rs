//! What ACL a request asks for: a canned one, grants in headers, or a document.
use access::{Account, CanonicalId};
use http::{HeaderMap, StatusCode};
use s3s::{S3ErrorCode, S3Result, dto};

use super::{Acl, Grant, Grantee, Group, MAX_GRANTS, Permission};
use crate::access::Identities;
use crate::error::{fail, fail_custom};

/// An ACL that a request asks for, before it is known whose the thing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// By one of S3's names.
    Canned(Canned),
    /// Grant by grant.
    Grants(Vec<Grant>),
}

/// S3's names for common ACLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Canned {
    Private,
    PublicRead,
    PublicReadWrite,
    AuthenticatedRead,
    AwsExecRead,
    LogDeliveryWrite,
    BucketOwnerRead,
    BucketOwnerFullControl,
}

impl Canned {
    fn of_name(name: &str) -> S3Result<Self> {
        Ok(match name {
            "private" => Self::Private,
            "public-read" => Self::PublicRead,
            "public-read-write" => Self::PublicReadWrite,
            "authenticated-read" => Self::AuthenticatedRead,
            "aws-exec-read" => Self::AwsExecRead,
            "log-delivery-write" => Self::LogDeliveryWrite,
            "bucket-owner-read" => Self::BucketOwnerRead,
            "bucket-owner-full-control" => Self::BucketOwnerFullControl,
            _ => return Err(fail(S3ErrorCode::InvalidArgument, "Unknown canned ACL.")),
        })
    }
}

/// Whether headers grant something explicitly.
pub(crate) fn explicit_grants(headers: &HeaderMap) -> bool {
    Permission::ALL
        .iter()
        .any(|permission| headers.contains_key(permission.header()))
}

impl Wish {
    /// Out of the canned name and the headers of a request; `None` if it asks for none.
    pub(crate) fn of_request(
        canned: Option<&str>,
        headers: &HeaderMap,
        identities: &dyn Identities,
    ) -> S3Result<Option<Self>> {
        match (canned, explicit_grants(headers)) {
            (None, false) => Ok(None),
            (Some(name), false) => Ok(Some(Self::Canned(Canned::of_name(name)?))),
            (Some(_), true) => Err(fail(
                S3ErrorCode::InvalidRequest,
                "Specifying both Canned ACLs and Header Grants is not allowed",
            )),
            (None, true) => {
                let mut grants = Vec::new();
                for permission in Permission::ALL {
                    for value in headers.get_all(permission.header()) {
                        let value = value.to_str().map_err(|_| invalid_header())?;
                        for grantee in value.split(',') {
                            let to = grantee_of_header(grantee.trim(), identities)?;
                            grants.push(Grant { to, permission });
                        }
                    }
                }
                bounded(grants).map(Some)
            }
        }
    }

    /// Out of a document.
    pub(crate) fn of_document(
        document: &dto::AccessControlPolicy,
        identities: &dyn Identities,
    ) -> S3Result<Self> {
        let mut grants = Vec::new();
        for grant in document.grants.iter().flatten() {
            let (Some(grantee), Some(permission)) = (&grant.grantee, &grant.permission) else {
                return Err(malformed());
            };
            let permission = Permission::of_name(permission.as_str()).ok_or_else(malformed)?;
            let to = match (&grantee.id, &grantee.uri, &grantee.email_address) {
                (Some(id), None, None) => of_id(id, identities)?,
                (None, Some(uri), None) => of_uri(uri)?,
                (None, None, Some(_)) => return Err(unresolvable()),
                _ => return Err(malformed()),
            };
            grants.push(Grant { to, permission });
        }
        bounded(grants)
    }

    /// The ACL of a thing of `owner` in a bucket of `bucket_owner`.
    pub(crate) fn resolve(self, owner: Account, bucket_owner: &Account) -> Acl {
        let canned = match self {
            Self::Grants(grants) => return Acl { owner, grants },
            Self::Canned(canned) => canned,
        };
        let mut acl = Acl::private(owner);
        let mut grant = |to, permission| acl.grants.push(Grant { to, permission });
        let group = Grantee::Group;
        let bucket_owner_too = |permission, grant: &mut dyn FnMut(Grantee, Permission)| {
            grant(Grantee::Account(bucket_owner.clone()), permission);
        };
        match canned {
            // What S3 grants to its own machine images has nobody to grant it to here.
            Canned::Private | Canned::AwsExecRead => {}
            Canned::PublicRead => grant(group(Group::AllUsers), Permission::Read),
            Canned::PublicReadWrite => {
                grant(group(Group::AllUsers), Permission::Read);
                grant(group(Group::AllUsers), Permission::Write);
            }
            Canned::AuthenticatedRead => grant(group(Group::AuthenticatedUsers), Permission::Read),
            Canned::LogDeliveryWrite => {
                grant(group(Group::LogDelivery), Permission::Write);
                grant(group(Group::LogDelivery), Permission::ReadAcp);
            }
            Canned::BucketOwnerRead => bucket_owner_too(Permission::Read, &mut grant),
            Canned::BucketOwnerFullControl => bucket_owner_too(Permission::FullControl, &mut grant),
        }
        // The owner of both needs no second grant.
        let mut kept: Vec<Grant> = Vec::new();
        for grant in acl.grants {
            let owners = grant.to == Grantee::Account(acl.owner.clone());
            if !owners || kept.is_empty() {
                kept.push(grant);
            }
        }
        Acl {
            owner: acl.owner,
            grants: kept,
        }
    }

    /// Whether it gives the bucket's owner full control.
    pub(crate) fn hands_over(&self, bucket_owner: &CanonicalId) -> bool {
        match self {
            Self::Canned(canned) => *canned == Canned::BucketOwnerFullControl,
            Self::Grants(grants) => grants.iter().any(|grant| {
                grant.permission == Permission::FullControl
                    && matches!(&grant.to, Grantee::Account(account) if account.id == *bucket_owner)
            }),
        }
    }

    /// Whether it grants nothing but to the owner and the bucket's owner: then it is no ACL at all where
    /// ACLs are off.
    pub(crate) fn shares_nothing(&self, bucket_owner: &CanonicalId) -> bool {
        match self {
            Self::Canned(canned) => matches!(
                canned,
                Canned::Private | Canned::BucketOwnerRead | Canned::BucketOwnerFullControl
            ),
            Self::Grants(grants) => grants
                .iter()
                .all(|grant| matches!(&grant.to, Grantee::Account(account) if account.id == *bucket_owner)),
        }
    }
}

fn bounded(grants: Vec<Grant>) -> S3Result<Wish> {
    if grants.len() > MAX_GRANTS {
        return Err(malformed());
    }
    Ok(Wish::Grants(grants))
}

/// `id="…"`, `uri="…"` or `emailAddress="…"`, with or without quotes.
fn grantee_of_header(text: &str, identities: &dyn Identities) -> S3Result<Grantee> {
    let (kind, value) = text.split_once('=').ok_or_else(invalid_header)?;
    let value = value.trim().trim_matches('"');
    match kind.trim() {
        "id" => of_id(value, identities),
        "uri" => of_uri(value),
        "emailAddress" => Err(unresolvable()),
        _ => Err(invalid_header()),
    }
}

fn of_id(id: &str, identities: &dyn Identities) -> S3Result<Grantee> {
    CanonicalId::try_from(id.to_owned())
        .ok()
        .and_then(|id| identities.account(&id))
        .map(Grantee::Account)
        .ok_or_else(|| fail(S3ErrorCode::InvalidArgument, "Invalid id"))
}

fn of_uri(uri: &str) -> S3Result<Grantee> {
    Group::of_uri(uri)
        .map(Grantee::Group)
        .ok_or_else(|| fail(S3ErrorCode::InvalidArgument, "Invalid group uri"))
}

fn unresolvable() -> s3s::S3Error {
    fail_custom(
        "UnresolvableGrantByEmailAddress",
        StatusCode::BAD_REQUEST,
        "The e-mail address you provided does not match any account on record.",
    )
}

fn invalid_header() -> s3s::S3Error {
    fail(
        S3ErrorCode::InvalidArgument,
        "Argument format not recognized: grants are id=\"…\" or uri=\"…\".",
    )
}

fn malformed() -> s3s::S3Error {
    fail(
        S3ErrorCode::MalformedACLError,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::access::fixed::Fixed;

    fn wish(canned: Option<&str>, headers: &[(&'static str, &str)]) -> S3Result<Option<Wish>> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Wish::of_request(canned, &map, &Fixed::sample())
    }

    #[test]
    fn canned_acls_grant_what_their_names_say() {
        let (owner, bucket_owner) = (Fixed::account(1), Fixed::account(2));
        let resolved = |name: &str, owner: &Account| {
            let acl = wish(Some(name), &[])
                .unwrap()
                .unwrap()
                .resolve(owner.clone(), &bucket_owner);
            let grants = acl.grants.iter().skip(1);
            grants
                .map(|grant| match &grant.to {
                    Grantee::Account(account) => format!("{} {}", account.name, grant.permission.name()),
                    Grantee::Group(group) => format!("{group:?} {}", grant.permission.name()),
                })
                .collect::<Vec<_>>()
        };
        for (name, expected) in [
            ("private", vec![]),
            ("public-read", vec!["AllUsers READ"]),
            ("public-read-write", vec!["AllUsers READ", "AllUsers WRITE"]),
            ("authenticated-read", vec!["AuthenticatedUsers READ"]),
            ("aws-exec-read", vec![]),
            (
                "log-delivery-write",
                vec!["LogDelivery WRITE", "LogDelivery READ_ACP"],
            ),
            ("bucket-owner-read", vec!["account 2 READ"]),
            ("bucket-owner-full-control", vec!["account 2 FULL_CONTROL"]),
        ] {
            assert_eq!(resolved(name, &owner), expected, "{name}");
        }
        assert!(resolved("bucket-owner-read", &bucket_owner).is_empty());
        assert_eq!(
            wish(Some("open"), &[]).unwrap_err().code(),
            &S3ErrorCode::InvalidArgument
        );
    }

    #[test]
    fn headers_grant_to_ids_and_groups() {
        let id = Fixed::account(2).id;
        let both = format!("id=\"{id}\", uri={}", Group::AllUsers.uri());
        let Some(Wish::Grants(grants)) = wish(None, &[("x-amz-grant-read", &both)]).unwrap() else {
            panic!("grants expected");
        };
        assert_eq!(grants.len(), 2);
        assert_eq!(grants[0].to, Grantee::Account(Fixed::account(2)));
        assert_eq!(grants[1].to, Grantee::Group(Group::AllUsers));
        assert_eq!(wish(None, &[]).unwrap(), None);
        for (value, code) in [
            ("id=_foo", "InvalidArgument"),
            ("uri=http://nobody", "InvalidArgument"),
            ("emailAddress=a@b.example", "UnresolvableGrantByEmailAddress"),
            ("someone", "InvalidArgument"),
        ] {
            let error = wish(None, &[("x-amz-grant-write", value)]).unwrap_err();
            assert_eq!(error.code().as_str(), code, "{value}");
        }
        let twice = wish(Some("private"), &[("x-amz-grant-read", &both)]).unwrap_err();
        assert_eq!(twice.code(), &S3ErrorCode::InvalidRequest);
        let many = vec![format!("id={id}"); MAX_GRANTS + 1].join(",");
        let error = wish(None, &[("x-amz-grant-read", &many)]).unwrap_err();
        assert_eq!(error.code(), &S3ErrorCode::MalformedACLError);
    }
}
