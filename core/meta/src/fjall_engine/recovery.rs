//! Opening the database anew after a write to its disk failed, without a restart.
//!
//! What was visible must stay visible: whoever committed has long forgotten the bytes. It is all in
//! the journals (a commit is visible only after its journal took it), but the last journal may end in
//! a commit that failed, whole or in part, and after a failed sync its pages may be on no disk. So
//! 1. wait until nobody uses the database; who reads it for long has to let go in the end
//!    ([`super::view`]). Note the number of its last commit, and what stood in the
//!    keys of the commit that failed;
//! 2. close it; put a new, empty journal behind the last one, so that nothing is ever appended behind
//!    pages that may be lost;
//! 3. open it. fjall replays the older journals, drops a torn end, and writes what they hold into
//!    tables, which it syncs;
//! 4. compare the number. Another one is that of the failed commit, which got through after all: it
//!    is undone. Or commits are missing, and then the store is not what everybody believes it to be:
//!    it is refused until a restart;
//! 5. wait until the tables are written. From here on everything that is visible is durable. Who only
//!    reads does not wait for this.
//!
//! Nothing of this begins before the disk has taken a small file and synced it: until then the old
//! database reads. A new one reads as long as it can be opened, whatever its disk says to writes.
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fjall::PersistMode;

use super::{COMMIT_KEY, FjallEngine, Open, from_fjall, number, open};
use crate::{Error, Result};

/// How long readers and transactions may take to let go of the database. New ones wait meanwhile.
const READERS_GRACE: Duration = Duration::from_secs(2);
/// Attempts that readers may hold up, one after the other. In the next one what they read is taken
/// away from them.
const READERS_ATTEMPTS: u32 = 2;
/// How long the lock of the old database may outlast it: its threads end in their own time.
const LOCK_GRACE: Duration = Duration::from_secs(2);
/// How long writing the tables may take.
const FLUSH_GRACE: Duration = Duration::from_mins(1);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(2);
/// Room that opening takes beside what is to be written into tables.
const ROOM: u64 = 8 << 20;
/// Bytes that are written to see whether the disk takes any.
const PROBE: usize = 64 << 10;

/// A commit whose write failed.
pub(super) struct Attempt {
    pub number: u64,
    pub keys: Vec<Vec<u8>>,
}

/// A key and what stood there.
type Before = (Vec<u8>, Option<Vec<u8>>);

/// What was visible when the database was closed.
pub(super) struct Closed {
    /// Number of the last commit.
    last: u64,
    /// The commit that failed: its number, and what stood in its keys.
    failed: Option<(u64, Vec<Before>)>,
    /// Bytes that were in no table.
    unwritten: u64,
}

/// See [`crate::Engine::recover`].
pub(super) fn recover(engine: &FjallEngine) -> Result<()> {
    recover_and(engine, settle)
}

/// As [`recover`], with the last step.
fn recover_and(engine: &FjallEngine, settle: impl FnOnce(&Open) -> Result<()>) -> Result<()> {
    // The old database reads for as long as the disk takes nothing; a new one could not be opened.
    probe(&engine.path)?;
    // Whoever wants to read waits for the new database.
    let mut slot = engine.open.write();
    let mut closed = engine.closed.lock();
    let unwritten = match (&*slot, &*closed) {
        (Some(open), _) => open.db.write_buffer_size(),
        (None, Some(closed)) => closed.unwritten,
        (None, None) => 0,
    };
    require_room(&engine.path, unwritten + ROOM)?;
    if let Some(shared) = slot.take() {
        if engine.held_up.load(Ordering::Relaxed) >= READERS_ATTEMPTS {
            engine.views.revoke();
        }
        let alone = match alone(shared) {
            Ok(alone) => alone,
            Err(shared) => {
                engine.held_up.fetch_add(1, Ordering::Relaxed);
                *slot = Some(shared);
                return Err(Error::Engine("somebody reads the old state for too long".into()));
            }
        };
        engine.held_up.store(0, Ordering::Relaxed);
        // After an attempt that came to nothing, what it noted is still what is visible.
        if closed.is_none() {
            match state_of(engine, &alone) {
                Ok(state) => *closed = Some(state),
                Err(error) => {
                    *slot = Some(Arc::new(alone));
                    return Err(error);
                }
            }
        }
        drop(alone);
    }
    begin_journal(&engine.path)?;
    let reopened = open_again(engine)?;
    if let Some(state) = &*closed {
        match check(&reopened, state) {
            // Nobody may see what was never committed.
            Err(error @ Error::Engine(_)) => return Err(error),
            Err(error) => {
                *slot = Some(Arc::new(reopened));
                return Err(error);
            }
            Ok(()) => {}
        }
    }
    // Even one that cannot write reads. Nobody writes before this has answered.
    let reopened = Arc::new(reopened);
    *slot = Some(reopened.clone());
    drop(slot);
    settle(&reopened)?;
    engine.doubtful.lock().take();
    *closed = None;
    Ok(())
}

