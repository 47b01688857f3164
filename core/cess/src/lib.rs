//! The CESS network as a library: chain calls, miner HTTP, segment and fragment codec.
//!
//! This crate knows no gateway: no chunk, no name, no key but the two that sign (one for money,
//! one throw-away for miner requests).
//!
//! - [`codec`]: 32 MiB segments, 4 + 8 Reed–Solomon fragments of 8 MiB, both FID rules.
//! - [`chain`]: a Substrate client on subxt's dynamic API; every call, type and storage item is
//!   resolved by name in the live metadata.
//! - [`miner`]: `PUT`/`GET /fragment`, verified.
//!
//! A file goes out as: segments → [`codec::encode`] → [`codec::hash_segment`] →
//! [`codec::fid_merkle`] → [`chain::Chain::declare`] → [`miner::MinerClient::put`] of each fragment
//! to its miner → the miners report → [`chain::Chain::file`] lists it. It comes back as:
//! [`chain::Chain::file`] → [`chain::Chain::miner`] → [`miner::MinerClient::get`] of any four
//! fragments of a segment → [`codec::decode`].
//!
//! Nothing that comes from a node or a miner is believed unchecked: lengths, digests and shapes are
//! verified, answers are bounded, and every wait has an end.
pub mod account;
pub mod chain;
pub mod codec;
pub mod error;
pub mod hash;
pub mod miner;
mod random;
mod tls;

pub use account::AccountId;
pub use error::{Error, Result};
pub use hash::Hash;
