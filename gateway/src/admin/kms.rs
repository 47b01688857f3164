//! Keys that have names over the admin API: `GET /v1/kms`, `POST /v1/kms/{create,enable}`.
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use s3_frontend::{LocalKeyInfo, LocalKeys};
use serde::{Deserialize, Serialize};

use super::server::{AdminError, AdminState};

/// Answer of `GET /v1/kms`.
#[derive(Debug, Serialize, Deserialize)]
pub struct NamedKeys {
    /// By name.
    pub keys: Vec<LocalKeyInfo>,
}

/// `POST /v1/kms/create`.
#[derive(Debug, Serialize, Deserialize)]
pub struct CreateKey {
    /// Its name.
    pub name: String,
}

/// `POST /v1/kms/enable`.
#[derive(Debug, Serialize, Deserialize)]
pub struct EnableKey {
    /// Its name.
    pub name: String,
    /// Whether it may be used.
    pub enabled: bool,
}

/// The routes of this file.
pub fn routes() -> Router<AdminState> {
    Router::new()
        .route("/v1/kms", get(list))
        .route("/v1/kms/create", post(create))
        .route("/v1/kms/enable", post(enable))
}

async fn list(State(state): State<AdminState>) -> Result<Json<NamedKeys>, AdminError> {
    let keys = LocalKeys::new(state.vfs).list().await?;
    Ok(Json(NamedKeys { keys }))
}

async fn create(
    State(state): State<AdminState>,
    Json(request): Json<CreateKey>,
) -> Result<Json<()>, AdminError> {
    LocalKeys::new(state.vfs).create(&request.name).await?;
    Ok(Json(()))
}

async fn enable(
    State(state): State<AdminState>,
    Json(request): Json<EnableKey>,
) -> Result<Json<()>, AdminError> {
    LocalKeys::new(state.vfs)
        .enable(&request.name, request.enabled)
        .await?;
    Ok(Json(()))
}
