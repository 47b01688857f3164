//! What to do with the extents of one block.
use std::collections::HashMap;

use store::{CHUNK_MAX, ChunkId, Level};

use crate::Result;
use crate::extent::Extent;

/// Extents that a run must have to be rewritten. With random writes of 4 KiB a block then has taken
/// about four of them since it was last one chunk: 256 KiB are rewritten per 16 KiB written at worst,
/// and a block has eight extents at most for long.
const FEW: usize = 8;
/// The same where the run has bytes that are beyond this disk already: rewriting lowers their level,
/// and they are uploaded again.
const FEW_ABOVE_STAGED: usize = 16;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Make these, which lie one behind the other in one chunk, one extent.
    Join(Vec<Extent>),
    /// Store the bytes of these as one chunk.
    Rewrite(Vec<Extent>),
}

/// The steps for the extents of one block, in order. `look` answers level and references of a chunk.
pub(super) fn plan(block: &[Extent], look: impl Fn(ChunkId) -> Result<(Level, u32)>) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for run in block.chunk_by(|a, b| a.end() == b.offset) {
        if pays(block, run, &look)? {
            steps.push(Step::Rewrite(run.to_vec()));
            continue;
        }
        for pieces in run.chunk_by(in_line) {
            let len: u64 = pieces.iter().map(|piece| u64::from(piece.record.len)).sum();
            if pieces.len() > 1 && len <= CHUNK_MAX as u64 {
                steps.push(Step::Join(pieces.to_vec()));
            }
        }
    }
    Ok(steps)
}

/// Whether `b` lies right behind `a` in the chunk, too.
fn in_line(a: &Extent, b: &Extent) -> bool {
    a.record.chunk == b.record.chunk && a.record.start + a.record.len == b.record.start
}

/// Whether a run is worth rewriting.
fn pays(block: &[Extent], run: &[Extent], look: &impl Fn(ChunkId) -> Result<(Level, u32)>) -> Result<bool> {
    let bytes: u64 = run.iter().map(|extent| u64::from(extent.record.len)).sum();
    if run.len() < FEW || bytes > CHUNK_MAX as u64 {
        return Ok(false);
    }
    let mut here: HashMap<ChunkId, u32> = HashMap::new();
    for extent in block {
        *here.entry(extent.record.chunk).or_default() += 1;
    }
    let (mut lowest, mut shared) = (FEW, 0);
    for extent in run {
        let (level, references) = look(extent.record.chunk)?;
        if level > Level::Staged {
            lowest = FEW_ABOVE_STAGED;
        }
        if here
            .get(&extent.record.chunk)
            .is_none_or(|here| references > *here)
        {
            shared += u64::from(extent.record.len);
        }
    }
    // What others hold stays where it is, and a copy of it is no gain.
    Ok(run.len() >= lowest && shared * 2 <= bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ExtentRecord;

    fn extent(offset: u64, chunk: u64, start: u32, len: u32) -> Extent {
        let chunk = ChunkId(chunk);
        Extent {
            offset,
            record: ExtentRecord { chunk, start, len },
        }
    }

    /// `count` chunks of 4 KiB without a hole.
    fn small(count: u64) -> Vec<Extent> {
        (0..count).map(|n| extent(n * 4096, 100 + n, 0, 4096)).collect()
    }

    fn staged(_: ChunkId) -> Result<(Level, u32)> {
        Ok((Level::Staged, 1))
    }

    #[test]
    fn many_small_ones_are_rewritten_and_few_are_not() {
        assert_eq!(plan(&small(7), staged).unwrap(), []);
        assert_eq!(plan(&small(8), staged).unwrap(), [Step::Rewrite(small(8))]);
        let placed = |_| Ok((Level::Placed, 1));
        assert_eq!(plan(&small(15), placed).unwrap(), []);
        assert_eq!(plan(&small(16), placed).unwrap(), [Step::Rewrite(small(16))]);
    }

    #[test]
    fn holes_part_runs() {
        let mut extents = small(15);
        extents.remove(7);
        assert_eq!(plan(&extents, staged).unwrap(), []);
    }

    #[test]
    fn what_others_hold_is_not_copied() {
        let shared = |_| Ok((Level::Staged, 2));
        assert_eq!(plan(&small(20), shared).unwrap(), []);
        // A chunk that is cut up within the block is held by nobody else.
        let cut: Vec<_> = (0..9)
            .map(|n| extent(n * 4096, 1 + n % 2, 8192 * n as u32, 4096))
            .collect();
        let five = |chunk: ChunkId| Ok((Level::Staged, if chunk == ChunkId(1) { 5 } else { 4 }));
        assert_eq!(plan(&cut, five).unwrap(), [Step::Rewrite(cut)]);
    }

    #[test]
    fn pieces_of_one_chunk_in_line_are_joined() {
        let pieces = [
            extent(0, 1, 100, 10),
            extent(10, 1, 110, 20),
            extent(30, 1, 200, 10),
            extent(40, 1, 210, 10),
            extent(60, 1, 220, 10),
        ];
        assert_eq!(
            plan(&pieces, staged).unwrap(),
            [
                Step::Join(pieces[..2].to_vec()),
                Step::Join(pieces[2..4].to_vec())
            ]
        );
    }
}
