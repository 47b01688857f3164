//! Where sealed chunks lie in packs.
//!
//! Chunk ids are dense and packs take them in order, so most neighbours lie one behind the other
//! in one segment. A row therefore covers [`IDS_PER_ROW`] ids and lists *runs*: frames back to
//! back in one segment, of which only the first offset and the lengths are kept. Any interleaving
//! is allowed (chunks that were stored again lie elsewhere than their neighbours); it only costs
//! more runs.
//!
//! Row `0x82 ‹chunk id / 256, u64 BE›` → postcard of `Vec<Run>`. Pack numbers are differences to
//! the run before, lengths differences to the frame before, so that a regular row takes little
//! more than a byte per chunk.
use std::collections::BTreeMap;
use std::ops::Bound;

use meta::{Read, Transaction};
use serde::{Deserialize, Serialize};

use crate::{ChunkId, Error, Result};

/// First byte of the keys of this table.
const TABLE: u8 = 0x82;

/// Chunk ids that share a row.
pub(crate) const IDS_PER_ROW: u64 = 256;

/// Where one frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// Number of the pack.
    pub pack: u64,
    /// Segment in the pack, from 0.
    pub segment: u32,
    /// Bytes from the start of the segment.
    pub offset: u32,
    /// Length of the frame in bytes.
    pub len: u32,
}

/// Frames of consecutive ids, back to back in one segment.
#[derive(Serialize, Deserialize)]
struct Run {
    /// First id, counted from the first id of the row.
    slot: u8,
    /// Pack, less the pack of the run before (0 before the first).
    pack: i64,
    segment: u32,
    offset: u32,
    /// Length of each frame, less the length of the frame before (0 at the start of the row).
    lens: Vec<i64>,
}

type Row = BTreeMap<u8, Location>;

fn key(row: u64) -> [u8; 9] {
    let mut key = [TABLE; 9];
    key[1..].copy_from_slice(&row.to_be_bytes());
    key
}

const fn split(chunk: ChunkId) -> (u64, u8) {
    (chunk.0 / IDS_PER_ROW, (chunk.0 % IDS_PER_ROW) as u8)
}

fn encode(row: &Row) -> Result<Vec<u8>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut pack = 0;
    let mut len = 0;
    // The slot and place at which the frame that continues the last run would lie.
    let mut next = None;
    for (slot, location) in row {
        let delta = i64::from(location.len) - len;
        len = i64::from(location.len);
        let here = (u16::from(*slot), location.pack, location.segment, location.offset);
        match runs.last_mut() {
            Some(run) if next == Some(here) => run.lens.push(delta),
            _ => {
                runs.push(Run {
                    slot: *slot,
                    pack: location.pack.wrapping_sub(pack) as i64,
                    segment: location.segment,
                    offset: location.offset,
                    lens: vec![delta],
                });
                pack = location.pack;
            }
        }
        next = location
            .offset
            .checked_add(location.len)
            .map(|end| (u16::from(*slot) + 1, location.pack, location.segment, end));
    }
    postcard::to_stdvec(&runs).map_err(|error| damaged(&error.to_string()))
}

fn decode(bytes: &[u8]) -> Result<Row> {
    let runs: Vec<Run> = postcard::from_bytes(bytes).map_err(|error| damaged(&error.to_string()))?;
    let mut row = Row::new();
    let mut pack = 0u64;
    let mut len = 0i64;
    for run in runs {
        pack = pack.wrapping_add(run.pack as u64);
        let mut offset = run.offset;
        for (step, delta) in run.lens.into_iter().enumerate() {
            let slot =
                u8::try_from(usize::from(run.slot) + step).map_err(|_| damaged("a run leaves its row"))?;
            len = len
                .checked_add(delta)
                .ok_or_else(|| damaged("a length overflows"))?;
            let frame = u32::try_from(len).map_err(|_| damaged("a length overflows"))?;
            row.insert(
                slot,
                Location {
                    pack,
                    segment: run.segment,
                    offset,
                    len: frame,
                },
            );
            offset = offset
                .checked_add(frame)
                .ok_or_else(|| damaged("an offset overflows"))?;
        }
    }
    Ok(row)
}

fn damaged(what: &str) -> Error {
    meta::Error::Damaged(format!("locations: {what}")).into()
}

