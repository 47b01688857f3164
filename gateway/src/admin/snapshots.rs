//! Snapshots and clones over the admin API: `GET` and `POST /v1/snapshots`, `POST
//! /v1/snapshots/delete`, `GET` and `POST /v1/snapshots/rules`, `POST /v1/clones`, `POST
//! /v1/trees/remove`.
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use vfs::{SnapshotInfo, SnapshotRule, SnapshotRuleInfo};

use super::server::{AdminError, AdminState};

/// Query of `GET /v1/snapshots`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// Only those of this `bucket`, `bucket/directory/` or `bucket/key`.
    pub path: Option<String>,
}

/// `GET /v1/snapshots`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SnapshotList {
    /// By path and time.
    pub snapshots: Vec<SnapshotInfo>,
}

/// `POST /v1/snapshots` and `POST /v1/snapshots/delete`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SnapshotName {
    /// `bucket`, `bucket/directory/` or `bucket/key`.
    pub path: String,
    /// Name of the snapshot.
    pub name: String,
}

/// `GET /v1/snapshots/rules`.
#[derive(Debug, Serialize, Deserialize)]
pub struct RuleList {
    /// By path.
    pub rules: Vec<SnapshotRuleInfo>,
}

/// `POST /v1/snapshots/rules`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SetRule {
    /// `bucket`, `bucket/directory/` or `bucket/key`.
    pub path: String,
    /// Left out: none any more.
    pub rule: Option<SnapshotRule>,
}

/// `POST /v1/clones`.
#[derive(Debug, Serialize, Deserialize)]
pub struct MakeClone {
    /// `bucket/key` or `bucket/key@snapshot`.
    pub from: String,
    /// `bucket/key`.
    pub to: String,
}

/// Answer to [`MakeClone`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Cloned {
    /// Its path.
    pub path: String,
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
}

/// `POST /v1/trees/remove`.
#[derive(Debug, Serialize, Deserialize)]
pub struct RemoveTree {
    /// `bucket/directory`.
    pub path: String,
}

/// The routes.
pub(super) fn routes() -> Router<AdminState> {
    Router::new()
        .route("/v1/snapshots", get(list).post(create))
        .route("/v1/snapshots/delete", post(delete))
        .route("/v1/snapshots/rules", get(rules).post(set_rule))
        .route("/v1/clones", post(clone))
        .route("/v1/trees/remove", post(remove_tree))
}

async fn list(
    State(state): State<AdminState>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<SnapshotList>, AdminError> {
    let snapshots = state.vfs.snapshots(wanted.path.as_deref()).await?;
    Ok(Json(SnapshotList { snapshots }))
}

async fn create(
    State(state): State<AdminState>,
    Json(request): Json<SnapshotName>,
) -> Result<Json<SnapshotInfo>, AdminError> {
    Ok(Json(
        state.vfs.create_snapshot(&request.path, &request.name).await?,
    ))
}

async fn delete(
    State(state): State<AdminState>,
    Json(request): Json<SnapshotName>,
) -> Result<StatusCode, AdminError> {
    state.vfs.delete_snapshot(&request.path, &request.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn rules(State(state): State<AdminState>) -> Result<Json<RuleList>, AdminError> {
    let rules = state.vfs.snapshot_rules().await?;
    Ok(Json(RuleList { rules }))
}

async fn set_rule(
    State(state): State<AdminState>,
    Json(request): Json<SetRule>,
) -> Result<StatusCode, AdminError> {
    state.vfs.set_snapshot_rule(&request.path, request.rule).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn clone(
    State(state): State<AdminState>,
    Json(request): Json<MakeClone>,
) -> Result<Json<Cloned>, AdminError> {
    let made = state.vfs.make_clone(&request.from, &request.to).await?;
    Ok(Json(Cloned {
        path: request.to,
        ino: made.ino.0,
        size: made.size,
    }))
}

async fn remove_tree(
    State(state): State<AdminState>,
    Json(request): Json<RemoveTree>,
) -> Result<StatusCode, AdminError> {
    state.vfs.remove_tree(&request.path).await?;
    Ok(StatusCode::NO_CONTENT)
}
