//! Moving a namespace from one engine to another: while nobody uses it ([`migrate`]), or under its users
//! ([`live`]).
//!
//! While nobody uses it: the new place is marked as unfinished, filled from one view of
//! the old one, synced, and then compared with it row by row. Only when both are the same, the new place says
//! that it has everything, the old one that it was left, and then the mark of the new one is removed. At every
//! moment at most one of them can be opened, so that no gateway goes on with a namespace that lives elsewhere
//! now; and whoever knows both can open one ([`crate::Meta::at_among`]). A move that was cut off is simply
//! asked for again.
pub mod live;

use std::io;
use std::sync::Arc;

use crate::image::{Contents, Filler, Sum, rows, transact};
use crate::place::Place;
use crate::{Engine, Error, Read, Result};

/// The row that says why a store must not be used.
const MARK_KEY: &[u8] = &[0x00, b'm'];
/// First byte of its value. Being filled:
const UNFINISHED: u8 = 1;
/// Moved; the name of the place where it is now follows.
const MOVED: u8 = 2;
/// Has everything, but may be used only if the place that it came from, whose name follows, was left.
const READY: u8 = 3;
/// Rows that are removed in one transaction.
const REMOVE_ROWS: usize = 1000;
/// Rows between two reports.
const REPORT_ROWS: u64 = 1000;

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many rows were found to move.
    Counting(u64),
    /// So many rows, of how many, are in the new place.
    Copying(u64, u64),
    /// So many rows, of how many, were compared.
    Comparing(u64, u64),
}

/// Whether the store may be used.
pub(crate) fn check(engine: &dyn Engine) -> Result<()> {
    match mark(engine)?.as_deref() {
        None => Ok(()),
        Some([UNFINISHED]) => Err(Error::Engine(
            "the metadata are being moved to this engine and are not complete: run `meta migrate` again"
                .into(),
        )),
        Some([READY, from @ ..]) => Err(Error::Engine(format!(
            "a move of the metadata from {} to this engine did not come to its end: set metadata.engine back, \
             or run `meta migrate` again",
            String::from_utf8_lossy(from)
        ))),
        Some([MOVED, place @ ..]) => Err(Error::Engine(format!(
            "the metadata were moved to {}: set metadata.engine to it",
            String::from_utf8_lossy(place)
        ))),
        Some(_) => Err(Error::Damaged("the row of moves is not understood".into())),
    }
}

/// Ends a move to `place`, where `engine` is open, that was cut off after the old place, one of `others`,
/// said that it was left.
pub(crate) fn settle(place: &Place, engine: &dyn Engine, others: &[Place]) -> Result<()> {
    let Some(mark_here) = mark(engine)? else {
        return Ok(());
    };
    let [READY, from @ ..] = mark_here.as_slice() else {
        return Ok(());
    };
    let Some(old) = others.iter().find(|other| other.name().as_bytes() == from) else {
        return Ok(());
    };
    let left = [&[MOVED], place.name().as_bytes()].concat();
    if mark(old.open()?.as_ref())? == Some(left) {
        set_mark(engine, None)?;
        tracing::info!(from = %old.name(), "the move of the metadata to this engine is ended");
    }
    Ok(())
}

fn mark(engine: &dyn Engine) -> Result<Option<Vec<u8>>> {
    engine.snapshot()?.get(MARK_KEY)
}

fn set_mark(engine: &dyn Engine, value: Option<&[u8]>) -> Result<()> {
    transact(engine, |tx| match value {
        Some(value) => tx.put(MARK_KEY, value),
        None => tx.delete(MARK_KEY),
    })?;
    engine.sync()
}

/// Moves the namespace in `from` to `to`, which must hold none. `progress` is told how far it is.
///
/// When it fails, `from` is what it was. Blocks for as long as reading everything three times and writing
/// it once takes.
pub fn migrate(from: &Place, to: &Place, progress: &mut dyn FnMut(Step)) -> Result<Contents> {
    let source = alone(from)?;
    let target = alone(to)?;
    let name = to.name();
    match mark(source.as_ref())?.as_deref() {
        None => {}
        // A move that was cut off at its very end.
        Some([MOVED, place @ ..]) if place == name.as_bytes() && mark(target.as_ref())?.is_some() => {}
        Some(_) => check(source.as_ref())?,
    }
    let contents = copy(source.as_ref(), target.as_ref(), progress)?;
    if target.guarded() {
        forget_guard(to)?;
    }
    set_mark(
        target.as_ref(),
        Some(&[&[READY], from.name().as_bytes()].concat()),
    )?;
    set_mark(source.as_ref(), Some(&[&[MOVED], name.as_bytes()].concat()))?;
    set_mark(target.as_ref(), None)?;
    Ok(contents)
}

