//! The kernels for x86-64 vector units.
//!
//! Multiplying by a constant is linear over GF(2), so it is an 8 × 8 bit matrix, and
//! `GF2P8AFFINEQB` multiplies every byte of a register by such a matrix. (`GF2P8MULB` cannot be
//! used: its polynomial is 0x11B.) Without GFNI the product of a byte is the XOR of the products of
//! its two halves, each looked up with `PSHUFB` in a table of 16.
#![allow(unsafe_code)]
// Reason: vector instructions need `unsafe` twice: to call a function compiled for a feature that
// was detected at run time, and to load and store registers through pointers.

use std::arch::x86_64::{
    __m256i, __m512i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_gf2p8affine_epi64_epi8, _mm256_loadu_si256, _mm256_set1_epi8, _mm256_set1_epi64x,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi64, _mm256_storeu_si256, _mm256_xor_si256,
    _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use super::{Inputs, Kernel, scalar};
use crate::codec::DATA_FRAGMENTS;
use crate::codec::field::multiply;
use crate::codec::matrix::Row;

/// `AFFINE[c]` is the bit matrix of "multiply by c" in the operand order of `GF2P8AFFINEQB`.
static AFFINE: [u64; 256] = affine();
/// `NIBBLES[c]` = products of c with 0x00..=0x0F, then with 0x00, 0x10, ..=0xF0.
static NIBBLES: [[u8; 32]; 256] = nibbles();

const fn affine() -> [u64; 256] {
    let mut table = [0; 256];
    let mut coefficient = 0;
    while coefficient < 256 {
        // Bit `bit` of the product is the parity of (row & input); rows are stored from the
        // highest bit's at byte 0 to the lowest bit's at byte 7.
        let mut bit = 0;
        while bit < 8 {
            let mut row: u64 = 0;
            let mut column = 0;
            while column < 8 {
                let product = multiply(coefficient as u8, 1 << column);
                row |= ((product >> bit & 1) as u64) << column;
                column += 1;
            }
            table[coefficient] |= row << (8 * (7 - bit));
            bit += 1;
        }
        coefficient += 1;
    }
    table
}

const fn nibbles() -> [[u8; 32]; 256] {
    let mut table = [[0; 32]; 256];
    let mut coefficient = 0;
    while coefficient < 256 {
        let mut nibble = 0;
        while nibble < 16 {
            table[coefficient][nibble] = multiply(coefficient as u8, nibble as u8);
            table[coefficient][16 + nibble] = multiply(coefficient as u8, (nibble as u8) << 4);
            nibble += 1;
        }
        coefficient += 1;
    }
    table
}

/// Whether this processor can run `kernel`.
pub(super) fn is_available(kernel: Kernel) -> bool {
    match kernel {
        Kernel::Gfni512 => is_x86_feature_detected!("gfni") && is_x86_feature_detected!("avx512f"),
        Kernel::Gfni256 => is_x86_feature_detected!("gfni") && is_x86_feature_detected!("avx2"),
        Kernel::Avx2 => is_x86_feature_detected!("avx2"),
        Kernel::Scalar => true,
    }
}

/// Writes `rows` · `inputs` to `outputs`, all of one length.
pub(super) fn pass<const N: usize>(
    kernel: Kernel,
    rows: &[Row; N],
    inputs: Inputs<'_>,
    mut outputs: [&mut [u8]; N],
) {
    let length = inputs[0].len();
    assert!(
        inputs.iter().all(|input| input.len() == length) && outputs.iter().all(|o| o.len() == length),
        "one pass works on slices of one length"
    );
    let from = inputs.map(<[u8]>::as_ptr);
    let to = outputs.each_mut().map(|output| output.as_mut_ptr());
    // SAFETY: `is_available` has detected the features of the function that is called (checked
    // again here, the result is cached by the standard library), and all pointers are valid for
    // `length` bytes, the outputs exclusively, as asserted above.
    let done = unsafe {
        match kernel {
            Kernel::Gfni512 if is_available(kernel) => gfni512(rows, from, to, length),
            Kernel::Gfni256 if is_available(kernel) => gfni256(rows, from, to, length),
            Kernel::Avx2 if is_available(kernel) => avx2(rows, from, to, length),
            _ => 0,
        }
    };
    scalar::pass(
        rows,
        inputs.map(|input| &input[done..]),
        outputs.map(|output| &mut output[done..]),
    );
}

/// Does the whole registers of the input and answers how many bytes that was.
///
/// # Safety
/// The processor has the features; `inputs` can be read and `outputs` written for `length` bytes.
#[target_feature(enable = "gfni,avx512f")]
unsafe fn gfni512<const N: usize>(
    rows: &[Row; N],
    inputs: [*const u8; DATA_FRAGMENTS],
    outputs: [*mut u8; N],
    length: usize,
) -> usize {
    let matrices: [[__m512i; DATA_FRAGMENTS]; N] =
        rows.map(|row| row.map(|coefficient| _mm512_set1_epi64(AFFINE[usize::from(coefficient)] as i64)));
    let whole = length - length % 64;
    let mut at = 0;
    while at < whole {
        let mut data = [_mm512_setzero_si512(); DATA_FRAGMENTS];
        for (register, input) in data.iter_mut().zip(inputs) {
            // SAFETY: `at + 64 <= length`.
            *register = unsafe { _mm512_loadu_si512(input.add(at).cast()) };
        }
        for (matrix, output) in matrices.iter().zip(outputs) {
            let product = [
                _mm512_gf2p8affine_epi64_epi8::<0>(data[0], matrix[0]),
                _mm512_gf2p8affine_epi64_epi8::<0>(data[1], matrix[1]),
                _mm512_gf2p8affine_epi64_epi8::<0>(data[2], matrix[2]),
                _mm512_gf2p8affine_epi64_epi8::<0>(data[3], matrix[3]),
            ];
            // 0x96 is the truth table of a three-way XOR.
            let sum = _mm512_ternarylogic_epi64::<0x96>(product[0], product[1], product[2]);
            let sum = _mm512_xor_si512(sum, product[3]);
            // SAFETY: `at + 64 <= length`.
            unsafe { _mm512_storeu_si512(output.add(at).cast(), sum) };
        }
        at += 64;
    }
    whole
}

/// As [`gfni512`], 32 bytes at a time.
///
/// # Safety
/// The processor has the features; `inputs` can be read and `outputs` written for `length` bytes.
#[target_feature(enable = "gfni,avx2")]
unsafe fn gfni256<const N: usize>(
    rows: &[Row; N],
    inputs: [*const u8; DATA_FRAGMENTS],
    outputs: [*mut u8; N],
    length: usize,
) -> usize {
    let matrices: [[__m256i; DATA_FRAGMENTS]; N] =
        rows.map(|row| row.map(|coefficient| _mm256_set1_epi64x(AFFINE[usize::from(coefficient)] as i64)));
    let whole = length - length % 32;
    let mut at = 0;
    while at < whole {
        let mut sums = [_mm256_setzero_si256(); N];
        for (index, input) in inputs.into_iter().enumerate() {
            // SAFETY: `at + 32 <= length`.
            let data = unsafe { _mm256_loadu_si256(input.add(at).cast()) };
            for (sum, matrix) in sums.iter_mut().zip(&matrices) {
                *sum = _mm256_xor_si256(*sum, _mm256_gf2p8affine_epi64_epi8::<0>(data, matrix[index]));
            }
        }
        for (sum, output) in sums.into_iter().zip(outputs) {
            // SAFETY: `at + 32 <= length`.
            unsafe { _mm256_storeu_si256(output.add(at).cast(), sum) };
        }
        at += 32;
    }
    whole
}

/// As [`gfni256`], with table lookups instead of bit matrices.
///
/// # Safety
/// The processor has the features; `inputs` can be read and `outputs` written for `length` bytes.
#[target_feature(enable = "avx2")]
unsafe fn avx2<const N: usize>(
    rows: &[Row; N],
    inputs: [*const u8; DATA_FRAGMENTS],
    outputs: [*mut u8; N],
    length: usize,
) -> usize {
    let tables: [[[__m256i; 2]; DATA_FRAGMENTS]; N] = rows.map(|row| {
        row.map(|coefficient| {
            let table = &NIBBLES[usize::from(coefficient)];
            // SAFETY: the table has 32 bytes, 16 for each half of a byte.
            let [low, high] = unsafe {
                [
                    _mm_loadu_si128(table.as_ptr().cast()),
                    _mm_loadu_si128(table.as_ptr().add(16).cast()),
                ]
            };
            [
                _mm256_broadcastsi128_si256(low),
                _mm256_broadcastsi128_si256(high),
            ]
        })
    });
    let mask = _mm256_set1_epi8(0x0F);
    let whole = length - length % 32;
    let mut at = 0;
    while at < whole {
        let mut sums = [_mm256_setzero_si256(); N];
        for (index, input) in inputs.into_iter().enumerate() {
            // SAFETY: `at + 32 <= length`.
            let data = unsafe { _mm256_loadu_si256(input.add(at).cast()) };
            let low = _mm256_and_si256(data, mask);
            let high = _mm256_and_si256(_mm256_srli_epi64::<4>(data), mask);
            for (sum, table) in sums.iter_mut().zip(&tables) {
                let product = _mm256_xor_si256(
                    _mm256_shuffle_epi8(table[index][0], low),
                    _mm256_shuffle_epi8(table[index][1], high),
                );
                *sum = _mm256_xor_si256(*sum, product);
            }
        }
        for (sum, output) in sums.into_iter().zip(outputs) {
            // SAFETY: `at + 32 <= length`.
            unsafe { _mm256_storeu_si256(output.add(at).cast(), sum) };
        }
        at += 32;
    }
    whole
}
