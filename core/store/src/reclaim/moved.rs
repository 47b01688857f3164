//! Which pack a chunk comes from that is stored again while that pack is still on the network.
//!
//! The old pack stays until the new one is verified, and the chunk keeps its level: what was
//! `verified` for whoever wrote it stays so while it moves. The old pack also stays a copy: while the
//! new one is not on the network, or cannot be read, the chunk can be read from there. A restore notes
//! the same of chunks that it finds in two packs.
//!
//! ```text
//! 0x8c 02 ‹chunk u64 BE›   pack u64 BE
//! ```
use meta::{Read, Transaction};

use crate::health::seen::Seen;
use crate::locations::Location;
use crate::pack::record;
use crate::tables::{self, PACKING};
use crate::{ChunkId, Level, PackState, Result};

const PART: u8 = 2;

fn key(chunk: ChunkId) -> [u8; 10] {
    let mut key = [PACKING; 10];
    key[1] = PART;
    key[2..].copy_from_slice(&chunk.0.to_be_bytes());
    key
}

/// Notes that `chunk` comes from `pack`, which keeps it until it is verified elsewhere. A pack noted
/// before stays noted when it has come further.
pub(crate) fn put(tx: &mut dyn Transaction, chunk: ChunkId, pack: u64) -> Result<()> {
    let reached =
        |pack| -> Result<Option<PackState>> { Ok(record::get(&*tx, pack)?.map(|record| record.state)) };
    if let Some(before) = from(&*tx, chunk)?
        && reached(before)? > reached(pack)?
    {
        return Ok(());
    }
    Ok(tx.put(&key(chunk), &pack.to_be_bytes())?)
}

/// Forgets where `chunk` came from, if that was `pack`.
pub(crate) fn delete(tx: &mut dyn Transaction, chunk: ChunkId, pack: u64) -> Result<()> {
    if from(&*tx, chunk)? == Some(pack) {
        tx.delete(&key(chunk))?;
    }
    Ok(())
}

/// The pack that `chunk` comes from, if it moved.
pub(crate) fn from<R: Read + ?Sized>(read: &R, chunk: ChunkId) -> Result<Option<u64>> {
    read.get(&key(chunk))?
        .map(|value| tables::u64_from(&value))
        .transpose()
}

/// The level of a chunk that its own pack has brought to `level` only.
pub(crate) fn level<R: Read + ?Sized>(read: &R, seen: Seen, chunk: ChunkId, level: Level) -> Result<Level> {
    if level == Level::Verified {
        return Ok(level);
    }
    let Some(old) = from(read, chunk)? else {
        return Ok(level);
    };
    match (record::get(read, old)?, place_in(read, old, chunk)?) {
        (Some(about), Some(place)) => Ok(seen.level(read, &place, about.state)?.max(level)),
        _ => Ok(level),
    }
}

/// Where on the network a chunk is whose own pack has it at `place`: there, or in the pack that it
/// comes from while its own is not there yet.
pub(crate) fn find<R: Read + ?Sized>(
    read: &R,
    chunk: ChunkId,
    place: Option<Location>,
) -> Result<Option<Location>> {
    let Some(old) = from(read, chunk)? else {
        return Ok(place);
    };
    if let Some(own) = place
        && record::get(read, own.pack)?.is_some_and(|record| record.state >= PackState::Placed)
    {
        return Ok(place);
    }
    Ok(place_in(read, old, chunk)?.or(place))
}

/// Where the network has a chunk beside its own pack `own`: in the one that it comes from, as long as
/// that is there.
pub(crate) fn other<R: Read + ?Sized>(read: &R, chunk: ChunkId, own: u64) -> Result<Option<Location>> {
    match from(read, chunk)? {
        Some(old) if old != own => place_in(read, old, chunk),
        _ => Ok(None),
    }
}

/// Where `chunk` lies in `pack`, if that holds it.
fn place_in<R: Read + ?Sized>(read: &R, pack: u64, chunk: ChunkId) -> Result<Option<Location>> {
    let Some(about) = record::get(read, pack)? else {
        return Ok(None);
    };
    for segment in 0..about.segments {
        let slots = record::contents(read, pack, segment)?;
        if let Some(slot) = slots.iter().find(|slot| slot.chunk == chunk) {
            return Ok(Some(Location {
                pack,
                segment,
                offset: slot.offset,
                len: slot.len,
            }));
        }
    }
    Ok(None)
}
