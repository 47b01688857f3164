//! A disk that can lose power, fill up and fail, for the directory of a gateway under test.
//!
//! It is a file system of its own (FUSE, served by the test's process) which remembers two states
//! of everything: what programs see *now*, and what is *safe*, because somebody asked for a sync
//! and was answered. [`Disk::cut`] takes the power away: from that moment every request fails. What
//! the disk holds afterwards is the safe state and any part of what came after it, in any order,
//! torn in the middle of a page: [`Cut::image`] draws one such state from a seed.
//!
//! - [`content`]: the bytes of one file, now and safe.
//! - [`volume`]: the tree, and every operation on it.
//! - [`image`]: what is left after a cut.
//! - [`trouble`]: full disks and failing ones.
//! - [`filesystem`], [`mount`]: the kernel's requests.
//!
//! The rules are those of POSIX and not kinder, except where every journaling file system is:
//! - Bytes and length of a file are safe after `fsync` or `fdatasync` of that file, its name only
//!   after `fsync` of its directory ([`Names::Strict`]) or of anything ([`Names::Journal`], as ext4
//!   and XFS behave).
//! - Changes of names within a directory keep their order, and a rename is one change. Changes in
//!   different directories have no order.
//! - Without any sync, names become safe after seconds, and bytes now and then, as a kernel that
//!   writes back does; so a page's state in the image may be any of those it went through.
//! - A failed `fsync` leaves pages that programs read and no later sync writes.
pub mod content;
mod filesystem;
pub mod image;
pub mod mount;
pub mod trouble;
pub mod volume;

pub use image::Cut;
pub use mount::Disk;
pub use trouble::Trouble;
pub use volume::{Names, Volume};
