//! The whole path against a network that breaks on demand.
mod caches;
mod crashes;
mod decoding;
mod fallback;
mod faults;
mod memory;
mod orders;
mod path;
mod reading;
mod reclaim;
pub(crate) mod rot;
mod rules;
mod several;
pub(crate) mod store;
mod unreadable;
mod wait;
pub(crate) mod world;
