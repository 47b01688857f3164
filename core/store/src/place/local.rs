//! What placing needs from this gateway's own disk and keys.
use async_trait::async_trait;
use bytes::Bytes;
use meta::{Read, Transaction};

use crate::{ChunkId, Owner, Result};

/// Staging and keys, as placing sees them.
#[async_trait]
pub(crate) trait Local: Send + Sync + 'static {
    /// The sealed frame of a staged chunk. May block on the disk.
    fn frame(&self, chunk: ChunkId) -> Result<Bytes>;
    /// Who asked for a staged chunk.
    fn owner(&self, chunk: ChunkId) -> Result<Owner>;
    /// The wrapped domain key and sub-key that opens `frame`, with the pair they belong to.
    fn wrapped_keys(&self, frame: &[u8]) -> Result<crate::pack::index::Keys>;
    /// Seals a segment's index, bound to the segment's header.
    fn seal_index(&self, header: &[u8], index: &[u8]) -> Result<Vec<u8>>;
    /// Gives back the staging space of chunks: the network has them, or nothing refers to them.
    /// Chunks that staging does not have are passed over.
    async fn reclaim(&self, chunks: &[ChunkId]) -> Result<()>;
}

/// Chunks that no pack holds.
pub(crate) mod unpacked {
    use super::*;
    use std::ops::Bound;

    const TABLE: u8 = 0x81;

    fn key(chunk: ChunkId) -> [u8; 9] {
        let mut key = [TABLE; 9];
        key[1..].copy_from_slice(&chunk.0.to_be_bytes());
        key
    }

    fn parse(row: meta::KeyValue) -> Result<(ChunkId, u32)> {
        let damaged = || meta::Error::Damaged("unpacked table".into());
        let id = row
            .0
            .get(1..)
            .and_then(|id| id.try_into().ok())
            .ok_or_else(damaged)?;
        let len = row.1.as_slice().try_into().map_err(|_| damaged())?;
        Ok((ChunkId(u64::from_be_bytes(id)), u32::from_be_bytes(len)))
    }

    /// Chunks from `from` on, with the lengths of their frames, in rising order.
    pub(crate) fn from<R: Read + ?Sized>(
        read: &R,
        from: ChunkId,
    ) -> Result<impl Iterator<Item = Result<(ChunkId, u32)>> + '_> {
        let start = key(from);
        Ok(read
            .range(Bound::Included(&start), Bound::Excluded(&[TABLE + 1]), false)?
            .map(|row| parse(row?)))
    }

    /// Chunks from `first` to `last`.
    pub(crate) fn between<R: Read + ?Sized>(
        read: &R,
        first: ChunkId,
        last: ChunkId,
    ) -> Result<impl Iterator<Item = Result<(ChunkId, u32)>> + '_> {
        let (start, end) = (key(first), key(last));
        Ok(read
            .range(Bound::Included(&start), Bound::Included(&end), false)?
            .map(|row| parse(row?)))
    }

    /// The highest chunk.
    pub(crate) fn last<R: Read + ?Sized>(read: &R) -> Result<Option<ChunkId>> {
        let row = read
            .range(Bound::Included(&[TABLE]), Bound::Excluded(&[TABLE + 1]), true)?
            .next();
        row.map(|row| Ok(parse(row?)?.0)).transpose()
    }

    /// Whether no pack holds `chunk`, though it is recorded.
    pub(crate) fn contains<R: Read + ?Sized>(read: &R, chunk: ChunkId) -> Result<bool> {
        Ok(read.get(&key(chunk))?.is_some())
    }

    /// `chunk` waits for a pack.
    pub(crate) fn put(tx: &mut dyn Transaction, chunk: ChunkId, frame_len: u32) -> Result<()> {
        Ok(tx.put(&key(chunk), &frame_len.to_be_bytes())?)
    }

    /// A pack took `chunk`.
    pub(crate) fn delete(tx: &mut dyn Transaction, chunk: ChunkId) -> Result<()> {
        Ok(tx.delete(&key(chunk))?)
    }
}
