//! The S3 door: S3 requests ⇄ vfs operations.
//!
//! # What this crate owns
//! The HTTP listener, authentication, the S3 dialect (names, limits, codes, XML) and the checksums
//! that a client sends with its bytes. It owns no data: every answer comes from [`vfs::Vfs`].
//!
//! # How a request flows
//! ```text
//! listener (`server`) → strict layer (`layer`) → s3s (routing, SigV4, XML) → operation (`ops`) → vfs
//! ```
//! - `server` accepts connections (HTTP/1.1 and HTTP/2, plain and TLS), bounds their number and how long
//!   they may do nothing, and drains them at shutdown.
//! - `layer` closes what the s3s crate leaves open: request ids, unsigned `x-amz-*` headers, old
//!   signature versions, the region, presigned lifetimes, idle or oversized bodies.
//! - s3s finds the operation, verifies SigV4 and parses the input.
//! - `access` decides whether whoever asks may do what he asks for (policies, ACLs, the public access
//!   block), before anything is read.
//! - `ops` has one file per group of operations. Bytes run through `integrity`, which computes
//!   MD5 and the S3 checksums beside the write, off the async workers.
//! - `encryption` is what clients ask for above what everything has: keys of their own.
//! - `error` is the one map from [`vfs::Error`] to S3 codes.
//!
//! # What it promises
//! A 200 for a write means the level that the gateway acknowledges at (at least `staged`). A body
//! that is cut short, too long or fails one of its checksums stores nothing. Every refusal is an S3
//! error document with a code that SDKs know.
mod access;
mod ack;
mod acl;
mod auth;
mod clock;
mod condition;
mod cors;
mod door;
mod encryption;
mod error;
mod form;
mod host;
mod ingest;
mod integrity;
mod layer;
mod limits;
mod lock;
mod metadata;
mod naming;
mod ops;
mod owner;
mod random;
mod server;
mod setting;
mod tags;
mod website;

pub use access::ObjectOwnership;
pub use encryption::keys::{LocalKeyInfo, LocalKeys};
pub use server::{CertificateView, ClientLimits, S3Server, TlsConfig, TlsStatus};

use std::fmt;
use std::net::SocketAddr;

/// Settings of the S3 door.
#[derive(Clone)]
pub struct S3Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Region that signatures must name.
    pub region: String,
    /// Access key → secret key.
    pub credentials: Vec<(String, String)>,
    /// Host names under which buckets are virtual hosts (`bucket.NAME`).
    pub domains: Vec<String>,
    /// Take clients' encryption keys over plain HTTP, where everybody on the way can read them. Where the
    /// door listens on this machine alone they are taken anyway.
    pub allow_customer_keys_over_http: bool,
    /// Whose the objects of a new bucket are, unless the request that makes it says so.
    pub object_ownership: ObjectOwnership,
    /// TLS; `None`: none.
    pub tls: Option<TlsConfig>,
    /// What one client may take.
    pub clients: ClientLimits,
    /// Host names under which buckets are web sites (`bucket.NAME`).
    pub website_domains: Vec<String>,
    /// A listener for web sites alone: a host under none of `website_domains` is itself the bucket's name.
    pub website_listen: Option<SocketAddr>,
    /// Whether browser forms may be signed as before SigV4 (HMAC-SHA1 of the policy).
    pub forms_signed_v2: bool,
}

/// Everything at its default: no keys, 127.0.0.1:9000, region us-east-1.
impl Default for S3Config {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 9000).into(),
            region: "us-east-1".to_owned(),
            credentials: Vec::new(),
            domains: Vec::new(),
            object_ownership: ObjectOwnership::default(),
            tls: None,
            clients: ClientLimits::default(),
            website_domains: Vec::new(),
            website_listen: None,
            forms_signed_v2: false,
            allow_customer_keys_over_http: false,
        }
    }
}

/// Shows access keys, never secrets.
impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access_keys: Vec<&str> = self
            .credentials
            .iter()
            .map(|(access, _)| access.as_str())
            .collect();
        f.debug_struct("S3Config")
            .field("listen", &self.listen)
            .field("region", &self.region)
            .field("access_keys", &access_keys)
            .field("domains", &self.domains)
            .field(
                "allow_customer_keys_over_http",
                &self.allow_customer_keys_over_http,
            )
            .field("tls", &self.tls)
            .field("clients", &self.clients)
            .field("website_domains", &self.website_domains)
            .field("website_listen", &self.website_listen)
            .field("forms_signed_v2", &self.forms_signed_v2)
            .field("object_ownership", &self.object_ownership)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_the_secret() {
        let config = S3Config {
            credentials: vec![("ACCESS".into(), "very-secret".into())],
            ..S3Config::default()
        };
        let text = format!("{config:?}");
        assert!(text.contains("ACCESS"));
        assert!(!text.contains("very-secret"));
    }
}
