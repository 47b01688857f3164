//! Leaving nothing on disk of rows that are gone.
//!
//! A deleted row stays in two kinds of files: in tables until they are merged, and in the journal
//! until that is retired. Merging everything is one call. The journal is different: fjall begins a
//! new one only when it writes a memtable out and finds the current journal longer than 64 MB, and
//! removes the old one once everything in it lies in tables. So this writes filler until the journal
//! is full, then writes memtables out until none of the journals from before is left.
//!
//! All of that takes room on the disk, for a while. It is asked for before anything is written: an
//! engine that meets a full disk stops. Filler goes with whoever wrote it ([`Filler`]), and what a
//! crash left of it with the next opening.
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::ops::Bound;
use std::time::Duration;

use crate::fjall_engine::{FjallEngine, from_fjall, recovery};
use crate::{Engine, Error, Result};

/// First byte of the filler's keys: beside the guard's counter, in the engine's own table.
const FILLER_KEY: [u8; 2] = [0x00, b'f'];
/// Length with which fjall makes a journal, in bytes. Longer than that, it is full.
const JOURNAL_MADE: u64 = 64 << 20;
/// Most rows of filler: together longer than any journal that fjall goes on with.
const FILLER_ROWS: u32 = 160;
/// Bytes of a row of filler.
const FILLER_BYTES: usize = 512 << 10;
/// Memtables written out before giving up. Two are enough unless writers fill the new journal as
/// well before the old one is retired.
const ATTEMPTS: u32 = 50;
/// Pause between two of them, for fjall's own workers.
const PAUSE: Duration = Duration::from_millis(20);

/// Names and lengths of the journals there are.
type Journals = BTreeMap<OsString, u64>;

/// See [`Engine::scour`].
pub(super) fn run(engine: &FjallEngine) -> Result<()> {
    let room = FILLER_BYTES as u64 * u64::from(FILLER_ROWS) + engine.disk_bytes()?;
    recovery::require_room(&engine.path, room)?;
    let old = journals(engine)?;
    fill(engine, &old)?;
    if !gone(engine, || {
        Ok(journals(engine)?.keys().all(|name| !old.contains_key(name)))
    })? {
        return Err(Error::Engine(
            "the metadata journal is still needed after many tries; try again when less is written".into(),
        ));
    }
    let old = tables(engine)?;
    engine
        .current()?
        .rows
        .inner()
        .major_compact()
        .map_err(from_fjall)?;
    // fjall removes merged tables later, when no reader is left that began before.
    if !gone(engine, || Ok(tables(engine)?.is_disjoint(&old)))? {
        tracing::warn!("a reader keeps old metadata tables on disk until it has ended");
    }
    Ok(())
}

/// Writes memtables out, which makes fjall remove files that it does not need, until `done`.
fn gone(engine: &FjallEngine, done: impl Fn() -> Result<bool>) -> Result<bool> {
    for _ in 0..ATTEMPTS {
        write_out(engine)?;
        if done()? {
            return Ok(true);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(false)
}

/// The journal that is written.
fn newest(journals: &Journals) -> Option<(&OsString, &u64)> {
    journals.iter().max_by_key(|(name, _)| {
        let number = name.to_str().and_then(|name| name.strip_suffix(".jnl"));
        number.and_then(|number| number.parse::<u64>().ok())
    })
}

/// Rows that only take room in the journal. They go with this, whatever went wrong meanwhile.
struct Filler<'e> {
    engine: &'e FjallEngine,
    value: Vec<u8>,
    rows: u32,
}

impl<'e> Filler<'e> {
    fn new(engine: &'e FjallEngine) -> Self {
        Self {
            engine,
            value: incompressible(FILLER_BYTES),
            rows: 0,
        }
    }

    /// Writes one more row.
    fn add(&mut self) -> Result<()> {
        let key = [&FILLER_KEY[..], &self.rows.to_be_bytes()].concat();
        self.rows += 1;
        let mut tx = self.engine.begin()?;
        tx.put(&key, &self.value)?;
        tx.commit()
    }
}

impl Drop for Filler<'_> {
    fn drop(&mut self) {
        remove_filler(self.engine);
    }
}

