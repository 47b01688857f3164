//! NBD requests ⇄ vfs operations.
//!
//! Owns the NBD protocol and nothing else: no byte of an export is kept here beyond the requests in
//! flight. Any regular file of the namespace is an export, by the name `bucket/key` ([`name`]).
//!
//! ```text
//!  TCP, Unix ──► server ──► handshake ──► session ──► command ──► export ──► vfs
//!                (accept,   (options,     (requests,  (one task
//!                 limits)    attach)       budget,     each)
//!                                          writer)
//! ```
//!
//! Promises:
//! - A `WRITE` that was answered is seen by every other door at once. After an answered `FLUSH`, or
//!   the answer of a request with FUA, it is as durable as an fsync makes it. This holds over all
//!   connections to an export (`CAN_MULTI_CONN`).
//! - When a write was lost, every connection that has the export then is told and only reads from
//!   there on, whichever flush found out.
//! - Garbage gets an error reply, or ends its own connection; other connections do not notice.
//! - However many requests wait for a flush ([`session::WAITING_FLUSHES`]), reads and writes go on.
//! - A connection holds at most [`session::IN_FLIGHT_BYTES`] of payload, and a client that stops
//!   reading or writing in the middle of a message loses its connection after
//!   [`session::STALL_TIMEOUT`].
//!
//! [`proto`] is the wire format, both ways. [`client`] is a small client over it, for the gateway's
//! own measurements and for tests.
pub mod client;
pub mod error;
pub mod export;
mod handshake;
pub mod name;
pub mod proto;
mod server;
pub mod session;
mod socket;

pub use error::{Error, Result};
pub use server::{NbdConfig, NbdServer};
