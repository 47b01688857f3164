//! Ordered transactional key-value store: one trait, several engines.
//!
//! Keys and values are bytes; keys are ordered bytewise in one keyspace. The first byte of a key is
//! its table; `store` owns 0x80..=0xff, `vfs` owns 0x01..=0x7f, this crate owns 0x00.
mod engine;
mod error;
mod fjall_engine;
mod handle;

pub use engine::{Durability, Engine, KeyValue, Read, Transaction};
pub use error::{Error, Result};
pub use handle::{EngineKind, Meta, MetaConfig};
