//! Segments, fragments and FIDs (protocol: 32 MiB segments, 4 data + 8 parity fragments of 8 MiB).
use crate::{Hash, Result};

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

/// The names of one segment and its twelve fragments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHashes {
    /// SHA-256 of the 32 MiB.
    pub segment: Hash,
    /// SHA-256 of each fragment, data first.
    pub fragments: [Hash; FRAGMENTS],
}

/// Computes the parity of `segment` (exactly [`SEGMENT_SIZE`] bytes) into `parity`
/// (exactly 8 × [`FRAGMENT_SIZE`] bytes).
pub fn encode(segment: &[u8], parity: &mut [u8]) -> Result<()> {
    let _ = (segment, parity);
    todo!()
}

/// Hashes the segment and its twelve fragments, several independent streams at once.
pub fn hash_segment(segment: &[u8], parity: &[u8]) -> SegmentHashes {
    let _ = (segment, parity);
    todo!()
}

/// Rebuilds the whole segment from any four distinct fragments `(index 0..12, bytes)`.
pub fn decode(fragments: &[(usize, &[u8])]) -> Result<Vec<u8>> {
    let _ = fragments;
    todo!()
}

/// FID by the Merkle rule (go-sdk, DeOSS): the rule this gateway writes.
pub fn fid_merkle(segments: &[Hash]) -> Hash {
    let _ = segments;
    todo!()
}

/// FID by the flat rule (CD2N retriever): accepted when reading.
pub fn fid_flat(segments: &[Hash]) -> Hash {
    let _ = segments;
    todo!()
}
