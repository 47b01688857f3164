//! When a pack came how far, and in which blocks of the chain.
//!
//! Row `0x8f ‹pack u64 BE›` → postcard of [`Life`]. It is written wherever the record of a pack is
//! ([`crate::pack::record::put`]), in the same transaction, so that no step can be forgotten, and
//! it goes with the pack. The times are those of the wall clock: for people to read, never to
//! decide by.
use meta::{Read, Transaction};
use serde::{Deserialize, Serialize};

use crate::pack::record::Record;
use crate::{PackState, Result, clock, tables};

/// First byte of the keys of this table.
const TABLE: u8 = 0x8f;
/// Most steps kept: the first, and the newest. Only an order that vanished from the chain makes a
/// pack take a step twice.
const STEPS: usize = 32;

/// How far a pack has come; a pack's own states, and what comes after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Milestone {
    /// Contents chosen and frozen.
    Closed,
    /// The FID is known.
    Hashed,
    /// The chain has the deal.
    Declared,
    /// The chain lists the file.
    Placed,
    /// Every fragment was read back and compared.
    Verified,
    /// Staging gave the space of its chunks back.
    Reclaimed,
    /// What lives in it was handed to other packs.
    Retired,
}

impl Milestone {
    const fn of(record: &Record) -> Self {
        match record.state {
            _ if record.retired => Self::Retired,
            _ if record.reclaimed => Self::Reclaimed,
            PackState::Closed => Self::Closed,
            PackState::Hashed => Self::Hashed,
            PackState::Declared => Self::Declared,
            PackState::Placed => Self::Placed,
            PackState::Verified => Self::Verified,
        }
    }
}

/// One step of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeStep {
    /// What was reached.
    pub reached: Milestone,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}

/// A pack's steps and the blocks that hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Steps, oldest first.
    pub steps: Vec<LifeStep>,
    /// Block of the declaration, if this gateway saw its answer.
    pub declared_in: Option<u32>,
    /// Block of the twelfth report.
    pub completed_in: Option<u32>,
}

fn key(pack: u64) -> [u8; 9] {
    let mut key = [TABLE; 9];
    key[1..].copy_from_slice(&pack.to_be_bytes());
    key
}

/// The life of `pack`; empty when nothing is known of it.
pub(crate) fn get<R: Read + ?Sized>(read: &R, pack: u64) -> Result<Life> {
    read.get(&key(pack))?.map_or_else(
        || Ok(Life::default()),
        |row| {
            postcard::from_bytes(&row).map_err(|error| tables::damaged(&format!("life of a pack: {error}")))
        },
    )
}

fn put(tx: &mut dyn Transaction, pack: u64, life: &Life) -> Result<()> {
    let row = postcard::to_stdvec(life).map_err(|error| tables::damaged(&error.to_string()))?;
    Ok(tx.put(&key(pack), &row)?)
}

/// Notes how far `record` says that `pack` is, if that is news.
pub(crate) fn note(tx: &mut dyn Transaction, pack: u64, record: &Record) -> Result<()> {
    let reached = Milestone::of(record);
    let mut life = get(tx, pack)?;
    if life.steps.last().is_some_and(|last| last.reached == reached) {
        return Ok(());
    }
    if life.steps.len() >= STEPS {
        life.steps.remove(1);
    }
    let at = u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX);
    life.steps.push(LifeStep { reached, at });
    put(tx, pack, &life)
}

/// Notes the block that holds the declaration of `pack`.
pub(crate) fn note_declared(tx: &mut dyn Transaction, pack: u64, block: u32) -> Result<()> {
    let mut life = get(tx, pack)?;
    life.declared_in = Some(block);
    put(tx, pack, &life)
}

/// Notes the block in which the chain listed the file of `pack`.
pub(crate) fn note_completed(tx: &mut dyn Transaction, pack: u64, block: u32) -> Result<()> {
    let mut life = get(tx, pack)?;
    life.completed_in = Some(block);
    put(tx, pack, &life)
}

/// Forgets the life of `pack`.
pub(crate) fn delete(tx: &mut dyn Transaction, pack: u64) -> Result<()> {
    Ok(tx.delete(&key(pack))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_rows::Rows;
    use crate::pack::record;

    #[test]
    fn each_step_is_noted_once_by_writing_the_record() {
        let mut rows = Rows::default();
        let mut record = record::tests::record();
        for (state, times) in [
            (PackState::Closed, 2),
            (PackState::Hashed, 1),
            (PackState::Declared, 3),
            (PackState::Hashed, 1),
            (PackState::Declared, 1),
            (PackState::Placed, 2),
            (PackState::Verified, 2),
        ] {
            record.state = state;
            for _ in 0..times {
                record::put(&mut rows, 9, &record).unwrap();
            }
        }
        record.reclaimed = true;
        record::put(&mut rows, 9, &record).unwrap();
        note_declared(&mut rows, 9, 70).unwrap();
        note_completed(&mut rows, 9, 80).unwrap();
        record.retired = true;
        record::put(&mut rows, 9, &record).unwrap();
        let life = get(&rows, 9).unwrap();
        let reached: Vec<_> = life.steps.iter().map(|step| step.reached).collect();
        use Milestone as M;
        assert_eq!(
            reached,
            [
                M::Closed,
                M::Hashed,
                M::Declared,
                M::Hashed,
                M::Declared,
                M::Placed,
                M::Verified,
                M::Reclaimed,
                M::Retired
            ]
        );
        assert!(life.steps[0].at > 0 && life.steps.is_sorted_by_key(|step| step.at));
        assert_eq!((life.declared_in, life.completed_in), (Some(70), Some(80)));
        record::delete(&mut rows, 9, 2).unwrap();
        assert_eq!(get(&rows, 9).unwrap(), Life::default());
    }

    #[test]
    fn a_pack_that_goes_round_and_round_keeps_a_bounded_life() {
        let mut rows = Rows::default();
        let mut record = record::tests::record();
        record::put(&mut rows, 1, &record).unwrap();
        for _ in 0..100 {
            for state in [PackState::Hashed, PackState::Declared] {
                record.state = state;
                record::put(&mut rows, 1, &record).unwrap();
            }
        }
        let life = get(&rows, 1).unwrap();
        assert_eq!(life.steps.len(), STEPS);
        assert_eq!(life.steps[0].reached, Milestone::Closed);
        assert_eq!(life.steps[STEPS - 1].reached, Milestone::Declared);
    }
}
