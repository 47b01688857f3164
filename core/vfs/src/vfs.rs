//! The handle every door holds.
use std::time::Duration;

use meta::Meta;
use store::{Level, Store};

use crate::{InodeNo, Result};

/// Settings of the namespace.
#[derive(Clone, Debug)]
pub struct VfsConfig {
    /// Dirty bytes buffered over all inodes before writers wait.
    pub write_buffer: u64,
    /// Dirty bytes of an inode are staged at this age without anybody asking.
    pub write_back_age: Duration,
    /// Level that fsync, FLUSH and a PUT's answer stand for unless asked otherwise.
    pub ack: Level,
    /// Longest wait for `ack` above staged.
    pub ack_timeout: Duration,
}

/// Handle to the namespace. Cheap to clone.
#[derive(Clone)]
pub struct Vfs {}

impl Vfs {
    /// Opens or creates the namespace.
    pub async fn open(config: VfsConfig, meta: Meta, store: Store) -> Result<Self> {
        let _ = (config, meta, store);
        todo!()
    }
    /// The level that `ino`'s bytes have reached: the lowest of its chunks; buffered bytes have none.
    pub async fn level(&self, ino: InodeNo) -> Result<Option<Level>> {
        let _ = ino;
        todo!()
    }
    /// Stages everything buffered and waits until all of it is at `level`.
    pub async fn flush_all(&self, level: Level, timeout: Duration) -> Result<()> {
        let _ = (level, timeout);
        todo!()
    }
    /// Forgets what only speeds things up.
    pub async fn drop_caches(&self) -> Result<()> {
        todo!()
    }
    /// Stages everything buffered and stops.
    pub async fn shutdown(&self) -> Result<()> {
        todo!()
    }
}
