//! What `dev` and `serve` share: say what serves, wait for a signal, stop cleanly.
use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ready::Ready;

/// SIGTERM and SIGINT, heard from the moment this is made.
pub struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignal {
    /// Begins to listen: from here on neither signal ends the program by itself.
    pub fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
        })
    }

    /// Answers once the program was asked to stop.
    pub async fn heard(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Runs a start-up that a signal may cut short.
    pub async fn or<T>(&mut self, start_up: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            started = start_up => started,
            () = self.heard() => bail!("stopped while starting"),
        }
    }
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
