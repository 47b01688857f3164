//! The S3 door over a real namespace, on a loopback port, spoken to by signed requests.
//!
//! Every test starts its own door on its own directory; [`harness`] does that, [`client`] signs.
// A test that unwraps fails, as it should; strings of a test may be built the short way.
#![allow(clippy::unwrap_used, clippy::format_collect)]

mod append;
mod buckets;
mod checksums;
mod client;
mod conditions;
mod copies;
mod deletes;
mod encryption;
mod harness;
mod integrity;
mod levels;
mod lifecycle;
mod listing;
mod multipart;
mod object_lock;
mod objects;
mod permissions;
mod presigned;
mod settings;
mod signatures;
mod snapshots;
mod tagging;
mod transport;
mod versions;
