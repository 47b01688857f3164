//! What checkpoints are good for, and which of them stay.
use std::collections::{BTreeSet, HashSet};

use meta::{Read, Transaction};

use crate::checkpoint::rows::{self, Kept};
use crate::place::local::unpacked;
use crate::place::{isolate, levels};
use crate::{ChunkId, Error, Level, Result, Store, health, locations, references};

/// Verified checkpoints that stay.
const GENERATIONS: usize = 2;

/// What a checkpoint is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// Something that it needs can never be placed, cannot be rebuilt any more, or is nowhere: it is no
    /// checkpoint, and nothing is shared with it.
    Spoilt,
    /// On its way.
    Coming,
    /// A restore would find it.
    Placed,
    /// And it was read back.
    Good,
}

/// What `kept` is good for.
pub(super) fn worth<R: Read + ?Sized>(read: &R, kept: &Kept) -> Result<Worth> {
    let chunks = kept.chunks();
    let places = locations::get_many(read, &chunks)?;
    let located: HashSet<ChunkId> = places.iter().map(|(chunk, _)| *chunk).collect();
    for chunk in &chunks {
        let rotten = isolate::is_damaged(read, *chunk)?;
        if rotten || (!located.contains(chunk) && !unpacked::contains(read, *chunk)?) {
            return Ok(Worth::Spoilt);
        }
    }
    let segments: BTreeSet<(u64, u32)> = places
        .into_iter()
        .map(|(_, place)| (place.pack, place.segment))
        .collect();
    for (pack, segment) in segments {
        if health::record::get(read, pack, segment)?.is_some_and(|record| record.lost > 0) {
            return Ok(Worth::Spoilt);
        }
    }
    Ok(match levels::level(read, &chunks)? {
        Level::Staged => Worth::Coming,
        Level::Placed => Worth::Placed,
        Level::Verified => Worth::Good,
    })
}

/// Which of `kept`, oldest first, nobody needs. Needed are those that come, if newer than the newest
/// good one; the newest [`GENERATIONS`] good ones, and the newest good one of another lineage than
/// theirs. A spoilt one is needed by nobody who has a good one.
pub(super) fn superfluous(kept: &[Kept], worth: impl Fn(&Kept) -> Worth) -> Vec<Kept> {
    let good: Vec<&Kept> = kept.iter().filter(|one| worth(one) == Worth::Good).collect();
    let Some(newest) = good.last() else {
        return Vec::new();
    };
    let oldest = good
        .len()
        .checked_sub(GENERATIONS)
        .and_then(|at| good.get(at))
        .map_or(0, |one| one.manifest.number);
    let other = good
        .iter()
        .rev()
        .find(|one| one.manifest.lineage != newest.manifest.lineage)
        .map(|one| one.manifest.number);
    kept.iter()
        .filter(|one| {
            let number = one.manifest.number;
            let old = number < oldest && Some(number) != other;
            old || worth(one) == Worth::Spoilt
        })
        .cloned()
        .collect()
}

/// Keeps `gone` no longer, and releases the chunks that no other checkpoint needs.
pub(super) fn forget(tx: &mut dyn Transaction, store: &Store, gone: &[Kept]) -> Result<()> {
    for one in gone {
        rows::delete_kept(tx, one.manifest.number)?;
    }
    let needed: HashSet<ChunkId> = rows::kept(tx)?.iter().flat_map(Kept::chunks).collect();
    let mut chunks: Vec<ChunkId> = gone.iter().flat_map(Kept::chunks).collect();
    chunks.sort_unstable();
    chunks.dedup();
    for chunk in chunks {
        if needed.contains(&chunk) {
            continue;
        }
        match references::release(tx, &store.inner.staging, chunk) {
            // After a restore: it was on no miner any more.
            Ok(()) | Err(Error::UnknownChunk(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::Manifest;

    fn kept(number: u32, lineage: u32) -> Kept {
        Kept {
            manifest: Manifest::new(0, number, lineage, 0, 0, Vec::new()),
            parts: Vec::new(),
        }
    }

    fn gone(kept: &[Kept], verified: &[u32]) -> Vec<u32> {
        gone_with(kept, verified, &[])
    }

    fn gone_with(kept: &[Kept], verified: &[u32], spoilt: &[u32]) -> Vec<u32> {
        let worth = |one: &Kept| {
            let number = one.manifest.number;
            match (spoilt.contains(&number), verified.contains(&number)) {
                (true, _) => Worth::Spoilt,
                (false, true) => Worth::Good,
                (false, false) => Worth::Coming,
            }
        };
        superfluous(kept, worth)
            .iter()
            .map(|one| one.manifest.number)
            .collect()
    }

    #[test]
    fn two_generations_and_another_lineage_stay() {
        let all: Vec<Kept> = (1..=4).map(|number| kept(number, 1)).collect();
        assert_eq!(gone(&all, &[]), [0; 0]);
        assert_eq!(gone(&all, &[4]), [0; 0], "one is not enough");
        assert_eq!(gone(&all, &[2, 3]), [1]);
        assert_eq!(gone(&all, &[1, 2, 3, 4]), [1, 2]);
        let all = [kept(1, 1), kept(2, 1), kept(3, 3), kept(4, 3), kept(5, 3)];
        assert_eq!(
            gone(&all, &[1, 2, 3, 4, 5]),
            [1, 3],
            "the last of the lineage before stays"
        );
        assert_eq!(gone(&all, &[1, 2, 3]), [1]);
    }

    #[test]
    fn a_spoilt_one_goes_as_soon_as_there_is_a_good_one() {
        let all = [kept(1, 1), kept(2, 1), kept(3, 3)];
        assert_eq!(gone_with(&all, &[], &[1, 2]), [0; 0]);
        assert_eq!(gone_with(&all, &[3], &[1, 2]), [1, 2]);
    }
}
