//! What an operator sees of checkpoints.
use serde::{Deserialize, Serialize};

use crate::Level;

/// Checkpoints of the metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointStatus {
    /// How often the namespace was restored.
    pub incarnation: u32,
    /// Number of the newest checkpoint; 0: there is none yet.
    pub number: u32,
    /// When its image was taken, in milliseconds since 1970-01-01 UTC.
    pub taken: u64,
    /// How far it has come; `None`: there is none, or a part of it cannot be had any more, so that the next
    /// shares nothing with it.
    pub level: Option<Level>,
    /// Rows in it.
    pub rows: u64,
    /// Blocks in it.
    pub blocks: u64,
    /// When everything was taken in that a restore would bring back if this machine were lost now, in
    /// milliseconds since 1970-01-01 UTC; `None`: no checkpoint is placed yet.
    pub restorable: Option<u64>,
    /// Seconds of changes that a restore would miss now: 0 when nothing changed since.
    pub window: Option<u64>,
    /// Most seconds that this comes to while the network takes packs: the interval between
    /// checkpoints and the longest that a pack waits.
    pub window_limit: u64,
    /// Why this gateway may not go on: the namespace was restored elsewhere.
    pub superseded: Option<String>,
}
