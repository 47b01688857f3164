//! The same range of several fragments of one segment, held against each other.
//!
//! The erasure code works byte by byte: byte *n* of every fragment depends on byte *n* of any four
//! others and on nothing else. So equal ranges of five or more fragments check each other without
//! the rest of the fragments: four of them say what the others must be.
use bytes::Bytes;
use cess::codec::{self, DATA_FRAGMENTS, FRAGMENTS};

/// What equal ranges of a segment's fragments say about each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// They belong together: at least nine would have to be wrong in concert to deceive.
    All,
    /// They do not, and which of them is wrong they cannot say.
    None,
    /// There are too few to tell.
    TooFew,
}

/// Holds the ranges that there are against each other. All have the same length.
pub(crate) fn agreement(columns: &[Option<Bytes>; FRAGMENTS]) -> Agreement {
    let there: Vec<(usize, &[u8])> = columns
        .iter()
        .enumerate()
        .filter_map(|(index, column)| Some((index, column.as_ref()?.as_ref())))
        .collect();
    if there.len() <= DATA_FRAGMENTS {
        return Agreement::TooFew;
    }
    let (basis, others) = there.split_at(DATA_FRAGMENTS);
    let agree = others.iter().all(|(index, column)| {
        codec::reconstruct_fragment(basis, *index).is_ok_and(|expected| expected == *column)
    });
    if agree { Agreement::All } else { Agreement::None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cess::codec::{FRAGMENT_SIZE, PARITY_FRAGMENTS, SEGMENT_SIZE};

    fn columns(at: usize, len: usize) -> [Option<Bytes>; FRAGMENTS] {
        let segment = crate::testing::noise(SEGMENT_SIZE, 5);
        let mut parity = vec![0; PARITY_FRAGMENTS * FRAGMENT_SIZE];
        codec::encode(&segment, &mut parity).unwrap();
        let all = [segment, parity].concat();
        std::array::from_fn(|index| {
            let start = index * FRAGMENT_SIZE + at;
            Some(Bytes::copy_from_slice(&all[start..start + len]))
        })
    }

    #[test]
    fn one_wrong_byte_anywhere_is_seen_as_long_as_five_are_there() {
        let whole = columns(4_000_000, 1000);
        assert_eq!(agreement(&whole), Agreement::All);
        for wrong in 0..FRAGMENTS {
            let mut columns = whole.clone();
            let mut bytes = columns[wrong].as_ref().unwrap().to_vec();
            bytes[wrong * 80] ^= 1;
            columns[wrong] = Some(bytes.into());
            assert_eq!(agreement(&columns), Agreement::None, "fragment {wrong}");
            for other in 0..FRAGMENTS {
                let there = columns.iter().flatten().count();
                if other != wrong && there > 5 {
                    columns[other] = None;
                }
            }
            assert_eq!(agreement(&columns), Agreement::None, "fragment {wrong} of five");
            columns[wrong] = None;
            assert_eq!(agreement(&columns), Agreement::TooFew);
        }
    }
}
