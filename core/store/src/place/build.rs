//! Making a pack's segments from staging, whenever they are needed.
//!
//! A segment is assembled, erasure-coded and dropped again: 96 MiB at a time, never a copy on
//! disk. Its index is sealed once, when the pack is hashed, and kept in the pack table until the
//! pack is verified, so that the bytes are the same every time whatever happens to keys meanwhile.
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cess::codec::{self, DATA_FRAGMENTS, FRAGMENT_SIZE, PARITY_FRAGMENTS, SegmentHashes};
use meta::Durability;

use crate::pack::index::{Entry, Index, Keys};
use crate::pack::layout::Slot;
use crate::pack::record::{self, Names, Record};
use crate::pack::segment::{self, Header, SegmentError};
use crate::place::drive::Step;
use crate::place::memory::Held;
use crate::place::{Shared, StepError};
use crate::{Error, PackState, steps};

/// Bytes at the front of the header that the sealed index is bound to: all that is known before
/// the index is.
pub(crate) const BOUND: usize = 48;

impl From<SegmentError> for StepError {
    fn from(error: SegmentError) -> Self {
        Self::Store(Error::Disk(error.to_string()))
    }
}

/// A segment in memory with its parity, and the room that both take.
pub(crate) struct Built {
    segment: Bytes,
    parity: Bytes,
    _memory: Held,
}

impl Built {
    /// Fragment `index`, without copying.
    pub(crate) fn fragment(&self, index: usize) -> Bytes {
        if index < DATA_FRAGMENTS {
            self.segment
                .slice(index * FRAGMENT_SIZE..(index + 1) * FRAGMENT_SIZE)
        } else {
            let index = index - DATA_FRAGMENTS;
            self.parity
                .slice(index * FRAGMENT_SIZE..(index + 1) * FRAGMENT_SIZE)
        }
    }
}

fn header(pack: u64, record: &Record, number: u32, slots: &[Slot]) -> Header {
    let end = slots
        .last()
        .map_or(segment::HEADER as u32, |slot| slot.offset + slot.len);
    Header {
        pack,
        segment: number,
        segments: record.segments,
        frames: slots.len() as u32,
        nonce: record.nonce,
        index_offset: end,
        index_len: 0,
    }
}

/// Assembles segment `number` with the index sealed before.
fn assemble(shared: &Shared, pack: u64, record: &Record, number: u32) -> Result<Vec<u8>, StepError> {
    let snapshot = shared.meta.snapshot()?;
    let slots = record::contents(&*snapshot, pack, number)?;
    let sealed = record::sealed_index(&*snapshot, pack, number)?.ok_or_else(|| {
        Error::from(meta::Error::Damaged(
            "pack table: a segment's index is gone".into(),
        ))
    })?;
    drop(snapshot);
    let mut header = header(pack, record, number, &slots);
    header.index_len = sealed.len() as u32;
    segment::assemble(header, &slots, &sealed, |slot| {
        Ok(shared.local.frame(slot.chunk)?)
    })
}

/// Assembles segment `number` and seals its index; answers both.
fn assemble_first(
    shared: &Shared,
    pack: u64,
    record: &Record,
    number: u32,
) -> Result<(Vec<u8>, Vec<u8>), StepError> {
    let slots = record::contents(&*shared.meta.snapshot()?, pack, number)?;
    let mut header = header(pack, record, number, &slots);
    let mut keys: BTreeMap<(u64, u32), Keys> = BTreeMap::new();
    let mut index = Index {
        complete: true,
        ..Index::default()
    };
    let mut frames = Vec::with_capacity(slots.len());
    for slot in &slots {
        let frame = shared.local.frame(slot.chunk)?;
        match shared.local.wrapped_keys(&frame) {
            Ok(found) => {
                keys.entry((found.domain.0, found.epoch)).or_insert(found);
            }
            // Its domain was destroyed after the chunk was frozen: the bytes are still laid out,
            // but nobody shall read them.
            Err(Error::Key(_)) => index.complete = false,
            Err(error) => return Err(error.into()),
        }
        let owner = shared.local.owner(slot.chunk)?;
        index.entries.push(Entry {
            chunk: slot.chunk,
            len: slot.len,
            owner,
        });
        frames.push(frame);
    }
    index.keys = keys.into_values().collect();
    let sealed = shared
        .local
        .seal_index(&header.to_bytes()[..BOUND], &index.encode());
    header.index_len = sealed.len() as u32;
    let mut frames = frames.into_iter();
    let bytes = segment::assemble(header, &slots, &sealed, |slot| {
        frames.next().ok_or_else(|| {
            StepError::from(SegmentError::Layout(format!(
                "no frame for chunk {}",
                slot.chunk.0
            )))
        })
    })?;
    explains_itself(shared, &bytes, &index)?;
    Ok((bytes, sealed))
}

