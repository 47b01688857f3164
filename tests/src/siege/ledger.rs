//! What was acknowledged, and so what a read may answer.
//!
//! The data is a fixed set of cells: objects, blocks of a file in the mount, blocks of a volume.
//! Every write of a cell is its next version, and the bytes of a version follow from the seed, the
//! cell and the number alone. So the ledger keeps only numbers: for each cell the versions that it
//! may have. An acknowledged version excludes the older ones; a write that was not acknowledged may
//! have happened or not. After a restart, what a cell has then is what it keeps.
use anyhow::{Result, bail, ensure};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::content;

/// Bytes of a block of a file or a volume.
pub const BLOCK: usize = 16 << 10;
/// Objects.
pub const OBJECTS: u32 = 120;
/// Blocks of the file, and of the volume.
pub const BLOCKS: u32 = 96;

/// One thing that is written whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// An S3 object.
    Object(u32),
    /// A block of the file in the mount.
    File(u32),
    /// A block of the volume behind NBD.
    Volume(u32),
}

/// What a cell holds: nothing (no such object), or bytes.
pub type Held = Option<Vec<u8>>;

#[derive(Clone, Debug)]
struct History {
    /// Versions that the cell may have, rising. The first was acknowledged last.
    possible: Vec<u64>,
    /// Last version that was begun.
    newest: u64,
    /// The outcome of a write is open, and it may still happen later: no more writes until a restart.
    open: bool,
}

/// All cells.
pub struct Ledger {
    seed: u64,
    objects: Vec<Mutex<History>>,
    file: Vec<Mutex<History>>,
    volume: Vec<Mutex<History>>,
}

/// A moment of a cell, before it is read.
pub struct Before {
    possible: Vec<u64>,
    newest: u64,
}

impl Ledger {
    /// Nothing was written yet. The same seed gives the same contents.
    pub fn new(seed: u64) -> Self {
        let blank = |count: u32| {
            (0..count)
                .map(|_| {
                    Mutex::new(History {
                        possible: vec![0],
                        newest: 0,
                        open: false,
                    })
                })
                .collect()
        };
        Self {
            seed,
            objects: blank(OBJECTS),
            file: blank(BLOCKS),
            volume: blank(BLOCKS),
        }
    }

    /// Every cell.
    pub fn cells() -> impl Iterator<Item = Cell> {
        (0..OBJECTS)
            .map(Cell::Object)
            .chain((0..BLOCKS).map(Cell::File))
            .chain((0..BLOCKS).map(Cell::Volume))
    }

    fn history(&self, cell: Cell) -> &Mutex<History> {
        match cell {
            Cell::Object(number) => &self.objects[number as usize],
            Cell::File(number) => &self.file[number as usize],
            Cell::Volume(number) => &self.volume[number as usize],
        }
    }

    /// What `cell` holds in `version`.
    pub fn held(&self, cell: Cell, version: u64) -> Held {
        let digest = Sha256::digest(format!("{} {cell:?} {version}", self.seed));
        let mut number = [0; 8];
        number.copy_from_slice(&digest[..8]);
        let number = u64::from_le_bytes(number);
        match (cell, version) {
            (Cell::Object(_), 0) => None,
            (Cell::Object(_), _) => {
                let len = match number % 20 {
                    0 => return None,
                    1 => 0,
                    2..=12 => number >> 8 & 0x3fff,
                    13..=18 => number >> 8 & 0x1_ffff,
                    _ => 300_000 + (number >> 8 & 0xf_ffff),
                };
                Some(content::bytes(number, len as usize))
            }
            (_, 0) => Some(vec![0; BLOCK]),
            _ => Some(content::bytes(number, BLOCK)),
        }
    }

    /// Begins the next version of `cell`; `None` while the outcome of another is open.
    pub fn begin(&self, cell: Cell) -> Option<u64> {
        let mut history = self.history(cell).lock();
        if history.open {
            return None;
        }
        history.newest += 1;
        let version = history.newest;
        history.possible.push(version);
        Some(version)
    }

