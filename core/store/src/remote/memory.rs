//! Memory that reading from miners may take, beside the caches.
//!
//! One setting, `read_memory`, is divided: whole segments being decoded, decoded segments kept for
//! their neighbours, ranges being rebuilt from four others, and chunks fetched ahead of a reader.
//! Each has a pool of its own, and who holds from one waits at most for those behind it in this
//! order: ahead, rebuilding, decoding. So nobody waits in a circle.
//!
//! What a reader asks for itself is not counted: a chunk per request of a door, which bounds its
//! requests.
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::CHUNK_MAX;
use cess::codec::SEGMENT_SIZE;

/// Less than this is taken for this.
pub(crate) const LEAST: u64 = 128 << 20;
/// Memory of one decode: four fragments and the segment they make.
const DECODE: u64 = 2 * SEGMENT_SIZE as u64;
/// Unit of the pool for rebuilding.
const UNIT: usize = 4096;

/// The pools.
pub(crate) struct ReadMemory {
    /// One permit per chunk.
    ahead: Arc<Semaphore>,
    ahead_permits: usize,
    /// One permit per [`UNIT`].
    rebuilding: Semaphore,
    rebuilding_permits: usize,
    /// One permit per segment.
    decoding: Arc<Semaphore>,
    decoding_permits: usize,
    segments_kept: usize,
}

impl ReadMemory {
    /// Divides `total` bytes: an eighth for decoding and one for what was decoded, but a segment at
    /// least each; of the rest a quarter for rebuilding.
    pub(crate) fn new(total: u64) -> Self {
        let total = total.max(LEAST);
        let decodes = (total / 8 / DECODE).max(1);
        let kept = (total / 8 / SEGMENT_SIZE as u64).max(1);
        let rest = total - decodes * DECODE - kept * SEGMENT_SIZE as u64;
        let ahead_permits = (rest - rest / 4) as usize / CHUNK_MAX;
        let rebuilding_permits = ((rest / 4) as usize / UNIT).min(u32::MAX as usize);
        Self {
            ahead: Arc::new(Semaphore::new(ahead_permits)),
            ahead_permits,
            rebuilding: Semaphore::new(rebuilding_permits),
            rebuilding_permits,
            decoding: Arc::new(Semaphore::new(decodes as usize)),
            decoding_permits: decodes as usize,
            segments_kept: kept as usize,
        }
    }

    /// Decoded segments that may be kept.
    pub(crate) const fn segments_kept(&self) -> usize {
        self.segments_kept
    }

    /// Bytes that may be on their way ahead of readers.
    pub(crate) const fn ahead_limit(&self) -> u64 {
        (self.ahead_permits * CHUNK_MAX) as u64
    }

    /// Room for one chunk ahead of a reader, if there is any.
    pub(crate) fn ahead(&self) -> Option<OwnedSemaphorePermit> {
        self.ahead.clone().try_acquire_owned().ok()
    }

    /// Chunks that there is room for ahead of readers.
    pub(crate) fn ahead_free(&self) -> usize {
        self.ahead.available_permits()
    }

    /// Room for rebuilding `bytes` bytes from four others, once there is; more than the pool has
    /// counts as all of it.
    pub(crate) async fn rebuild(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let permits = (5 * bytes).div_ceil(UNIT).min(self.rebuilding_permits);
        // The semaphores are never closed.
        self.rebuilding.acquire_many(permits as u32).await.ok()
    }

    /// Room for decoding a segment, once there is. It goes to where the memory is taken: a thread that
    /// decodes keeps it to its end, although nobody may wait for that any more.
    pub(crate) async fn decode(&self) -> Option<OwnedSemaphorePermit> {
        self.decoding.clone().acquire_owned().await.ok()
    }

    /// Bytes that are taken, decoded segments that are kept left out.
    pub(crate) fn used(&self) -> u64 {
        let ahead = self.ahead_permits - self.ahead.available_permits();
        let rebuilding = self.rebuilding_permits - self.rebuilding.available_permits();
        let decoding = self.decoding_permits - self.decoding.available_permits();
        (ahead * CHUNK_MAX + rebuilding * UNIT) as u64 + decoding as u64 * DECODE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_pools_add_up_to_the_setting() {
        for total in [0, LEAST, 256 << 20, 1 << 30] {
            let memory = ReadMemory::new(total);
            assert_eq!(memory.used(), 0);
            let ahead: Vec<_> = std::iter::from_fn(|| memory.ahead()).collect();
            assert_eq!(ahead.len() * CHUNK_MAX, memory.ahead_limit() as usize);
            let rebuilding = memory.rebuild(1 << 40).await;
            let mut decoding = Vec::new();
            for _ in 0..memory.decoding_permits {
                decoding.push(memory.decode().await);
            }
            let all = memory.used() + (memory.segments_kept() * SEGMENT_SIZE) as u64;
            let total = total.max(LEAST);
            assert!(all <= total && all > total - (1 << 20), "{all} of {total}");
            drop((ahead, rebuilding, decoding));
            assert_eq!(memory.used(), 0);
        }
    }
}
