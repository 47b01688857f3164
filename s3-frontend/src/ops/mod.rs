//! The operations, one file per group. Each is an `async fn` over [`crate::door::Door`]; the table
//! that binds them to s3s's trait is in [`crate::door`].
pub(crate) mod attributes;
pub(crate) mod bucket;
pub(crate) mod copy;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod multipart;
pub(crate) mod permission;
pub(crate) mod put;
pub(crate) mod read;
pub(crate) mod unset;
pub(crate) mod version;