fn alone(place: &Place) -> Result<Arc<dyn Engine>> {
    let engine = place.open()?;
    let others = engine.others()?;
    if others > 0 {
        return Err(Error::Engine(format!(
            "{others} gateways use {} (one that was killed counts for half a minute): stop them first",
            place.name()
        )));
    }
    Ok(engine)
}

/// What a guard file says of a store that was in the same directory before means nothing to this one.
/// It is made anew when the store is opened; all of it is synced by then.
fn forget_guard(place: &Place) -> Result<()> {
    let path = place.guard();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::Engine(format!("{}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Fills `target` with the rows of `source` and compares them.
fn copy(source: &dyn Engine, target: &dyn Engine, progress: &mut dyn FnMut(Step)) -> Result<Contents> {
    let mut changes = source.subscribe()?;
    let view = source.snapshot()?;
    let mut of = 0;
    for row in rows(view.as_ref())? {
        row?;
        of += 1;
        if of % REPORT_ROWS == 0 {
            progress(Step::Counting(of));
        }
    }
    progress(Step::Counting(of));
    prepare(target)?;
    let mut filler = Filler::of(target);
    let mut done = 0;
    for row in rows(view.as_ref())? {
        let (key, value) = row?;
        filler.add(&key, &value)?;
        done += 1;
        if done % REPORT_ROWS == 0 {
            progress(Step::Copying(done, of));
        }
    }
    filler.write()?;
    target.sync()?;
    progress(Step::Copying(done, of));
    drop(view);
    // What is there now, not what was read before.
    let (now, copied) = (source.snapshot()?, target.snapshot()?);
    let contents = compare(now.as_ref(), copied.as_ref(), &mut |done| {
        progress(Step::Comparing(done, of));
    })?;
    if changes.try_next().is_some() {
        return Err(Error::Engine("somebody wrote to the metadata meanwhile".into()));
    }
    Ok(contents)
}

/// Makes sure that the new place is empty, and says that it is unfinished.
fn prepare(target: &dyn Engine) -> Result<()> {
    match mark(target)?.as_deref() {
        Some([UNFINISHED]) => empty(target),
        Some([READY, ..]) => {
            set_mark(target, Some(&[UNFINISHED]))?;
            empty(target)
        }
        _ => {
            if rows(target.snapshot()?.as_ref())?.next().transpose()?.is_some() {
                return Err(Error::Engine("the new place holds metadata already".into()));
            }
            set_mark(target, Some(&[UNFINISHED]))
        }
    }
}

/// Compares all rows of two stores.
fn compare(one: &dyn Read, two: &dyn Read, progress: &mut dyn FnMut(u64)) -> Result<Contents> {
    let (mut sums, mut others) = (Sum::new(), rows(two)?);
    let differ = |at: u64| Error::Damaged(format!("the new place differs from the old one at row {at}"));
    let mut sum_of_others = Sum::new();
    for row in rows(one)? {
        let (key, value) = row?;
        let (other_key, other_value) = others.next().transpose()?.ok_or_else(|| differ(sums.rows()))?;
        sums.add(&key, &value);
        sum_of_others.add(&other_key, &other_value);
        if (&key, &value) != (&other_key, &other_value) {
            return Err(differ(sums.rows()));
        }
        if sums.rows() % REPORT_ROWS == 0 {
            progress(sums.rows());
        }
    }
    if others.next().transpose()?.is_some() {
        return Err(differ(sums.rows() + 1));
    }
    let contents = sums.contents();
    if contents != sum_of_others.contents() {
        return Err(differ(contents.rows));
    }
    progress(contents.rows);
    Ok(contents)
}

/// Removes the rows that a move that was cut off has left.
fn empty(engine: &dyn Engine) -> Result<()> {
    loop {
        let some: Vec<_> = rows(engine.snapshot()?.as_ref())?
            .take(REMOVE_ROWS)
            .collect::<Result<_>>()?;
        if some.is_empty() {
            return Ok(());
        }
        transact(engine, |tx| some.iter().try_for_each(|(key, _)| tx.delete(key)))?;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Durability, EngineKind, Meta, MetaConfig};

    fn place(path: &Path) -> Place {
        Place::Directory(MetaConfig {
            engine: EngineKind::Fjall,
            path: path.to_owned(),
            cache_bytes: 8 << 20,
        })
    }

    async fn write(place: &Place, rows: u32) {
        let meta = Meta::at(place).unwrap();
        let wrote = meta.write::<_, Error, _>(Durability::Synced, move |tx| {
            (0..rows).try_for_each(|n| tx.put(&[&[1][..], &n.to_be_bytes()].concat(), &[n as u8; 100]))
        });
        wrote.await.unwrap();
    }

    fn count(place: &Place) -> usize {
        let meta = Meta::at(place).unwrap();
        rows(meta.snapshot().unwrap().as_ref()).unwrap().count()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_namespace_moves_and_is_refused_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to, back] = ["from", "to", "back"].map(|name| place(&dir.path().join(name)));
        write(&from, 5000).await;
        let mut steps = Vec::new();
        let moved = migrate(&from, &to, &mut |step| steps.push(step)).unwrap();
        assert_eq!((moved.rows, moved.bytes), (5000, 5000 * 105));
        assert_eq!(steps.first(), Some(&Step::Counting(1000)));
        assert!(steps.contains(&Step::Copying(5000, 5000)));
        assert_eq!(steps.last(), Some(&Step::Comparing(5000, 5000)));
        assert_eq!(count(&to), 5000);
        let refused = Meta::at(&from).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains(&to.name()), "{refused}");
        assert!(migrate(&from, &back, &mut |_| {}).is_err());
        // It goes on where it is, with a guard of its own, and moves on from there.
        write(&to, 6000).await;
        assert_eq!(migrate(&to, &back, &mut |_| {}).unwrap().rows, 6000);
        assert_eq!(count(&back), 6000);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_move_that_was_cut_off_is_done_again() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| place(&dir.path().join(name)));
        write(&from, 3000).await;
        // In the middle of the copy: some rows, one of them stale.
        {
            let target = to.open().unwrap();
            set_mark(target.as_ref(), Some(&[UNFINISHED])).unwrap();
            transact(target.as_ref(), |tx| tx.put(b"stale", b"x")).unwrap();
        }
        assert!(Meta::at(&to).is_err());
        migrate(&from, &to, &mut |_| {}).unwrap();
        assert_eq!(count(&to), 3000);
        // Between the two marks: neither opens, and asking again ends it.
        {
            let target = to.open().unwrap();
            set_mark(target.as_ref(), Some(&[UNFINISHED])).unwrap();
        }
        assert!(Meta::at(&to).is_err() && Meta::at(&from).is_err());
        migrate(&from, &to, &mut |_| {}).unwrap();
        assert_eq!(count(&to), 3000);
        assert!(migrate(&from, &to, &mut |_| {}).is_err(), "it is over");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_in_use_or_full_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| place(&dir.path().join(name)));
        write(&from, 10).await;
        let held = Meta::at(&from).unwrap();
        assert!(matches!(migrate(&from, &to, &mut |_| {}), Err(Error::InUse)));
        drop(held);
        write(&to, 1).await;
        assert!(migrate(&from, &to, &mut |_| {}).is_err());
        assert_eq!((count(&from), count(&to)), (10, 1));
    }

    #[test]
    fn any_difference_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| place(&dir.path().join(name)).open().unwrap());
        for engine in [&one, &two] {
            transact(engine.as_ref(), |tx| {
                tx.put(b"a", b"1")?;
                tx.put(b"b", b"2")
            })
            .unwrap();
        }
        let differ = || {
            let (one, two) = (one.snapshot().unwrap(), two.snapshot().unwrap());
            compare(one.as_ref(), two.as_ref(), &mut |_| {}).is_err()
        };
        assert!(!differ());
        for (key, value) in [(b"a", b"2"), (b"c", b"3")] {
            transact(two.as_ref(), |tx| tx.put(key, value)).unwrap();
            assert!(differ());
            transact(one.as_ref(), |tx| tx.put(key, value)).unwrap();
            assert!(!differ());
        }
        transact(two.as_ref(), |tx| tx.delete(b"c")).unwrap();
        assert!(differ());
    }
}
