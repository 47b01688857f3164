//! Memory for segments and their parity, used again and again.
//!
//! A segment with its parity takes 96 MiB. Fresh memory of that size costs a page fault for every
//! 4 KiB of it, which together take as long as the erasure code. So a buffer that was filled once is
//! kept for the next segment, as long as segments come; those that nobody used between two looks of
//! the upkeep go back to the system.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cess::codec::{FRAGMENT_SIZE, FRAGMENTS};
use parking_lot::Mutex;

/// Bytes of a buffer: twelve fragments, of which the first four are the segment.
pub(crate) const SIZE: usize = FRAGMENTS * FRAGMENT_SIZE;

/// Buffers that nobody uses at the moment.
#[derive(Default)]
pub(crate) struct Buffers {
    free: Mutex<Vec<Vec<u8>>>,
    used: AtomicBool,
}

/// A buffer in use. What is in it at first is left over from its last use.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    home: Arc<Buffers>,
}

impl Buffers {
    /// A buffer of [`SIZE`] bytes.
    pub(crate) fn take(self: &Arc<Self>) -> Buffer {
        self.used.store(true, Ordering::Relaxed);
        let kept = self.free.lock().pop();
        Buffer {
            bytes: kept.unwrap_or_else(|| vec![0; SIZE]),
            home: self.clone(),
        }
    }

    /// Gives back to the system what was not used since the last call.
    pub(crate) fn trim(&self) {
        if !self.used.swap(false, Ordering::Relaxed) {
            self.free.lock().clear();
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.free.lock().push(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_buffer_is_used_again_and_goes_when_nobody_wants_it() {
        let buffers = Arc::new(Buffers::default());
        let mut buffer = buffers.take();
        buffer.as_mut()[7] = 7;
        let bytes = Bytes::from_owner(buffer);
        let part = bytes.slice(7..8);
        drop(bytes);
        assert!(buffers.free.lock().is_empty(), "a part of it is in use");
        drop(part);
        assert_eq!(buffers.free.lock().len(), 1);
        assert_eq!(buffers.take().as_ref()[7], 7, "the same memory");
        buffers.trim();
        assert_eq!(buffers.free.lock().len(), 1, "it was used a moment ago");
        buffers.trim();
        assert!(buffers.free.lock().is_empty());
    }
}
