//! What a checkpoint lists.
use serde::{Deserialize, Serialize};

use crate::checkpoint::MANIFEST;
use crate::{CHUNK_MAX, ChunkId, Owner};

const VERSION: u8 = 1;
/// Most bytes of a manifest in one chunk.
const PART: usize = CHUNK_MAX;

/// A run of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// First half of the SHA-256 of the rows before they are compressed.
    pub digest: [u8; 16],
    /// The chunks that hold it, one after the other.
    pub chunks: Vec<ChunkId>,
}

/// A whole checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    version: u8,
    /// How often the namespace had been restored before.
    pub incarnation: u32,
    /// Rises with each checkpoint of a namespace.
    pub number: u32,
    /// Number of the checkpoint whose blocks were all written anew, and since which they are shared.
    pub lineage: u32,
    /// When its image was taken, in milliseconds since 1970-01-01 UTC.
    pub taken: u64,
    /// Rows in it.
    pub rows: u64,
    /// Blocks in key order.
    pub blocks: Vec<Block>,
}

impl Manifest {
    /// A checkpoint of `blocks`.
    pub(crate) fn new(
        incarnation: u32,
        number: u32,
        lineage: u32,
        taken: u64,
        rows: u64,
        blocks: Vec<Block>,
    ) -> Self {
        Self {
            version: VERSION,
            incarnation,
            number,
            lineage,
            taken,
            rows,
            blocks,
        }
    }

    /// Chunks of its blocks.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = ChunkId> + '_ {
        self.blocks.iter().flat_map(|block| block.chunks.iter().copied())
    }

    /// The bytes, cut into parts that fit chunks, each with the owner that marks it.
    pub(crate) fn parts(&self) -> Option<Vec<(Owner, Vec<u8>)>> {
        let bytes = zstd::bulk::compress(&postcard::to_stdvec(self).ok()?, 3).ok()?;
        let count = bytes.len().div_ceil(PART);
        if count > usize::from(u16::MAX) {
            return None;
        }
        Some(
            bytes
                .chunks(PART)
                .enumerate()
                .map(|(part, bytes)| (self.mark(part, count), bytes.to_vec()))
                .collect(),
        )
    }

    /// The owner that marks part `part` (from 0) of `count`, at most 65,535.
    pub(crate) fn mark(&self, part: usize, count: usize) -> Owner {
        Owner {
            inode: MANIFEST,
            offset: Mark {
                number: self.number,
                parts: count as u16,
                part: part as u16,
            }
            .to_offset(),
        }
    }

    /// From the parts in order; `None` when they are no manifest of this version.
    pub(crate) fn from_parts(bytes: &[u8]) -> Option<Self> {
        let plain = zstd::stream::decode_all(bytes).ok()?;
        let manifest: Self = postcard::from_bytes(&plain).ok()?;
        (manifest.version == VERSION).then_some(manifest)
    }
}

/// Which part of which manifest a chunk is: the offset of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// Number of the checkpoint.
    pub number: u32,
    /// Parts in all.
    pub parts: u16,
    /// This one, from 0.
    pub part: u16,
}

impl Mark {
    fn to_offset(self) -> u64 {
        (u64::from(self.number) << 32) | (u64::from(self.parts) << 16) | u64::from(self.part)
    }

    /// From an owner's offset.
    pub(crate) const fn from_offset(offset: u64) -> Self {
        Self {
            number: (offset >> 32) as u32,
            parts: (offset >> 16) as u16,
            part: offset as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_from_its_parts() {
        let block = |number: u64| Block {
            digest: *crate::testing::noise(16, number).first_chunk().unwrap(),
            chunks: vec![ChunkId(number), ChunkId(number + 1)],
        };
        let manifest = Manifest::new(1, 7, 5, 9, 100_000, (0..30_000).map(block).collect());
        let parts = manifest.parts().unwrap();
        assert!(parts.len() > 1, "it takes more than one chunk");
        for (number, (owner, bytes)) in parts.iter().enumerate() {
            let mark = Mark::from_offset(owner.offset);
            assert_eq!(
                (mark.number, mark.parts, mark.part),
                (7, parts.len() as u16, number as u16)
            );
            assert!(owner.inode == MANIFEST && bytes.len() <= CHUNK_MAX);
        }
        let bytes: Vec<u8> = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(Manifest::from_parts(&bytes), Some(manifest));
        assert_eq!(Manifest::from_parts(&bytes[..bytes.len() - 1]), None);
    }
}
