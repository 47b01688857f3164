//! A CESS network on one machine: a chain and its miners, with faults on demand.
//!
//! - [`runtime`]: the pallets, as CESS runtime 137 has them, over raw storage; the metadata.
//! - [`chain`]: blocks on disk, the state at recent blocks, the pool, the block author.
//! - [`rpc`]: Substrate JSON-RPC, as an unmodified subxt speaks it.
//! - [`miner`]: miners that serve fragments over HTTP and report to a chain.
//! - [`controls`], [`admin`]: faults, thrown by a call, over HTTP or from the command line.
//! - [`Devnet`]: all of it in one process.
//!
//! An extrinsic goes RPC → pool → author thread → log (synced) → announced. A fragment goes HTTP
//! → checks → report area → `transfer_report` → file area. State survives `kill -9`: the log is
//! replayed at start, and a block is announced only when it is on disk. Faults do not survive a
//! start.
pub mod admin;
pub mod chain;
mod clock;
pub mod command;
pub mod controls;
pub mod devnet;
pub mod error;
pub mod gate;
pub mod miner;
mod random;
pub mod rpc;
pub mod runtime;

pub use controls::ChainFault;
pub use devnet::{Devnet, DevnetConfig, MinerEndpoint};
pub use error::{Error, Result};
pub use miner::fault::Fault;
