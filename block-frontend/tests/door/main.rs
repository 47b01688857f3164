//! The door from outside: the protocol byte by byte, and real clients, against disks in memory.
// Clippy grants these to test functions, and not to the functions that tests share.
#![allow(clippy::unwrap_used, clippy::panic)]
mod flushes;
mod levels;
mod memory;
mod namespace;
mod protocol;
mod snapshots;
mod tools;
