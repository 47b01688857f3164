//! What `dev` and `serve` share: say what serves, wait for a signal, stop cleanly.
use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::ready::Ready;

/// Answers when the program is asked to stop (SIGTERM, SIGINT).
pub async fn asked_to_stop() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Says what serves: one line of JSON for scripts, or text for people.
pub fn announce(ready: &Ready, json: bool, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, ready)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{text}")?;
    }
    out.flush().context("cannot write to standard output")
}
