//! Fresh secrets from the operating system.
#![allow(clippy::disallowed_methods)] // The one place of this crate that may ask for randomness.

use anyhow::{Context as _, Result};

/// `N` unpredictable bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut out = [0; N];
    getrandom::fill(&mut out).context("the operating system gives no random numbers")?;
    Ok(out)
}

/// Unpredictable text of `2 × N` lower-case hex digits.
pub fn hex<const N: usize>() -> Result<String> {
    Ok(hex::encode(bytes::<N>()?))
}