fn load<R: Read + ?Sized>(read: &R, row: u64) -> Result<Row> {
    read.get(&key(row))?
        .map_or_else(|| Ok(Row::new()), |bytes| decode(&bytes))
}

fn save(tx: &mut dyn Transaction, row: u64, slots: &Row) -> Result<()> {
    if slots.is_empty() {
        tx.delete(&key(row))?;
    } else {
        tx.put(&key(row), &encode(slots)?)?;
    }
    Ok(())
}

/// Where `chunk` lies, if a pack holds it.
pub(crate) fn get<R: Read + ?Sized>(read: &R, chunk: ChunkId) -> Result<Option<Location>> {
    let (row, slot) = split(chunk);
    Ok(load(read, row)?.get(&slot).copied())
}

/// Where each of `chunks` lies; those that no pack holds are left out. Rows are read once for
/// neighbours.
pub(crate) fn get_many<R: Read + ?Sized>(read: &R, chunks: &[ChunkId]) -> Result<Vec<(ChunkId, Location)>> {
    let mut found = Vec::with_capacity(chunks.len());
    let mut loaded: Option<(u64, Row)> = None;
    for chunk in chunks {
        let (row, slot) = split(*chunk);
        let slots = match &mut loaded {
            Some((number, slots)) if *number == row => slots,
            other => &other.insert((row, load(read, row)?)).1,
        };
        if let Some(location) = slots.get(&slot) {
            found.push((*chunk, *location));
        }
    }
    Ok(found)
}

/// Every chunk that a pack holds, in rising order of ids.
pub(crate) fn all<R: Read + ?Sized>(
    read: &R,
) -> Result<impl Iterator<Item = Result<(ChunkId, Location)>> + '_> {
    from_row(read, 0)
}

/// Every chunk from `row` × [`IDS_PER_ROW`] on that a pack holds, in rising order of ids.
pub(crate) fn from_row<R: Read + ?Sized>(
    read: &R,
    row: u64,
) -> Result<impl Iterator<Item = Result<(ChunkId, Location)>> + '_> {
    let rows = read.range(Bound::Included(&key(row)), Bound::Excluded(&[TABLE + 1]), false)?;
    Ok(
        rows.flat_map(|row| match row.map_err(Error::from).and_then(places) {
            Ok(places) => places.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        }),
    )
}

/// The places that one row of the table holds.
fn places((key, value): meta::KeyValue) -> Result<Vec<(ChunkId, Location)>> {
    let first = crate::tables::chunk_of(&key)?.0.wrapping_mul(IDS_PER_ROW);
    Ok(decode(&value)?
        .into_iter()
        .map(|(slot, place)| (ChunkId(first.wrapping_add(u64::from(slot))), place))
        .collect())
}

/// Notes where chunks lie now, over what was noted before. Cheapest in rising order of ids.
pub(crate) fn set(
    tx: &mut dyn Transaction,
    places: impl IntoIterator<Item = (ChunkId, Location)>,
) -> Result<()> {
    edit(
        tx,
        places
            .into_iter()
            .map(|(chunk, location)| (chunk, Edit::Set(location))),
    )
}

/// Forgets where chunks lie, as far as that is in `pack`.
pub(crate) fn remove(
    tx: &mut dyn Transaction,
    pack: u64,
    chunks: impl IntoIterator<Item = ChunkId>,
) -> Result<()> {
    edit(
        tx,
        chunks.into_iter().map(|chunk| (chunk, Edit::RemoveFrom(pack))),
    )
}

enum Edit {
    Set(Location),
    RemoveFrom(u64),
}

