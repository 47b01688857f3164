//! Randomness of the operating system, in one place.
use crate::{Error, Result};

/// A random number that cannot be guessed.
pub(crate) fn u64() -> Result<u64> {
    let mut bytes = [0; 8];
    // The one place of this crate that asks the operating system for randomness.
    #[allow(clippy::disallowed_methods)]
    getrandom::fill(&mut bytes).map_err(|error| Error::Internal(format!("no randomness: {error}")))?;
    Ok(u64::from_be_bytes(bytes))
}
