//! Who needs a chunk: references, counted in the transactions that change them.
//!
//! A recorded chunk has one reference and no row; the REFS row holds any other number. The first
//! release of most chunks is the last one, and then touches no count at all.
//!
//! At no reference, what happens depends on where the chunk is: one that no pack holds leaves
//! staging at once. One that a pack holds stays, because the pack's bytes are frozen; it is noted
//! as dead, for whoever decides what becomes of the pack.
use meta::{Read, Transaction};

use crate::pack::record;
use crate::place::isolate;
use crate::place::local::unpacked;
use crate::reclaim::tally;
use crate::staging::Staging;
use crate::{ChunkId, Error, Result, locations, tables};

/// One more.
pub(crate) fn retain(tx: &mut dyn Transaction, chunk: ChunkId) -> Result<()> {
    let count = count(&*tx, chunk)?
        .checked_add(1)
        .ok_or_else(|| tables::damaged("too many references to a chunk"))?;
    Ok(tx.put(&tables::chunk_key(tables::REFS, chunk), &count.to_be_bytes())?)
}

/// One less.
pub(crate) fn release(tx: &mut dyn Transaction, staging: &Staging, chunk: ChunkId) -> Result<()> {
    let key = tables::chunk_key(tables::REFS, chunk);
    match count(&*tx, chunk)? {
        0 => return Err(Error::UnknownChunk(chunk)),
        1 => {}
        2 => return Ok(tx.delete(&key)?),
        more => return Ok(tx.put(&key, &(more - 1).to_be_bytes())?),
    }
    if let Some(member) = unpacked::member(tx, chunk)? {
        unpacked::delete(tx, member, chunk)?;
        staging.leave(tx, chunk)?;
        // One that was brought back to be packed again still lies in its old pack, too.
        if let Some(place) = locations::get(tx, chunk)? {
            die(tx, place.pack, chunk, place.len)?;
        }
        return Ok(());
    }
    if isolate::forget(tx, chunk)? {
        staging.leave(tx, chunk)?;
        return Ok(());
    }
    let place = locations::get(tx, chunk)?.ok_or(Error::UnknownChunk(chunk))?;
    if tx.get(&record::dead_key(place.pack, chunk))?.is_some() {
        return Err(Error::UnknownChunk(chunk));
    }
    die(tx, place.pack, chunk, place.len)
}

/// Nothing refers any more to `chunk`, whose frame of `len` bytes lies in `pack`.
pub(crate) fn die(tx: &mut dyn Transaction, pack: u64, chunk: ChunkId, len: u32) -> Result<()> {
    tx.put(&record::dead_key(pack, chunk), &len.to_be_bytes())?;
    tally::died(tx, pack, len)
}

/// References there are; a chunk without a row has one.
pub(crate) fn count(read: &(impl Read + ?Sized), chunk: ChunkId) -> Result<u32> {
    read.get(&tables::chunk_key(tables::REFS, chunk))?
        .map_or(Ok(1), |row| tables::u32_from(&row))
}
