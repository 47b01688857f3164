//! Clones: files and volumes that begin as what another was in a snapshot, and are written like any
//! other.
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
//! # The origin stays
//! A clone counts on its snapshot. A snapshot that is deleted while clones need it is out of sight,
//! but what it needs is given back only with the last of them. A clone made of a live file has a
//! snapshot of its own that was never in sight.
mod create;
pub(crate) mod read;
pub(crate) mod row;