/// Reads a segment as somebody would who has nothing but it and the root key: a pack that does not
/// explain itself must not be paid for.
fn explains_itself(shared: &Shared, bytes: &[u8], index: &Index) -> Result<(), StepError> {
    let header = Header::parse(bytes)?;
    let found = bytes
        .get(header.index_range())
        .and_then(|sealed| shared.local.open_index(&bytes[..BOUND], sealed))
        .and_then(|plain| Index::decode(&plain));
    let whole = found
        .is_some_and(|found| found.entries == index.entries && (!found.complete || found.keys == index.keys));
    if whole {
        Ok(())
    } else {
        Err(SegmentError::Layout("the segment does not explain itself".into()).into())
    }
}

fn encode(segment: Vec<u8>, memory: Held) -> Result<Built, StepError> {
    let mut parity = vec![0; PARITY_FRAGMENTS * FRAGMENT_SIZE];
    codec::encode(&segment, &mut parity)?;
    Ok(Built {
        segment: segment.into(),
        parity: parity.into(),
        _memory: memory,
    })
}

/// Segment `number` of a hashed pack with its parity, once there is room in memory.
pub(crate) async fn build(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
    number: u32,
) -> Result<Built, StepError> {
    let memory = shared.memory().await;
    let (worker, record) = (shared.clone(), record.clone());
    shared
        .computing(move || encode(assemble(&worker, pack, &record, number)?, memory))
        .await
}

/// Closed → Hashed: seals the indexes, names segments, fragments and the file.
pub(crate) async fn hash(shared: &Arc<Shared>, pack: u64, record: &Record) -> Result<Step, StepError> {
    let mut hashes: Vec<SegmentHashes> = Vec::new();
    let mut indexes = Vec::new();
    for number in 0..record.segments {
        let memory = shared.memory().await;
        let (worker, record) = (shared.clone(), record.clone());
        let (names, sealed) = shared
            .computing(move || -> Result<_, StepError> {
                let (segment, sealed) = assemble_first(&worker, pack, &record, number)?;
                let built = encode(segment, memory)?;
                Ok((codec::hash_segment(&built.segment, &built.parity), sealed))
            })
            .await?;
        hashes.push(names);
        indexes.push(sealed);
    }
    let segments: Vec<_> = hashes.iter().map(|names| names.segment).collect();
    let fid = codec::fid_merkle(&segments);
    let names = Names::hashed(&hashes);
    steps::reach_async(steps::PACK_HASH).await?;
    let hashed = shared
        .meta
        .write(Durability::Buffered, move |tx| -> crate::Result<bool> {
            let Some(mut record) = record::get(tx, pack)? else {
                return Ok(false);
            };
            if record.state != PackState::Closed || record.retired {
                return Ok(false);
            }
            record.state = PackState::Hashed;
            record.fid = Some(fid.0);
            record.last_error = None;
            record::put(tx, pack, &record)?;
            record::put_names(tx, pack, &names)?;
            for (number, sealed) in indexes.iter().enumerate() {
                record::put_sealed_index(tx, pack, number as u32, sealed)?;
            }
            Ok(true)
        })
        .await?;
    if hashed {
        steps::reach_async(steps::PACK_HASHED).await?;
        tracing::info!(pack, %fid, "pack hashed");
        shared.progressed();
    }
    Ok(Step::Next)
}