    /// The gateway said that `version` is stored.
    pub fn acknowledge(&self, cell: Cell, version: u64) {
        self.history(cell)
            .lock()
            .possible
            .retain(|possible| *possible >= version);
    }

    /// Nobody knows what became of the last write, nor when it will.
    pub fn leave_open(&self, cell: Cell) {
        self.history(cell).lock().open = true;
    }

    /// To be called before a cell is read.
    pub fn before(&self, cell: Cell) -> Before {
        let history = self.history(cell).lock();
        Before {
            possible: history.possible.clone(),
            newest: history.newest,
        }
    }

    /// Whether a read that began at `before` may have answered `found`; the version that it is.
    pub fn judge(&self, cell: Cell, before: &Before, found: &Held) -> Result<u64> {
        let newest = self.history(cell).lock().newest;
        let mut possible = before.possible.iter().copied().chain(before.newest + 1..=newest);
        if let Some(version) = possible.find(|version| self.held(cell, *version) == *found) {
            return Ok(version);
        }
        let stale = (0..=newest)
            .rev()
            .find(|version| self.held(cell, *version) == *found);
        let what = match (found, stale) {
            (_, Some(version)) => format!("version {version}, which is lost or superseded"),
            (None, None) => "nothing".to_owned(),
            (Some(bytes), None) => format!("{} bytes of no version at all", bytes.len()),
        };
        bail!(
            "{cell:?} answers {what}; possible are {:?} and {}..={newest}",
            before.possible,
            before.newest + 1
        );
    }

    /// After a restart: `cell` has `version` and keeps it.
    pub fn settle(&self, cell: Cell, version: u64) -> Result<()> {
        let mut history = self.history(cell).lock();
        ensure!(
            history.possible.contains(&version),
            "{cell:?} has version {version} after a restart; possible are {:?}",
            history.possible
        );
        history.possible = vec![version];
        history.open = false;
        Ok(())
    }

    /// Versions that were begun, over all cells.
    pub fn begun(&self) -> u64 {
        Self::cells().map(|cell| self.history(cell).lock().newest).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: Cell = Cell::Volume(3);

    #[test]
    fn an_acknowledged_write_excludes_older_ones() {
        let ledger = Ledger::new(1);
        let first = ledger.begin(CELL).unwrap();
        let before = ledger.before(CELL);
        for version in [0, first] {
            assert_eq!(
                ledger.judge(CELL, &before, &ledger.held(CELL, version)).unwrap(),
                version
            );
        }
        ledger.acknowledge(CELL, first);
        let before = ledger.before(CELL);
        let lost = ledger.judge(CELL, &before, &ledger.held(CELL, 0)).unwrap_err();
        assert!(lost.to_string().contains("lost"), "{lost}");
        let garbage = ledger.judge(CELL, &before, &Some(vec![1; BLOCK])).unwrap_err();
        assert!(garbage.to_string().contains("no version"), "{garbage}");
    }

    #[test]
    fn a_read_may_see_what_was_written_while_it_ran() {
        let ledger = Ledger::new(1);
        let before = ledger.before(CELL);
        for _ in 0..2 {
            let version = ledger.begin(CELL).unwrap();
            ledger.acknowledge(CELL, version);
        }
        for version in 0..=2 {
            assert_eq!(
                ledger.judge(CELL, &before, &ledger.held(CELL, version)).unwrap(),
                version
            );
        }
    }

    #[test]
    fn what_a_restart_lost_never_comes_back() {
        let ledger = Ledger::new(1);
        let kept = ledger.begin(CELL).unwrap();
        let lost = ledger.begin(CELL).unwrap();
        ledger.leave_open(CELL);
        assert_eq!(ledger.begin(CELL), None);
        ledger.settle(CELL, kept).unwrap();
        let before = ledger.before(CELL);
        ledger.judge(CELL, &before, &ledger.held(CELL, lost)).unwrap_err();
        assert!(ledger.begin(CELL).unwrap() > lost);
    }
}
