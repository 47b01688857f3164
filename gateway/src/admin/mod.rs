//! The admin API: what every other command of this program talks to.
//!
//! HTTP with JSON on its own listener, behind a bearer token that only the owner of the data
//! directory can read. [`server`] answers, [`client`] asks, [`model`] is what they exchange.
pub mod client;
mod health;
pub mod kms;
pub mod levels;
pub mod members;
pub mod metadata;
pub mod model;
pub mod quotas;
mod server;
pub mod snapshots;
pub mod trash;
pub mod versioning;
pub mod workers;

pub use server::{Admin, AdminState};
