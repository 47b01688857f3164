//! The one place that asks the operating system for randomness.

use crate::{Error, Result};

/// Fills `N` bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    // The rest of the crate is held to this module by a lint.
    #[allow(clippy::disallowed_methods)]
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Unreachable(format!("the source of randomness: {error}")))?;
    Ok(bytes)
}
