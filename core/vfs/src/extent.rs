//! Extents: which bytes of which chunks an inode consists of.
//!
//! Extents of an inode never overlap; what no extent covers reads as zeroes. An extent lies in one
//! chunk and is therefore at most [`store::CHUNK_MAX`] bytes long, so that the extents that touch a
//! range are found by one scan that begins that much before it.
//!
//! Every extent holds one reference on its chunk. Cutting a hole into the middle of an extent makes
//! two of it and takes one more reference. A reference that is given up is not released at once:
//! somebody may be reading the chunk through an older view of the inode. It goes to the DROPPED
//! table, from where [`crate::release`] hands it to the store when those readers are gone.
use std::ops::{Bound, Range};

use meta::{Read, Transaction};
use store::{CHUNK_MAX, ChunkId, Store};

use crate::schema::{self, EXTENT, ExtentRecord};
use crate::snapshot::number::Place;
use crate::{InodeNo, Result};

/// An extent and where in the file it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub offset: u64,
    pub record: ExtentRecord,
}

impl Extent {
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.record.len)
    }

    /// The part that lies in `range`, which must overlap.
    pub(crate) fn cut(&self, range: &Range<u64>) -> Self {
        let start = self.offset.max(range.start);
        let end = self.end().min(range.end);
        Self {
            offset: start,
            record: ExtentRecord {
                chunk: self.record.chunk,
                // Both differences are below the extent's own length, which is a u32.
                start: self.record.start + (start - self.offset) as u32,
                len: (end - start) as u32,
            },
        }
    }

    /// Its bytes in the chunk.
    pub(crate) fn in_chunk(&self) -> Range<u32> {
        self.record.start..self.record.start + self.record.len
    }
}

/// Extents that touch `range`, in order, at most `max`.
pub(crate) fn overlapping(
    read: &(impl Read + ?Sized),
    ino: InodeNo,
    range: &Range<u64>,
    max: usize,
) -> Result<Vec<Extent>> {
    let mut found = Vec::new();
    if range.is_empty() {
        return Ok(found);
    }
    let from = schema::extent_key(ino, range.start.saturating_sub(CHUNK_MAX as u64 - 1));
    let to = schema::extent_key(ino, range.end);
    for row in read.range(Bound::Included(&from), Bound::Excluded(&to), false)? {
        let (key, value) = row?;
        let extent = Extent {
            offset: schema::number_at(&key, 9)?,
            record: schema::decode(&value)?,
        };
        if extent.end() > range.start {
            found.push(extent);
            if found.len() == max {
                break;
            }
        }
    }
    Ok(found)
}

/// Where the last `max` extents that touch `range` begin in it; `None` when there are no more than
/// that.
pub(crate) fn tail(
    read: &(impl Read + ?Sized),
    ino: InodeNo,
    range: &Range<u64>,
    max: usize,
) -> Result<Option<u64>> {
    let from = schema::extent_key(ino, range.start);
    let to = schema::extent_key(ino, range.end);
    let mut begins = None;
    let rows = read.range(Bound::Included(&from), Bound::Excluded(&to), true)?;
    for (number, row) in rows.take(max + 1).enumerate() {
        if number == max {
            return Ok(begins);
        }
        begins = Some(schema::number_at(&row?.0, 9)?);
    }
    Ok(None)
}

/// Chunks of an inode's extents, without neighbours that repeat.
pub(crate) fn chunks(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<Vec<ChunkId>> {
    let mut chunks = Vec::new();
    for row in schema::scan(read, &schema::inode_key(EXTENT, ino))? {
        let record: ExtentRecord = schema::decode(&row?.1)?;
        if chunks.last() != Some(&record.chunk) {
            chunks.push(record.chunk);
        }
    }
    Ok(chunks)
}

/// Writes an extent where none is. The reference on the chunk is the caller's.
pub(crate) fn insert(tx: &mut dyn Transaction, ino: InodeNo, extent: &Extent) -> Result<()> {
    Ok(tx.put(
        &schema::extent_key(ino, extent.offset),
        &schema::encode(&extent.record)?,
    )?)
}

/// Makes `range` a hole. Answers how many bytes it took from extents.
pub(crate) fn remove(
    tx: &mut dyn Transaction,
    store: &Store,
    ino: InodeNo,
    range: &Range<u64>,
) -> Result<u64> {
    let mut removed = 0;
    for extent in overlapping(&*tx, ino, range, usize::MAX)? {
        removed += u64::from(extent.cut(range).record.len);
        let left = (extent.offset < range.start).then(|| extent.cut(&(0..range.start)));
        let right = (extent.end() > range.end).then(|| extent.cut(&(range.end..u64::MAX)));
        match (&left, &right) {
            (None, None) => drop_reference(tx, ino, extent.record.chunk, 1)?,
            (Some(_), Some(_)) => store.retain(tx, extent.record.chunk)?,
            _ => {}
        }
        if left.is_none() {
            tx.delete(&schema::extent_key(ino, extent.offset))?;
        }
        for rest in left.iter().chain(&right) {
            insert(tx, ino, rest)?;
        }
    }
    Ok(removed)
}

/// Makes `to` from `at` on (a hole there) share the extents of `range` of `from`, which is a place in
/// the same bucket. Answers the bytes shared, holes left out.
pub(crate) fn share(
    tx: &mut dyn Transaction,
    store: &Store,
    from: Place,
    range: &Range<u64>,
    to: InodeNo,
    at: u64,
) -> Result<u64> {
    let mut shared = 0;
    for extent in from.extents(&*tx, range)?.1 {
        let mut copy = extent.cut(range);
        copy.offset = copy.offset - range.start + at;
        store.retain(tx, copy.record.chunk)?;
        insert(tx, to, &copy)?;
        shared += u64::from(copy.record.len);
    }
    Ok(shared)
}

/// Moves all extents of `from` to `to`, `shift` bytes further on; references move with them.
pub(crate) fn take_over(tx: &mut dyn Transaction, from: InodeNo, to: InodeNo, shift: u64) -> Result<()> {
    for extent in overlapping(&*tx, from, &(0..u64::MAX), usize::MAX)? {
        tx.delete(&schema::extent_key(from, extent.offset))?;
        insert(
            tx,
            to,
            &Extent {
                offset: extent.offset + shift,
                record: extent.record,
            },
        )?;
    }
    Ok(())
}

/// Notes that `ino` gave up references on `chunk`.
pub(crate) fn drop_reference(
    tx: &mut dyn Transaction,
    ino: InodeNo,
    chunk: ChunkId,
    count: u32,
) -> Result<()> {
    let key = schema::dropped_key(ino, chunk);
    let before: u32 = tx
        .get(&key)?
        .map(|value| schema::decode(&value))
        .transpose()?
        .unwrap_or(0);
    Ok(tx.put(&key, &schema::encode(&(before + count))?)?)
}
