//! Gives freed memory back to the system.
#![allow(unsafe_code)] // mallopt is the only way to set up glibc's allocator from within

/// Arenas that all threads share. By default there are eight for each core, and each keeps what was
/// freed in it: a gateway under load, whose work moves between threads, holds a few hundred MiB so.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 4;
/// Allocations from this size on, in bytes, are mapped by themselves and unmapped when they are freed.
/// The default rises with the largest block that was ever freed, to 32 MiB: fragments and segments
/// would lie in the arenas from then on.
#[cfg(target_env = "gnu")]
const MAPPED: libc::c_int = 1 << 20;
/// Free bytes at the end of an arena that go back to the system.
#[cfg(target_env = "gnu")]
const TRIMMED: libc::c_int = 16 << 20;

/// Sets glibc's allocator up; others are left as they are. To be called before there are threads.
pub fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_ARENA_MAX, ARENAS),
        (libc::M_MMAP_THRESHOLD, MAPPED),
        (libc::M_TRIM_THRESHOLD, TRIMMED),
    ] {
        // SAFETY: mallopt only stores numbers, and no other thread allocates yet. That it refuses one
        // (it answers 0) costs memory and nothing else.
        unsafe { libc::mallopt(parameter, value) };
    }
}
