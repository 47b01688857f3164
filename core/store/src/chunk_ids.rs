//! Chunk ids: dense, rising, never used twice.
//!
//! Ids are reserved in blocks. The mark in the metadata says where the next block begins and is
//! synced before the first id of a block is used; a restart goes on at the mark. What a crash
//! leaves unused of a block is never used, so no id can come back with other bytes.
use std::sync::atomic::{AtomicU64, Ordering};

use meta::{Durability, Meta};
use tokio::sync::Mutex;

use crate::{ChunkId, Error, Result, tables};

/// Ids reserved at a time: one synced transaction per 16 GiB of full chunks.
const BLOCK: u64 = 65_536;

/// Hands out chunk ids.
pub(crate) struct ChunkIds {
    meta: Meta,
    next: AtomicU64,
    /// End of the reserved block. Only grows, only under `reserving`.
    end: AtomicU64,
    reserving: Mutex<()>,
}

impl ChunkIds {
    /// Nothing is reserved until the first id is asked for.
    pub(crate) fn new(meta: Meta) -> Self {
        Self {
            meta,
            next: AtomicU64::new(0),
            end: AtomicU64::new(0),
            reserving: Mutex::new(()),
        }
    }

    /// The next id.
    pub(crate) async fn next(&self) -> Result<ChunkId> {
        loop {
            if let Some(id) = self.take() {
                return Ok(id);
            }
            let _reserving = self.reserving.lock().await;
            if let Some(id) = self.take() {
                return Ok(id);
            }
            let start = self
                .meta
                .write::<u64, Error, _>(Durability::Synced, |tx| {
                    // Ids begin at 1: zero stays free to mean none.
                    let start = tx
                        .get(&[tables::IDS])?
                        .map_or(Ok(1), |row| tables::u64_from(&row))?;
                    let end = start
                        .checked_add(BLOCK)
                        .filter(|end| *end < 1 << tables::CHUNK_BITS)
                        .ok_or_else(|| tables::damaged("chunk ids are used up"))?;
                    tx.put(&[tables::IDS], &end.to_be_bytes())?;
                    Ok(start)
                })
                .await?;
            self.next.store(start, Ordering::SeqCst);
            self.end.store(start + BLOCK, Ordering::SeqCst);
        }
    }

    fn take(&self) -> Option<ChunkId> {
        let end = self.end.load(Ordering::SeqCst);
        self.next
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |next| {
                (next < end).then_some(next + 1)
            })
            .ok()
            .map(ChunkId)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::*;
    use crate::testing;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn ids_are_dense_and_no_id_comes_twice() {
        let dir = tempfile::tempdir().unwrap();
        let ids = Arc::new(ChunkIds::new(testing::meta(dir.path())));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let ids = ids.clone();
                tokio::spawn(async move {
                    let mut mine = Vec::new();
                    for _ in 0..20_000 {
                        mine.push(ids.next().await.unwrap().0);
                    }
                    assert!(mine.is_sorted());
                    mine
                })
            })
            .collect();
        let mut all = HashSet::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        assert_eq!(all.len(), 160_000);
        assert_eq!(all.iter().max(), Some(&160_000));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_id_is_never_used_again_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let image = tempfile::tempdir().unwrap();
            {
                let ids = ChunkIds::new(testing::meta(dir.path()));
                for _ in 0..10 {
                    assert!(seen.insert(ids.next().await.unwrap()));
                }
                testing::copy(dir.path(), image.path());
            }
            // What a crash at that moment leaves.
            let ids = ChunkIds::new(testing::meta(image.path()));
            assert!(!seen.contains(&ids.next().await.unwrap()));
        }
    }
}
