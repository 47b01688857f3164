//! Ordered transactional key-value store: one trait, several engines.
//!
//! Keys and values are bytes; keys are ordered bytewise in one keyspace. The first byte of a key is
//! its table; `store` owns 0x80..=0xff, `vfs` owns 0x01..=0x7f, this crate owns 0x00.
//!
//! How data flows:
//! * [`Meta::snapshot`] gives a consistent view at the cost of a counter; reads take microseconds
//!   and happen on the calling thread.
//! * [`Meta::write`] runs a closure in a serializable transaction on the blocking pool and runs it
//!   again when another transaction changed what it had read.
//! * [`Meta::write_short`] does so on the calling thread, for the few rows of a name or an attribute, when
//!   the engine would not make it wait.
//! * A commit is visible and ordered at once and durable with the next sync. One thread syncs for
//!   everybody who waits ([`sync`](crate) module), so that a hundred waiters cost one disk flush.
//! * When a write to the disk fails (full, or broken), the engine is brought back without a restart:
//!   writes are refused meanwhile, reads go on, and what was visible stays visible.
//! * [`Meta::subscribe`] tells which keys were committed, by whichever gateway ([`changes`]).
//! * [`Meta::backup`] writes an image of one moment while writers go on ([`image`]); [`migrate`] moves a
//!   namespace to another engine.
//! * A store that several gateways share tells their openings apart, and one can end another's for good
//!   ([`Engine::end`]): what decides who is dead lies above.
//! * A small guard file beside the engine remembers how far acknowledged commits went; an engine
//!   that comes back with less than that (its log lost a middle part) is refused.
//!
//! Engines: [`FjallEngine`] and [`SledEngine`] in a directory of this machine, and [`PostgresEngine`], a database
//! that several gateways can share. All of them pass `tests/conformance`.
//!
//! What it promises: after a crash the store holds a prefix of the commit order that includes every
//! commit acknowledged as [`Durability::Synced`], or it refuses to open.
mod bounds;
pub mod changes;
pub mod directory;
mod engine;
mod error;
pub mod failpoint;
mod fjall_engine;
mod guard;
mod handle;
pub mod image;
pub mod migrate;
pub mod observed;
mod overlay;
mod place;
mod postgres_engine;
pub mod shared;
mod sled_engine;
mod sync;

pub use engine::{Durability, Engine, KEY_MAX, KeyValue, Read, Transaction, VALUE_MAX};
pub use error::{Error, Result};
pub use fjall_engine::{BareFjall, FjallEngine};
pub use handle::{EngineKind, Meta, MetaConfig};
pub use place::Place;
pub use postgres_engine::{POLL as POSTGRES_POLL, PostgresConfig, PostgresEngine, TlsMode};
pub use sled_engine::SledEngine;
