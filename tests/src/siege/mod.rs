//! A gateway under load and under fault: what was acknowledged must be there, whatever happens.
//!
//! - [`ledger`]: what was acknowledged, and so what a read may answer.
//! - [`load`]: writers and readers at all three doors.
//! - [`site`]: a gateway on a disk that can fail, with its network, and how to break both.
//! - [`fault`]: the table of faults.
//! - [`battle`]: one fault from beginning to end: load, fault, reads, healing, catching up, checks.
//! - [`budget`]: memory and disk stay inside what the settings say.
pub mod battle;
pub mod budget;
pub mod fault;
pub mod ledger;
pub mod load;
mod reader;
pub mod site;
mod writer;
