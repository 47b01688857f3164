//! The namespace: buckets, inodes, extents, objects, volumes. The only API a door sees.
//!
//! One inode is an S3 object, a file in the mount and an NBD export. [`Vfs`] offers three sets of
//! operations on it, one file each: POSIX ([`posix`]), objects ([`object`]), volumes ([`volume`]).
//! Doors never see a chunk, a key or a miner.
mod error;
pub mod object;
pub mod posix;
mod types;
mod vfs;
pub mod volume;

pub use error::{Error, Result};
pub use store::Level;
pub use types::*;
pub use vfs::{Vfs, VfsConfig};
