//! Bytes: chunks, staging, packs, placement, caches, reading back.
//!
//! The store never sees a name. It takes plaintext of at most [`CHUNK_MAX`] bytes, seals it, keeps
//! it durable, packs it, places it on miners, and gives it back, verified.
//!
//! A write is three steps, so that no committed row ever names bytes that are not there:
//! 1. [`Store::stage`] seals the bytes and appends them to staging;
//! 2. [`Store::sync_staged`] makes everything staged so far durable (one sync for all callers);
//! 3. inside the caller's own metadata transaction, [`Store::record`] names the chunk.
mod api;
mod cache;
mod checkpoint;
mod chunk_ids;
pub mod clock;
mod domains;
mod error;
mod frame;
mod health;
mod inner;
mod keys;
mod locations;
pub mod measure;
mod members;
#[cfg(test)]
mod memory_rows;
mod pack;
mod peers;
mod place;
pub mod random;
mod read;
mod reclaim;
mod references;
mod remote;
pub mod restore;
mod staging;
mod status;
pub mod steps;
mod tables;
#[cfg(test)]
mod testing;
pub mod workers;

pub use api::{CHUNK_MAX, ChunkId, DomainId, Level, NewChunk, Owner, StagedChunk, Store, StoreConfig};
pub use checkpoint::CheckpointStatus;
pub use error::{Error, Result};
pub use frame::compression::Compression;
pub use health::explain::{ChunkLife, ChunkPlace, Explained, PackLife};
pub use health::life::{Life, LifeStep, Milestone};
pub use health::record::FragmentState;
pub use health::report::{FragmentHealth, HealthStatus, ScrubReport, SegmentHealth};
pub use health::settings::HealthSettings;
pub use ipnetwork::IpNetwork;
pub use keys::PassphraseCost;
pub use members::forget::Forgetting;
pub use members::lease::{Lease, Wish};
pub use members::{MemberRef, MemberStatus};
pub use peers::PeerConfig;
pub use place::pace::Pace;
pub use place::rules::{Country, Placement};
pub use read::trace::{ReadOutcome, ReadSource, ReadStep, ReadTrace};
pub use reclaim::{ReclaimConfig, ReclaimPack, ReclaimPlan};
pub use status::{
    ChainOutlook, ChainState, DamagedChunk, PackState, PackStatus, RestoredStatus, StoreStatus,
};
