//! Clones: files, volumes and directories that begin as what another was in a snapshot, and are written
//! like any other.
//!
//! # Creation writes a few rows
//! A clone is an inode of its own with a row that names its *origin*, an inode in a snapshot. It has
//! no extents: its content is that of the origin, whatever the size, until it is written to.
//!
//! # Copied up by windows
//! A file is divided into windows of [`row::WINDOW`] bytes. Before an extent of a clone is changed, the
//! origin's extents in its window become the clone's own (they share the chunks, one reference each),
//! and the window is noted as copied. What is read is the clone's own extents, and in windows that
//! were not copied those of the origin beside them.
//!
//! Both happen beneath all operations: [`read::WithOrigins`] is what they read through, and
//! `snapshot::preserve` what they write through. The rows of clones are kept for snapshots as all
//! others are, so that a clone can be in a snapshot, and be cloned again.
//!
//! # Directories unfold
//! The clone of a directory is one inode that is *folded*: its names are those of its origin
//! ([`fold`]). Before anybody reads one of them it takes over all, in bounded transactions ([`unfold`]):
//! each gets an inode that is itself a clone, and directories among them are folded in turn. So nobody
//! ever sees an inode that has no rows of its own.
//!
//! # The origin stays
//! A clone counts on its snapshot. A snapshot that is deleted while clones need it is out of sight,
//! but what it needs is given back only with the last of them. A clone made of a live file has a
//! snapshot of its own that was never in sight.
mod create;
mod directory;
pub(crate) mod fold;
pub(crate) mod read;
pub(crate) mod row;
mod unfold;

pub(crate) use unfold::{refuse_folded, run as unfold_all};
