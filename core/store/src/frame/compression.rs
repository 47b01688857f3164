//! Making chunks smaller before they are sealed, where that helps.
//!
//! Most bytes that reach a store of files are compressed already. A sample tells: when LZ4 saves
//! less than a sixteenth of it, the chunk is kept as it is. Kept too is a chunk that the whole
//! attempt makes less than a sixteenth smaller: reading it back would cost more than it saves.
use std::cell::RefCell;

use serde::{Deserialize, Serialize};

/// Bytes of a sample.
const SAMPLE: usize = 4096;
/// Below this nothing can be saved that matters.
const WORTHWHILE: usize = 128;
/// Level of zstd: the fastest of its normal levels.
const ZSTD_LEVEL: i32 = 1;

/// How chunks are compressed. The numbers are those in the frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
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
            if lz4_flex::block::compress(sample).len() > SAMPLE - SAMPLE / 16 {
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
    fn what_does_not_compress_is_kept() {
        for len in [1, 100, 4096, 262_144] {
            for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
                assert!(compression.compress(&noise(len, 3)).is_none());
            }
        }
        assert!(Compression::None.compress(&[0; 5000]).is_none());
    }
}
