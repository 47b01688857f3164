//! The names of a segment and its fragments.

use super::{DATA_FRAGMENTS, FRAGMENT_SIZE, FRAGMENTS, PARITY_FRAGMENTS, SEGMENT_SIZE, lanes};
use crate::Hash;

/// SHA-256 of 8 MiB of zeros. Miners make this fragment themselves.
pub const ZERO_FRAGMENT: Hash = Hash([
    0x2d, 0xae, 0xb1, 0xf3, 0x60, 0x95, 0xb4, 0x4b, 0x31, 0x84, 0x10, 0xb3, 0xf4, 0xe8, 0xb5, 0xd9, 0x89,
    0xdc, 0xc7, 0xbb, 0x02, 0x3d, 0x14, 0x26, 0xc4, 0x92, 0xda, 0xb0, 0xa3, 0x05, 0x3e, 0x74,
]);
/// SHA-256 of 32 MiB of zeros. All its fragments are [`ZERO_FRAGMENT`].
pub const ZERO_SEGMENT: Hash = Hash([
    0x83, 0xee, 0x47, 0x24, 0x53, 0x98, 0xad, 0xee, 0x79, 0xbd, 0x9c, 0x0a, 0x8b, 0xc5, 0x7b, 0x82, 0x1e,
    0x92, 0xab, 0xa1, 0x0f, 0x5f, 0x9a, 0xde, 0x8a, 0x5d, 0x1f, 0xae, 0x4d, 0x8c, 0x43, 0x02,
]);

/// The names of one segment and its twelve fragments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentHashes {
    /// SHA-256 of the 32 MiB.
    pub segment: Hash,
    /// SHA-256 of each fragment, data first.
    pub fragments: [Hash; FRAGMENTS],
}

/// Hashes the segment and its twelve fragments, several independent streams at once.
///
/// The work balances by itself: in the time one lane needs for the segment, three lanes finish four
/// fragments each. Fragments of zeros, usual in the last segment of a file, are recognised instead
/// of hashed.
///
/// # Panics
/// If `segment` has not [`SEGMENT_SIZE`] bytes, or `parity` not 8 × [`FRAGMENT_SIZE`].
pub fn hash_segment(segment: &[u8], parity: &[u8]) -> SegmentHashes {
    assert_eq!(segment.len(), SEGMENT_SIZE, "a segment has a fixed size");
    assert_eq!(
        parity.len(),
        PARITY_FRAGMENTS * FRAGMENT_SIZE,
        "parity has a fixed size"
    );

    let mut hashes = SegmentHashes {
        segment: ZERO_SEGMENT,
        fragments: [ZERO_FRAGMENT; FRAGMENTS],
    };
    let fragments = segment
        .chunks_exact(FRAGMENT_SIZE)
        .chain(parity.chunks_exact(FRAGMENT_SIZE));
    let (places, mut streams): (Vec<usize>, Vec<&[u8]>) = fragments
        .enumerate()
        .filter(|(_, fragment)| !is_zero(fragment))
        .unzip();
    let segment_is_zero = places.first().is_none_or(|first| *first >= DATA_FRAGMENTS);
    if !segment_is_zero {
        streams.insert(0, segment);
    }
    let mut digests = lanes::digests(&streams).into_iter();
    if !segment_is_zero {
        hashes.segment = digests.next().unwrap_or_default();
    }
    for (place, digest) in places.into_iter().zip(digests) {
        hashes.fragments[place] = digest;
    }
    hashes
}

/// Whether all bytes are zero; stops soon after the first that is not.
fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(1024)
        .all(|chunk| chunk.iter().fold(0, |seen, byte| seen | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zero_names_are_digests_of_zeros() {
        let zeros = vec![0; SEGMENT_SIZE];
        assert_eq!(Hash::of(&zeros), ZERO_SEGMENT);
        assert_eq!(Hash::of(&zeros[..FRAGMENT_SIZE]), ZERO_FRAGMENT);
    }

    #[test]
    fn a_single_byte_anywhere_is_seen() {
        for length in [1, 1023, 1024, 1025, 5000] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for at in [0, length / 2, length - 1] {
                bytes[at] = 0x80;
                assert!(!is_zero(&bytes), "{at} of {length}");
                bytes[at] = 0;
            }
        }
    }

    /// Parity that does not belong to the segment: hashing must not assume that it does.
    #[test]
    fn zero_and_other_fragments_keep_their_places() {
        let mut segment = vec![0; SEGMENT_SIZE];
        let mut parity = vec![0; PARITY_FRAGMENTS * FRAGMENT_SIZE];
        parity[5 * FRAGMENT_SIZE + 17] = 3;
        let hashes = hash_segment(&segment, &parity);
        assert_eq!(hashes.segment, ZERO_SEGMENT);
        for (index, hash) in hashes.fragments.iter().enumerate() {
            assert_eq!(*hash == ZERO_FRAGMENT, index != DATA_FRAGMENTS + 5, "{index}");
        }
        assert_eq!(
            hashes.fragments[9],
            Hash::of(&parity[5 * FRAGMENT_SIZE..6 * FRAGMENT_SIZE])
        );

        segment[2 * FRAGMENT_SIZE + 1] = 9;
        let hashes = hash_segment(&segment, &parity);
        assert_eq!(hashes.segment, Hash::of(&segment));
        assert_eq!(
            hashes.fragments[2],
            Hash::of(&segment[2 * FRAGMENT_SIZE..3 * FRAGMENT_SIZE])
        );
        assert_eq!(hashes.fragments[1], ZERO_FRAGMENT);
    }
}
