//! What the tests stand on.
pub(crate) mod gateway;
pub(crate) mod map;
pub(crate) mod syscalls;

pub(crate) use gateway::Gateway;
pub(crate) use map::Map;

/// The errno of a failed call.
#[track_caller]
pub(crate) fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result
        .expect_err("the call should have failed")
        .raw_os_error()
        .expect("an errno")
}

/// `len` bytes that differ from place to place and from seed to seed.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    use rand::{RngCore, SeedableRng, rngs::StdRng};
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}
