//! What is known of the fragments of each segment.
//!
//! Row `0x8d ‹pack u64 BE› ‹segment u32 BE›` → postcard of [`Record`]. It is made when the pack is
//! verified, rewritten after each look, and goes with the pack. It is also the scrubber's place in
//! its round: what was looked at lately is not due.
use cess::codec::FRAGMENTS;
use meta::{Read, Transaction};
use serde::{Deserialize, Serialize};

use crate::{Result, tables};

/// First byte of the keys of this table.
pub(crate) const TABLE: u8 = 0x8d;

/// What the last look at a fragment found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FragmentState {
    /// The miner gave back what was stored.
    Good,
    /// The miner cannot be asked.
    OutOfReach,
    /// The miner says that it does not have it.
    Missing,
    /// The miner gave back something else.
    Corrupt,
    /// The miner leaves the network, or has left it.
    Left,
    /// The chain lists the fragment as lost.
    Withdrawn,
}

/// Fragments that must have been good once before a segment that a restore brought back counts as looked
/// at. With fewer that answer for certain a segment is stored again, whatever is set.
const SEEN: usize = 6;

/// One fragment. Times in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    /// What the last look found.
    pub state: FragmentState,
    /// When it was good last; 0: never seen.
    pub good: u64,
    /// Since when it is in this state.
    pub since: u64,
    /// Looks in a row that could not reach the miner.
    pub misses: u32,
}

impl Slot {
    /// The slot after a look at `now` that found `state`. `telling` is false when the look says
    /// nothing about the miner, because nobody at all could be reached.
    pub(crate) fn after(self, state: FragmentState, now: u64, telling: bool) -> Self {
        let misses = match state {
            FragmentState::OutOfReach => self.misses + u32::from(telling),
            _ => 0,
        };
        Self {
            state,
            good: if state == FragmentState::Good {
                now
            } else {
                self.good
            },
            // A clock that was set back must not leave a state that began in the future.
            since: if state == self.state {
                self.since.min(now)
            } else {
                now
            },
            misses,
        }
    }
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// When it was looked at last, in milliseconds since 1970-01-01 UTC.
    pub looked: u64,
    /// Its fragments, by index.
    pub slots: [Slot; FRAGMENTS],
    /// Fragment that is read whole at the next look.
    pub whole: u8,
    /// Looks in a row that did not find the file on the chain.
    pub unlisted: u32,
    /// Live chunks of it that could not be rebuilt when that was tried last.
    pub lost: u64,
}

impl Record {
    /// Of a segment of which every fragment was read back at `now`.
    pub(crate) fn verified(now: u64) -> Self {
        Self {
            looked: now,
            slots: [Slot {
                state: FragmentState::Good,
                good: now,
                since: now,
                misses: 0,
            }; FRAGMENTS],
            whole: 0,
            unlisted: 0,
            lost: 0,
        }
    }

    /// Of a segment that was verified before there were such records, or that a restore brought back: not
    /// looked at yet.
    pub(crate) fn unknown() -> Self {
        Self::verified(0)
    }

    /// Whether enough fragments were good at any look.
    pub(crate) fn is_seen(&self) -> bool {
        self.slots.iter().filter(|slot| slot.good > 0).count() >= SEEN
    }

    /// Fragments that are good as far as the last look knows.
    pub(crate) fn good(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| slot.state == FragmentState::Good)
            .count()
    }
}

fn key(pack: u64, segment: u32) -> [u8; 13] {
    let mut key = [TABLE; 13];
    key[1..9].copy_from_slice(&pack.to_be_bytes());
    key[9..].copy_from_slice(&segment.to_be_bytes());
    key
}

/// What is known of a segment.
pub(crate) fn get<R: Read + ?Sized>(read: &R, pack: u64, segment: u32) -> Result<Option<Record>> {
    read.get(&key(pack, segment))?
        .map(|row| postcard::from_bytes(&row).map_err(|error| tables::damaged(&format!("health: {error}"))))
        .transpose()
}

/// Notes what is known of a segment.
pub(crate) fn put(tx: &mut dyn Transaction, pack: u64, segment: u32, record: &Record) -> Result<()> {
    let row = postcard::to_stdvec(record).map_err(|error| tables::damaged(&error.to_string()))?;
    Ok(tx.put(&key(pack, segment), &row)?)
}

/// Forgets a pack of `segments`.
pub(crate) fn delete(tx: &mut dyn Transaction, pack: u64, segments: u32) -> Result<()> {
    for segment in 0..segments {
        tx.delete(&key(pack, segment))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_rows::Rows;

    #[test]
    fn rows_come_back_and_go() {
        let mut rows = Rows::default();
        let mut record = Record::verified(1_000);
        record.slots[3].state = FragmentState::Missing;
        assert_eq!(record.good(), 11);
        put(&mut rows, 7, 0, &record).unwrap();
        put(&mut rows, 7, 1, &Record::unknown()).unwrap();
        put(&mut rows, 8, 0, &record).unwrap();
        assert_eq!(get(&rows, 7, 0).unwrap(), Some(record));
        assert_eq!(get(&rows, 7, 2).unwrap(), None);
        delete(&mut rows, 7, 2).unwrap();
        assert_eq!(rows.len(), 1);
    }

    #[test]
    fn a_slot_remembers_when_it_was_good_and_counts_what_tells() {
        let slot = Record::verified(100).slots[0];
        let once = slot.after(FragmentState::OutOfReach, 200, true);
        assert_eq!((once.good, once.since, once.misses), (100, 200, 1));
        let offline = once.after(FragmentState::OutOfReach, 300, false);
        assert_eq!((offline.good, offline.since, offline.misses), (100, 200, 1));
        let twice = offline.after(FragmentState::OutOfReach, 400, true);
        assert_eq!(twice.misses, 2);
        let back = twice.after(FragmentState::Good, 500, true);
        assert_eq!((back.good, back.since, back.misses), (500, 500, 0));
        // The clock was ahead and is set right.
        let early = back.after(FragmentState::Good, 50, true);
        assert_eq!((early.good, early.since), (50, 50));
    }
}
