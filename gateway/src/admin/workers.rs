//! Background workers over the admin API: `GET /v1/workers`, `POST /v1/workers/{pause,resume,limit}`.
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use store::workers::{OrderError, WorkerStatus};

use super::AdminState;
use super::model::Failure;

/// `GET /v1/workers`.
#[derive(Debug, Serialize, Deserialize)]
pub struct WorkerList {
    /// All of them, by name.
    pub workers: Vec<WorkerStatus>,
}

/// `POST /v1/workers/pause` and `POST /v1/workers/resume`.
#[derive(Debug, Serialize, Deserialize)]
pub struct WorkerName {
    /// Its name.
    pub name: String,
}

/// `POST /v1/workers/limit`.
#[derive(Debug, Serialize, Deserialize)]
pub struct WorkerLimit {
    /// Its name.
    pub name: String,
    /// Bytes per second; left out: no limit.
    pub bytes: Option<u64>,
}

struct Refused(OrderError);

impl From<OrderError> for Refused {
    fn from(error: OrderError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0 {
            OrderError::NoSuchWorker { .. } => StatusCode::NOT_FOUND,
            OrderError::MovesNothing { .. } => StatusCode::BAD_REQUEST,
        };
        let failure = Failure {
            error: self.0.to_string(),
        };
        (status, Json(failure)).into_response()
    }
}

/// The routes.
pub(super) fn routes() -> Router<AdminState> {
    Router::new()
        .route("/v1/workers", get(list))
        .route("/v1/workers/pause", post(pause))
        .route("/v1/workers/resume", post(resume))
        .route("/v1/workers/limit", post(limit))
}

async fn list(State(state): State<AdminState>) -> Json<WorkerList> {
    Json(WorkerList {
        workers: state.store.workers().list(),
    })
}

async fn pause(
    State(state): State<AdminState>,
    Json(worker): Json<WorkerName>,
) -> Result<StatusCode, Refused> {
    state.store.workers().pause(&worker.name)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn resume(
    State(state): State<AdminState>,
    Json(worker): Json<WorkerName>,
) -> Result<StatusCode, Refused> {
    state.store.workers().resume(&worker.name)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn limit(
    State(state): State<AdminState>,
    Json(worker): Json<WorkerLimit>,
) -> Result<StatusCode, Refused> {
    state.store.workers().limit(&worker.name, worker.bytes)?;
    Ok(StatusCode::NO_CONTENT)
}
