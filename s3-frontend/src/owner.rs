//! The one owner that this door shows: everything belongs to the gateway's account.
use access::{Account, CanonicalId};
use s3s::dto::{Initiator, Owner};

/// Canonical user id, in AWS's form of 64 hex digits.
pub(crate) const ID: &str = "c355000000000000000000000000000000000000000000000000000000000001";
const DISPLAY_NAME: &str = "cess-gateway";

/// The gateway's own account.
pub(crate) fn account() -> Account {
    Account {
        id: CanonicalId::try_from(ID.to_owned()).expect("64 hex digits stand above"),
        name: DISPLAY_NAME.to_owned(),
    }
}

/// The owner of all buckets and objects.
pub(crate) fn owner() -> Owner {
    Owner {
        display_name: Some(DISPLAY_NAME.into()),
        id: Some(ID.into()),
    }
}

/// The initiator of all multipart uploads.
pub(crate) fn initiator() -> Initiator {
    Initiator {
        display_name: Some(DISPLAY_NAME.into()),
        id: Some(ID.into()),
    }
}
