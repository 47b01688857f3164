//! Making parity and rebuilding what is missing, with any [`Kernel`].
//!
//! The code works byte by byte: byte *i* of every fragment depends on byte *i* of the four data
//! fragments alone. So everything here that rebuilds also works on equal ranges of fragments.

use super::kernel::Kernel;
use super::matrix::{CODING, Row, Square, inverted, times};
use super::{DATA_FRAGMENTS, FRAGMENT_SIZE, FRAGMENTS, PARITY_FRAGMENTS, SEGMENT_SIZE};
use crate::{Error, Result};

/// Computes the parity of `segment` (exactly [`SEGMENT_SIZE`] bytes) into `parity`
/// (exactly 8 × [`FRAGMENT_SIZE`] bytes).
pub fn encode(segment: &[u8], parity: &mut [u8]) -> Result<()> {
    if segment.len() != SEGMENT_SIZE {
        return Err(Error::Invalid(format!(
            "a segment has {SEGMENT_SIZE} bytes, not {}",
            segment.len()
        )));
    }
    encode_with(Kernel::best(), segment, parity)
}

/// As [`encode`], with a kernel of your choice and a segment of any size that divides by four.
pub fn encode_with(kernel: Kernel, segment: &[u8], parity: &mut [u8]) -> Result<()> {
    let fragment = segment.len() / DATA_FRAGMENTS;
    if fragment * DATA_FRAGMENTS != segment.len() || fragment == 0 {
        return Err(Error::Invalid(format!(
            "{} bytes do not divide into four quarters",
            segment.len()
        )));
    }
    if parity.len() != fragment * PARITY_FRAGMENTS {
        return Err(Error::Invalid(format!(
            "parity of {} bytes has {} bytes, not {}",
            segment.len(),
            fragment * PARITY_FRAGMENTS,
            parity.len()
        )));
    }
    let (first, rest) = segment.split_at(fragment);
    let (second, rest) = rest.split_at(fragment);
    let (third, fourth) = rest.split_at(fragment);
    let mut outputs: Vec<&mut [u8]> = parity.chunks_exact_mut(fragment).collect();
    kernel.apply(
        &CODING[DATA_FRAGMENTS..],
        [first, second, third, fourth],
        &mut outputs,
    );
    Ok(())
}

/// Rebuilds the whole segment from any four distinct fragments `(index 0..12, bytes)`.
///
/// Of more than four, those that need the least arithmetic are used. Nothing is verified here:
/// check the digest of each fragment before, or of the segment after.
pub fn decode(fragments: &[(usize, &[u8])]) -> Result<Vec<u8>> {
    if let Some((index, bytes)) = fragments.iter().find(|(_, bytes)| bytes.len() != FRAGMENT_SIZE) {
        return Err(Error::Invalid(format!(
            "fragment {index} has {} bytes instead of {FRAGMENT_SIZE}",
            bytes.len()
        )));
    }
    decode_with(Kernel::best(), fragments)
}

/// As [`decode`], with a kernel of your choice and fragments of any one length.
pub fn decode_with(kernel: Kernel, fragments: &[(usize, &[u8])]) -> Result<Vec<u8>> {
    let source = Source::choose(fragments)?;
    let length = source.inputs[0].len();
    let mut segment = vec![0; length * DATA_FRAGMENTS];
    let mut rows = Vec::with_capacity(DATA_FRAGMENTS);
    let mut outputs = Vec::with_capacity(DATA_FRAGMENTS);
    if length > 0 {
        for (index, quarter) in segment.chunks_exact_mut(length).enumerate() {
            if let Some(slot) = source.indices.iter().position(|have| *have == index) {
                quarter.copy_from_slice(source.inputs[slot]);
            } else {
                rows.push(source.row(index));
                outputs.push(quarter);
            }
        }
    }
    kernel.apply(&rows, source.inputs, &mut outputs);
    Ok(segment)
}

