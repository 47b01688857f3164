//! The write buffer: changes of content that are acknowledged but not stored yet.
//!
//! Each inode has at most two layers of changes: the *active* one, which takes writes, and the one
//! that a flush is storing. A read lays both over the stored extents. A flush turns the active
//! layer into the flushing one, stages its data as chunks (only what was written: nothing is read
//! to fill gaps), makes staging durable, and commits all extents, the size and the times in one
//! transaction; only then is the layer forgotten. So the stored content is always the state of the
//! file at one moment, and a flush that fails loses nothing: its layer stays and is tried again.
mod budget;
mod layer;
mod node;
mod table;

pub(crate) use budget::{Budget, Reservation};
pub(crate) use layer::{Change, Layer, Piece};
pub(crate) use node::{Base, Node, State};
pub(crate) use table::{Dirty, Guard, Nodes};
