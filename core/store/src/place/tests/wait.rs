//! Waiting for what happens by itself.
use std::time::Duration;

use super::world::LONG;

/// Waits until `done`; what `state` says is shown when that takes too long.
pub(super) async fn until<S: std::fmt::Debug>(mut done: impl FnMut() -> bool, state: impl Fn() -> S) {
    let deadline = tokio::time::Instant::now() + LONG;
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", state());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
