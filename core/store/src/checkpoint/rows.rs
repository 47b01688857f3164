//! The rows about checkpoints, and those of a restore that is under way.
//!
//! ```text
//! 0x91 00                  incarnation of the namespace, u32 BE; no row: 0
//! 0x91 01 ‹number u32 BE›  Kept, postcard: a checkpoint whose chunks are kept
//! 0x91 02                  a restore is under way: number of the checkpoint, u32 BE, once chosen
//! 0x91 03                  a later incarnation was seen: what it is, text
//! 0x91 04 ‹domain u64 BE›  wrapped domain key found in a pack, during a restore
//! 0x91 05 ‹offset u64 BE› ‹chunk u64 BE›  part of a manifest found in a pack, during a restore
//! 0x91 06 ‹row u64 BE›     bits of the chunks that live, during a restore (as in checkpoints)
//! 0x91 07                  Restored, postcard: the restore that this incarnation began with
//! ```
use std::ops::Bound;

use meta::{KeyValue, Read, Transaction};
use serde::{Deserialize, Serialize};

use crate::checkpoint::manifest::Manifest;
use crate::tables::{self, CHECKPOINT};
use crate::{ChunkId, Result};

const INCARNATION: u8 = 0;
const KEPT: u8 = 1;
const RESTORING: u8 = 2;
const SUPERSEDED: u8 = 3;
/// Key of the row that says that this namespace goes on elsewhere.
pub(crate) const SUPERSEDED_KEY: [u8; 2] = [CHECKPOINT, SUPERSEDED];
/// Domain keys found during a restore.
pub(crate) const FOUND_DOMAIN: u8 = 4;
/// Parts of manifests found during a restore.
pub(crate) const FOUND_PART: u8 = 5;
/// Chunks that live, during a restore.
pub(crate) const FOUND_LIVE: u8 = 6;

const RESTORED: u8 = 7;

/// The restore that an incarnation began with. Times in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restored {
    /// When it was.
    pub at: u64,
    /// Number of the checkpoint, and when its image was taken; `None`: names were made of what packs say.
    pub checkpoint: Option<(u32, u64)>,
    /// Chunks that the checkpoint called live and no pack held.
    pub lost: u64,
    /// Packs that could not be read, and were given up.
    pub unreadable: u64,
}

/// A checkpoint whose chunks are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// What it lists.
    pub manifest: Manifest,
    /// Chunks that hold the manifest itself.
    pub parts: Vec<ChunkId>,
}

impl Kept {
    /// Every chunk that a restore of it needs, in rising order.
    pub(crate) fn chunks(&self) -> Vec<ChunkId> {
        let mut chunks: Vec<ChunkId> = self.manifest.chunks().chain(self.parts.iter().copied()).collect();
        chunks.sort_unstable();
        chunks.dedup();
        chunks
    }
}

/// Key of a row of one part of this table.
pub(crate) fn key(part: u8, numbers: &[u64]) -> Vec<u8> {
    let mut key = vec![CHECKPOINT, part];
    for number in numbers {
        key.extend_from_slice(&number.to_be_bytes());
    }
    key
}

/// The number at place `at` (from 0) of a key made by [`key`].
pub(crate) fn number_at(key: &[u8], at: usize) -> Result<u64> {
    tables::u64_from(key.get(2 + 8 * at..10 + 8 * at).unwrap_or_default())
}

/// Rows of one part of this table.
pub(crate) fn part<R: Read + ?Sized>(
    read: &R,
    part: u8,
) -> Result<Box<dyn Iterator<Item = meta::Result<KeyValue>> + '_>> {
    Ok(read.range(
        Bound::Included(&[CHECKPOINT, part]),
        Bound::Excluded(&[CHECKPOINT, part + 1]),
        false,
    )?)
}

fn kept_key(number: u32) -> [u8; 6] {
    let mut key = [CHECKPOINT, KEPT, 0, 0, 0, 0];
    key[2..].copy_from_slice(&number.to_be_bytes());
    key
}

