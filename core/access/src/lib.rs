//! Who asks, and whether he may.
//!
//! # What this crate owns
//! - [`caller`]: who a request comes from, as the doors and the policies see him.
//!
//! It owns no request and no bytes: a door finds out who asks and for what, and asks here.
pub mod caller;

pub use caller::{Account, Caller, CanonicalId, Identity, Policy, Session, User};