/// Refuses when the disk of `path` does not take and sync a file.
fn probe(path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::Engine(format!("{}: {error}", path.display()));
    let file = path.with_extension("probe");
    let written = File::create(&file).and_then(|mut probe| {
        probe.write_all(&vec![0x5a; PROBE])?;
        probe.sync_all()
    });
    let removed = std::fs::remove_file(&file);
    let synced = written
        .and(removed)
        .and_then(|()| File::open(path.parent().unwrap_or(path))?.sync_all());
    synced.map_err(failed)
}

/// Refuses when less than `bytes` bytes are free on the disk of `path`.
pub(super) fn require_room(path: &Path, bytes: u64) -> Result<()> {
    let free = rustix::fs::statvfs(path)
        .map(|found| found.f_bavail.saturating_mul(found.f_frsize))
        .map_err(|error| Error::Engine(format!("{}: {error}", path.display())))?;
    if free < bytes {
        return Err(Error::Engine(format!(
            "{free} bytes are free on the disk, {bytes} are needed"
        )));
    }
    Ok(())
}

/// Waits until nobody else holds the database.
fn alone(mut shared: Arc<Open>) -> Result<Open, Arc<Open>> {
    let deadline = Instant::now() + READERS_GRACE;
    loop {
        match Arc::try_unwrap(shared) {
            Ok(alone) => return Ok(alone),
            Err(still) if Instant::now() >= deadline => return Err(still),
            Err(still) => shared = still,
        }
        std::thread::sleep(LOOK);
    }
}

fn state_of(engine: &FjallEngine, open: &Open) -> Result<Closed> {
    let failed = match &*engine.doubtful.lock() {
        None => None,
        Some(attempt) => {
            let mut before = Vec::with_capacity(attempt.keys.len());
            for key in &attempt.keys {
                let value = open.rows.get(key).map_err(from_fjall)?;
                before.push((key.clone(), value.map(|value| value.to_vec())));
            }
            Some((attempt.number, before))
        }
    };
    Ok(Closed {
        last: number(open)?,
        failed,
        unwritten: open.db.write_buffer_size(),
    })
}

/// Makes an empty journal behind the last one.
fn begin_journal(path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::Engine(format!("{}: {error}", path.display()));
    let mut last = None;
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jnl"));
        if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
            let empty = entry.metadata().map_err(failed)?.len() == 0;
            last = last.max(Some((number, empty)));
        }
    }
    match last {
        // Of an attempt before, or of a database that was never written to.
        None | Some((_, true)) => Ok(()),
        Some((number, false)) => {
            let next = path.join(format!("{}.jnl", number + 1));
            let file = File::create_new(next).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            File::open(path)
                .and_then(|directory| directory.sync_all())
                .map_err(failed)
        }
    }
}

fn open_again(engine: &FjallEngine) -> Result<Open> {
    let deadline = Instant::now() + LOCK_GRACE;
    loop {
        match open(&engine.path, engine.cache_bytes) {
            Err(Error::InUse) if Instant::now() < deadline => std::thread::sleep(LOOK),
            other => return other,
        }
    }
}

