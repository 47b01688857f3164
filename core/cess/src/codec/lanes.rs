//! SHA-256 of several independent streams at once.
//!
//! One stream cannot keep a processor busy: every SHA-256 round waits for the one before, and the
//! SHA instructions take several cycles each. Streams do not wait for each other, so up to [`LANES`]
//! of them are interleaved instruction by instruction. Where the processor lacks the instructions,
//! each stream goes through aws-lc on its own.

use crate::Hash;

/// Streams worked on at once. More lanes than this run out of registers.
pub const LANES: usize = 4;

/// The SHA-256 of each stream. Lanes are filled in the order given, so put the longest first.
pub fn digests(streams: &[&[u8]]) -> Vec<Hash> {
    #[cfg(target_arch = "x86_64")]
    if let Some(hashes) = instructions::digests(streams) {
        return hashes;
    }
    streams.iter().map(|stream| Hash::of(stream)).collect()
}

/// Whether [`digests`] interleaves on this processor.
pub fn is_interleaved() -> bool {
    #[cfg(target_arch = "x86_64")]
    return instructions::is_available();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(target_arch = "x86_64")]
mod instructions {
    //! The SHA extensions of x86-64.
    //!
    //! They keep the state in two registers, (a, b, e, f) and (c, d, g, h), do two rounds per
    //! `SHA256RNDS2`, and extend the message schedule by four words with `SHA256MSG1` and
    //! `SHA256MSG2`.
    #![allow(unsafe_code)]
    // Reason: the instructions need `unsafe` twice: to call a function compiled for a feature that
    // was detected at run time, and to load and store registers through pointers.

    use std::arch::x86_64::{
        _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi64x, _mm_setzero_si128,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32, _mm_storeu_si128,
    };

    use super::LANES;
    use crate::Hash;

    const BLOCK: usize = 64;

    const INITIAL: [u32; 8] = [
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    ];

    static ROUND_CONSTANTS: [u32; 64] = [
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    ];

