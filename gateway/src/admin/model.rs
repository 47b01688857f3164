//! Requests and answers of the admin API.
use serde::{Deserialize, Serialize};
use store::{HealthStatus, Level, SegmentHealth, StoreStatus};
use vfs::{ChunkUser, VolumeInfo};

/// `GET /v1/status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Seconds since it started.
    pub uptime: u64,
    /// The certificate of the S3 door; left out without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_tls: Option<TlsStatus>,
    /// The chain.
    pub chain: ChainStatus,
    /// Packs, staging and caches.
    pub store: StoreStatus,
}

/// The certificate that the S3 door shows.
#[derive(Debug, Serialize, Deserialize)]
pub struct TlsStatus {
    /// SHA-256 of it, in hex.
    pub fingerprint: String,
    /// Why the files that are there now are not in use; `None`: they are.
    pub error: Option<String>,
}

/// What the gateway knows of the chain. `error` is set instead of the rest while it cannot be reached.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ChainStatus {
    /// `spec_name/spec_version`, or `not met yet`.
    pub runtime: String,
    /// Signer's account (SS58).
    pub account: String,
    /// Owner of the territory (SS58).
    pub owner: String,
    /// Best block.
    pub block: Option<u32>,
    /// Signer's free balance in planck, decimal.
    pub balance: Option<String>,
    /// The territory that pays.
    pub territory: Option<TerritoryStatus>,
    /// Why the chain could not be asked.
    pub error: Option<String>,
}

/// The territory that pays, in bytes and blocks.
#[derive(Debug, Serialize, Deserialize)]
pub struct TerritoryStatus {
    /// Name.
    pub name: String,
    /// `active`, `frozen`, `expired` or `on consignment`.
    pub state: String,
    /// Leased.
    pub total: u64,
    /// Taken by completed files.
    pub used: u64,
    /// Taken by open deals.
    pub locked: u64,
    /// Free.
    pub remaining: u64,
    /// Block at which the lease ends.
    pub deadline: u32,
}

/// `POST /v1/flush`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Flush {
    /// Level to wait for.
    pub level: Level,
    /// Longest wait in seconds.
    pub timeout: u64,
}

/// `POST /v1/reclaim`; the answer is a [`store::ReclaimPlan`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Reclaim {
    /// Only make the plan.
    pub dry_run: bool,
}

/// `GET /v1/health`.
#[derive(Debug, Serialize, Deserialize)]
pub struct HealthAnswer {
    /// All segments that are verified.
    pub status: HealthStatus,
    /// Segments of which not all fragments are good; at most 100.
    pub segments: Vec<SegmentHealth>,
    /// Ranges of files that cannot be rebuilt now; at most 100.
    pub lost: Vec<ChunkUser>,
}

/// `POST /v1/scrub`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Scrub {
    /// `bucket/key` to look at; `None`: everything.
    pub path: Option<String>,
    /// The same as an absolute path, in case it is one of the mount.
    pub file: Option<String>,
}

/// `POST /v1/explain`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Explain {
    /// `bucket/key`.
    pub path: String,
    /// The same as an absolute path, in case it is one of the mount.
    pub file: Option<String>,
    /// Extents to explain one by one.
    pub details: usize,
}

/// `POST /v1/volumes`.
#[derive(Debug, Serialize, Deserialize)]
pub struct CreateVolume {
    /// `bucket/key`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// 512 or 4096.
    pub sector: u32,
    /// Free text.
    pub description: String,
}

/// `POST /v1/volumes/resize`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ResizeVolume {
    /// `bucket/key`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Allow to cut data off.
    pub shrink: bool,
}

/// `POST /v1/volumes/delete`.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeleteVolume {
    /// `bucket/key`.
    pub path: String,
}

/// `GET /v1/volumes`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Volumes {
    /// All of them.
    pub volumes: Vec<VolumeInfo>,
}

/// `POST /v1/cache/drop`.
#[derive(Debug, Serialize, Deserialize)]
pub struct CachesDropped {
    /// Why the metadata store still holds sealed bytes of small chunks, where its engine cannot forget them.
    pub left: Option<String>,
}

/// Body of every answer that is not 2xx.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong and what to do next.
    pub error: String,
}
