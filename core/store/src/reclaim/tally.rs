//! How much of each pack lives, counted in the transactions that change it.
//!
//! One small row per pack, so that whoever decides what becomes of packs reads those rows and
//! nothing else, however many chunks died.
//!
//! ```text
//! 0x8c 01 ‹pack u64 BE›   Tally, postcard
//! ```
use std::ops::Bound;

use cess::codec::{FRAGMENT_SIZE, FRAGMENTS};
use meta::{Read, Transaction};
use serde::{Deserialize, Serialize};

use crate::pack::record::{self, Record};
use crate::tables::{self, PACKING};
use crate::{PackState, Result};

const PART: u8 = 1;
/// Territory that a segment takes, in bytes.
pub(crate) const CHARGE: u64 = (FRAGMENTS * FRAGMENT_SIZE) as u64;

/// What one pack costs and what lives in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Segments of 32 MiB.
    pub segments: u32,
    /// Chunks in it.
    pub chunks: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Those of the chunks that nothing refers to.
    pub dead_chunks: u64,
    /// Bytes of their frames.
    pub dead_bytes: u64,
    /// Verified, and staging gave its space back.
    pub settled: bool,
    /// On its way out.
    pub retired: bool,
    /// Its live chunks are being brought back to staging, to be packed again.
    pub moving: bool,
}

impl Tally {
    /// Bytes of frames that somebody refers to.
    pub(crate) const fn live_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.dead_bytes)
    }

    /// Whether nothing in it lives.
    pub(crate) const fn is_dead(&self) -> bool {
        self.dead_chunks >= self.chunks
    }
}

fn key(pack: u64) -> [u8; 10] {
    let mut key = [PACKING; 10];
    key[1] = PART;
    key[2..].copy_from_slice(&pack.to_be_bytes());
    key
}

fn decode(value: &[u8]) -> Result<Tally> {
    postcard::from_bytes(value).map_err(|error| tables::damaged(&format!("tally: {error}")))
}

fn put(tx: &mut dyn Transaction, pack: u64, tally: &Tally) -> Result<()> {
    let value = postcard::to_stdvec(tally).map_err(|error| tables::damaged(&format!("tally: {error}")))?;
    Ok(tx.put(&key(pack), &value)?)
}

/// The tally of `pack`, as long as the pack is known.
pub(crate) fn get<R: Read + ?Sized>(read: &R, pack: u64) -> Result<Option<Tally>> {
    read.get(&key(pack))?.map(|value| decode(&value)).transpose()
}

/// All packs, oldest first.
pub(crate) fn all<R: Read + ?Sized>(read: &R) -> Result<Vec<(u64, Tally)>> {
    read.range(
        Bound::Included(&[PACKING, PART]),
        Bound::Excluded(&[PACKING, PART + 1]),
        false,
    )?
    .map(|row| {
        let (key, value) = row?;
        let pack = tables::u64_from(key.get(2..).unwrap_or_default())?;
        Ok((pack, decode(&value)?))
    })
    .collect()
}

/// Notes what a pack's record says now.
pub(crate) fn follow(tx: &mut dyn Transaction, pack: u64, record: &Record) -> Result<()> {
    let before = get(tx, pack)?;
    let now = Tally {
        segments: record.segments,
        chunks: record.chunks,
        bytes: record.bytes,
        settled: record.state == PackState::Verified && record.reclaimed,
        retired: record.retired,
        ..before.unwrap_or_default()
    };
    if before != Some(now) {
        put(tx, pack, &now)?;
    }
    Ok(())
}

/// Counts a chunk of `pack` as dead, whose frame has `len` bytes.
pub(crate) fn died(tx: &mut dyn Transaction, pack: u64, len: u32) -> Result<()> {
    if let Some(mut tally) = get(tx, pack)? {
        tally.dead_chunks += 1;
        tally.dead_bytes += u64::from(len);
        put(tx, pack, &tally)?;
    }
    Ok(())
}

/// Territory that packs take, in bytes.
pub(crate) fn leased(packs: &[(u64, Tally)]) -> u64 {
    packs
        .iter()
        .map(|(_, tally)| u64::from(tally.segments) * CHARGE)
        .sum()
}

/// Bytes of frames in packs that somebody refers to. What a retired pack held lives elsewhere.
pub(crate) fn live_bytes(packs: &[(u64, Tally)]) -> u64 {
    packs
        .iter()
        .filter(|(_, tally)| !tally.retired)
        .map(|(_, tally)| tally.live_bytes())
        .sum()
}

/// Notes that the live chunks of `pack` are being brought back.
pub(crate) fn moving(tx: &mut dyn Transaction, pack: u64) -> Result<()> {
    if let Some(mut tally) = get(tx, pack)?
        && !tally.moving
    {
        tally.moving = true;
        put(tx, pack, &tally)?;
    }
    Ok(())
}

/// Forgets the tally of `pack`.
pub(crate) fn delete(tx: &mut dyn Transaction, pack: u64) -> Result<()> {
    Ok(tx.delete(&key(pack))?)
}

/// Counts a pack anew that has no tally: one that an earlier version closed.
pub(crate) fn make_up(tx: &mut dyn Transaction, pack: u64) -> Result<()> {
    let (None, Some(record)) = (get(tx, pack)?, record::get(tx, pack)?) else {
        return Ok(());
    };
    follow(tx, pack, &record)?;
    for (_, len) in record::dead(tx, pack)? {
        died(tx, pack, len)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_rows::Rows;
    use crate::{ChunkId, references};

    fn record(chunks: u64, bytes: u64) -> Record {
        Record {
            chunks,
            bytes,
            ..record::tests::record()
        }
    }

    #[test]
    fn what_dies_is_counted_and_the_record_followed() {
        let mut rows = Rows::default();
        let mut record = record(3, 600);
        record::put(&mut rows, 7, &record).unwrap();
        references::die(&mut rows, 7, ChunkId(5), 100).unwrap();
        references::die(&mut rows, 7, ChunkId(6), 200).unwrap();
        let tally = get(&rows, 7).unwrap().unwrap();
        assert_eq!(
            (tally.dead_chunks, tally.live_bytes(), tally.is_dead()),
            (2, 300, false)
        );
        record.retired = true;
        record.state = PackState::Verified;
        record.reclaimed = true;
        record::put(&mut rows, 7, &record).unwrap();
        references::die(&mut rows, 7, ChunkId(9), 300).unwrap();
        let tally = get(&rows, 7).unwrap().unwrap();
        assert!(tally.retired && tally.settled && tally.is_dead());
        let tallies = all(&rows).unwrap();
        assert_eq!(tallies, [(7, tally)]);
        assert_eq!((leased(&tallies), live_bytes(&tallies)), (2 * CHARGE, 0));
        record::delete(&mut rows, 7, record.segments).unwrap();
        assert_eq!(all(&rows).unwrap(), []);
    }

    #[test]
    fn a_pack_without_a_tally_is_counted_anew() {
        let mut rows = Rows::default();
        let record = record(3, 600);
        record::put(&mut rows, 7, &record).unwrap();
        references::die(&mut rows, 7, ChunkId(5), 100).unwrap();
        let counted = get(&rows, 7).unwrap();
        delete(&mut rows, 7).unwrap();
        make_up(&mut rows, 7).unwrap();
        assert_eq!(get(&rows, 7).unwrap(), counted);
        // A second time changes nothing.
        make_up(&mut rows, 7).unwrap();
        assert_eq!(get(&rows, 7).unwrap(), counted);
    }
}
