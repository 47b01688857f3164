//! The chain's runtime: pallets that behave as those of CESS runtime 137, over raw storage.
//!
//! [`execute`] runs blocks; [`metadata`] describes calls, storage, events, errors and constants
//! to clients. One module per pallet; types shared between pallets are in [`primitives`].

#[macro_use]
mod macros;

pub mod audit;
pub mod balances;
pub mod call;
pub mod context;
pub mod execute;
pub mod extrinsic;
pub mod file_bank;
pub mod genesis;
pub mod hashing;
pub mod item;
pub mod metadata;
pub mod oss;
pub mod primitives;
pub mod sminer;
pub mod state;
pub mod storage_handler;
pub mod sudo;
pub mod system;
pub mod tee_worker;
pub mod timestamp;
pub mod transaction_payment;
pub mod utility;
pub mod version;

#[cfg(test)]
mod tests;
