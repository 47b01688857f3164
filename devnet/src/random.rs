//! Randomness of the operating system: the admin token, and nothing else.

/// 32 random bytes as hex.
#[allow(clippy::disallowed_methods)] // The one place that asks the system for randomness.
pub fn token() -> String {
    let bytes: [u8; 32] = rand::random();
    hex::encode(bytes)
}
