//! The keys of the store's rows. Numbers in keys are big endian, so that rows sort by number.
//!
//! ```text
//! 0x80 ‹chunk u64›               STAGED    where the chunk lies in staging (staging::row)
//! 0x81 ‹member u16, chunk u48›    UNPACKED  frame length u32 BE; recorded, in no pack yet
//! 0x82 ‹chunk u64 / 256›         LOCATIONS where those chunks lie in packs
//! 0x83 ‹chunk u64›               REFS      references u32 BE, when not one
//! 0x84 …                         PACKS     packs on their way out
//! 0x85 ‹pack u64› ‹chunk u64›    DEAD      chunks of a pack that nothing refers to
//! 0x86 ‹domain u64›              DOMAIN    wrapped key of a key domain
//! 0x87                           EPOCH     number of the running epoch, u32 BE
//! 0x87 ‹domain u64› ‹epoch u32›  EPOCH     wrapped sub-key of a domain in an epoch
//! 0x88                           ROOT      how the passphrase opens the root key
//! 0x89                           IDS       first chunk id that was never handed out, u64 BE
//! 0x8a ‹member u16, chunk u48›    FREED     staging space of a chunk that staging no longer has
//! 0x8b ‹chunk u64›               INLINE    frames small enough to ride in a row
//! 0x90 ‹chunk u64›               DAMAGED   frame length u32 BE; rotten in staging, in no pack
//! 0x8c …                         PACKING   tallies of packs, and what the packer keeps
//! 0x8d ‹pack u64› ‹segment u32›  HEALTH    what is known of a segment's fragments
//! 0x8e …                         PLACING   orders on their way to the chain, scores of miners
//! 0x8f ‹pack u64›                LIFE      when a pack came how far
//! 0x91 …                         CHECKPOINT checkpoints, incarnation, a restore under way
//! 0x92 …                         MEMBERS   gateways on the namespace, and what they hold
//! ```
//! What is in one of these tables and in no pack must be in checkpoints: see
//! [`crate::checkpoint::image`] when a table is added.
use std::ops::Bound;

use meta::{KeyValue, Read};

use crate::{ChunkId, DomainId, Result};

/// Where chunks lie in staging.
pub(crate) const STAGED: u8 = 0x80;
/// Chunks that no pack holds.
pub(crate) const UNPACKED: u8 = 0x81;
/// References to chunks.
pub(crate) const REFS: u8 = 0x83;
/// Wrapped domain keys.
pub(crate) const DOMAIN: u8 = 0x86;
/// Epochs and their wrapped sub-keys.
pub(crate) const EPOCH: u8 = 0x87;
/// The wrapped root key.
pub(crate) const ROOT: u8 = 0x88;
/// Mark of the chunk ids.
pub(crate) const IDS: u8 = 0x89;
/// Staging space to give back.
pub(crate) const FREED: u8 = 0x8a;
/// Chunks of packs that nothing refers to.
pub(crate) const DEAD: u8 = 0x85;
/// What placing knows beside the packs: orders and scores of miners.
pub(crate) const PLACING: u8 = 0x8e;
/// Small frames.
pub(crate) const INLINE: u8 = 0x8b;
/// Chunks that staging could not give back before the network had them.
pub(crate) const DAMAGED: u8 = 0x90;
/// Tallies of packs, and what the packer keeps.
pub(crate) const PACKING: u8 = 0x8c;
/// Checkpoints, and a restore that is under way.
pub(crate) const CHECKPOINT: u8 = 0x91;
/// Gateways on the namespace.
pub(crate) const MEMBERS: u8 = 0x92;

/// Key of a row of `table` about `chunk`.
pub(crate) fn chunk_key(table: u8, chunk: ChunkId) -> [u8; 9] {
    let mut key = [table; 9];
    key[1..].copy_from_slice(&chunk.0.to_be_bytes());
    key
}

