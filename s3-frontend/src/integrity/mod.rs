//! MD5 and the S3 checksums of a body: computed, demanded, stored.
//!
//! - [`algorithm`]: the five S3 checksum algorithms and how they sit in s3s's types.
//! - [`demand`]: what a request says its bytes must hash to, in headers or trailers.
//! - [`digester`]: computes all of it while the bytes flow, off the async workers.
//! - [`md5`]: the hash of ETags, for several bodies at once.
//! - [`record`]: what is kept beside an object or part, bound to the ETag it belongs to.
//! - [`multipart`]: the checksum of a whole object from those of its parts.
pub(crate) mod algorithm;
pub(crate) mod demand;
pub(crate) mod digester;
mod md5;
pub(crate) mod multipart;
pub(crate) mod record;

pub(crate) use algorithm::Algorithm;
pub(crate) use demand::Demand;
pub(crate) use digester::Digester;
