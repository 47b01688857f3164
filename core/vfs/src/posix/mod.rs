//! POSIX operations. Permission checks are the kernel's (`default_permissions`); names are as a
//! mount shows them. Every call here is visible to every door when it returns.
//!
//! Changes of names and attributes commit in order and are durable after the next fsync of anything
//! or [`Vfs::sync_namespace`](crate::Vfs::sync_namespace); a crash keeps a prefix of them.
//! Reading does not change the access time (noatime).
//!
//! Directories that only exist because an object lies in them (`PUT a/b`) behave like any other. One
//! that a mount empties stays, as POSIX demands, and becomes explicit: S3 lists it from then on, so
//! that it can be deleted there too.
mod allocate;
mod attr;
mod create;
mod io;
mod link;
pub(crate) mod lookup;
mod readdir;
pub(crate) mod remove;
mod rename;
mod xattr;

/// What `fallocate` does to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Make sure writes will fit; extend the file unless `keep_size`.
    Reserve {
        /// Leave the size alone.
        keep_size: bool,
    },
    /// Turn the range into a hole; the size stays.
    Punch,
    /// Make the range read as zeroes (a hole here); extend unless `keep_size`.
    Zero {
        /// Leave the size alone.
        keep_size: bool,
    },
}
