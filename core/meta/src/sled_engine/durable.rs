#![allow(unsafe_code)]
//! Making sled's flush true.
//!
//! After each write to its log sled calls `sync_file_range`, which waits until the kernel has handed the
//! pages to the disk, and returns. It does not make the disk write its cache, nor does it save the length of
//! the file; after a power cut such bytes may be gone. A sync after the flush would be too late: sled
//! goes by these calls when it decides that a part of its file is not needed any more and writes over it.
//!
//! So this program brings a `sync_file_range` of its own, which the linker takes instead of the C library's, and which does
//! what sled believes of it: `fdatasync`. It is stronger than what it replaces, so it harms nobody else.
//! That it is in the right place is proved when a database is opened ([`prove`]); without it, sled is
//! refused.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::libc;

use super::from_sled;
use crate::{Error, Result};

/// Calls so far.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// One of them failed: nobody knows what is on the disk.
static FAILED: AtomicBool = AtomicBool::new(false);

/// In the place of the C library's function: syncs the whole file, and its length.
// SAFETY: the name is taken on purpose; the signature is that of the C library on Linux, and whoever calls it
// gets at least what it asked for.
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(
    file: libc::c_int,
    _offset: libc::off64_t,
    _bytes: libc::off64_t,
    _flags: libc::c_uint,
) -> libc::c_int {
    CALLS.fetch_add(1, Ordering::SeqCst);
    // SAFETY: takes any number; one that is no open file is answered with an error.
    let answer = unsafe { libc::fdatasync(file) };
    if answer != 0 {
        FAILED.store(true, Ordering::SeqCst);
    }
    answer
}

/// Fails once a sync has: sled forgets about it when it happened in the background.
pub(super) fn check() -> Result<()> {
    if FAILED.load(Ordering::SeqCst) {
        return Err(Error::Engine("sled: a sync failed".into()));
    }
    Ok(())
}

/// Writes to the database and sees that this was synced.
pub(super) fn prove(tree: &sled::Db) -> Result<()> {
    let before = CALLS.load(Ordering::SeqCst);
    // Beside the rows, and gone again.
    tree.insert([2], &[0]).map_err(from_sled)?;
    tree.remove([2]).map_err(from_sled)?;
    tree.flush().map_err(from_sled)?;
    if CALLS.load(Ordering::SeqCst) == before {
        return Err(Error::Engine(
            "sled's log is not synced on this system: it cannot keep what is acknowledged".into(),
        ));
    }
    check()
}
