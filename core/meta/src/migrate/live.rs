//! Moving a namespace that is in use.
//!
//! The new place is filled piece by piece, each from a view of its own, while transactions go on in the old
//! one. Its change feed tells which rows were changed meanwhile: those of pieces that are there already
//! are brought up to date with the next piece, the others come along with theirs. Then both places are
//! compared, again piece by piece, each time at a moment at which the new one has everything. Last, all
//! transactions wait: the few changes since are brought over and compared, the marks are set, and the
//! handle goes on with the new place. That takes as long as some hundred rows and three syncs.
//!
//! Every moment is one at which no transaction is under way, so that the feed has told of all that its view
//! shows, and of nothing else.
//!
//! **Marks.** The new place says that it is unfinished; then, when it has everything, where from; then the
//! old place says where it was moved to; then the new one says nothing any more. Which one is the namespace
//! is decided by the old place's mark alone. Cut off before that is written, the old one opens and the new
//! one does not; cut off after it, the old one does not open, and the new one does once it has looked there
//! ([`super::settle`]).
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::{MOVED, READY, REPORT_ROWS, Step, alone, forget_guard, prepare, set_mark};
use crate::changes::{Change, Changes};
use crate::image::{FIRST_KEY, Filler, transact};
use crate::{Engine, Error, KeyValue, Place, Read, Result};

/// Rows that are copied or compared at one moment.
const PIECE_ROWS: usize = 5_000;
/// Rows that are brought over in one transaction.
const BRING_ROWS: usize = 500;
/// Changes that are few enough to be brought over while everybody waits.
const FEW: usize = 500;
/// Times that it is tried to get down to so few.
const ROUNDS: u32 = 20;

/// What was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Rows that were compared.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// How long transactions waited at the end.
    pub stopped: Duration,
}

/// Is told how far a move is, and ends it with an error.
pub(crate) type Tell<'a> = dyn FnMut(Step) -> Result<()> + 'a;

/// Two places, one of which follows the other.
struct Pair<'a> {
    source: &'a dyn Engine,
    target: &'a dyn Engine,
    changes: Changes,
    /// Keys whose rows the target may not have as they are now.
    changed: BTreeSet<Vec<u8>>,
}

impl Pair<'_> {
    fn listen(&mut self) -> Result<()> {
        while let Some(change) = self.changes.try_next() {
            match change {
                Change::Commit { keys, .. } => self.changed.extend(keys.iter().cloned()),
                Change::Lost => {
                    return Err(Error::Engine(
                        "more is written to the metadata than can be followed; try again when it is less"
                            .into(),
                    ));
                }
            }
        }
        Ok(())
    }

    /// A view of a moment at which no transaction is under way. `changed` is complete up to it.
    fn moment(&mut self, turn: &RwLock<()>) -> Result<Box<dyn Read + Send>> {
        let _still = turn.write();
        self.still_moment()
    }

    /// As [`Self::moment`], for who sees to it that nothing is under way.
    fn still_moment(&mut self) -> Result<Box<dyn Read + Send>> {
        self.listen()?;
        self.source.snapshot()
    }

    /// Brings over rows as `view` has them.
    fn bring(&self, view: &dyn Read, keys: &BTreeSet<Vec<u8>>) -> Result<()> {
        let keys: Vec<_> = keys.iter().collect();
        for some in keys.chunks(BRING_ROWS) {
            let found = some
                .iter()
                .map(|key| Ok((*key, view.get(key)?)))
                .collect::<Result<Vec<_>>>()?;
            transact(self.target, |tx| {
                found.iter().try_for_each(|(key, value)| match value {
                    Some(value) => tx.put(key, value),
                    None => tx.delete(key),
                })
            })?;
        }
        Ok(())
    }

    /// Copies everything. What is changed behind the copy is in the target when this ends, or in `changed`.
    fn copy(&mut self, turn: &RwLock<()>, progress: &mut Tell<'_>) -> Result<u64> {
        let (mut next, mut done) = (FIRST_KEY.to_vec(), 0);
        loop {
            let view = self.moment(turn)?;
            // What lies ahead will be copied as it is then.
            drop(self.changed.split_off(&next));
            let changed = std::mem::take(&mut self.changed);
            self.bring(view.as_ref(), &changed)?;
            let mut filler = Filler::of(self.target);
            let before = done;
            for row in piece(view.as_ref(), &next)?.take(PIECE_ROWS) {
                let (key, value) = row?;
                filler.add(&key, &value)?;
                next = successor(key);
                done += 1;
            }
            filler.write()?;
            progress(Step::Copying(done, done))?;
            if done == before {
                return Ok(done);
            }
        }
    }

    /// Compares everything; `of` rows were copied.
    fn compare(&mut self, turn: &RwLock<()>, of: u64, progress: &mut Tell<'_>) -> Result<(u64, u64)> {
        let (mut next, mut sums) = (FIRST_KEY.to_vec(), (0, 0));
        loop {
            let view = self.moment(turn)?;
            let changed = std::mem::take(&mut self.changed);
            self.bring(view.as_ref(), &changed)?;
            let copied = self.target.snapshot()?;
            let (mut ours, mut theirs) = (piece(view.as_ref(), &next)?, piece(copied.as_ref(), &next)?);
            for _ in 0..PIECE_ROWS {
                let (row, other) = (ours.next().transpose()?, theirs.next().transpose()?);
                if row != other {
                    return Err(differ(sums.0));
                }
                let Some((key, value)) = row else {
                    progress(Step::Comparing(sums.0, sums.0))?;
                    return Ok(sums);
                };
                sums = (sums.0 + 1, sums.1 + (key.len() + value.len()) as u64);
                if sums.0 % REPORT_ROWS == 0 {
                    progress(Step::Comparing(sums.0, of.max(sums.0)))?;
                }
                next = successor(key);
            }
        }
    }

    /// Brings over what is changed until little is.
    fn catch_up(&mut self, turn: &RwLock<()>) -> Result<()> {
        for _ in 0..ROUNDS {
            let view = self.moment(turn)?;
            let changed = std::mem::take(&mut self.changed);
            self.bring(view.as_ref(), &changed)?;
            if changed.len() <= FEW {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Brings over the last changes and compares them. Nothing may be under way.
    fn end(&mut self) -> Result<()> {
        let view = self.still_moment()?;
        let changed = std::mem::take(&mut self.changed);
        self.bring(view.as_ref(), &changed)?;
        let copied = self.target.snapshot()?;
        for key in &changed {
            if view.get(key)? != copied.get(key)? {
                return Err(differ(0));
            }
        }
        Ok(())
    }
}

fn piece<'a>(view: &'a dyn Read, next: &[u8]) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
    view.range(Bound::Included(next), Bound::Unbounded, false)
}

