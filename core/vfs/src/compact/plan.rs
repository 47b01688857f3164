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

/// The steps for the extents of one block, in order. `look` answers level and references of a chunk,
/// `is_shared` whether a snapshot or the origin of a clone has the extent as its own, too.
pub(super) fn plan(
    block: &[Extent],
    look: impl Fn(ChunkId) -> Result<(Level, u32)>,
    is_shared: impl Fn(&Extent) -> Result<bool>,
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut here: HashMap<ChunkId, u32> = HashMap::new();
    for extent in block {
        *here.entry(extent.record.chunk).or_default() += 1;
    }
    for run in block.chunk_by(|a, b| a.end() == b.offset) {
        if run.len() < FEW && !run.windows(2).any(|two| in_line(&two[0], &two[1])) {
            continue;
        }
        let kinds = run
            .iter()
            .map(|extent| Of::look(&here, extent, &look, &is_shared))
            .collect::<Result<Vec<_>>>()?;
        let mut rest = run;
        for alike in kinds.chunk_by(|a, b| a.is_own == b.is_own) {
            let part;
            (part, rest) = rest.split_at(alike.len());
            if alike[0].is_own && pays(part, alike) {
                steps.push(Step::Rewrite(part.to_vec()));
                continue;
            }
            let mut rest = part;
            for alike in alike.chunk_by(|a, b| a.is_kept == b.is_kept) {
                let part;
                (part, rest) = rest.split_at(alike.len());
                // Whoever has the extents as they are would have to be given rows of its own.
                if alike[0].is_kept {
                    continue;
                }
                for pieces in part.chunk_by(in_line) {
                    let len: u64 = pieces.iter().map(|piece| u64::from(piece.record.len)).sum();
                    if pieces.len() > 1 && len <= CHUNK_MAX as u64 {
                        steps.push(Step::Join(pieces.to_vec()));
                    }
                }
            }
        }
    }
    Ok(steps)
}

/// Whose an extent's bytes are.
struct Of {
    /// Nobody but this block holds them: what others hold stays where it is, and a copy of it would be
    /// no gain.
    is_own: bool,
    /// A snapshot or an origin has the extent, too.
    is_kept: bool,
    /// They have left this disk.
    is_above_staged: bool,
}

impl Of {
    fn look(
        here: &HashMap<ChunkId, u32>,
        extent: &Extent,
        look: &impl Fn(ChunkId) -> Result<(Level, u32)>,
        is_shared: &impl Fn(&Extent) -> Result<bool>,
    ) -> Result<Self> {
        let chunk = extent.record.chunk;
        let (level, references) = look(chunk)?;
        let is_kept = is_shared(extent)?;
        Ok(Self {
            is_own: !is_kept && here.get(&chunk).is_some_and(|here| references <= *here),
            is_kept,
            is_above_staged: level > Level::Staged,
        })
    }
}

/// Whether `b` lies right behind `a` in the chunk, too.
fn in_line(a: &Extent, b: &Extent) -> bool {
    a.record.chunk == b.record.chunk && a.record.start + a.record.len == b.record.start
}

/// Whether extents of one run are worth rewriting.
fn pays(run: &[Extent], kinds: &[Of]) -> bool {
    let bytes: u64 = run.iter().map(|extent| u64::from(extent.record.len)).sum();
    let lowest = if kinds.iter().any(|kind| kind.is_above_staged) {
        FEW_ABOVE_STAGED
    } else {
        FEW
    };
    run.len() >= lowest && bytes <= CHUNK_MAX as u64
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

    #[allow(clippy::unnecessary_wraps)] // as the real one
    fn own(_: &Extent) -> Result<bool> {
        Ok(false)
    }

    #[test]
    fn many_small_ones_are_rewritten_and_few_are_not() {
        assert_eq!(plan(&small(7), staged, own).unwrap(), []);
        assert_eq!(plan(&small(8), staged, own).unwrap(), [Step::Rewrite(small(8))]);
        let placed = |_| Ok((Level::Placed, 1));
        assert_eq!(plan(&small(15), placed, own).unwrap(), []);
        assert_eq!(plan(&small(16), placed, own).unwrap(), [Step::Rewrite(small(16))]);
    }

    #[test]
    fn holes_part_runs() {
        let mut extents = small(15);
        extents.remove(7);
        assert_eq!(plan(&extents, staged, own).unwrap(), []);
    }

    #[test]
    fn what_others_hold_is_not_copied() {
        let shared = |_| Ok((Level::Staged, 2));
        assert_eq!(plan(&small(20), shared, own).unwrap(), []);
        // A chunk that is cut up within the block is held by nobody else.
        let cut: Vec<_> = (0..9)
            .map(|n| extent(n * 4096, 1 + n % 2, 8192 * n as u32, 4096))
            .collect();
        let five = |chunk: ChunkId| Ok((Level::Staged, if chunk == ChunkId(1) { 5 } else { 4 }));
        assert_eq!(plan(&cut, five, own).unwrap(), [Step::Rewrite(cut)]);
    }

    #[test]
    fn what_a_snapshot_has_too_parts_runs() {
        let extents = small(30);
        let first_half = |extent: &Extent| Ok(extent.offset < 15 * 4096);
        assert_eq!(
            plan(&extents, staged, first_half).unwrap(),
            [Step::Rewrite(extents[15..].to_vec())]
        );
        let every_fifth = |extent: &Extent| Ok(extent.offset.is_multiple_of(5 * 4096));
        assert_eq!(plan(&extents, staged, every_fifth).unwrap(), []);
        // Nor are they joined.
        let pieces = [extent(0, 1, 0, 10), extent(10, 1, 10, 10)];
        assert_eq!(plan(&pieces, staged, |_| Ok(true)).unwrap(), []);
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
            plan(&pieces, staged, own).unwrap(),
            [
                Step::Join(pieces[..2].to_vec()),
                Step::Join(pieces[2..4].to_vec())
            ]
        );
    }
}
