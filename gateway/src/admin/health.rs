//! The admin API's questions about health: what is known, a look before its time, the life of one
//! object.
use std::path::Path;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use vfs::{InodeNo, ObjectLife};

use super::model::{Explain, HealthAnswer, Scrub};
use super::server::{AdminError, AdminState};

/// Segments and lost ranges named in one answer.
const NAMED: usize = 100;
/// Most extents explained one by one.
const DETAILS_MAX: usize = 10_000;

/// Routes under `/v1`.
pub(super) fn routes() -> Router<AdminState> {
    Router::new()
        .route("/v1/health", get(health))
        .route("/v1/scrub", post(scrub))
        .route("/v1/explain", post(explain))
}

async fn health(State(state): State<AdminState>) -> Result<Json<HealthAnswer>, AdminError> {
    let lost = state.store.lost_chunks(NAMED)?;
    Ok(Json(HealthAnswer {
        status: state.store.health()?,
        segments: state.store.unwell(NAMED)?,
        lost: state.vfs.users_of(&lost, NAMED).await?,
    }))
}

async fn scrub(
    State(state): State<AdminState>,
    Json(request): Json<Scrub>,
) -> Result<Json<store::ScrubReport>, AdminError> {
    let report = match &request.path {
        None => state.store.scrub().await?,
        Some(path) => {
            let ino = file(&state, path, request.file.as_deref()).await?;
            let chunks = state.vfs.chunks_of(ino).await?;
            state.store.scrub_chunks(&chunks).await?
        }
    };
    Ok(Json(report))
}

async fn explain(
    State(state): State<AdminState>,
    Json(request): Json<Explain>,
) -> Result<Json<ObjectLife>, AdminError> {
    let ino = file(&state, &request.path, request.file.as_deref()).await?;
    let details = request.details.min(DETAILS_MAX);
    Ok(Json(state.vfs.explain(ino, details).await?))
}

/// The file that a command means: a path in the mount if it is one, else `bucket/key`.
async fn file(state: &AdminState, path: &str, file: Option<&str>) -> Result<InodeNo, AdminError> {
    let mounted = match (&state.mount, file) {
        (Some(mount), Some(file)) => Path::new(file).strip_prefix(mount).ok(),
        _ => None,
    };
    match mounted {
        Some(relative) => {
            let relative = relative.as_os_str().as_encoded_bytes();
            Ok(state.vfs.file_at_mount(relative).await?)
        }
        None => Ok(state.vfs.file_at_key(path.as_bytes()).await?),
    }
}
