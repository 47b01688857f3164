//! Identities over the admin API: `POST /v1/iam` takes an [`Order`] and answers an [`Answer`];
//! `POST /v1/iam/explain` takes an [`Inquiry`] and answers [`Explained`].
use access::identity::{Answer, Explained, Inquiry, Order};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

use super::model::Failure;
use super::server::{AdminError, AdminState};

/// The routes of this file.
pub fn routes() -> Router<AdminState> {
    Router::new()
        .route("/v1/iam", post(carry_out))
        .route("/v1/iam/explain", post(explain))
}

/// An error of an order as an HTTP answer.
struct Refused(access::Error);

impl From<access::Error> for Refused {
    fn from(error: access::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        use access::Error as E;
        let status = match self.0 {
            E::Vfs(error) => return AdminError::from(error).into_response(),
            E::NotFound(..) => StatusCode::NOT_FOUND,
            E::Exists(..) | E::InUse { .. } => StatusCode::CONFLICT,
            E::Invalid(_) | E::Malformed(_) => StatusCode::BAD_REQUEST,
        };
        let error = self.0.to_string();
        (status, Json(Failure { error })).into_response()
    }
}

async fn carry_out(
    State(state): State<AdminState>,
    Json(order): Json<Order>,
) -> Result<Json<Answer>, Refused> {
    Ok(Json(state.identities.carry_out(order).await?))
}

async fn explain(
    State(state): State<AdminState>,
    Json(inquiry): Json<Inquiry>,
) -> Result<Json<Explained>, Refused> {
    Ok(Json(state.identities.explain(&inquiry).await?))
}
