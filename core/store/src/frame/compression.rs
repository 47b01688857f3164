//! Making chunks smaller before they are sealed, where that helps.
//!
//! Most bytes that reach a store of files are compressed already. A sample tells: when LZ4 saves
//! less than a sixteenth of it, the chunk is kept as it is; unless Zstandard is asked for and the
//! sample uses some bytes more than others, which LZ4 cannot make use of. Kept too is a chunk that the whole
//! attempt makes less than a sixteenth smaller: reading it back would cost more than it saves.
use std::cell::RefCell;

use serde::{Deserialize, Serialize};

/// Bytes of a sample.
const SAMPLE: usize = 4096;
/// Below this nothing can be saved that matters.
const WORTHWHILE: usize = 128;
/// Bits per byte of a sample, below which coding bytes by how often they come saves something.
/// Random bytes have 7.95 in a sample of this size, text in base 64 has 6.
const CODED: f64 = 7.2;
/// Level of zstd: the fastest of its normal levels.
const ZSTD_LEVEL: i32 = 1;

/// How chunks are compressed. The numbers are those in the frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[serde(rename = "off", alias = "none")]
    None = 0,
    /// LZ4 block format.
    Lz4 = 1,
    /// Zstandard.
    Zstd = 2,
}

impl Compression {
    /// From the number in a frame header.
    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// `plain` made smaller, or `None` when it is better kept as it is.
    pub(crate) fn compress(self, plain: &[u8]) -> Option<Vec<u8>> {
        if self == Self::None || plain.len() < WORTHWHILE {
            return None;
        }
        let most = plain.len() - plain.len() / 16;
        if plain.len() > 4 * SAMPLE {
            // The middle: the beginning of a file is often a header unlike the rest.
            let middle = plain.len() / 2;
            let sample = &plain[middle..middle + SAMPLE];
            let repeats = lz4_flex::block::compress(sample).len() <= SAMPLE - SAMPLE / 16;
            let promising = repeats || (self == Self::Zstd && entropy(sample) < CODED);
            if !promising {
                return None;
            }
        }
        let smaller = match self {
            Self::None => return None,
            Self::Lz4 => lz4_flex::block::compress(plain),
            Self::Zstd => zstd_compress(plain)?,
        };
        (smaller.len() <= most).then_some(smaller)
    }

    /// The `len` bytes that `body` was made from; `None` when it was not made from as many.
    pub(crate) fn decompress(self, body: Vec<u8>, len: usize) -> Option<Vec<u8>> {
        let plain = match self {
            Self::None => body,
            Self::Lz4 => {
                let mut plain = vec![0; len];
                let filled = lz4_flex::block::decompress_into(&body, &mut plain).ok()?;
                plain.truncate(filled);
                plain
            }
            Self::Zstd => zstd_decompress(&body, len)?,
        };
        (plain.len() == len).then_some(plain)
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "off",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// Bits per byte, if each byte were coded by how often it comes.
fn entropy(sample: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in sample {
        counts[usize::from(*byte)] += 1;
    }
    let all = sample.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / all;
            -share * share.log2()
        })
        .sum()
}

thread_local! {
    // Setting up a context costs more than compressing a small chunk with it.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

fn zstd_compress(plain: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        if compressor.is_none() {
            *compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok();
        }
        compressor.as_mut()?.compress(plain).ok()
    })
}

fn zstd_decompress(body: &[u8], len: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|decompressor| {
        if decompressor.is_none() {
            *decompressor = zstd::bulk::Decompressor::new().ok();
        }
        decompressor.as_mut()?.decompress(body, len).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[test]
    fn what_compresses_is_compressed_and_comes_back() {
        for len in [128, 1000, 4096, 70_000, 262_144] {
            let plain: Vec<u8> = (0..len).map(|n| (n / 64) as u8).collect();
            for compression in [Compression::Lz4, Compression::Zstd] {
                let body = compression.compress(&plain).unwrap();
                assert!(body.len() < plain.len() / 2, "{compression:?} {len}");
                assert!(compression.decompress(body.clone(), len - 1).is_none());
                assert!(compression.decompress(body.clone(), len + 1).is_none());
                assert_eq!(compression.decompress(body, len).unwrap(), plain);
            }
        }
    }

    #[test]
    fn text_without_repetitions_is_for_zstd() {
        let digits: Vec<u8> = noise(262_144, 5).iter().map(|byte| b'a' + byte % 16).collect();
        assert!(Compression::Lz4.compress(&digits).is_none());
        let body = Compression::Zstd.compress(&digits).unwrap();
        assert!(body.len() < digits.len() * 6 / 10, "{}", body.len());
        assert_eq!(Compression::Zstd.decompress(body, digits.len()).unwrap(), digits);
    }

    #[test]
    fn names_are_those_of_the_settings() {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let json = format!("\"{compression}\"");
            assert_eq!(serde_json::to_string(&compression).unwrap(), json);
            assert_eq!(serde_json::from_str::<Compression>(&json).unwrap(), compression);
        }
        assert_eq!(
            serde_json::from_str::<Compression>("\"none\"").unwrap(),
            Compression::None
        );
    }

    #[test]
    fn what_does_not_compress_is_kept() {
        for len in [1, 100, 4096, 262_144] {
            for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
                assert!(compression.compress(&noise(len, 3)).is_none());
            }
        }
        assert!(Compression::None.compress(&[0; 5000]).is_none());
    }
}
