//! Bytes that are cheap to make and to recognise.
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// `len` bytes that depend on `seed` alone and do not compress.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    SmallRng::seed_from_u64(seed).fill_bytes(&mut out);
    out
}

/// SHA-256 as lower-case hex.
pub fn sha256(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}
