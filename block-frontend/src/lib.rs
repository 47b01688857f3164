//! NBD requests ⇄ vfs operations.
use std::net::SocketAddr;
use std::path::PathBuf;

use vfs::Vfs;

/// Settings of the NBD door.
#[derive(Clone, Debug)]
pub struct NbdConfig {
    /// TCP address; port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// Unix socket.
    pub unix: Option<PathBuf>,
}

/// A running NBD door.
pub struct NbdServer {}

impl NbdServer {
    /// Starts to serve.
    pub async fn start(config: NbdConfig, vfs: Vfs) -> std::io::Result<Self> {
        let _ = (config, vfs);
        todo!()
    }
    /// The TCP address it listens on.
    pub fn address(&self) -> Option<SocketAddr> {
        todo!()
    }
    /// Takes no new connections, finishes the requests under way, at most for `grace`.
    pub async fn shutdown(self, grace: std::time::Duration) {
        let _ = grace;
        todo!()
    }
}
