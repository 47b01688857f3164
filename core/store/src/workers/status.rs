//! What an operator sees of a worker.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is")]
pub enum WorkerState {
    /// Nothing is to be done.
    Idle,
    /// At work (a paused one finishes what is under way).
    Working,
    /// Nothing for so many seconds, unless something wakes it.
    Waiting {
        /// Seconds left, rounded up.
        seconds: u64,
    },
    /// An operator paused it.
    Paused,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerError {
    /// Why.
    pub text: String,
    /// When, in seconds since 1970-01-01 UTC.
    pub at: u64,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: WorkerState,
    /// Whether an operator paused it.
    pub paused: bool,
    /// What it is at work on.
    pub working_on: Vec<String>,
    /// Most bytes per second; `None`: as fast as it can.
    pub limit: Option<u64>,
    /// What it has done since the start, by kind.
    pub counters: BTreeMap<String, u64>,
    /// Failures since the start.
    pub failures: u64,
    /// The last of them.
    pub last_error: Option<WorkerError>,
}
