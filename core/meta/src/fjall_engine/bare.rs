//! fjall itself, without what this crate puts around it: what benchmarks compare with.
use std::ops::Bound;
use std::path::Path;

use fjall::{Iter, OptimisticTxKeyspace, Readable, Slice};

use super::{Open, VIEWS_PER_COMMIT, from_fjall, open};
use crate::observed::{Counts, Step, Work};
use crate::{Error, Result};

/// fjall with the settings of [`super::FjallEngine`]. Rows are neither copied nor checked, nobody is told
/// of a commit, and commits have no number.
pub struct BareFjall {
    open: Open,
}

impl BareFjall {
    /// Opens or creates the database in `path` with a block cache of `cache_bytes`.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self> {
        Ok(Self {
            open: open(path, cache_bytes)?,
        })
    }

    /// Does again what was written down: the same reads in as many views, the same reads and writes in as
    /// many transactions that check for conflicts. Answers what that was, counted here.
    /// [`Error::Conflict`] as fjall answers it.
    pub fn replay(&self, work: &[Work]) -> Result<Counts> {
        let Open { rows, db } = &self.open;
        let mut counts = Counts::default();
        for work in work {
            if !work.commits {
                counts.views += 1;
                let view = db.read_tx();
                for step in &work.steps {
                    look(&view, rows, step, &mut counts)?;
                }
                continue;
            }
            let mut tx = db.write_tx().map_err(from_fjall)?;
            for step in &work.steps {
                match step {
                    Step::Put(key, value) => tx.insert(rows, key.as_slice(), value.as_slice()),
                    Step::Delete(key) => tx.remove(rows, key.as_slice()),
                    read => {
                        look(&tx, rows, read, &mut counts)?;
                        continue;
                    }
                }
                counts.writes += 1;
            }
            tx.commit().map_err(from_fjall)?.map_err(|_| Error::Conflict)?;
            counts.commits += 1;
            // Without this fjall goes through thousands of commits at each.
            for _ in 0..VIEWS_PER_COMMIT {
                drop(db.read_tx());
            }
        }
        Ok(counts)
    }
}

fn look(read: &impl Readable, rows: &OptimisticTxKeyspace, step: &Step, counts: &mut Counts) -> Result<()> {
    match step {
        Step::Get(key) => {
            counts.gets += 1;
            read.get(rows, key).map_err(from_fjall)?;
        }
        Step::Range {
            from, to, reverse, ..
        } => {
            counts.ranges += 1;
            let bounds: (Bound<&[u8]>, Bound<&[u8]>) =
                (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
            let found: Iter = read.range::<&[u8], _>(rows, bounds);
            let most = step.taken();
            counts.rows += if *reverse {
                take(found.rev(), most)?
            } else {
                take(found, most)?
            };
        }
        Step::Put(..) | Step::Delete(_) => {}
    }
    Ok(())
}

/// Reads that many rows, if there are. Answers how many there were.
fn take(found: impl Iterator<Item = fjall::Guard>, most: u64) -> Result<u64> {
    let mut taken = 0;
    for row in found.take(most as usize) {
        let (_key, _value): (Slice, Slice) = row.into_inner().map_err(from_fjall)?;
        taken += 1;
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{Observed, Observer};
    use crate::{Engine as _, FjallEngine, KeyValue};

    fn rows(engine: &FjallEngine) -> Vec<KeyValue> {
        let view = engine.snapshot().unwrap();
        let rows = view.range(Bound::Unbounded, Bound::Unbounded, false).unwrap();
        rows.collect::<Result<_>>().unwrap()
    }

    #[test]
    fn what_was_asked_of_an_engine_can_be_done_again() {
        let dir = tempfile::tempdir().unwrap();
        let (watched, alone) = (dir.path().join("watched"), dir.path().join("alone"));
        let observer = Observer::default();
        let engine = Observed::new(FjallEngine::open(&watched, 1 << 20).unwrap(), observer.clone());
        observer.write_down();
        let mut tx = engine.begin().unwrap();
        for key in [b"a", b"b", b"c"] {
            tx.put(key, b"1").unwrap();
        }
        tx.commit().unwrap();
        // Given up, so that it is not done again.
        let mut given_up = engine.begin().unwrap();
        given_up.put(b"d", b"2").unwrap();
        drop(given_up);
        let mut tx = engine.begin().unwrap();
        assert!(tx.get(b"a").unwrap().is_some());
        tx.delete(b"a").unwrap();
        let mut found = tx.range(Bound::Unbounded, Bound::Unbounded, true).unwrap();
        assert_eq!(found.next().unwrap().unwrap().0, b"c");
        drop(found);
        tx.commit().unwrap();
        let view = engine.snapshot().unwrap();
        assert!(view.get(b"a").unwrap().is_none());
        assert_eq!(
            view.range(Bound::Excluded(b"a"), Bound::Unbounded, false)
                .unwrap()
                .count(),
            2
        );
        drop(view);
        let work = observer.written_down();
        let asked = observer.counts();
        let bare = BareFjall::open(&alone, 1 << 20).unwrap();
        assert_eq!(bare.replay(&work).unwrap(), asked);
        drop(bare);
        drop(engine);
        let open = |path: &Path| FjallEngine::open(path, 1 << 20).unwrap();
        assert_eq!(rows(&open(&alone)), rows(&open(&watched)));
        assert_eq!(rows(&open(&alone)).len(), 2);
    }
}
