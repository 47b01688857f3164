//! What other gateways want looked at before its time.
//!
//! The keeper scrubs for all. Another gateway, at which somebody waits for `verified` of what a restore brought back,
//! leaves a row for each segment; what the look finds shows in the segment's health, which everybody reads.
use std::sync::Arc;
use std::time::Duration;

use crate::health::Shared;
use crate::health::scrub::Scope;
use crate::{Error, Result};

/// Pause after an attempt that failed.
const PAUSE: Duration = Duration::from_secs(3);

/// Looks, while this gateway is the keeper, at what is asked for.
pub(super) async fn run(shared: Arc<Shared>) {
    if !shared.inner.members.is_shared() {
        return;
    }
    shared.inner.keeper.opened().await;
    loop {
        match look(&shared).await {
            Ok(()) => {}
            Err(Error::ShuttingDown) => return,
            Err(error) => {
                tracing::debug!(%error, "cannot look at what another gateway waits for");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn look(shared: &Shared) -> Result<()> {
    let members = &shared.inner.members;
    let segments = members.look_asked().await?;
    let found = shared.rounds.ask(Scope::Segments(segments.clone())).await;
    // Who asked waits for the level, with a patience of its own, and asks again.
    if let Err(error) = found {
        tracing::warn!(%error, "what another gateway waits for could not be looked at");
    }
    members.looked(segments).await
}
