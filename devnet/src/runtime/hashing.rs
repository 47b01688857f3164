//! The hashes that Substrate storage keys and blocks are made of.

use blake2::Digest as _;
use blake2::digest::consts::{U16, U32};

/// BLAKE2b-256.
pub fn blake2_256(data: &[u8]) -> [u8; 32] {
    blake2::Blake2b::<U32>::digest(data).into()
}

/// BLAKE2b-128.
pub fn blake2_128(data: &[u8]) -> [u8; 16] {
    blake2::Blake2b::<U16>::digest(data).into()
}

/// XXH64 with seeds 0 and 1, little-endian, one after the other.
pub fn twox_128(data: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&twox_64(data));
    out[8..].copy_from_slice(&twox_hash::XxHash64::oneshot(1, data).to_le_bytes());
    out
}

/// XXH64 with seed 0, little-endian.
pub fn twox_64(data: &[u8]) -> [u8; 8] {
    twox_hash::XxHash64::oneshot(0, data).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_match_the_network() {
        let prefix = [twox_128(b"FileBank"), twox_128(b"File")].concat();
        assert_eq!(
            hex::encode(prefix),
            "a3c62a50675125d74bc9f59e3f75adc9303fb39244d274417d5edffffa903f8a"
        );
    }
}
