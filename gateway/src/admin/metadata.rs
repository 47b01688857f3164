//! Moving the metadata of the running gateway to another engine: `POST /v1/metadata/move`.
//!
//! The answer is one JSON object a line while the move goes on, and a last one that says how it ended.
//! Whoever stops reading does not stop the move; a stop of the gateway does, until the last step begins.
use std::convert::Infallible;
use std::sync::atomic::Ordering;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use meta::migrate::Step;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::server::{AdminError, AdminState};
use crate::config::MetadataEngine;

/// Lines that wait for who reads them. Those of progress are dropped when there are more.
const LINES: usize = 16;

/// `POST /v1/metadata/move`; the answer is lines of [`MoveLine`].
#[derive(Debug, Serialize, Deserialize)]
pub struct MoveMetadata {
    /// The engine that holds the namespace.
    pub from: MetadataEngine,
    /// The one that is to hold it.
    pub to: MetadataEngine,
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MoveLine {
    /// So many rows are in the new place.
    Copying(u64),
    /// So many rows, of about how many, were compared.
    Comparing(u64, u64),
    /// It is done: the gateway works with the new engine.
    Moved {
        /// Rows that were compared.
        rows: u64,
        /// Bytes of their keys and values.
        bytes: u64,
        /// How long changes waited at the end, in milliseconds.
        stopped: u64,
        /// Where the metadata were.
        from: String,
        /// Where they are.
        to: String,
    },
    /// It came to nothing.
    Failed(String),
}

/// The routes of this file.
pub fn routes() -> Router<AdminState> {
    Router::new().route("/v1/metadata/move", post(move_metadata))
}

async fn move_metadata(
    State(state): State<AdminState>,
    Json(request): Json<MoveMetadata>,
) -> Result<Response, AdminError> {
    let place = |engine| state.places.get(&engine).cloned();
    let (Some(from), Some(to)) = (place(request.from), place(request.to)) else {
        return Err(
            vfs::Error::Invalid("that engine is not configured: [metadata.postgres] is missing").into(),
        );
    };
    let (from, to_name) = (from.name(), to.name());
    if state.meta.place().is_none_or(|place| place.name() != from) {
        return Err(vfs::Error::Invalid("the metadata are not where --from says").into());
    }
    let (tell, mut told) = mpsc::channel::<MoveLine>(LINES);
    let (meta, stopping) = (state.meta.clone(), state.stopping.clone());
    tokio::spawn(async move {
        let progress = tell.clone();
        let moved = meta.move_to(to, move |step| {
            if stopping.load(Ordering::Relaxed) {
                return Err(meta::Error::Engine(
                    "the gateway stops; the metadata are where they were".into(),
                ));
            }
            let line = match step {
                Step::Counting(_) => return Ok(()),
                Step::Copying(done, _) => MoveLine::Copying(done),
                Step::Comparing(done, of) => MoveLine::Comparing(done, of),
            };
            // Nobody may be there to read it.
            let _ = progress.try_send(line);
            Ok(())
        });
        let line = match moved.await {
            Ok(moved) => {
                tracing::info!(%from, to = %to_name, "the metadata were moved");
                MoveLine::Moved {
                    rows: moved.rows,
                    bytes: moved.bytes,
                    stopped: moved.stopped.as_millis() as u64,
                    from,
                    to: to_name,
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the metadata were not moved");
                MoveLine::Failed(error.to_string())
            }
        };
        // Nobody may be there any more to read it.
        let _ = tell.send(line).await;
    });
    let lines = futures::stream::poll_fn(move |context| told.poll_recv(context));
    let lines = futures::StreamExt::map(lines, |line| {
        let mut text = serde_json::json!(line).to_string();
        text.push('\n');
        Ok::<_, Infallible>(Bytes::from(text))
    });
    Ok(Response::new(Body::from_stream(lines)))
}
