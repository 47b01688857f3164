//! The trash of buckets over the admin API: `POST /v1/trash/{list,restore,empty}`.
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use vfs::{Restored, TrashEntry};

use super::server::{AdminError, AdminState};

/// Entries in one answer.
const MOST: usize = 1000;

/// How long a bucket is to keep what is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AskedTrash {
    /// Not at all.
    Off,
    /// So many seconds.
    Keep(u64),
}

/// `POST /v1/trash/list` and `POST /v1/trash/restore`, which answers [`Restored`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// Name of the bucket.
    pub bucket: String,
    /// A key as it was, a directory of them (`…/`), or the name of an entry; nothing for all.
    pub key: String,
}

/// Answer of `POST /v1/trash/list`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entries {
    /// The newest first, at most 1,000.
    pub entries: Vec<TrashEntry>,
    /// Whether there may be more.
    pub more: bool,
}

/// `POST /v1/trash/empty`.
#[derive(Debug, Serialize, Deserialize)]
pub struct EmptyTrash {
    /// Name of the bucket.
    pub bucket: String,
}

/// Answer of `POST /v1/trash/empty`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Emptied {
    /// Entries that were deleted.
    pub deleted: u64,
}

/// The routes of this file.
pub fn routes() -> Router<AdminState> {
    Router::new()
        .route("/v1/trash/list", post(list))
        .route("/v1/trash/restore", post(restore))
        .route("/v1/trash/empty", post(empty))
}

async fn list(
    State(state): State<AdminState>,
    Json(wanted): Json<Wanted>,
) -> Result<Json<Entries>, AdminError> {
    let entries = state
        .vfs
        .trashed(&wanted.bucket, wanted.key.as_bytes(), MOST)
        .await?;
    Ok(Json(Entries {
        more: entries.len() == MOST,
        entries,
    }))
}

async fn restore(
    State(state): State<AdminState>,
    Json(wanted): Json<Wanted>,
) -> Result<Json<Restored>, AdminError> {
    Ok(Json(
        state.vfs.restore(&wanted.bucket, wanted.key.as_bytes()).await?,
    ))
}

async fn empty(
    State(state): State<AdminState>,
    Json(request): Json<EmptyTrash>,
) -> Result<Json<Emptied>, AdminError> {
    let deleted = state.vfs.empty_trash(&request.bucket).await?;
    Ok(Json(Emptied { deleted }))
}