/// Rebuilds fragment `index` (0..12) from any four distinct others, or from equal ranges of them:
/// the answer is as long as what is given.
pub fn reconstruct_fragment(fragments: &[(usize, &[u8])], index: usize) -> Result<Vec<u8>> {
    reconstruct_fragment_with(Kernel::best(), fragments, index)
}

/// As [`reconstruct_fragment`], with a kernel of your choice.
pub fn reconstruct_fragment_with(
    kernel: Kernel,
    fragments: &[(usize, &[u8])],
    index: usize,
) -> Result<Vec<u8>> {
    if index >= FRAGMENTS {
        return Err(Error::Invalid(format!("there is no fragment {index}")));
    }
    let source = Source::choose(fragments)?;
    let mut fragment = vec![0; source.inputs[0].len()];
    kernel.apply(&[source.row(index)], source.inputs, &mut [&mut fragment]);
    Ok(fragment)
}

/// Four fragments and the matrix that turns them into data fragments.
struct Source<'a> {
    indices: [usize; DATA_FRAGMENTS],
    inputs: [&'a [u8]; DATA_FRAGMENTS],
    to_data: Square,
}

impl<'a> Source<'a> {
    /// Checks what is offered and chooses the four with the lowest indices: data fragments need no
    /// arithmetic.
    fn choose(fragments: &[(usize, &'a [u8])]) -> Result<Self> {
        let mut offered: [Option<&[u8]>; FRAGMENTS] = [None; FRAGMENTS];
        let length = fragments.first().map_or(0, |(_, bytes)| bytes.len());
        for (index, bytes) in fragments {
            let slot = offered
                .get_mut(*index)
                .ok_or_else(|| Error::Invalid(format!("there is no fragment {index}")))?;
            if bytes.len() != length {
                return Err(Error::Invalid(format!(
                    "fragment {index} has {} bytes, another has {length}",
                    bytes.len()
                )));
            }
            if slot.replace(bytes).is_some() {
                return Err(Error::Invalid(format!("fragment {index} is given twice")));
            }
        }
        let mut indices = [0; DATA_FRAGMENTS];
        let mut inputs: [&[u8]; DATA_FRAGMENTS] = [&[]; DATA_FRAGMENTS];
        let mut square = [[0; DATA_FRAGMENTS]; DATA_FRAGMENTS];
        let mut chosen = 0;
        for (index, bytes) in offered.iter().enumerate() {
            if let (Some(bytes), true) = (bytes, chosen < DATA_FRAGMENTS) {
                indices[chosen] = index;
                inputs[chosen] = bytes;
                square[chosen] = CODING[index];
                chosen += 1;
            }
        }
        if chosen < DATA_FRAGMENTS {
            return Err(Error::Invalid(format!(
                "{chosen} fragments cannot rebuild a segment; 4 can"
            )));
        }
        let to_data = inverted(square).expect("any four distinct rows of the coding matrix are independent");
        Ok(Self {
            indices,
            inputs,
            to_data,
        })
    }

    /// The row that turns the four inputs into fragment `index`.
    fn row(&self, index: usize) -> Row {
        times(CODING[index], &self.to_data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twelve(segment: &[u8]) -> Vec<Vec<u8>> {
        let fragment = segment.len() / DATA_FRAGMENTS;
        let mut parity = vec![0; fragment * PARITY_FRAGMENTS];
        encode_with(Kernel::best(), segment, &mut parity).unwrap();
        segment
            .chunks(fragment)
            .chain(parity.chunks(fragment))
            .map(<[u8]>::to_vec)
            .collect()
    }

    #[test]
    fn the_tiny_vector() {
        let segment: Vec<u8> = (1..=16).collect();
        for kernel in Kernel::ALL {
            let mut parity = vec![0; 32];
            encode_with(kernel, &segment, &mut parity).unwrap();
            let expected: [[u8; 4]; 8] = [
                [17, 18, 19, 9],
                [21, 22, 23, 101],
                [25, 26, 27, 129],
                [29, 30, 31, 253],
                [33, 34, 35, 184],
                [37, 38, 39, 105],
                [41, 42, 43, 151],
                [45, 46, 47, 86],
            ];
            assert_eq!(parity, expected.as_flattened(), "{kernel:?}");
        }
    }

    #[test]
    fn every_four_of_twelve_rebuild_everything() {
        let segment: Vec<u8> = (0..4 * 333_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let fragments = twelve(&segment);
        for kernel in Kernel::ALL {
            for mask in 0_u32..1 << FRAGMENTS {
                if mask.count_ones() as usize != DATA_FRAGMENTS {
                    continue;
                }
                let mut given: Vec<(usize, &[u8])> = (0..FRAGMENTS)
                    .filter(|index| mask >> index & 1 == 1)
                    .map(|index| (index, fragments[index].as_slice()))
                    .collect();
                given.reverse();
                assert_eq!(
                    decode_with(kernel, &given).unwrap(),
                    segment,
                    "{kernel:?} {mask:012b}"
                );
                for (index, fragment) in fragments.iter().enumerate() {
                    assert_eq!(
                        &reconstruct_fragment_with(kernel, &given, index).unwrap(),
                        fragment,
                        "{kernel:?} {mask:012b} {index}"
                    );
                }
            }
        }
    }

    #[test]
    fn ranges_of_fragments_rebuild_the_range() {
        let segment: Vec<u8> = (0..4 * 500_u32).map(|i| ((i * 31) >> 3) as u8).collect();
        let fragments = twelve(&segment);
        let given: Vec<(usize, &[u8])> = [11, 9, 2, 6]
            .into_iter()
            .map(|index| (index, &fragments[index][100..217]))
            .collect();
        assert_eq!(reconstruct_fragment(&given, 1).unwrap(), fragments[1][100..217]);
    }

    #[test]
    fn more_than_four_are_as_good_as_four() {
        let segment: Vec<u8> = (0..64).collect();
        let fragments = twelve(&segment);
        let given: Vec<(usize, &[u8])> = (3..FRAGMENTS)
            .map(|index| (index, fragments[index].as_slice()))
            .collect();
        assert_eq!(decode_with(Kernel::best(), &given).unwrap(), segment);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let fragment = vec![0; 64];
        let other = vec![0; 63];
        let invalid = |fragments: &[(usize, &[u8])]| {
            let answer = decode_with(Kernel::best(), fragments);
            assert!(matches!(answer, Err(Error::Invalid(_))), "{answer:?}");
        };
        invalid(&[]);
        invalid(&[(0, &fragment), (1, &fragment), (2, &fragment)]);
        invalid(&[(0, &fragment), (1, &fragment), (2, &fragment), (2, &fragment)]);
        invalid(&[(0, &fragment), (1, &fragment), (2, &fragment), (12, &fragment)]);
        invalid(&[(0, &fragment), (1, &fragment), (2, &fragment), (3, &other)]);
        let four: Vec<(usize, &[u8])> = (0..4).map(|index| (index, fragment.as_slice())).collect();
        assert!(
            matches!(decode(&four), Err(Error::Invalid(_))),
            "decode takes whole fragments only"
        );
        assert!(matches!(reconstruct_fragment(&four, 12), Err(Error::Invalid(_))));

        assert!(matches!(encode(&fragment, &mut [0; 128]), Err(Error::Invalid(_))));
        assert!(matches!(
            encode_with(Kernel::best(), &other, &mut [0; 128]),
            Err(Error::Invalid(_))
        ));
        assert!(matches!(
            encode_with(Kernel::best(), &fragment, &mut [0; 127]),
            Err(Error::Invalid(_))
        ));
        assert!(matches!(
            encode_with(Kernel::best(), &[], &mut []),
            Err(Error::Invalid(_))
        ));
    }
}
