//! Whose a checkpoint's chunks are, when no index says it any more.
//!
//! A restore finds manifests by what the segments' indexes note of their chunks: nobody else knows them
//! after a loss. A segment that is stored again from what is left of it may have lost its index, and with
//! it the note. For everybody's bytes the metadata know the way; for those of a checkpoint, its own row.
use std::collections::HashMap;

use meta::Read;

use crate::checkpoint::BLOCK;
use crate::checkpoint::rows;
use crate::{ChunkId, Owner, Result};

/// Adds to `owners` those of `chunks` that a kept checkpoint needs and nobody is noted for.
pub(crate) fn complete<R: Read + ?Sized>(
    read: &R,
    owners: &mut HashMap<ChunkId, Owner>,
    chunks: impl Iterator<Item = ChunkId>,
) -> Result<()> {
    let mut unknown: Vec<ChunkId> = chunks
        .filter(|chunk| owners.get(chunk).is_none_or(|owner| owner.inode == 0))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    unknown.sort_unstable();
    for kept in rows::kept(read)? {
        let count = kept.parts.len();
        let parts = kept.parts.iter().enumerate();
        let parts = parts.map(|(part, chunk)| (*chunk, kept.manifest.mark(part, count)));
        let block = Owner {
            inode: BLOCK,
            offset: 0,
        };
        let blocks = kept.manifest.chunks().map(|chunk| (chunk, block));
        owners.extend(
            parts
                .chain(blocks)
                .filter(|(chunk, _)| unknown.binary_search(chunk).is_ok()),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::{Block, Manifest};
    use crate::memory_rows::Rows;

    #[test]
    fn what_a_checkpoint_needs_is_known_by_its_row() {
        let block = Block {
            digest: [7; 16],
            chunks: vec![ChunkId(10), ChunkId(11)],
        };
        let manifest = Manifest::new(0, 5, 5, 0, 1, vec![block]);
        let parts = manifest.parts().unwrap();
        let mut rows = Rows::default();
        let kept = rows::Kept {
            manifest,
            parts: vec![ChunkId(12)],
        };
        rows::put_kept(&mut rows, &kept).unwrap();
        let theirs = Owner { inode: 3, offset: 9 };
        let nobody = Owner { inode: 0, offset: 0 };
        let mut owners = HashMap::from([(ChunkId(11), theirs), (ChunkId(12), nobody)]);
        complete(&rows, &mut owners, (10..14).map(ChunkId)).unwrap();
        assert_eq!(owners[&ChunkId(10)].inode, BLOCK);
        assert_eq!(owners[&ChunkId(11)], theirs, "an index said it");
        assert_eq!(owners[&ChunkId(12)], parts[0].0);
        assert_eq!(owners.get(&ChunkId(13)), None);
    }
}