fn edit(tx: &mut dyn Transaction, edits: impl Iterator<Item = (ChunkId, Edit)>) -> Result<()> {
    let mut open: Option<(u64, Row)> = None;
    for (chunk, edit) in edits {
        let (row, slot) = split(chunk);
        if open.as_ref().is_none_or(|(number, _)| *number != row) {
            if let Some((number, slots)) = open.take() {
                save(tx, number, &slots)?;
            }
            open = Some((row, load(tx, row)?));
        }
        let Some((_, slots)) = &mut open else { continue };
        match edit {
            Edit::Set(location) => {
                slots.insert(slot, location);
            }
            Edit::RemoveFrom(pack) => {
                if slots.get(&slot).is_some_and(|location| location.pack == pack) {
                    slots.remove(&slot);
                }
            }
        }
    }
    if let Some((number, slots)) = open {
        save(tx, number, &slots)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dense(len: impl Fn(u8) -> u32) -> Row {
        let mut offset = 64;
        (0..=255u8)
            .map(|slot| {
                let location = Location {
                    pack: 7,
                    segment: 1,
                    offset,
                    len: len(slot),
                };
                offset += location.len;
                (slot, location)
            })
            .collect()
    }

    #[test]
    fn a_regular_row_takes_about_a_byte_per_chunk() {
        let row = dense(|_| 262_200);
        // Offsets stay in 32 bits because a row of full chunks spans segments in reality.
        let bytes = encode(&row).unwrap();
        assert!(bytes.len() < 280, "{} bytes", bytes.len());
        assert_eq!(decode(&bytes).unwrap(), row);
    }

    #[test]
    fn damaged_rows_are_refused_not_believed() {
        assert!(decode(&[0xff; 40]).is_err());
        let runs = vec![Run {
            slot: 255,
            pack: 1,
            segment: 0,
            offset: 0,
            lens: vec![5, 0],
        }];
        assert!(decode(&postcard::to_stdvec(&runs).unwrap()).is_err());
        let runs = vec![Run {
            slot: 0,
            pack: 1,
            segment: 0,
            offset: 0,
            lens: vec![-5],
        }];
        assert!(decode(&postcard::to_stdvec(&runs).unwrap()).is_err());
        let runs = vec![Run {
            slot: 0,
            pack: 1,
            segment: 0,
            offset: u32::MAX,
            lens: vec![5],
        }];
        assert!(decode(&postcard::to_stdvec(&runs).unwrap()).is_err());
    }

    fn location() -> impl Strategy<Value = Location> {
        (any::<u64>(), 0..1000u32, 0..33_554_432u32, 1..300_000u32).prop_map(
            |(pack, segment, offset, len)| Location {
                pack,
                segment,
                offset,
                len,
            },
        )
    }

    #[test]
    fn places_are_set_found_and_removed_across_rows() {
        let mut rows = crate::memory_rows::Rows::default();
        let place = |id: u64, pack| {
            (
                ChunkId(id),
                Location {
                    pack,
                    segment: 0,
                    offset: 64 + id as u32 * 10,
                    len: 10,
                },
            )
        };
        set(&mut rows, (250..260).map(|id| place(id, 1))).unwrap();
        set(&mut rows, [place(255, 2), place(1000, 2)]).unwrap();
        assert_eq!(get(&rows, ChunkId(254)).unwrap(), Some(place(254, 1).1));
        assert_eq!(get(&rows, ChunkId(255)).unwrap(), Some(place(255, 2).1));
        assert_eq!(get(&rows, ChunkId(300)).unwrap(), None);
        let found = get_many(&rows, &[ChunkId(249), ChunkId(250), ChunkId(1000)]).unwrap();
        assert_eq!(found, [place(250, 1), place(1000, 2)]);
        let listed: Vec<_> = all(&rows).unwrap().map(Result::unwrap).collect();
        assert_eq!(listed.len(), 11);
        assert!(listed.is_sorted_by_key(|(chunk, _)| *chunk) && listed.contains(&place(255, 2)));
        remove(&mut rows, 1, (250..260).map(ChunkId)).unwrap();
        assert_eq!(get(&rows, ChunkId(254)).unwrap(), None);
        assert_eq!(
            get(&rows, ChunkId(255)).unwrap(),
            Some(place(255, 2).1),
            "it lies in pack 2"
        );
        remove(&mut rows, 2, [ChunkId(255), ChunkId(1000)]).unwrap();
        assert_eq!(rows.len(), 0);
    }

    proptest! {
        #[test]
        fn any_interleaving_comes_back(row in prop::collection::btree_map(any::<u8>(), location(), 0..256)) {
            prop_assert_eq!(decode(&encode(&row).unwrap()).unwrap(), row);
        }

        #[test]
        fn runs_with_gaps_come_back(present in prop::collection::vec(any::<bool>(), 256), seed in any::<u32>()) {
            let mut row = dense(|slot| 100 + (seed.wrapping_mul(u32::from(slot) + 1) >> 16));
            row.retain(|slot, _| present[usize::from(*slot)]);
            prop_assert_eq!(decode(&encode(&row).unwrap()).unwrap(), row);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
