//! Segments, fragments and FIDs (protocol: 32 MiB segments, 4 data + 8 parity fragments of 8 MiB).
//!
//! - [`field`] and [`matrix`]: the arithmetic that fixes the code, GF(2^8) and its coding matrix.
//! - [`kernel`]: the loops that apply a matrix to megabytes, one per kind of vector unit, chosen at
//!   run time.
//! - [`erasure`]: encoding and rebuilding on top of a kernel.
//! - [`lanes`] and [`hashing`]: SHA-256 of many streams at once, and the names of a segment.
//! - [`fid`]: the two rules that name a file.
//! - [`cipher`]: the reference SDK's encryption of segments, for reading what others stored.
//!
//! Everything here is synchronous and bound to the processor: call it from a blocking thread.

pub mod cipher;
pub mod erasure;
pub mod fid;
pub mod field;
pub mod hashing;
pub mod kernel;
pub mod lanes;
pub mod matrix;

pub use erasure::{decode, encode, reconstruct_fragment};
pub use fid::{fid_flat, fid_merkle};
pub use hashing::{SegmentHashes, ZERO_FRAGMENT, ZERO_SEGMENT, hash_segment};

/// Bytes in a segment.
pub const SEGMENT_SIZE: usize = 32 << 20;
/// Bytes in a fragment.
pub const FRAGMENT_SIZE: usize = 8 << 20;
/// Data fragments of a segment: its four quarters, in order.
pub const DATA_FRAGMENTS: usize = 4;
/// Parity fragments of a segment.
pub const PARITY_FRAGMENTS: usize = 8;
/// All fragments of a segment; any [`DATA_FRAGMENTS`] of them rebuild it.
pub const FRAGMENTS: usize = DATA_FRAGMENTS + PARITY_FRAGMENTS;