/// Removes filler. It takes room and is in nobody's way otherwise; when it cannot be removed now, it is
/// at the next opening.
pub(super) fn remove_filler(engine: &FjallEngine) {
    if let Err(error) = try_remove_filler(engine) {
        tracing::warn!(%error, "filler cannot be removed from the metadata now");
    }
}

fn try_remove_filler(engine: &FjallEngine) -> Result<()> {
    let end = [FILLER_KEY[0], FILLER_KEY[1] + 1];
    let keys: Vec<Vec<u8>> = {
        let view = engine.snapshot()?;
        let rows = view.range(Bound::Included(&FILLER_KEY), Bound::Excluded(&end), false)?;
        rows.map(|row| Ok(row?.0)).collect::<Result<_>>()?
    };
    if keys.is_empty() {
        return Ok(());
    }
    let mut tx = engine.begin()?;
    for key in &keys {
        tx.delete(key)?;
    }
    tx.commit()
}

/// Writes filler until the newest journal of `old` is full, which shows by its length, or by its having a
/// successor. (Growing shows nothing: one that recovery cut off grows with every row.)
fn fill(engine: &FjallEngine, old: &Journals) -> Result<()> {
    let mut filler = Filler::new(engine);
    for _ in 0..FILLER_ROWS {
        filler.add()?;
        let now = journals(engine)?;
        // Older ones wait for a memtable; they may be long, and go at any time.
        match (newest(old), newest(&now)) {
            (Some((before, _)), Some((now, len))) if before == now && *len <= JOURNAL_MADE => {}
            _ => break,
        }
    }
    Ok(())
}

/// Writes the rows in memory out to a table. An empty memtable would not be, so it gets a row.
fn write_out(engine: &FjallEngine) -> Result<()> {
    let mut tx = engine.begin()?;
    tx.delete(&FILLER_KEY)?;
    tx.commit()?;
    let open = engine.current()?;
    open.rows.inner().rotate_memtable().map_err(from_fjall)?;
    recovery::wait_written(&open)
}

fn journals(engine: &FjallEngine) -> Result<Journals> {
    let failed = |error: std::io::Error| Error::Engine(format!("{}: {error}", engine.path.display()));
    let mut found = Journals::new();
    for entry in std::fs::read_dir(&engine.path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            // One that is gone meanwhile is one less to wait for.
            if let Ok(metadata) = entry.metadata() {
                found.insert(entry.file_name(), metadata.len());
            }
        }
    }
    Ok(found)
}

/// Names of the tables there are.
fn tables(engine: &FjallEngine) -> Result<BTreeSet<OsString>> {
    let path = engine.current()?.rows.inner().path().join("tables");
    let failed = |error: std::io::Error| Error::Engine(format!("{}: {error}", path.display()));
    std::fs::read_dir(&path)
        .map_err(failed)?
        .map(|entry| Ok(entry.map_err(failed)?.file_name()))
        .collect()
}

/// Bytes that no compression makes shorter: the journal counts what it wrote.
fn incompressible(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of_filler(engine: &FjallEngine) -> usize {
        let view = engine.snapshot().unwrap();
        let (from, to) = (
            Bound::Included(&FILLER_KEY[..]),
            Bound::Excluded(&[0x00, b'g'][..]),
        );
        view.range(from, to, false).unwrap().count()
    }

    #[test]
    fn filler_goes_with_whoever_wrote_it_and_after_a_crash_with_the_next_opening() {
        let dir = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(dir.path(), 8 << 20).unwrap();
        let cut_off = || -> Result<()> {
            let mut filler = Filler::new(&engine);
            for _ in 0..3 {
                filler.add()?;
            }
            assert_eq!(rows_of_filler(&engine), 3);
            Err(Error::Engine("the disk failed".into()))
        };
        assert!(cut_off().is_err());
        assert_eq!(rows_of_filler(&engine), 0);
        let mut left = Filler::new(&engine);
        left.add().unwrap();
        std::mem::forget(left);
        engine.sync().unwrap();
        drop(engine);
        let engine = FjallEngine::open(dir.path(), 8 << 20).unwrap();
        assert_eq!(rows_of_filler(&engine), 0);
    }
}
