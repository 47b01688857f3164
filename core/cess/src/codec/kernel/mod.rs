//! The inner loop of the erasure code: rows of coefficients times four long inputs.
//!
//! One implementation per kind of vector unit, all with the same result; [`Kernel::best`] picks the
//! fastest that this processor has. A kernel makes four outputs in one pass, because with four
//! inputs that keeps every coefficient in a register; more outputs take more passes over a block
//! small enough that the inputs of the next pass are still in the first-level cache.

mod scalar;
#[cfg(target_arch = "x86_64")]
mod vector;

use std::sync::OnceLock;

use super::DATA_FRAGMENTS;
use super::matrix::Row;

/// Outputs that one pass over the inputs makes.
const ROWS: usize = 4;
/// Bytes of each input that are finished before the next block: four inputs and four outputs of
/// this size fit a 32 KiB first-level cache.
const BLOCK: usize = 4 << 10;

/// Four inputs of one length.
type Inputs<'a> = [&'a [u8]; DATA_FRAGMENTS];

/// A way to do the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// 64 bytes at a time: `GF2P8AFFINEQB` on AVX-512 registers.
    Gfni512,
    /// 32 bytes at a time: `GF2P8AFFINEQB` on AVX2 registers.
    Gfni256,
    /// 32 bytes at a time: two table lookups of four bits each with `VPSHUFB`.
    Avx2,
    /// One byte at a time, on any processor.
    Scalar,
}

impl Kernel {
    /// Every kernel, the fastest first.
    pub const ALL: [Self; 4] = [Self::Gfni512, Self::Gfni256, Self::Avx2, Self::Scalar];

