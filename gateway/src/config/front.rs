//! `[s3.tls]`, `[s3.clients]` and `[s3.website]`: the layer in front of the S3 door.
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// `[s3.tls]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Address of a listener of its own, beside the plain one. Default: none, `s3.listen` speaks TLS.
    pub listen: Option<SocketAddr>,
    /// PEM file: the certificate, then what leads from it to a root.
    pub certificate: PathBuf,
    /// PEM file with its private key (mode 0600 or 0640). Both files are watched: new ones count at once.
    pub key: PathBuf,
}

impl From<Tls> for s3_frontend::TlsConfig {
    fn from(tls: Tls) -> Self {
        Self {
            listen: tls.listen,
            certificate: tls.certificate,
            key: tls.key,
        }
    }
}

/// `[s3.clients]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clients {
    /// Connections served at a time, at least 1; more wait. Default 4096.
    pub connections: usize,
    /// Connections of one address (IPv6: one /64) at a time; 0: no limit. Default 1024.
    pub connections_per_address: usize,
    /// Requests per second of one address; 0: no limit. Default 0.
    pub requests_per_address: u32,
    /// Requests per second signed with one access key; 0: no limit. Default 0.
    pub requests_per_key: u32,
}

impl Default for Clients {
    fn default() -> Self {
        let s3_frontend::ClientLimits {
            connections,
            connections_per_address,
            requests_per_address,
            requests_per_key,
        } = s3_frontend::ClientLimits::default();
        Self {
            connections,
            connections_per_address,
            requests_per_address,
            requests_per_key,
        }
    }
}

impl From<Clients> for s3_frontend::ClientLimits {
    fn from(clients: Clients) -> Self {
        Self {
            connections: clients.connections,
            connections_per_address: clients.connections_per_address,
            requests_per_address: clients.requests_per_address,
            requests_per_key: clients.requests_per_key,
        }
    }
}

/// `[s3.website]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Website {
    /// Host names under which buckets are web sites (`bucket.NAME`), on the door's own listeners. Default none.
    pub domains: Vec<String>,
    /// Address of a listener for web sites alone, where a host under none of `domains` is itself the bucket's
    /// name. Default none.
    pub listen: Option<SocketAddr>,
}
