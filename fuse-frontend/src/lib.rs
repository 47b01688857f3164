//! Kernel FUSE requests ⇄ vfs operations.
use std::path::PathBuf;

use vfs::Vfs;

/// Settings of a mount.
#[derive(Clone, Debug)]
pub struct MountConfig {
    /// An ordinary, empty directory; made if missing.
    pub path: PathBuf,
    /// Other users may use the mount.
    pub allow_other: bool,
    /// Refuse writes.
    pub read_only: bool,
    /// Event loops.
    pub threads: usize,
}

/// A live mount.
pub struct Mount {}

impl Mount {
    /// Mounts and serves. Call inside a multi-threaded tokio runtime.
    pub fn start(config: MountConfig, vfs: Vfs) -> std::io::Result<Self> {
        let _ = (config, vfs);
        todo!()
    }
    /// Unmounts (lazily when busy) and ends the event loops.
    pub async fn shutdown(self) {
        todo!()
    }
}