/// The chunk that a key made by [`chunk_key`] is about.
pub(crate) fn chunk_of(key: &[u8]) -> Result<ChunkId> {
    let id: [u8; 8] = key
        .get(1..)
        .and_then(|id| id.try_into().ok())
        .ok_or_else(|| damaged("a key of a wrong length"))?;
    Ok(ChunkId(u64::from_be_bytes(id)))
}

/// Bits of a chunk's id.
pub(crate) const CHUNK_BITS: u32 = 48;

/// Key of a row of `table` that `member` keeps about `chunk`: its rows lie side by side, and nobody who looks
/// through them reads another's.
pub(crate) fn member_key(table: u8, member: u16, chunk: ChunkId) -> [u8; 9] {
    chunk_key(table, ChunkId((u64::from(member) << CHUNK_BITS) | chunk.0))
}

/// The member and the chunk that a key made by [`member_key`] is about.
pub(crate) fn member_and_chunk(key: &[u8]) -> Result<(u16, ChunkId)> {
    let ChunkId(both) = chunk_of(key)?;
    let chunk = ChunkId(both & ((1 << CHUNK_BITS) - 1));
    Ok(((both >> CHUNK_BITS) as u16, chunk))
}

/// Rows of `table` that `member` keeps about chunks from `from` on.
pub(crate) fn member_rows<'a, R: Read + ?Sized>(
    read: &'a R,
    table: u8,
    member: u16,
    from: ChunkId,
) -> Result<Box<dyn Iterator<Item = meta::Result<KeyValue>> + 'a>> {
    let from = member_key(table, member, from);
    let to = member_key(table, member, ChunkId((1 << CHUNK_BITS) - 1));
    Ok(read.range(Bound::Included(&from), Bound::Included(&to), false)?)
}

/// The members that keep rows of `table`, in rising order. Costs a look for each.
pub(crate) fn members_with_rows<R: Read + ?Sized>(read: &R, table: u8) -> Result<Vec<u16>> {
    let mut members = Vec::new();
    let mut from = Some(0u16);
    while let Some(member) = from {
        let first = member_key(table, member, ChunkId(0));
        let next = read
            .range(Bound::Included(&first), Bound::Excluded(&[table + 1]), false)?
            .next()
            .transpose()?;
        let Some((key, _)) = next else { break };
        let (member, _) = member_and_chunk(&key)?;
        members.push(member);
        from = member.checked_add(1);
    }
    Ok(members)
}

/// Key of the wrapped key of `domain`.
pub(crate) fn domain_key(domain: DomainId) -> [u8; 9] {
    let mut key = [DOMAIN; 9];
    key[1..].copy_from_slice(&domain.0.to_be_bytes());
    key
}

/// Key of the wrapped sub-key of `domain` in `epoch`.
pub(crate) fn epoch_key(domain: DomainId, epoch: u32) -> [u8; 13] {
    let mut key = [EPOCH; 13];
    key[1..9].copy_from_slice(&domain.0.to_be_bytes());
    key[9..].copy_from_slice(&epoch.to_be_bytes());
    key
}

/// All rows of `table` about chunks from `from` on.
pub(crate) fn rows_from<'a, R: Read + ?Sized>(
    read: &'a R,
    table: u8,
    from: ChunkId,
) -> Result<Box<dyn Iterator<Item = meta::Result<KeyValue>> + 'a>> {
    let from = chunk_key(table, from);
    Ok(read.range(Bound::Included(&from), Bound::Excluded(&[table + 1]), false)?)
}

/// A u32 as rows hold it.
pub(crate) fn u32_from(row: &[u8]) -> Result<u32> {
    Ok(u32::from_be_bytes(
        row.try_into()
            .map_err(|_| damaged("a number of a wrong length"))?,
    ))
}

/// A u64 as rows hold it.
pub(crate) fn u64_from(row: &[u8]) -> Result<u64> {
    Ok(u64::from_be_bytes(
        row.try_into()
            .map_err(|_| damaged("a number of a wrong length"))?,
    ))
}

/// The metadata holds something that this program never writes.
pub(crate) fn damaged(what: &str) -> crate::Error {
    meta::Error::Damaged(format!("store tables: {what}")).into()
}