    /// One stream on its way.
    struct Lane<'a> {
        stream: usize,
        state: [u32; 8],
        rest: &'a [u8],
    }

    pub(super) fn is_available() -> bool {
        is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("sse4.1")
            && is_x86_feature_detected!("ssse3")
    }

    /// `None` if this processor lacks the instructions.
    pub(super) fn digests(streams: &[&[u8]]) -> Option<Vec<Hash>> {
        if !is_available() {
            return None;
        }
        let mut hashes = vec![Hash::default(); streams.len()];
        let mut waiting = streams.iter().enumerate();
        let mut lanes: Vec<Lane<'_>> = Vec::with_capacity(LANES);
        loop {
            lanes.retain(|lane| {
                let unfinished = lane.rest.len() >= BLOCK;
                if !unfinished {
                    hashes[lane.stream] = finish(lane, streams[lane.stream].len());
                }
                unfinished
            });
            while lanes.len() < LANES
                && let Some((stream, bytes)) = waiting.next()
            {
                lanes.push(Lane {
                    stream,
                    state: INITIAL,
                    rest: bytes,
                });
            }
            if lanes.is_empty() {
                return Some(hashes);
            }
            let blocks = lanes
                .iter()
                .map(|lane| lane.rest.len() / BLOCK)
                .min()
                .unwrap_or(0);
            match &mut lanes[..] {
                [a, b, c, d] => advance([a, b, c, d], blocks),
                [a, b, c] => advance([a, b, c], blocks),
                [a, b] => advance([a, b], blocks),
                others => {
                    for lane in others {
                        advance([lane], blocks);
                    }
                }
            }
        }
    }

    /// Takes `blocks` blocks from the front of every lane.
    fn advance<const N: usize>(mut lanes: [&mut Lane<'_>; N], blocks: usize) {
        let mut states = lanes.each_ref().map(|lane| lane.state);
        let taken = lanes.each_ref().map(|lane| &lane.rest[..blocks * BLOCK]);
        compress_checked(&mut states, taken);
        for (lane, state) in lanes.iter_mut().zip(states) {
            lane.state = state;
            lane.rest = &lane.rest[blocks * BLOCK..];
        }
    }

    /// Pads the last, partial block and gives the digest. `length` is that of the whole stream.
    fn finish(lane: &Lane<'_>, length: usize) -> Hash {
        let rest = lane.rest;
        let mut tail = [0; 2 * BLOCK];
        tail[..rest.len()].copy_from_slice(rest);
        tail[rest.len()] = 0x80;
        let end = if rest.len() < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        tail[end - 8..end].copy_from_slice(&(length as u64 * 8).to_be_bytes());
        let mut states = [lane.state];
        compress_checked(&mut states, [&tail[..end]]);
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(states[0]) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        Hash(digest)
    }

    /// [`compress`] with its conditions checked.
    fn compress_checked<const N: usize>(states: &mut [[u32; 8]; N], data: [&[u8]; N]) {
        let length = data[0].len();
        assert!(
            is_available() && length.is_multiple_of(BLOCK) && data.iter().all(|d| d.len() == length),
            "lanes advance by the same number of whole blocks"
        );
        // SAFETY: the features are there and every pointer can be read for `length` bytes, as just
        // asserted.
        unsafe { compress(states, data.map(<[u8]>::as_ptr), length) }
    }

    /// Runs `length` bytes of every lane through the compression function.
    ///
    /// # Safety
    /// The processor has the features; every pointer of `data` can be read for `length` bytes, a
    /// multiple of 64.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    unsafe fn compress<const N: usize>(states: &mut [[u32; 8]; N], data: [*const u8; N], length: usize) {
        // Words are big-endian in the stream.
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let mut abef = [_mm_setzero_si128(); N];
        let mut cdgh = [_mm_setzero_si128(); N];
        for lane in 0..N {
            // SAFETY: a state has 32 bytes.
            let [abcd, efgh] = unsafe {
                let state = states[lane].as_ptr();
                [
                    _mm_loadu_si128(state.cast()),
                    _mm_loadu_si128(state.add(4).cast()),
                ]
            };
            let cdab = _mm_shuffle_epi32::<0xB1>(abcd);
            let hgfe = _mm_shuffle_epi32::<0x1B>(efgh);
            abef[lane] = _mm_alignr_epi8::<8>(cdab, hgfe);
            cdgh[lane] = _mm_blend_epi16::<0xF0>(hgfe, cdab);
        }

        let mut at = 0;
        while at < length {
            let before = (abef, cdgh);
            // The last 16 words of the schedule, four to a register, of every lane.
            let mut words = [[_mm_setzero_si128(); 4]; N];
            for group in 0..16 {
                // SAFETY: there are 64 constants, `group < 16`.
                let constants = unsafe { _mm_loadu_si128(ROUND_CONSTANTS.as_ptr().add(4 * group).cast()) };
                for lane in 0..N {
                    let next = if group < 4 {
                        // SAFETY: `at + 64 <= length`, `group < 4`.
                        let bytes = unsafe { _mm_loadu_si128(data[lane].add(at + 16 * group).cast()) };
                        _mm_shuffle_epi8(bytes, swap)
                    } else {
                        let [w0, w1, w2, w3] = [
                            words[lane][group % 4],
                            words[lane][(group + 1) % 4],
                            words[lane][(group + 2) % 4],
                            words[lane][(group + 3) % 4],
                        ];
                        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
                        _mm_sha256msg2_epu32(sum, w3)
                    };
                    words[lane][group % 4] = next;
                    let with_constants = _mm_add_epi32(next, constants);
                    cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], with_constants);
                    abef[lane] = _mm_sha256rnds2_epu32(
                        abef[lane],
                        cdgh[lane],
                        _mm_shuffle_epi32::<0x0E>(with_constants),
                    );
                }
            }
            for lane in 0..N {
                abef[lane] = _mm_add_epi32(abef[lane], before.0[lane]);
                cdgh[lane] = _mm_add_epi32(cdgh[lane], before.1[lane]);
            }
            at += BLOCK;
        }

        for lane in 0..N {
            let feba = _mm_shuffle_epi32::<0x1B>(abef[lane]);
            let dchg = _mm_shuffle_epi32::<0xB1>(cdgh[lane]);
            // SAFETY: a state has 32 bytes.
            unsafe {
                let state = states[lane].as_mut_ptr();
                _mm_storeu_si128(state.cast(), _mm_blend_epi16::<0xF0>(feba, dchg));
                _mm_storeu_si128(state.add(4).cast(), _mm_alignr_epi8::<8>(dchg, feba));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8)
            .collect()
    }

    fn check(streams: &[&[u8]]) {
        if !is_interleaved() {
            println!("SKIPPED: this processor lacks the SHA extensions, aws-lc is compared with itself");
        }
        let expected: Vec<Hash> = streams.iter().map(|stream| Hash::of(stream)).collect();
        assert_eq!(digests(streams), expected);
    }

    #[test]
    fn every_length_around_the_padding_boundaries() {
        let data = bytes(300);
        for length in 0..data.len() {
            check(&[&data[..length]]);
        }
    }

    #[test]
    fn any_number_of_streams() {
        let data = bytes(5000);
        for count in 0..14 {
            let streams: Vec<&[u8]> = (0..count).map(|i| &data[i * 7..1000 + i * 300]).collect();
            check(&streams);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_streams(streams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 0..9)) {
            let streams: Vec<&[u8]> = streams.iter().map(Vec::as_slice).collect();
            check(&streams);
        }
    }
}