/// Makes the new database what the old one was.
fn check(reopened: &Open, state: &Closed) -> Result<()> {
    let found = number(reopened)?;
    if found == state.last {
        return Ok(());
    }
    let Some((_, before)) = state.failed.as_ref().filter(|(number, _)| *number == found) else {
        return Err(Error::Damaged(format!(
            "the disk has lost commits: the store ends at {found}, {} was visible",
            state.last
        )));
    };
    tracing::info!(keys = before.len(), "a commit that failed is undone");
    let mut tx = reopened.db.write_tx().map_err(from_fjall)?;
    for (key, value) in before {
        match value {
            Some(value) => tx.insert(&reopened.rows, key.as_slice(), value.as_slice()),
            None => tx.remove(&reopened.rows, key.as_slice()),
        }
    }
    tx.insert(&reopened.rows, COMMIT_KEY, state.last.to_be_bytes());
    match tx.commit().map_err(from_fjall)? {
        Ok(()) => Ok(()),
        Err(fjall::Conflict) => Err(Error::Engine("a transaction that was alone lost".into())),
    }
}

/// Waits until everything that the old journals held is in tables and what was undone is synced.
fn settle(reopened: &Open) -> Result<()> {
    wait_written(reopened)?;
    reopened.db.persist(PersistMode::SyncAll).map_err(from_fjall)
}

