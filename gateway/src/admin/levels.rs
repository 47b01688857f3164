//! Levels of buckets, files and volumes: what they ask for, what they have reached, waiting for it.
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use store::Level;

use super::server::{AdminError, AdminState};
use super::trash::AskedTrash;
use super::versioning::BucketVersioning;

/// The level that a bucket or a file is to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// None of its own.
    Default,
    /// On the gateway's disk, synced.
    Staged,
    /// On twelve miners, listed by the chain.
    Placed,
    /// Read back from the miners and compared.
    Verified,
}

impl Asked {
    /// The level, if one is asked for.
    pub fn level(self) -> Option<Level> {
        match self {
            Self::Default => None,
            Self::Staged => Some(Level::Staged),
            Self::Placed => Some(Level::Placed),
            Self::Verified => Some(Level::Verified),
        }
    }
}

/// How a bucket's bytes are to be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AskedCompression {
    /// As the gateway's setting says.
    Default,
    /// Not at all.
    Off,
    /// LZ4: quick, saves less.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl AskedCompression {
    /// The compression, if one is asked for.
    pub fn compression(self) -> Option<store::Compression> {
        match self {
            Self::Default => None,
            Self::Off => Some(store::Compression::None),
            Self::Lz4 => Some(store::Compression::Lz4),
            Self::Zstd => Some(store::Compression::Zstd),
        }
    }
}

/// One bucket, of `GET /v1/buckets` and `POST /v1/buckets/set`.
#[derive(Debug, Serialize, Deserialize)]
pub struct BucketSettings {
    /// Name.
    pub bucket: String,
    /// Level that it asks for.
    pub ack: Option<Level>,
    /// How its bytes are compressed.
    pub compression: store::Compression,
    /// Seconds that it keeps what is deleted; none: not at all.
    #[serde(default)]
    pub trash: Option<u64>,
    /// What it does with what is replaced or deleted.
    #[serde(default)]
    pub versioning: BucketVersioning,
}

/// `GET /v1/buckets`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Buckets {
    /// All of them.
    pub buckets: Vec<BucketSettings>,
}

/// `POST /v1/buckets/set`. What is left out stays as it is.
#[derive(Debug, Serialize, Deserialize)]
pub struct SetBucket {
    /// Name.
    pub bucket: String,
    /// Level that it is to ask for.
    pub ack: Option<Asked>,
    /// How its bytes are to be compressed from now on.
    #[serde(default)]
    pub compression: Option<AskedCompression>,
    /// How long it is to keep what is deleted.
    #[serde(default)]
    pub trash: Option<AskedTrash>,
    /// What it is to do with what is replaced or deleted.
    #[serde(default)]
    pub versioning: Option<BucketVersioning>,
}

/// `POST /v1/files/set`. What is left out stays as it is.
#[derive(Debug, Serialize, Deserialize)]
pub struct SetFile {
    /// `bucket/key` of a file, object or volume.
    pub path: String,
    /// Level that it is to ask for.
    pub ack: Option<Asked>,
}

/// `POST /v1/files/level`.
#[derive(Debug, Serialize, Deserialize)]
pub struct AskLevel {
    /// `bucket/key` of a file, object or volume.
    pub path: String,
    /// Level to wait for.
    pub wait: Option<Level>,
    /// Longest wait in seconds.
    pub timeout: u64,
}

/// What one file has reached, of `POST /v1/files/level` and `POST /v1/files/set`.
#[derive(Debug, Serialize, Deserialize)]
pub struct FileLevel {
    /// `bucket/key`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Lowest level of its bytes; none: some are only buffered in memory.
    pub state: Option<Level>,
    /// Level that it asks for itself.
    pub ack: Option<Level>,
    /// Level that an fsync, FLUSH or PUT stands for at least, whatever its door asks for.
    pub in_force: Level,
}

/// The routes of this file.
pub fn routes() -> Router<AdminState> {
    Router::new()
        .route("/v1/buckets", get(buckets))
        .route("/v1/buckets/set", post(set_bucket))
        .route("/v1/files/set", post(set_file))
        .route("/v1/files/level", post(level))
}

async fn buckets(State(state): State<AdminState>) -> Result<Json<Buckets>, AdminError> {
    let mut buckets = Vec::new();
    for bucket in state.vfs.buckets().await? {
        buckets.push(settings(&state, bucket).await?);
    }
    Ok(Json(Buckets { buckets }))
}

async fn set_bucket(
    State(state): State<AdminState>,
    Json(request): Json<SetBucket>,
) -> Result<Json<BucketSettings>, AdminError> {
    let bucket = state.vfs.bucket(&request.bucket).await?;
    if let Some(ack) = request.ack {
        state.vfs.set_ack(bucket.ino, ack.level()).await?;
    }
    if let Some(asked) = request.compression {
        state
            .vfs
            .set_compression(&bucket.name, asked.compression())
            .await?;
    }
    if let Some(asked) = request.trash {
        let retention = match asked {
            AskedTrash::Off => None,
            AskedTrash::Keep(seconds) => Some(Duration::from_secs(seconds)),
        };
        state.vfs.set_trash(&bucket.name, retention).await?;
    }
    if let Some(versioning) = request.versioning {
        let setting = versioning.setting();
        state.vfs.set_versioning(&bucket.name, setting).await?;
    }
    Ok(Json(settings(&state, bucket).await?))
}

async fn settings(state: &AdminState, bucket: vfs::Bucket) -> Result<BucketSettings, AdminError> {
    Ok(BucketSettings {
        ack: state.vfs.ack(bucket.ino).await?,
        compression: state.vfs.compression(&bucket.name).await?,
        trash: state.vfs.trash(&bucket.name).await?.map(|kept| kept.as_secs()),
        versioning: state.vfs.versioning(&bucket.name).await?.into(),
        bucket: bucket.name,
    })
}

async fn set_file(
    State(state): State<AdminState>,
    Json(request): Json<SetFile>,
) -> Result<Json<FileLevel>, AdminError> {
    let file = state.vfs.export(request.path.as_bytes()).await?;
    if let Some(ack) = request.ack {
        state.vfs.set_ack(file.ino, ack.level()).await?;
    }
    describe(&state, request.path).await
}

async fn level(
    State(state): State<AdminState>,
    Json(request): Json<AskLevel>,
) -> Result<Json<FileLevel>, AdminError> {
    let file = state.vfs.export(request.path.as_bytes()).await?;
    if let Some(level) = request.wait {
        let timeout = Duration::from_secs(request.timeout);
        state.vfs.wait_level(file.ino, level, timeout).await?;
    }
    describe(&state, request.path).await
}

async fn describe(state: &AdminState, path: String) -> Result<Json<FileLevel>, AdminError> {
    let file = state.vfs.export(path.as_bytes()).await?;
    Ok(Json(FileLevel {
        size: file.size,
        state: state.vfs.level(file.ino).await?,
        ack: state.vfs.ack(file.ino).await?,
        in_force: state.vfs.ack_in_force(file.ino).await?,
        path,
    }))
}
