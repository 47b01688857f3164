//! Who may do what, as clients set and read it: policies, ACLs, the public access block, ownership.
//!
//! These operations only keep and show the settings; [`crate::access`] acts by them.
mod acl;
mod block;
mod ownership;
mod policy;

pub(crate) use ownership::BucketWishes;
