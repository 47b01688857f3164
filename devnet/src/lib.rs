//! A CESS network on one machine: a chain and its miners, with faults on demand.
pub mod chain;
mod clock;
pub mod error;
pub mod gate;
#[allow(dead_code)]
mod random;
pub mod rpc;
pub mod runtime;
pub use error::{Error, Result};
