//! Object operations: keys are opaque bytes, and no key is refused but the empty one and those
//! over 1,024 bytes.
//!
//! A key is a path: `a/b` is the file `b` in the directory `a`, made when it is missing and then
//! *implicit*: listings do not show it, and it goes when the last object in it is deleted here. A
//! key that ends in `/` is an *explicit* directory, which listings show; it may carry bytes.
//!
//! A PUT makes a new inode and puts it in the place of the old one, as a rename does: readers,
//! mounts and exports that have the old inode open keep it; owner and permission bits carry over.
//! In a versioned bucket the old one stays as a version ([`crate::version`]).
//! Only an attached volume is not replaced or deleted (`Busy`). Symlinks and device nodes are no
//! objects: they are not listed or followed, and a PUT replaces them.
//!
//! Snapshots are read below `.snapshots/` ([`crate::snapshot`]): `DIR/.snapshots/NAME/KEY` and
//! `DIR/.snapshots/KEY@NAME`. No listing leads there by itself, and nothing can be changed there.
mod append;
mod assemble;
mod copy;
pub(crate) mod delete;
mod in_snapshot;
mod key;
pub(crate) mod list;
mod multipart;
pub(crate) mod place;
mod reader;
mod rename;
mod writer;

pub use copy::{CopyMeta, ObjectSource};
pub(crate) use key::{KEY_MAX, Key, find, leaf, split_path};
pub(crate) use place::{Content, NewObject, Placed, place};
pub use reader::ObjectReader;
pub use writer::{Commit, ObjectWriter};
