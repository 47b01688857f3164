//! Randomness of the operating system, in one place.

/// `N` bytes that cannot be guessed.
#[allow(clippy::disallowed_methods)] // the one place
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel's random source does not fail once it is seeded");
    bytes
}
