//! Frames that lie in another gateway's staging.
//!
//! A chunk that is staged and not placed yet is on one gateway's disk. Another one that wants to read it asks that
//! gateway for the frame, over TLS in which both sides show the key of their data directory: the rows of the
//! members say whose keys these are, so whoever is no living member of the namespace is told nothing, and nobody
//! else's answer is believed. What travels is the sealed frame, which is authenticated by its tag anyway.
//!
//! On a connection, requests and answers take turns:
//! ```text
//! request   chunk id u64 BE
//! answer    1 byte: 0 here it is, 1 not in this staging, 2 cannot be read now ‖ length u32 BE ‖ frame
//! ```
mod client;
pub(crate) mod key;
mod server;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

pub(crate) use self::client::{Peer, Peers};
pub(crate) use self::server::serve;

/// Longest wait for a connection, its handshake included.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(15);

const HERE: u8 = 0;
const NOT_HERE: u8 = 1;
const CANNOT: u8 = 2;

/// Where other gateways on the namespace reach this one.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// `host:port` that others use; `None`: the address it listens on.
    pub advertise: Option<String>,
}
