//! Who there is: accounts, their users, groups, roles and policies, and the access keys of all.
//!
//! # Where it is kept
//! In settings of the gateway (`vfs`), one row of JSON each ([`rows`]): so all gateways of a namespace
//! have it, and checkpoints bring it back. Secrets are sealed in their rows with a key of the
//! namespace's, and opened when a request needs one: they are never in memory for longer than that.
//!
//! # How it is asked
//! The [`Registry`] holds all rows in memory, parsed ([`known`]), and reads them again when they change:
//! before a change made here is answered, and within a moment of one that another gateway made. A
//! request costs two lookups.
//!
//! # How it is changed
//! An [`Order`] is carried out in one transaction that sees all rows: what it depends on cannot change
//! meanwhile.
//!
//! # Sessions
//! Nothing of a [`session`] is kept: its token is the sealed description of who it stands for, and its
//! secret is made from its access key. It ends with its time, and with the user or role it stands for.
mod draft;
mod explain;
mod known;
mod names;
mod order;
mod registry;
mod rows;
mod session;
mod view;

pub use explain::{Explained, Inquiry, Who};
pub use known::{Known, Refusal};
pub use order::{Holder, Order, PolicyTarget};
pub use registry::Registry;
pub use session::{Grant, Issued};
pub use view::{AccountView, Answer, GroupView, KeyView, NewKey, PolicyView, RoleView, UserView};

use crate::caller::{Account, CanonicalId};

/// Canonical id of the gateway's own account: it has every bucket that names no owner.
pub const GATEWAY_ID: &str = "c355000000000000000000000000000000000000000000000000000000000001";
/// Its name.
pub const GATEWAY_NAME: &str = "cess-gateway";

/// The gateway's own account. It is always there; the credentials of the configuration are its own.
pub fn gateway_account() -> Account {
    Account {
        id: CanonicalId::try_from(GATEWAY_ID.to_owned()).expect("64 hex digits stand above"),
        name: GATEWAY_NAME.to_owned(),
    }
}
