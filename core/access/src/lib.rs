//! Who asks, and whether he may.
//!
//! # What this crate owns
//! - [`caller`]: who a request comes from, as the doors and the policies see him.
//! - [`policy`]: policy documents, read and evaluated.
//! - [`decision`]: how documents and ACLs come together to one decision that explains itself.
//!
//! It owns no request and no bytes: a door finds out who asks and for what, and asks here.
pub mod caller;
pub mod decision;
pub mod policy;

pub use caller::{Account, Caller, CanonicalId, Identity, Policy, Session, User};
