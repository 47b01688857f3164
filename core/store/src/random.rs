//! Randomness of the operating system, in one place.
//!
//! Keys, salts and nonces come from here, and nothing else asks the system.

/// Fills `bytes` with numbers that cannot be guessed.
#[allow(clippy::disallowed_methods)] // the one place
pub fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the kernel's random source does not fail once it is seeded");
}

/// A random number.
pub fn u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
