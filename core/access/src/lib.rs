//! Who asks, and whether he may.
//!
//! # What this crate owns
//! - [`caller`]: who a request comes from, as the doors and the policies see him.
//! - [`policy`]: policy documents, read and evaluated.
//! - [`decision`]: how documents and ACLs come together to one decision that explains itself.
//! - [`identity`]: who there is, where it is kept, and how it is changed.
//! - [`oidc`]: identity providers whose tokens count.
//! - [`owner`]: which account owns a bucket.
//!
//! It owns no request and no bytes: a door finds out who asks and for what, and asks here.
pub mod caller;
mod clock;
pub mod decision;
mod error;
pub mod identity;
pub mod oidc;
pub mod owner;
pub mod policy;
mod random;

pub use caller::{Account, Caller, CanonicalId, Identity, Policy, Role, Session, User};
pub use clock::now;
pub use error::{Error, Kind, Result};
