//! The steps between which this crate can be broken by a test: its [failpoints](meta::failpoint).
//!
//! A point stands *before* the step it is named after; names that end in `ed` stand after it. Each
//! is somewhere that a crash leaves another state behind: before and after each write to staging,
//! each transaction, each call that changes the network.
use std::io;

use meta::failpoint::Point;

use crate::{Error, Result};

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Point = Point::new($text);)*
        /// Every point of this crate, in the order in which a chunk passes them.
        pub const POINTS: &[Point] = &[$($name),*];
    };
}

steps! {
    /// A staging file is about to be made.
    STAGING_CREATE = "staging.create";
    /// A record is about to be appended.
    STAGING_APPEND = "staging.append";
    /// Records are about to be synced.
    STAGING_SYNC = "staging.sync";
    /// Records are synced; no row names them yet.
    STAGING_SYNCED = "staging.synced";
    /// A checkpoint's chunks are durable in staging; no row names them yet.
    CHECKPOINT_NOTE = "checkpoint.note";
    /// The rows name them.
    CHECKPOINT_NOTED = "checkpoint.noted";
    /// A pack is about to be frozen.
    PACK_FREEZE = "pack.freeze";
    /// A pack is frozen.
    PACK_FROZEN = "pack.frozen";
    /// A pack's hashes are known; its record does not say so yet.
    PACK_HASH = "pack.hash";
    /// A pack's record has its hashes.
    PACK_HASHED = "pack.hashed";
    /// A pack's record is about to say that a declaration is on its way.
    DECLARE_NOTE = "declare.note";
    /// It says so; nothing was sent yet.
    DECLARE_NOTED = "declare.noted";
    /// The chain took the declaration; the record does not say so yet.
    DECLARE_SENT = "declare.sent";
    /// The record says so.
    DECLARED = "declare.declared";
    /// Miners are chosen and noted.
    UPLOAD_ASSIGNED = "upload.assigned";
    /// A fragment is about to be pushed.
    UPLOAD_PUSH = "upload.push";
    /// A miner took a fragment.
    UPLOAD_PUSHED = "upload.pushed";
    /// The chain lists the file; the record does not say so yet.
    PLACE = "place.note";
    /// The record says so.
    PLACED = "place.placed";
    /// Every fragment was read back; the record does not say so yet.
    VERIFY = "verify.note";
    /// The record says so, durably.
    VERIFIED = "verify.verified";
    /// A pack's live chunks are about to be handed to new packs.
    RETIRE = "retire.note";
    /// They are.
    RETIRED = "retire.retired";
    /// Chunks are about to leave staging.
    RECLAIM = "reclaim.leave";
    /// They have left; their space is still taken.
    RECLAIM_LEFT = "reclaim.left";
    /// Rows that left are durable; their space is about to be given back.
    RECLAIM_PUNCH = "reclaim.punch";
    /// The space is given back; the rows that say so are still there.
    RECLAIM_PUNCHED = "reclaim.punched";
    /// A pack's record is about to say that staging gave everything back.
    RECLAIM_NOTE = "reclaim.note";
    /// It says so.
    RECLAIMED = "reclaim.reclaimed";
    /// A dead pack's file is about to be deleted on chain.
    FORGET_DELETE = "forget.delete";
    /// The chain has deleted it; its rows are still there.
    FORGET_DELETED = "forget.deleted";
    /// The rows are gone.
    FORGOTTEN = "forget.forgotten";
}

/// The process has come to `point`, on a thread that may block.
pub(crate) fn reach(point: Point) -> Result<()> {
    point.reach().map_err(failed)
}

/// The process has come to `point`, in a task.
pub(crate) async fn reach_async(point: Point) -> Result<()> {
    point.reach_async().await.map_err(failed)
}

fn failed(error: io::Error) -> Error {
    crate::staging::files::disk(&error)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_points_have_one_name() {
        let names: BTreeSet<_> = POINTS
            .iter()
            .chain(&meta::failpoint::POINTS)
            .map(|point| point.name())
            .collect();
        assert_eq!(names.len(), POINTS.len() + meta::failpoint::POINTS.len());
    }
}
