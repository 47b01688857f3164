//! Making a pack's segments from staging, whenever they are needed.
//!
//! A segment is assembled, erasure-coded and dropped again: 96 MiB at a time, never a copy on
//! disk. Its index is sealed once, when the pack is hashed, and kept in the pack table until the
//! pack is verified, so that the bytes are the same every time whatever happens to keys meanwhile.
use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use bytes::Bytes;
use cess::Hash;
use cess::codec::{self, FRAGMENT_SIZE, SegmentHashes};
use meta::Durability;

use crate::pack::index::{Entry, Index, Keys};
use crate::pack::layout::Slot;
use crate::pack::record::{self, Names, Record};
use crate::pack::segment::{self, Header, SegmentError};
use crate::place::buffers::Buffer;
use crate::place::drive::Step;
use crate::place::memory::Held;
use crate::place::{Shared, StepError};
use crate::{Error, Owner, PackState, steps};

/// Bytes at the front of the header that the sealed index is bound to: all that is known before
/// the index is.
pub(crate) const BOUND: usize = 48;

impl From<SegmentError> for StepError {
    fn from(error: SegmentError) -> Self {
        Self::Store(Error::Disk(error.to_string()))
    }
}

/// A segment in memory with its parity.
pub(crate) struct Built(Bytes);

/// What is built in, and the room that it takes, for as long as any fragment is in use.
struct Taken {
    buffer: Buffer,
    _memory: Held,
}

impl AsRef<[u8]> for Taken {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

impl Built {
    /// What `buffer` holds, in room that `memory` took.
    pub(crate) fn new(buffer: Buffer, memory: Held) -> Self {
        Self(Bytes::from_owner(Taken {
            buffer,
            _memory: memory,
        }))
    }

    /// Fragment `index`, without copying.
    pub(crate) fn fragment(&self, index: usize) -> Bytes {
        self.0.slice(index * FRAGMENT_SIZE..(index + 1) * FRAGMENT_SIZE)
    }
}

fn header(pack: u64, record: &Record, number: u32, slots: &[Slot], root: &[u8]) -> Header {
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
        root_len: root.len() as u32,
    }
}

/// Writes the frame of a slot to `room`; answers who asked for its chunk.
fn frame_into(shared: &Shared, slot: &Slot, room: &mut [u8]) -> Result<Owner, StepError> {
    shared
        .local
        .frame_into(slot.chunk, room)
        .map_err(|error| match error {
            Error::Disk(reason) => StepError::Unreadable {
                chunk: slot.chunk,
                reason,
            },
            other => other.into(),
        })
}

/// Assembles segment `number` with the index sealed before, at the front of `out`.
fn assemble(
    shared: &Shared,
    pack: u64,
    record: &Record,
    number: u32,
    out: &mut Buffer,
) -> Result<(), StepError> {
    let snapshot = shared.meta.snapshot()?;
    let slots = record::contents(&*snapshot, pack, number)?;
    let sealed = record::sealed_index(&*snapshot, pack, number)?.ok_or_else(|| {
        Error::from(meta::Error::Damaged(
            "pack table: a segment's index is gone".into(),
        ))
    })?;
    let root = record::root_row(&*snapshot, pack)?;
    drop(snapshot);
    let mut header = header(pack, record, number, &slots, &root);
    header.index_len = sealed.len() as u32;
    let (out, _) = out.as_mut().split_at_mut(segment::SIZE);
    segment::lay_out(out, &slots, |slot, room| {
        frame_into(shared, slot, room)?;
        Ok::<_, StepError>(())
    })?;
    Ok(segment::close(out, header, &sealed, &root)?)
}

/// Assembles segment `number` at the front of `out` and seals its index; answers that.
fn assemble_first(
    shared: &Shared,
    pack: u64,
    record: &Record,
    number: u32,
    root: &[u8],
    out: &mut Buffer,
) -> Result<Vec<u8>, StepError> {
    let slots = record::contents(&*shared.meta.snapshot()?, pack, number)?;
    let mut header = header(pack, record, number, &slots, root);
    // `None` of a domain that was destroyed after the chunk was frozen: the bytes are still laid
    // out, but nobody shall read them.
    let mut keys: BTreeMap<(u64, u32), Option<Keys>> = BTreeMap::new();
    let mut entries = Vec::with_capacity(slots.len());
    let (out, _) = out.as_mut().split_at_mut(segment::SIZE);
    segment::lay_out(out, &slots, |slot, room| {
        let owner = frame_into(shared, slot, room)?;
        let (about, epoch) = shared.local.about(room)?;
        let domain = about.domain;
        if let btree_map::Entry::Vacant(entry) = keys.entry((domain.0, epoch)) {
            entry.insert(match shared.local.wrapped_keys(domain, epoch) {
                Ok(found) => Some(found),
                Err(Error::Key(_)) => None,
                Err(error) => return Err(error.into()),
            });
        }
        entries.push(Entry {
            chunk: slot.chunk,
            len: slot.len,
            owner,
            frame: Some(about),
        });
        Ok::<_, StepError>(())
    })?;
    let index = Index {
        complete: keys.values().all(Option::is_some),
        keys: keys.into_values().flatten().collect(),
        entries,
    };
    let sealed = shared
        .local
        .seal_index(&header.to_bytes()[..BOUND], &index.encode());
    header.index_len = sealed.len() as u32;
    segment::close(out, header, &sealed, root)?;
    explains_itself(shared, out, &index)?;
    Ok(sealed)
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

/// Computes the parity behind the segment.
fn encode(buffer: &mut Buffer) -> Result<(), StepError> {
    let (segment, parity) = buffer.as_mut().split_at_mut(segment::SIZE);
    Ok(codec::encode(segment, parity)?)
}

/// Segment `number` of a hashed pack with its parity, once there is room in memory. `name` is its
/// SHA-256.
pub(crate) async fn build(
    shared: &Arc<Shared>,
    pack: u64,
    record: &Record,
    number: u32,
    name: Hash,
) -> Result<Built, StepError> {
    if let Some(built) = shared.kept.take(pack, number, name) {
        return Ok(built);
    }
    let memory = shared.memory().await;
    let (worker, record) = (shared.clone(), record.clone());
    shared
        .computing(move || {
            let mut buffer = worker.buffers.take();
            assemble(&worker, pack, &record, number, &mut buffer)?;
            encode(&mut buffer)?;
            Ok(Built::new(buffer, memory))
        })
        .await
}

/// Closed → Hashed: seals the indexes, names segments, fragments and the file.
pub(crate) async fn hash(shared: &Arc<Shared>, pack: u64, record: &Record) -> Result<Step, StepError> {
    let mut hashes: Vec<SegmentHashes> = Vec::new();
    let mut indexes = Vec::new();
    let root = shared.local.root_row()?;
    for number in 0..record.segments {
        let memory = shared.memory().await;
        let (worker, record, root) = (shared.clone(), record.clone(), root.clone());
        let (names, sealed, built) = shared
            .computing(move || -> Result<_, StepError> {
                let mut buffer = worker.buffers.take();
                let sealed = assemble_first(&worker, pack, &record, number, &root, &mut buffer)?;
                encode(&mut buffer)?;
                let (segment, parity) = buffer.as_ref().split_at(segment::SIZE);
                let names = codec::hash_segment(segment, parity);
                Ok((names, sealed, Built::new(buffer, memory)))
            })
            .await?;
        shared.kept.put(pack, number, names.segment, built);
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
            record::put_root_row(tx, pack, &root)?;
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
