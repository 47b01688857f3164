//! The gateways of the namespace over the admin API: `GET /v1/members`, `POST /v1/members/forget`.
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use store::{Forgetting, MemberStatus};
use vfs::ChunkUser;

use super::server::{AdminError, AdminState};

/// Ranges of files that are listed at most.
const LISTED: usize = 1000;

/// `GET /v1/members`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Members {
    /// All that there ever were, by number.
    pub members: Vec<MemberStatus>,
}

/// `POST /v1/members/forget`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Forget {
    /// Name or number of the gateway.
    pub member: String,
    /// Do it; otherwise only say what it means.
    pub really: bool,
}

/// The answer to [`Forget`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Forgotten {
    /// Whether it was done.
    pub done: bool,
    /// What it means.
    #[serde(flatten)]
    pub plan: Forgetting,
    /// Ranges of files that are lost; at most a thousand.
    pub files: Vec<ChunkUser>,
}

/// The routes of this file.
pub fn routes() -> Router<AdminState> {
    Router::new()
        .route("/v1/members", get(list))
        .route("/v1/members/forget", post(forget))
}

async fn members(state: &AdminState) -> Result<Vec<MemberStatus>, AdminError> {
    let store = state.store.clone();
    let members = tokio::task::spawn_blocking(move || store.members()).await;
    Ok(members.map_err(|error| vfs::Error::Internal(error.to_string()))??)
}

async fn list(State(state): State<AdminState>) -> Result<Json<Members>, AdminError> {
    Ok(Json(Members {
        members: members(&state).await?,
    }))
}

async fn forget(
    State(state): State<AdminState>,
    Json(request): Json<Forget>,
) -> Result<Json<Forgotten>, AdminError> {
    let all = members(&state).await?;
    // One that joined anew after it was given up has the name of the one that it was.
    let named = |forgotten: bool| {
        let same = |member: &&MemberStatus| member.name == request.member && member.forgotten == forgotten;
        all.iter().filter(same).collect::<Vec<_>>()
    };
    let mut found = named(false);
    if found.is_empty() {
        // A forgetting that was cut off goes on.
        found = named(true);
    }
    let mut named = found.into_iter();
    let member = match (named.next(), named.next(), request.member.parse()) {
        (Some(member), None, _) => member.member,
        (Some(_), Some(_), _) => {
            return Err(vfs::Error::Invalid("several gateways have this name: give the number").into());
        }
        (None, _, Ok(number)) if all.iter().any(|member| member.member == number) => number,
        (None, ..) => return Err(vfs::Error::NotFound.into()),
    };
    let plan = if request.really {
        // Whoever stops reading does not cut it off between a commit and what is counted after it.
        let store = state.store.clone();
        let forgetting = tokio::spawn(async move { store.forget(member).await }).await;
        forgetting.map_err(|error| vfs::Error::Internal(error.to_string()))??
    } else {
        let store = state.store.clone();
        let plan = tokio::task::spawn_blocking(move || store.forget_plan(member)).await;
        plan.map_err(|error| vfs::Error::Internal(error.to_string()))??
    };
    let files = vfs::restored::lost_content(&state.meta, &plan.lost, LISTED).await?;
    Ok(Json(Forgotten {
        done: request.really,
        plan,
        files,
    }))
}
