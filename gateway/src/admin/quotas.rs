//! Quotas over the admin API: `GET /v1/quotas`, `POST /v1/quotas/{get,set}`.
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use vfs::{QuotaInfo, QuotaLimits};

use super::server::{AdminError, AdminState};

/// `GET /v1/quotas`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Quotas {
    /// All that limit something, by path.
    pub quotas: Vec<QuotaInfo>,
}

/// `POST /v1/quotas/get`; the answer is a [`QuotaInfo`].
#[derive(Debug, Serialize, Deserialize)]
pub struct GetQuota {
    /// `bucket` or `bucket/directory`.
    pub path: String,
}

/// `POST /v1/quotas/set`; the answer is a [`QuotaInfo`].
#[derive(Debug, Serialize, Deserialize)]
pub struct SetQuota {
    /// `bucket` or `bucket/directory`.
    pub path: String,
    /// Limit of bytes; left out: as it is.
    pub bytes: Option<Limit>,
    /// Limit of inodes; left out: as it is.
    pub inodes: Option<Limit>,
}

/// A limit, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// No limit.
    None,
    /// At most so much.
    Most(u64),
}

impl Limit {
    fn most(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Most(most) => Some(most),
        }
    }
}

/// The routes of this file.
pub fn routes() -> Router<AdminState> {
    Router::new()
        .route("/v1/quotas", get(list))
        .route("/v1/quotas/get", post(one))
        .route("/v1/quotas/set", post(set))
}

async fn list(State(state): State<AdminState>) -> Result<Json<Quotas>, AdminError> {
    Ok(Json(Quotas {
        quotas: state.vfs.quotas().await?,
    }))
}

async fn one(
    State(state): State<AdminState>,
    Json(request): Json<GetQuota>,
) -> Result<Json<QuotaInfo>, AdminError> {
    let dir = state.vfs.directory_at(&request.path).await?;
    Ok(Json(state.vfs.quota(dir).await?.ok_or(vfs::Error::NotFound)?))
}

async fn set(
    State(state): State<AdminState>,
    Json(request): Json<SetQuota>,
) -> Result<Json<QuotaInfo>, AdminError> {
    let dir = state.vfs.directory_at(&request.path).await?;
    let before = state.vfs.quota(dir).await?.map(|quota| quota.limits);
    let before = before.unwrap_or_default();
    let limits = QuotaLimits {
        bytes: request.bytes.map_or(before.bytes, Limit::most),
        inodes: request.inodes.map_or(before.inodes, Limit::most),
    };
    Ok(Json(state.vfs.set_quota(dir, limits).await?))
}
