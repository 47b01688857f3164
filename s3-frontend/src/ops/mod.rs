//! The operations, one file per group. Each is an `async fn` over [`crate::door::Door`]; the table
//! that binds them to s3s's trait is in [`crate::door`].
pub(crate) mod attributes;
pub(crate) mod bucket;
pub(crate) mod copy;
pub(crate) mod cors;
pub(crate) mod delete;
pub(crate) mod encryption;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod multipart;
pub(crate) mod new_object;
pub(crate) mod object_lock;
pub(crate) mod permission;
pub(crate) mod put;
pub(crate) mod read;
pub(crate) mod recode;
pub(crate) mod rename;
pub(crate) mod restore;
pub(crate) mod tagging;
pub(crate) mod unset;
pub(crate) mod version;
pub(crate) mod website;
