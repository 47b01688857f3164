//! The CESS network as a library: chain calls, miner HTTP, segment and fragment codec.
//!
//! This crate knows no gateway: no chunk, no name, no key but the two that sign (one for money,
//! one throw-away for miner requests).
//!
//! - [`codec`]: 32 MiB segments, 4 + 8 Reed–Solomon fragments of 8 MiB, both FID rules.
//! - [`chain`]: a Substrate client on subxt's dynamic API; every call, type and storage item is
//!   resolved by name in the live metadata.
//! - [`miner`]: `PUT`/`GET /fragment`, verified.
pub mod account;
pub mod chain;
pub mod codec;
pub mod error;
pub mod hash;
pub mod miner;

pub use account::AccountId;
pub use error::{Error, Result};
pub use hash::Hash;