/// How often the namespace was restored.
pub(crate) fn incarnation<R: Read + ?Sized>(read: &R) -> Result<u32> {
    read.get(&[CHECKPOINT, INCARNATION])?
        .map_or(Ok(0), |row| tables::u32_from(&row))
}

/// Sets the incarnation.
pub(crate) fn put_incarnation(tx: &mut dyn Transaction, incarnation: u32) -> Result<()> {
    Ok(tx.put(&[CHECKPOINT, INCARNATION], &incarnation.to_be_bytes())?)
}

/// Checkpoints that are kept, oldest first.
pub(crate) fn kept<R: Read + ?Sized>(read: &R) -> Result<Vec<Kept>> {
    part(read, KEPT)?
        .map(|row| {
            postcard::from_bytes(&row?.1).map_err(|error| tables::damaged(&format!("checkpoint: {error}")))
        })
        .collect()
}

/// Keeps a checkpoint.
pub(crate) fn put_kept(tx: &mut dyn Transaction, kept: &Kept) -> Result<()> {
    let value = postcard::to_stdvec(kept).map_err(|error| tables::damaged(&error.to_string()))?;
    Ok(tx.put(&kept_key(kept.manifest.number), &value)?)
}

/// Keeps a checkpoint no longer.
pub(crate) fn delete_kept(tx: &mut dyn Transaction, number: u32) -> Result<()> {
    Ok(tx.delete(&kept_key(number))?)
}

/// How far a restore into this store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restoring {
    /// There is none, or it came to its end.
    Not,
    /// It was begun.
    Begun,
    /// It puts the rows of the checkpoint of this number.
    Chosen(u32),
}

/// How far a restore is.
pub(crate) fn restoring<R: Read + ?Sized>(read: &R) -> Result<Restoring> {
    Ok(match read.get(&[CHECKPOINT, RESTORING])? {
        None => Restoring::Not,
        Some(row) if row.is_empty() => Restoring::Begun,
        Some(row) => Restoring::Chosen(tables::u32_from(&row)?),
    })
}

/// A restore is under way; `chosen`: the checkpoint whose rows are put.
pub(crate) fn put_restoring(tx: &mut dyn Transaction, chosen: Option<u32>) -> Result<()> {
    let value = chosen.map_or_else(Vec::new, |number| number.to_be_bytes().to_vec());
    Ok(tx.put(&[CHECKPOINT, RESTORING], &value)?)
}

/// The restore is over.
pub(crate) fn delete_restoring(tx: &mut dyn Transaction) -> Result<()> {
    Ok(tx.delete(&[CHECKPOINT, RESTORING])?)
}

/// The restore that this incarnation began with, if it began with one.
pub(crate) fn restored<R: Read + ?Sized>(read: &R) -> Result<Option<Restored>> {
    read.get(&[CHECKPOINT, RESTORED])?
        .map(|row| postcard::from_bytes(&row).map_err(|error| tables::damaged(&format!("restore: {error}"))))
        .transpose()
}

/// Notes the restore that this incarnation begins with.
pub(crate) fn put_restored(tx: &mut dyn Transaction, restored: &Restored) -> Result<()> {
    let value = postcard::to_stdvec(restored).map_err(|error| tables::damaged(&error.to_string()))?;
    Ok(tx.put(&[CHECKPOINT, RESTORED], &value)?)
}

/// Why this gateway may not go on, if it may not.
pub(crate) fn superseded<R: Read + ?Sized>(read: &R) -> Result<Option<String>> {
    Ok(read
        .get(&[CHECKPOINT, SUPERSEDED])?
        .map(|row| String::from_utf8_lossy(&row).into_owned()))
}

/// Notes that this gateway may not go on.
pub(crate) fn put_superseded(tx: &mut dyn Transaction, reason: &str) -> Result<()> {
    Ok(tx.put(&[CHECKPOINT, SUPERSEDED], reason.as_bytes())?)
}
