//! Kernel FUSE requests ⇄ vfs operations.
//!
//! # What this crate owns
//! The mount: making and recovering the mountpoint ([`Mount`]), agreeing with the kernel on how to
//! talk, and turning each kernel request into one or two operations of [`vfs::Vfs`] and its result
//! into the kernel's answer. It keeps no state about files: inode numbers, open counts, dirty bytes
//! and locks on them live in the vfs, so that the other doors see the same file in the same moment.
//! The only table here is one of open directories, whose cookies must outlive a single request.
//!
//! # How a request flows
//! Several event loops (threads of `fuser`, each with its own queue in the kernel) read requests
//! and do nothing but copy the arguments and spawn a task on the tokio runtime; the task answers.
//! An event loop never waits, so a read that must fetch from the network does not hold up a `stat`.
//! Every request has a deadline, after which it is answered with `ETIMEDOUT` while the operation
//! itself is left to finish: it is never torn off half-way (module `request`).
//!
//! # Coherence with the other doors
//! What S3 or NBD acknowledged must be what the next system call on the mount sees. So for now the
//! kernel may remember nothing that it does not ask about again:
//! * attributes and entries have a time to live of zero: each path walk and each `stat` asks;
//! * `FUSE_AUTO_INVAL_DATA`: before a cached page is read, the kernel asks for the attributes, and
//!   drops the file's pages when the size or the modification time differ from what it knew. The
//!   page cache still saves the transfer of unchanged data, and `mmap` works;
//! * no `keep_cache`: an `open` starts with no cached pages;
//! * no writeback cache: `write` returns after the vfs has the bytes, so the other doors see them.
//!   Only pages dirtied through a shared `mmap` wait in the kernel, as POSIX allows: until `msync`,
//!   `fsync`, `munmap` or the kernel's own write-back.
//!
//! One thing follows: a process that already holds the file open and mapped sees a change made
//! through another door at its next system call on that file, not by looking at memory alone.
//!
//! # Locks
//! `flock` and `fcntl` locks are left to the kernel, which then keeps them itself: they hold among
//! all processes on this mount. Where other gateways may want the same locks, the kernel is told to
//! bring them here, and they live in the vfs (module `locks`).
//!
//! # Other gateways
//! What another gateway acknowledged shows here as [`vfs`] shows it. For the other way, closing a file
//! stores what was written through it ([`vfs::Vfs::publish`]); with one gateway alone, closing does
//! nothing.
//!
//! # Limits
//! Time stamps are signed 64-bit nanoseconds (years 1677 to 2262); others are clamped. File
//! capabilities and POSIX ACLs are refused (`EOPNOTSUPP`) rather than kept without effect: the mount
//! is `nosuid,nodev`.
mod attributes;
mod directory;
mod errno;
mod filesystem;
mod kernel;
mod listing;
mod locks;
mod mount;
mod mount_table;
mod mountpoint;
mod request;
mod seek;
mod xattr;

pub use mount::{Mount, MountConfig};
