//! The namespace: buckets, inodes, extents, objects, volumes. The only API a door sees.
//!
//! One inode is an S3 object, a file in the mount and an NBD export. [`Vfs`] offers three sets of
//! operations on it, one folder each: POSIX ([`posix`]), objects ([`object`]), volumes ([`volume`]).
//! Doors never see a chunk, a key or a miner.
//!
//! What is where:
//! - names, inodes and extents are rows of the metadata engine (`schema`); every operation is one
//!   transaction closure on them, and reads use snapshots directly;
//! - bytes that POSIX and NBD write are first in the write buffer (`buffer`), from where a flush
//!   (`flush`) stages them as chunks and commits their extents; bytes of objects are staged as they
//!   come and committed with the object (`object::place`);
//! - every transaction is looked at by who has to learn what it changes (`transaction`): the quotas
//!   (`quota`), and the rows of names and inodes that are kept in memory (`row_cache`);
//! - what an object lock holds is kept from all of that (`object_lock`);
//! - what is deleted may go to the bucket's trash first (`trash`), and what is replaced or deleted
//!   in a versioned bucket stays as an older version (`version`);
//! - what a bucket's lifecycle rules say is to go is deleted in the background (`lifecycle`);
//! - what small writes leave in pieces is put together in the background (`compact`);
//! - what loses its last name or its last extent is given back in the background (`purge`,
//!   `release`), never under somebody who still reads it;
//! - what snapshots need is kept as rows change, and what clones have from their origins is laid
//!   beside their own extents, beneath all operations (`snapshot`, `clone`).
//!
//! What an acknowledgement means: changes of the namespace by S3 and of volumes are durable when
//! they are answered; those by POSIX are ordered, and durable after an fsync, as are written bytes.
mod ack;
mod attached;
mod bucket;
mod buffer;
mod clock;
mod clone;
mod compact;
mod dentry;
mod error;
mod explain;
mod extent;
mod flush;
mod gateway_setting;
mod heard;
mod inode;
mod inode_numbers;
mod inquiry;
pub mod lifecycle;
mod locks;
mod names;
pub mod object;
mod object_lock;
pub mod posix;
mod purge;
mod quota;
mod read_ahead;
mod release;
pub mod restored;
mod row_cache;
mod schema;
mod setting;
mod snapshot;
mod transaction;
mod trash;
mod tree;
mod types;
mod version;
mod vfs;
pub mod volume;
mod xattrs;

pub use bucket::NewBucket;
pub use compact::Compacted;
pub use error::{Error, Result};
pub use explain::{ChunkUser, ExtentLife, ObjectLife};
pub use gateway_setting::{GatewaySettingChanges, GatewaySettings};
pub use locks::{LockHeld, LockRequest, Locked};
pub use object_lock::{
    BucketLock, DAYS_MAX, DefaultRetention, Governance, ObjectLock, Period, Retention, RetentionMode,
};
pub use quota::{QuotaInfo, QuotaLimits};
pub use setting::{BucketSettings, SettingChanges};
pub use snapshot::{SnapshotInfo, SnapshotRule, SnapshotRuleInfo};
pub use store::Level;
pub use store::clock::wall as wall_clock;
pub use trash::{Restored, TrashEntry};
pub use types::*;
pub use version::{Deleted, FoundVersion, VersionEntry, VersionId, VersionPage, VersionRequest, Versioning};
pub use vfs::{Vfs, VfsConfig};