/// Waits until no table is left to be written out. fjall's own wait would last for ever when the
/// thread that writes them has failed.
pub(super) fn wait_written(open: &Open) -> Result<()> {
    let deadline = Instant::now() + FLUSH_GRACE;
    while open.rows.inner().sealed_memtable_count() > 0 {
        // Fails once that thread has.
        open.db.persist(PersistMode::Buffer).map_err(from_fjall)?;
        if Instant::now() >= deadline {
            return Err(Error::Engine("tables are not written in time".into()));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::*;
    use crate::Engine;

    fn put(engine: &FjallEngine, rows: &[(&str, Option<&str>)]) {
        let mut tx = engine.begin().unwrap();
        for (key, value) in rows {
            match value {
                Some(value) => tx.put(key.as_bytes(), value.as_bytes()).unwrap(),
                None => tx.delete(key.as_bytes()).unwrap(),
            }
        }
        tx.commit().unwrap();
    }

    fn get(engine: &FjallEngine, key: &str) -> Option<String> {
        let value = engine.snapshot().unwrap().get(key.as_bytes()).unwrap();
        value.map(|value| String::from_utf8(value).unwrap())
    }

    /// What is visible before a commit that is to fail.
    fn before(engine: &FjallEngine, keys: &[&str]) -> Closed {
        let number = engine.next_commit.load(std::sync::atomic::Ordering::Relaxed);
        let keys = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        *engine.doubtful.lock() = Some(Attempt { number, keys });
        state_of(engine, &engine.current().unwrap()).unwrap()
    }

    #[test]
    fn everything_visible_is_there_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(dir.path(), 8 << 20).unwrap();
        for round in 0..3 {
            for row in 0..100 {
                put(&engine, &[(&format!("{round}/{row}"), Some("x"))]);
            }
            put(&engine, &[("last", Some(&round.to_string())), ("0/7", None)]);
            engine.recover().unwrap();
            assert_eq!(get(&engine, "last"), Some(round.to_string()));
            assert_eq!(get(&engine, "0/7"), None);
            for round in 0..=round {
                assert_eq!(get(&engine, &format!("{round}/99")), Some("x".into()));
            }
        }
        drop(engine);
        let engine = FjallEngine::open(dir.path(), 8 << 20).unwrap();
        assert_eq!(get(&engine, "2/0"), Some("x".into()));
    }

    #[test]
    fn a_commit_that_got_through_after_all_is_undone() {
        let dir = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(dir.path(), 8 << 20).unwrap();
        put(&engine, &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]);
        let state = before(&engine, &["a", "b", "d"]);
        put(&engine, &[("a", Some("2")), ("b", None), ("d", Some("2"))]);
        *engine.closed.lock() = Some(state);
        engine.recover().unwrap();
        for key in ["a", "b", "c"] {
            assert_eq!(get(&engine, key), Some("1".into()), "{key}");
        }
        assert_eq!(get(&engine, "d"), None);
        // Once only.
        put(&engine, &[("a", Some("3"))]);
        engine.recover().unwrap();
        assert_eq!(get(&engine, "a"), Some("3".into()));
    }

    #[test]
    fn a_disk_that_lost_commits_is_not_taken_for_well() {
        let dir = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(dir.path(), 8 << 20).unwrap();
        put(&engine, &[("a", Some("1"))]);
        let state = state_of(&engine, &engine.current().unwrap()).unwrap();
        *engine.closed.lock() = Some(Closed {
            last: state.last + 5,
            ..state
        });
        assert!(matches!(engine.recover(), Err(Error::Damaged(_))));
        assert_eq!(get(&engine, "a"), Some("1".into()), "it still reads");
    }

    #[test]
    fn who_reads_for_long_only_delays() {
        let dir = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(dir.path(), 8 << 20).unwrap();
        put(&engine, &[("a", Some("1"))]);
        let view = engine.snapshot().unwrap();
        assert!(matches!(engine.recover(), Err(Error::Engine(_))));
        assert_eq!(view.get(b"a").unwrap(), Some(b"1".to_vec()));
        put(&engine, &[("a", Some("2"))]);
        drop(view);
        engine.recover().unwrap();
        assert_eq!(get(&engine, "a"), Some("2".into()));
    }

    #[test]
    fn who_never_lets_go_has_to_begin_again() {
        let dir = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(dir.path(), 8 << 20).unwrap();
        put(&engine, &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]);
        let (view, walked) = (engine.snapshot().unwrap(), engine.snapshot().unwrap());
        let mut rows = walked.range(Bound::Unbounded, Bound::Unbounded, false).unwrap();
        assert!(rows.next().unwrap().is_ok());
        for _ in 0..READERS_ATTEMPTS {
            assert!(matches!(engine.recover(), Err(Error::Engine(_))));
            assert_eq!(view.get(b"a").unwrap(), Some(b"1".to_vec()));
        }
        std::thread::scope(|threads| {
            let recovering = threads.spawn(|| engine.recover());
            // Who goes over rows notices at the next one.
            while !matches!(rows.next(), Some(Err(Error::Recovering(_)))) {
                drop(rows);
                rows = match walked.range(Bound::Unbounded, Bound::Unbounded, false) {
                    Ok(rows) => rows,
                    Err(error) => Box::new(std::iter::once(Err(error))),
                };
            }
            assert!(rows.next().is_none());
            recovering.join().unwrap().unwrap();
        });
        assert!(matches!(view.get(b"a"), Err(Error::Recovering(_))));
        assert!(view.range(Bound::Unbounded, Bound::Unbounded, true).is_err());
        put(&engine, &[("a", Some("2"))]);
        assert_eq!(get(&engine, "a"), Some("2".into()));
    }

    #[test]
    fn readers_do_not_wait_until_tables_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(dir.path(), 8 << 20).unwrap();
        put(&engine, &[("a", Some("1"))]);
        let (sender, read) = std::sync::mpsc::channel();
        std::thread::scope(|threads| {
            let settling = |_: &Open| {
                threads.spawn(|| sender.send(get(&engine, "a")));
                let seen = read.recv_timeout(Duration::from_secs(20));
                assert_eq!(seen, Ok(Some("1".to_owned())));
                Err(Error::Engine("tables are not written in time".into()))
            };
            assert!(recover_and(&engine, settling).is_err());
        });
        engine.recover().unwrap();
        assert_eq!(get(&engine, "a"), Some("1".into()));
    }

    #[test]
    fn a_full_disk_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(require_room(dir.path(), 1).is_ok());
        assert!(matches!(
            require_room(dir.path(), u64::MAX),
            Err(Error::Engine(_))
        ));
    }
}
