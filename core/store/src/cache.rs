//! What only speeds things up: plaintext in memory, ciphertext on disk. Both keep to a budget in
//! bytes and may forget anything at any time.
mod clean_block;
pub(crate) mod disk;
pub(crate) mod memory;
