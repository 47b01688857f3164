//! Randomness of the operating system, in one place.

/// Numbers that cannot be guessed.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the kernel's random source does not fail once it is seeded");
    bytes
}
