//! The S3 door over a real namespace, on a loopback port, spoken to by signed requests.
//!
//! Every test starts its own door on its own directory; [`harness`] does that, [`client`] signs.
// A test that unwraps fails, as it should; strings of a test may be built the short way.
#![allow(clippy::unwrap_used, clippy::format_collect)]

mod append;
mod bad_input;
mod buckets;
mod checksums;
mod client;
mod clients;
mod conditions;
mod copies;
mod cors;
mod deletes;
mod encryption;
mod forms;
mod harness;
mod integrity;
mod levels;
mod lifecycle;
mod listing;
mod multipart;
mod named_keys;
mod object_lock;
mod objects;
mod operations;
mod permissions;
mod presigned;
mod settings;
mod signatures;
mod snapshots;
mod tagging;
mod tls;
mod transport;
mod versions;
mod website;
