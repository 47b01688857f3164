//! Which chunks live: are recorded, and referred to by somebody.
//!
//! Neither a pack nor its index says which of its chunks are dead, so a checkpoint does: 32 bytes for
//! 256 chunk ids, one bit each (bit *n* of byte *n / 8*, the lowest first). They change when bytes are
//! written or released, and not when chunks move from staging to a pack or between packs. The chunks
//! of checkpoints are left out: each would make the next one necessary.
use std::collections::{BTreeSet, HashSet};

use meta::Read;

use crate::checkpoint::rows;
use crate::locations::{self, IDS_PER_ROW};
use crate::pack::record;
use crate::place::local::unpacked;
use crate::reclaim::tally;
use crate::tables;
use crate::{ChunkId, Error, Result};

/// Bits of the chunks of one row.
pub(crate) type Bits = [u8; (IDS_PER_ROW / 8) as usize];

/// Row and bit of a chunk.
const fn split(chunk: ChunkId) -> (u64, usize) {
    (chunk.0 / IDS_PER_ROW, (chunk.0 % IDS_PER_ROW) as usize)
}

/// Whether the bit of `chunk` is set in those of its row.
pub(crate) const fn is_set(bits: &Bits, chunk: ChunkId) -> bool {
    let (_, bit) = split(chunk);
    (bits[bit / 8] >> (bit % 8)) & 1 == 1
}

/// The chunks whose bits are set.
pub(crate) fn chunks(row: u64, bits: &Bits) -> impl Iterator<Item = ChunkId> + '_ {
    (0..IDS_PER_ROW)
        .map(move |slot| ChunkId(row * IDS_PER_ROW + slot))
        .filter(|chunk| is_set(bits, *chunk))
}

/// Calls `row` with the bits of all rows from `first` on in which something lives, in rising order, until
/// it fails.
pub(crate) fn each<R, E>(
    read: &R,
    first: u64,
    mut row: impl FnMut(u64, &Bits) -> Result<(), E>,
) -> Result<(), E>
where
    R: Read + ?Sized,
    E: From<Error>,
{
    let from = ChunkId(first.saturating_mul(IDS_PER_ROW));
    let checkpoints: HashSet<ChunkId> = rows::kept(read)?.iter().flat_map(rows::Kept::chunks).collect();
    // Only in these packs something can be dead.
    let mourning: BTreeSet<u64> = tally::all(read)?
        .into_iter()
        .filter(|(_, tally)| tally.dead_chunks > 0)
        .map(|(pack, _)| pack)
        .collect();
    let mut open: Option<(u64, Bits)> = None;
    let mut packed = locations::from_row(read, first)?.peekable();
    let mut waiting = unpacked::everywhere(read, from)?.peekable();
    let mut damaged = tables::rows_from(read, tables::DAMAGED, from)?.peekable();
    // Three sorted sequences, merged by chunk id.
    loop {
        let next_packed = match packed.peek() {
            Some(Ok((chunk, _))) => Some(*chunk),
            Some(Err(_)) => return packed.next().map_or(Ok(()), |row| row.map(drop).map_err(E::from)),
            None => None,
        };
        let next_waiting = match waiting.peek() {
            Some(Ok(one)) => Some(one.chunk),
            Some(Err(_)) => {
                return waiting
                    .next()
                    .map_or(Ok(()), |row| row.map(drop).map_err(E::from));
            }
            None => None,
        };
        let next_damaged = match damaged.peek() {
            Some(Ok((key, _))) => Some(tables::chunk_of(key)?),
            Some(Err(_)) => {
                return damaged
                    .next()
                    .map_or(Ok(()), |row| row.map(drop).map_err(Error::from).map_err(E::from));
            }
            None => None,
        };
        let Some(chunk) = [next_packed, next_waiting, next_damaged]
            .into_iter()
            .flatten()
            .min()
        else {
            break;
        };
        let mut lives = false;
        if next_packed == Some(chunk)
            && let Some(place) = packed.next().transpose()?
        {
            let pack = place.1.pack;
            lives |= !mourning.contains(&pack)
                || read
                    .get(&record::dead_key(pack, chunk))
                    .map_err(Error::from)?
                    .is_none();
        }
        if next_waiting == Some(chunk) {
            waiting.next();
            lives = true;
        }
        if next_damaged == Some(chunk) {
            damaged.next();
            lives = true;
        }
        if !lives || checkpoints.contains(&chunk) {
            continue;
        }
        let (number, bit) = split(chunk);
        if let Some((before, bits)) = &open
            && *before != number
        {
            row(*before, bits)?;
            open = None;
        }
        let (_, bits) = open.get_or_insert((number, Bits::default()));
        bits[bit / 8] |= 1 << (bit % 8);
    }
    open.map_or(Ok(()), |(number, bits)| row(number, &bits))
}