    /// Whether this processor can run it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Gfni512 | Self::Gfni256 | Self::Avx2 => vector::is_available(self),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Gfni512 | Self::Gfni256 | Self::Avx2 => false,
        }
    }

    /// The fastest kernel of this processor.
    pub fn best() -> Self {
        static BEST: OnceLock<Kernel> = OnceLock::new();
        *BEST.get_or_init(|| {
            Self::ALL
                .into_iter()
                .find(|kernel| kernel.is_available())
                .unwrap_or(Self::Scalar)
        })
    }

    /// Writes `rows[i]` · `inputs` to `outputs[i]`. A kernel that this processor lacks is replaced
    /// by [`Kernel::Scalar`].
    ///
    /// Inputs and outputs that differ in length are worked on up to the shortest: the public
    /// functions of [`super::erasure`] check lengths and say what is wrong with them.
    pub fn apply(self, rows: &[Row], inputs: Inputs<'_>, outputs: &mut [&mut [u8]]) {
        let length = inputs.iter().map(|input| input.len()).min().unwrap_or(0);
        let length = outputs.iter().map(|output| output.len()).fold(length, usize::min);
        let kernel = if self.is_available() { self } else { Self::Scalar };

        let mut start = 0;
        while start < length {
            let end = length.min(start + BLOCK);
            let inputs = inputs.map(|input| &input[start..end]);
            let passes = rows.chunks(ROWS).zip(outputs.chunks_mut(ROWS));
            for (rows, outputs) in passes {
                match (<&[Row; ROWS]>::try_from(rows), outputs) {
                    (Ok(rows), [a, b, c, d]) => kernel.pass(
                        rows,
                        inputs,
                        [
                            &mut a[start..end],
                            &mut b[start..end],
                            &mut c[start..end],
                            &mut d[start..end],
                        ],
                    ),
                    (_, outputs) => {
                        for (row, output) in rows.iter().zip(outputs) {
                            kernel.pass(&[*row], inputs, [&mut output[start..end]]);
                        }
                    }
                }
            }
            start = end;
        }
    }

    /// One block; all slices have the same length.
    fn pass<const N: usize>(self, rows: &[Row; N], inputs: Inputs<'_>, outputs: [&mut [u8]; N]) {
        match self {
            Self::Scalar => scalar::pass(rows, inputs, outputs),
            #[cfg(target_arch = "x86_64")]
            Self::Gfni512 | Self::Gfni256 | Self::Avx2 => {
                vector::pass(self, rows, inputs, outputs);
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Gfni512 | Self::Gfni256 | Self::Avx2 => scalar::pass(rows, inputs, outputs),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reed_solomon_erasure::galois_8::ReedSolomon;

    use super::super::matrix::CODING;
    use super::super::{FRAGMENTS, PARITY_FRAGMENTS};
    use super::*;
    use crate::codec::field::multiply;

    fn parity_by(kernel: Kernel, data: &[Vec<u8>; DATA_FRAGMENTS]) -> Vec<Vec<u8>> {
        let mut parity = vec![vec![0xEE; data[0].len()]; PARITY_FRAGMENTS];
        let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
        kernel.apply(
            &CODING[DATA_FRAGMENTS..],
            data.each_ref().map(Vec::as_slice),
            &mut outputs,
        );
        parity
    }

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed | 1;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .take(length)
        .collect()
    }

    fn kernels() -> impl Iterator<Item = Kernel> {
        Kernel::ALL.into_iter().filter(|kernel| {
            let available = kernel.is_available();
            if !available {
                println!("SKIPPED: this processor lacks {kernel:?}");
            }
            available
        })
    }

    #[test]
    fn every_product_of_two_bytes_is_right_in_every_kernel() {
        let input: Vec<u8> = (0..=255).collect();
        let zeros = vec![0; 256];
        for kernel in kernels() {
            for coefficient in 0..=255 {
                let mut output = vec![0; 256];
                kernel.apply(
                    &[[0, coefficient, 0, 0]],
                    [&zeros, &input, &zeros, &zeros],
                    &mut [&mut output],
                );
                for (byte, product) in output.into_iter().enumerate() {
                    assert_eq!(product, multiply(coefficient, byte as u8), "{kernel:?}");
                }
            }
        }
    }

    #[test]
    fn lengths_around_every_vector_and_block_boundary_match_the_reference() {
        let reference = ReedSolomon::new(DATA_FRAGMENTS, PARITY_FRAGMENTS).unwrap();
        let lengths = (1..=200).chain([
            BLOCK - 1,
            BLOCK,
            BLOCK + 1,
            2 * BLOCK + 63,
            3 * BLOCK + 31,
            100_003,
        ]);
        for length in lengths {
            let data: [Vec<u8>; DATA_FRAGMENTS] =
                std::array::from_fn(|index| noise((index * 7919 + length) as u64, length));
            let mut expected: Vec<Vec<u8>> = data.to_vec();
            expected.resize(FRAGMENTS, vec![0; length]);
            reference.encode(&mut expected).unwrap();
            for kernel in kernels() {
                assert_eq!(
                    parity_by(kernel, &data),
                    expected[DATA_FRAGMENTS..],
                    "{kernel:?} {length}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn kernels_agree_on_any_matrix_and_any_alignment(
            rows in prop::collection::vec(any::<[u8; DATA_FRAGMENTS]>(), 1..13),
            seed in any::<u64>(),
            length in 0_usize..9000,
            shift in 0_usize..64,
        ) {
            let data: [Vec<u8>; DATA_FRAGMENTS] =
                std::array::from_fn(|index| noise(seed ^ index as u64, length + shift));
            let inputs = data.each_ref().map(|input| &input[shift..]);
            let results: Vec<Vec<Vec<u8>>> = kernels()
                .map(|kernel| {
                    let mut outputs = vec![vec![0x5A; length + shift]; rows.len()];
                    let mut slices: Vec<&mut [u8]> =
                        outputs.iter_mut().map(|output| &mut output[shift..]).collect();
                    kernel.apply(&rows, inputs, &mut slices);
                    outputs
                })
                .collect();
            for result in &results {
                prop_assert_eq!(result, &results[0]);
                for output in result {
                    prop_assert!(output[..shift].iter().all(|byte| *byte == 0x5A), "wrote before its output");
                }
            }
        }
    }
}
