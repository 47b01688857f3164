//! Which pack a chunk comes from that is packed again although nothing is wrong with it.
//!
//! Its old pack keeps its level until the new one is verified, and so does the chunk: what was
//! `verified` for whoever wrote it stays so while it moves.
//!
//! ```text
//! 0x8c 02 ‹chunk u64 BE›   pack u64 BE
//! ```
use meta::{Read, Transaction};

use crate::pack::record;
use crate::place::level_of;
use crate::tables::{self, PACKING};
use crate::{ChunkId, Level, Result};

const PART: u8 = 2;

fn key(chunk: ChunkId) -> [u8; 10] {
    let mut key = [PACKING; 10];
    key[1] = PART;
    key[2..].copy_from_slice(&chunk.0.to_be_bytes());
    key
}

/// Notes that `chunk` comes from `pack`, which keeps it until it is verified elsewhere.
pub(crate) fn put(tx: &mut dyn Transaction, chunk: ChunkId, pack: u64) -> Result<()> {
    Ok(tx.put(&key(chunk), &pack.to_be_bytes())?)
}

/// Forgets where `chunk` came from, if that was `pack`.
pub(crate) fn delete(tx: &mut dyn Transaction, chunk: ChunkId, pack: u64) -> Result<()> {
    let key = key(chunk);
    if tx.get(&key)?.is_some_and(|value| value == pack.to_be_bytes()) {
        tx.delete(&key)?;
    }
    Ok(())
}

/// The level of a chunk that its own pack has brought to `level` only.
pub(crate) fn level<R: Read + ?Sized>(read: &R, chunk: ChunkId, level: Level) -> Result<Level> {
    if level == Level::Verified {
        return Ok(level);
    }
    let Some(value) = read.get(&key(chunk))? else {
        return Ok(level);
    };
    let old = record::get(read, tables::u64_from(&value)?)?;
    Ok(old.map_or(level, |record| level_of(record.state).max(level)))
}
