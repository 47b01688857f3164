//! S3 requests ⇄ vfs operations.
use std::net::SocketAddr;

use vfs::Vfs;

/// Settings of the S3 door.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Region that signatures must name.
    pub region: String,
    /// Access key → secret key.
    pub credentials: Vec<(String, String)>,
    /// Host names under which buckets are virtual hosts (`bucket.NAME`).
    pub domains: Vec<String>,
}

/// A running S3 door.
pub struct S3Server {}

impl S3Server {
    /// Starts to serve.
    pub async fn start(config: S3Config, vfs: Vfs) -> std::io::Result<Self> {
        let _ = (config, vfs);
        todo!()
    }
    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        todo!()
    }
    /// Takes no new connections, finishes the requests under way, at most for `grace`.
    pub async fn shutdown(self, grace: std::time::Duration) {
        let _ = grace;
        todo!()
    }
}