/// The smallest key behind this one.
fn successor(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

fn differ(at: u64) -> Error {
    Error::Damaged(format!("the new place differs from the old one at row {at}"))
}

/// Moves what `source` holds, which is in `from`, to `to`. `turn` is held shared by every transaction.
/// `switch` gets the new engine and a closure that makes the old place say that it was left, while
/// everybody waits; it makes the handle use the new one from then on. An error of `progress` ends the move: the old
/// place is what it was.
pub(crate) fn run(
    (source, from): (&dyn Engine, &Place),
    to: &Place,
    turn: &RwLock<()>,
    progress: &mut Tell<'_>,
    switch: impl FnOnce(Arc<dyn Engine>, &dyn Fn() -> Result<()>) -> Result<()>,
) -> Result<Moved> {
    require_alone(source)?;
    let target = alone(to)?;
    prepare(target.as_ref())?;
    let changes = source.subscribe()?;
    let mut pair = Pair {
        source,
        target: target.as_ref(),
        changes,
        changed: BTreeSet::new(),
    };
    let copied = pair.copy(turn, progress)?;
    pair.catch_up(turn)?;
    let (rows, bytes) = pair.compare(turn, copied, progress)?;
    pair.catch_up(turn)?;
    target.sync()?;
    let still = turn.write();
    let began = Instant::now();
    pair.end()?;
    require_alone(source)?;
    if target.guarded() {
        forget_guard(to)?;
    }
    target.sync()?;
    set_mark(
        target.as_ref(),
        Some(&[&[READY], from.name().as_bytes()].concat()),
    )?;
    let name = to.name();
    let leave = || set_mark(source, Some(&[&[MOVED], name.as_bytes()].concat()));
    switch(Arc::clone(&target), &leave)?;
    let stopped = began.elapsed();
    drop(still);
    if let Err(error) = set_mark(target.as_ref(), None) {
        tracing::warn!(%error, "the new place keeps its mark; the next start removes it");
    }
    Ok(Moved { rows, bytes, stopped })
}

fn require_alone(source: &dyn Engine) -> Result<()> {
    match source.others()? {
        0 => Ok(()),
        others => Err(Error::Engine(format!(
            "{others} other gateways use the metadata (one that was killed counts for half a minute): stop them first"
        ))),
    }
}

#[cfg(test)]
mod tests;
