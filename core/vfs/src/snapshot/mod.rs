//! Snapshots: a file, a volume or a directory with all below it as it was at one moment.
//!
//! # Creation writes two rows
//! A snapshot is a number `t`, a root inode, a name and a time, in one row; the other row counts.
//! Nothing below the root is touched, whatever its size. From then on every transaction *preserves on change*: before it changes a row
//! of an inode that belongs to the snapshot, the old value (or that there was none) is kept under
//! `t`, unless the row has been kept since `t` already. This happens in one place, [`preserve`],
//! between the operations of this crate and the engine; no operation knows of it. Keeping an extent
//! takes a reference on its chunk, so that the ordinary release afterwards leaves the chunk alive.
//!
//! # Reading
//! The value of a row as of `t` is the one that was kept under the smallest number that is not
//! below `t`, else the row itself. [`as_of`] is a [`meta::Read`] that answers so, which makes every
//! reading function of this crate work on snapshots unchanged.
//!
//! # Which snapshots an inode belongs to
//! Those whose root leads to it, as of `t`: [`member`] walks up the parents that the inode had then.
//! That is a fact about the past which nothing can change, so that it can be remembered without ever
//! being invalidated, and renames, hard links and removals need no notes of their own. Inode numbers
//! only rise: a number that was not handed out yet when the snapshot was taken (its *mark*) does not
//! belong to it, and nothing of new inodes is ever kept.
//!
//! # Deletion
//! A deleted snapshot is out of sight at once. [`cleaner`] then goes through what was kept under its
//! number: a row that an older snapshot needs and has not kept by itself moves to that one, anything
//! else is dropped with its reference. The steps are bounded transactions, and a crash between them
//! loses no work.
//!
//! # Consistency
//! Every transaction that changes rows of inodes reads the SNAPSHOTS row, which every creation and
//! deletion writes. So the engine itself sees to it that a transaction is wholly before or wholly
//! after a snapshot, whichever gateway runs it.
pub(crate) mod as_of;
mod cleaner;
mod gone;
pub(crate) mod hidden;
mod known;
mod listing;
mod manage;
mod member;
pub(crate) mod number;
mod path;
pub(crate) mod preserve;
pub(crate) mod row;
mod rules;
mod users;

pub(crate) use cleaner::run as clean;
pub(crate) use hidden::Source;
pub(crate) use known::{Known, Snapshot, Snapshots};
pub use manage::SnapshotInfo;
pub(crate) use member::is_member;
pub(crate) use number::Sight;
pub(crate) use path::{Listing, Located, locate, refuse_change, shown_in};
pub(crate) use row::any_in_bucket;
pub(crate) use rules::{RULE, run as keep_rules};
pub use rules::{SnapshotRule, SnapshotRuleInfo};
pub(crate) use users::kept_extents;
