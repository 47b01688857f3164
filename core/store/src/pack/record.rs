//! The rows of the pack table.
//!
//! ```text
//! 0x84                             number of the next pack, u64 BE; never falls
//! 0x84 ‹pack u64 BE› 0             Record: the state machine, rewritten at each step
//! 0x84 ‹pack u64 BE› 1 ‹seg u32›   contents of a segment: chunk ids and frame lengths
//! 0x84 ‹pack u64 BE› 2 ‹seg u32›   sealed index of a segment; dropped once verified
//! 0x84 ‹pack u64 BE› 3             Names: hashes, holders and their endpoints
//! 0x84 ‹pack u64 BE› 4             root row that its segments carry; dropped once verified
//! 0x84 ‹pack u64 BE› 5             member that packed it, u16 BE; no row: the first one
//! 0x85 ‹pack u64 BE› ‹chunk u64›   a chunk of the pack that nothing refers to any more
//! ```
//! Values are postcard. The record is small because each step rewrites it; what never changes
//! lies beside it. `Names` lets reads find the miners without asking the chain.
use std::ops::Bound;

use cess::codec::{FRAGMENTS, SegmentHashes};
use cess::{AccountId, Hash};
use meta::{Read, Transaction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::health::{self, life};
use crate::pack::layout::Slot;
use crate::pack::segment;
use crate::reclaim::tally;
use crate::{ChunkId, Error, PackState, Result};

/// The table.
pub(crate) const TABLE: u8 = 0x84;
const DEAD_TABLE: u8 = crate::tables::DEAD;
const RECORD: u8 = 0;
const CONTENTS: u8 = 1;
const SEALED_INDEX: u8 = 2;
const NAMES: u8 = 3;
const ROOT_ROW: u8 = 4;
const MEMBER: u8 = 5;

/// What is known about one pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// State reached.
    pub state: PackState,
    /// Random bytes in every segment's header.
    pub nonce: [u8; 16],
    /// File name on chain, as hex digits; says nothing.
    pub file_name: [u8; 8],
    /// Segments.
    pub segments: u32,
    /// Chunks.
    pub chunks: u64,
    /// Bytes of the frames.
    pub bytes: u64,
    /// Lowest chunk id in it.
    pub first: u64,
    /// Highest chunk id in it.
    pub last: u64,
    /// FID, from [`PackState::Hashed`] on.
    pub fid: Option<[u8; 32]>,
    /// A declaration may be on its way: look for the deal before sending another.
    pub declaring: bool,
    /// Miner that each group (fragment j of every segment) is or was pushed to.
    pub assigned: [Option<[u8; 32]>; FRAGMENTS],
    /// Fragments that could not be verified at the last try.
    pub unverified: u32,
    /// Staging gave the chunks' space back.
    pub reclaimed: bool,
    /// On its way out: its live chunks, if any, were handed to new packs. It is deleted once
    /// those are verified.
    pub retired: bool,
    /// Why the last step did not succeed, if it did not.
    pub last_error: Option<String>,
}

/// Who holds one fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Account of the miner.
    pub account: [u8; 32],
    /// Its endpoint when last seen.
    pub endpoint: Option<String>,
}

/// One segment's names on the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentNames {
    /// SHA-256 of the segment.
    pub segment: [u8; 32],
    /// SHA-256 of each fragment.
    pub fragments: [[u8; 32]; FRAGMENTS],
    /// Index into [`Names::holders`] for each fragment; empty until the pack is placed.
    pub held_by: Vec<u16>,
}

/// A pack's names on the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    /// Segments in order.
    pub segments: Vec<SegmentNames>,
    /// The miners that hold something of it.
    pub holders: Vec<Holder>,
}

impl Names {
    /// Of segments that were just hashed.
    pub(crate) fn hashed(segments: &[SegmentHashes]) -> Self {
        let segments = segments
            .iter()
            .map(|hashes| SegmentNames {
                segment: hashes.segment.0,
                fragments: hashes.fragments.map(|hash| hash.0),
                held_by: Vec::new(),
            })
            .collect();
        Self {
            segments,
            holders: Vec::new(),
        }
    }

    /// Of a file as the chain lists it; `None` when it is not made of segments of twelve fragments.
    pub(crate) fn listed(
        file: &cess::chain::FileInfo,
        endpoint: impl Fn(AccountId) -> Option<String>,
    ) -> Option<Self> {
        let segments = file
            .segments
            .iter()
            .map(|(hash, fragments)| {
                let hashes: Vec<_> = fragments.iter().map(|fragment| fragment.hash.0).collect();
                Some(SegmentNames {
                    segment: hash.0,
                    fragments: hashes.try_into().ok()?,
                    held_by: Vec::new(),
                })
            })
            .collect::<Option<_>>()?;
        let mut names = Self {
            segments,
            holders: Vec::new(),
        };
        names.note_holders(file, endpoint).then_some(names)
    }

    /// As the chain wants them.
    pub(crate) fn hashes(&self) -> Vec<SegmentHashes> {
        self.segments
            .iter()
            .map(|names| SegmentHashes {
                segment: Hash(names.segment),
                fragments: names.fragments.map(Hash),
            })
            .collect()
    }

    /// Who holds fragment `index` of `segment`, once placed.
    pub(crate) fn holder(&self, segment: usize, index: usize) -> Option<&Holder> {
        let number = *self.segments.get(segment)?.held_by.get(index)?;
        self.holders.get(usize::from(number))
    }

    /// Whether fragment `index` of `segment` is all zeros, which need no miner.
    pub(crate) fn is_zero(&self, segment: u32, index: usize) -> bool {
        self.segments
            .get(segment as usize)
            .and_then(|names| names.fragments.get(index))
            .is_some_and(|hash| *hash == cess::codec::ZERO_FRAGMENT.0)
    }

    /// Notes the holders that the chain's `file` names. False when it is not this file.
    pub(crate) fn note_holders(
        &mut self,
        file: &cess::chain::FileInfo,
        endpoint: impl Fn(AccountId) -> Option<String>,
    ) -> bool {
        let same = file.segments.len() == self.segments.len()
            && file
                .segments
                .iter()
                .zip(&self.segments)
                .all(|((hash, fragments), ours)| {
                    hash.0 == ours.segment
                        && fragments.len() == FRAGMENTS
                        && fragments
                            .iter()
                            .zip(&ours.fragments)
                            .all(|(theirs, ours)| theirs.hash.0 == *ours)
                });
        if !same {
            return false;
        }
        let before = std::mem::take(&mut self.holders);
        for ((_, fragments), ours) in file.segments.iter().zip(&mut self.segments) {
            ours.held_by.clear();
            for fragment in fragments {
                let account = fragment.miner.0;
                let number = self
                    .holders
                    .iter()
                    .position(|holder| holder.account == account)
                    .unwrap_or_else(|| {
                        let endpoint = endpoint(fragment.miner).or_else(|| {
                            before
                                .iter()
                                .find(|holder| holder.account == account)
                                .and_then(|holder| holder.endpoint.clone())
                        });
                        self.holders.push(Holder { account, endpoint });
                        self.holders.len() - 1
                    });
                ours.held_by.push(number as u16);
            }
        }
        true
    }
}

/// Contents of a segment, as differences: (chunk id − id before − 1, length − length before).
type Contents = Vec<(u64, i64)>;

fn key(pack: u64, part: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(14);
    key.push(TABLE);
    key.extend_from_slice(&pack.to_be_bytes());
    key.push(part);
    key
}

fn segment_key(pack: u64, part: u8, segment: u32) -> Vec<u8> {
    let mut key = key(pack, part);
    key.extend_from_slice(&segment.to_be_bytes());
    key
}

fn damaged(what: &str) -> Error {
    meta::Error::Damaged(format!("pack table: {what}")).into()
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|error| damaged(&error.to_string()))
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(|error| damaged(&error.to_string()))
}

fn u64_from(bytes: &[u8]) -> Result<u64> {
    Ok(u64::from_be_bytes(
        bytes
            .try_into()
            .map_err(|_| damaged("a number of another length"))?,
    ))
}

/// Takes the next pack number.
pub(crate) fn next_pack(tx: &mut dyn Transaction) -> Result<u64> {
    let next = tx.get(&[TABLE])?.map_or(Ok(1), |bytes| u64_from(&bytes))?;
    tx.put(&[TABLE], &(next + 1).to_be_bytes())?;
    Ok(next)
}

/// Lets no pack take a number below `number` from now on.
pub(crate) fn begin_at(tx: &mut dyn Transaction, number: u64) -> Result<()> {
    let next = tx.get(&[TABLE])?.map_or(Ok(1), |bytes| u64_from(&bytes))?;
    Ok(tx.put(&[TABLE], &next.max(number).to_be_bytes())?)
}

/// The record of `pack`.
pub(crate) fn get<R: Read + ?Sized>(read: &R, pack: u64) -> Result<Option<Record>> {
    read.get(&key(pack, RECORD))?
        .map(|bytes| decode(&bytes))
        .transpose()
}

/// Writes the record of `pack`, and when it came so far.
pub(crate) fn put(tx: &mut dyn Transaction, pack: u64, record: &Record) -> Result<()> {
    life::note(tx, pack, record)?;
    tx.put(&key(pack, RECORD), &encode(record)?)?;
    tally::follow(tx, pack, record)
}

/// Who packed it: the bytes of a pack that is not verified lie in the staging of that member.
pub(crate) fn member<R: Read + ?Sized>(read: &R, pack: u64) -> Result<u16> {
    read.get(&key(pack, MEMBER))?.map_or(Ok(0), |bytes| {
        Ok(u16::from_be_bytes(
            bytes
                .try_into()
                .map_err(|_| damaged("a member of another length"))?,
        ))
    })
}

/// `pack` is one of `member`'s.
pub(crate) fn put_member(tx: &mut dyn Transaction, pack: u64, member: u16) -> Result<()> {
    if member > 0 {
        tx.put(&key(pack, MEMBER), &member.to_be_bytes())?;
    }
    Ok(())
}

/// Changes the record of `pack`, if it is still there.
pub(crate) fn update(
    tx: &mut dyn Transaction,
    pack: u64,
    change: impl FnOnce(&mut Record),
) -> Result<Option<Record>> {
    let Some(mut record) = get(tx, pack)? else {
        return Ok(None);
    };
    change(&mut record);
    put(tx, pack, &record)?;
    Ok(Some(record))
}

/// All packs, oldest first.
pub(crate) fn all<R: Read + ?Sized>(read: &R) -> Result<Vec<(u64, Record)>> {
    let mut packs = Vec::new();
    let mut from = vec![TABLE, 0];
    // Seek from record to record: the rows between them may be many and large.
    loop {
        let next = read
            .range(
                Bound::Included(from.as_slice()),
                Bound::Excluded(&[TABLE + 1]),
                false,
            )?
            .next()
            .transpose()?;
        let Some((found, value)) = next else {
            return Ok(packs);
        };
        let pack = u64_from(found.get(1..9).ok_or_else(|| damaged("a short key"))?)?;
        if found.get(9) == Some(&RECORD) {
            packs.push((pack, decode(&value)?));
        }
        let Some(after) = pack.checked_add(1) else {
            return Ok(packs);
        };
        from = key(after, RECORD);
    }
}

/// Writes what a segment holds.
pub(crate) fn put_contents(tx: &mut dyn Transaction, pack: u64, number: u32, slots: &[Slot]) -> Result<()> {
    let mut contents = Contents::with_capacity(slots.len());
    let mut id = u64::MAX;
    let mut len = 0;
    for slot in slots {
        contents.push((
            slot.chunk.0.wrapping_sub(id).wrapping_sub(1),
            i64::from(slot.len) - len,
        ));
        id = slot.chunk.0;
        len = i64::from(slot.len);
    }
    Ok(tx.put(&segment_key(pack, CONTENTS, number), &encode(&contents)?)?)
}

/// What a segment holds.
pub(crate) fn contents<R: Read + ?Sized>(read: &R, pack: u64, number: u32) -> Result<Vec<Slot>> {
    let bytes = read
        .get(&segment_key(pack, CONTENTS, number))?
        .ok_or_else(|| damaged("a segment has no contents row"))?;
    let contents: Contents = decode(&bytes)?;
    let mut slots = Vec::with_capacity(contents.len());
    let mut id = u64::MAX;
    let mut len = 0i64;
    let mut offset = segment::HEADER as u32;
    for (gap, delta) in contents {
        id = id.wrapping_add(gap).wrapping_add(1);
        len = len
            .checked_add(delta)
            .ok_or_else(|| damaged("a length overflows"))?;
        let frame = u32::try_from(len).map_err(|_| damaged("a length overflows"))?;
        slots.push(Slot {
            chunk: ChunkId(id),
            offset,
            len: frame,
        });
        offset = offset
            .checked_add(frame)
            .ok_or_else(|| damaged("an offset overflows"))?;
    }
    Ok(slots)
}

/// Chunks of a pack in the order they lie.
pub(crate) fn chunks<R: Read + ?Sized>(read: &R, pack: u64, segments: u32) -> Result<Vec<ChunkId>> {
    let mut chunks = Vec::new();
    for number in 0..segments {
        chunks.extend(contents(read, pack, number)?.iter().map(|slot| slot.chunk));
    }
    Ok(chunks)
}

/// Keeps a segment's sealed index, so that the segment is the same bytes every time.
pub(crate) fn put_sealed_index(
    tx: &mut dyn Transaction,
    pack: u64,
    number: u32,
    sealed: &[u8],
) -> Result<()> {
    Ok(tx.put(&segment_key(pack, SEALED_INDEX, number), sealed)?)
}

/// A segment's sealed index.
pub(crate) fn sealed_index<R: Read + ?Sized>(read: &R, pack: u64, number: u32) -> Result<Option<Vec<u8>>> {
    Ok(read.get(&segment_key(pack, SEALED_INDEX, number))?)
}

/// Keeps the root row that the segments of a pack carry.
pub(crate) fn put_root_row(tx: &mut dyn Transaction, pack: u64, root: &[u8]) -> Result<()> {
    Ok(tx.put(&key(pack, ROOT_ROW), root)?)
}

/// The root row that the segments of a pack carry; empty: none.
pub(crate) fn root_row<R: Read + ?Sized>(read: &R, pack: u64) -> Result<Vec<u8>> {
    Ok(read.get(&key(pack, ROOT_ROW))?.unwrap_or_default())
}

/// Drops the sealed indexes and the root row: the network has them.
pub(crate) fn delete_sealed_indexes(tx: &mut dyn Transaction, pack: u64, segments: u32) -> Result<()> {
    for number in 0..segments {
        tx.delete(&segment_key(pack, SEALED_INDEX, number))?;
    }
    Ok(tx.delete(&key(pack, ROOT_ROW))?)
}

/// Writes a pack's names.
pub(crate) fn put_names(tx: &mut dyn Transaction, pack: u64, names: &Names) -> Result<()> {
    Ok(tx.put(&key(pack, NAMES), &encode(names)?)?)
}

/// A pack's names, once it is hashed.
pub(crate) fn names<R: Read + ?Sized>(read: &R, pack: u64) -> Result<Option<Names>> {
    read.get(&key(pack, NAMES))?
        .map(|bytes| decode(&bytes))
        .transpose()
}

/// Forgets a pack: every row of it in this table, its life and its health.
pub(crate) fn delete(tx: &mut dyn Transaction, pack: u64, segments: u32) -> Result<()> {
    tx.delete(&key(pack, RECORD))?;
    tally::delete(tx, pack)?;
    tx.delete(&key(pack, NAMES))?;
    tx.delete(&key(pack, MEMBER))?;
    for number in 0..segments {
        tx.delete(&segment_key(pack, CONTENTS, number))?;
    }
    life::delete(tx, pack)?;
    health::record::delete(tx, pack, segments)?;
    delete_sealed_indexes(tx, pack, segments)
}

/// Key of the row that says that `chunk`, which lies in `pack`, is dead.
pub(crate) fn dead_key(pack: u64, chunk: ChunkId) -> [u8; 17] {
    let mut key = [DEAD_TABLE; 17];
    key[1..9].copy_from_slice(&pack.to_be_bytes());
    key[9..].copy_from_slice(&chunk.0.to_be_bytes());
    key
}

/// Dead chunks of `pack` and the lengths of their frames, in rising order.
pub(crate) fn dead<R: Read + ?Sized>(read: &R, pack: u64) -> Result<Vec<(ChunkId, u32)>> {
    let from = dead_key(pack, ChunkId(0));
    let to = dead_key(pack, ChunkId(u64::MAX));
    read.range(Bound::Included(&from), Bound::Included(&to), false)?
        .map(|row| {
            let (key, value) = row?;
            let len = value
                .as_slice()
                .try_into()
                .map_err(|_| damaged("a length of another size"))?;
            Ok((
                ChunkId(u64_from(key.get(9..).unwrap_or_default())?),
                u32::from_be_bytes(len),
            ))
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::memory_rows::Rows;
    use cess::chain::{FileInfo, FragmentInfo};
    use proptest::prelude::*;

    pub(crate) fn record() -> Record {
        Record {
            state: PackState::Closed,
            nonce: [1; 16],
            file_name: [2; 8],
            segments: 2,
            chunks: 3,
            bytes: 4,
            first: 5,
            last: 6,
            fid: None,
            declaring: false,
            assigned: [None; FRAGMENTS],
            unverified: 0,
            reclaimed: false,
            retired: false,
            last_error: None,
        }
    }

    fn slots(chunks: &[(u64, u32)]) -> Vec<Slot> {
        let mut offset = segment::HEADER as u32;
        chunks
            .iter()
            .map(|(chunk, len)| {
                let slot = Slot {
                    chunk: ChunkId(*chunk),
                    offset,
                    len: *len,
                };
                offset += len;
                slot
            })
            .collect()
    }

    #[test]
    fn numbers_rise_and_are_never_taken_twice() {
        let mut rows = Rows::default();
        assert_eq!(next_pack(&mut rows).unwrap(), 1);
        put(&mut rows, 1, &record()).unwrap();
        delete(&mut rows, 1, 2).unwrap();
        assert_eq!(next_pack(&mut rows).unwrap(), 2);
    }

    #[test]
    fn all_packs_are_found_among_their_other_rows_and_delete_leaves_none() {
        let mut rows = Rows::default();
        for pack in [1, 2, 0x1_0000_0000] {
            next_pack(&mut rows).unwrap();
            put(
                &mut rows,
                pack,
                &Record {
                    first: pack,
                    ..record()
                },
            )
            .unwrap();
            put_contents(&mut rows, pack, 0, &slots(&[(1, 10), (5, 4)])).unwrap();
            put_contents(&mut rows, pack, 1, &slots(&[(9, 10)])).unwrap();
            put_sealed_index(&mut rows, pack, 0, b"sealed").unwrap();
            put_names(&mut rows, pack, &Names::default()).unwrap();
        }
        let found: Vec<_> = all(&rows)
            .unwrap()
            .into_iter()
            .map(|(pack, record)| (pack, record.first))
            .collect();
        assert_eq!(found, [(1, 1), (2, 2), (0x1_0000_0000, 0x1_0000_0000)]);
        assert_eq!(chunks(&rows, 2, 2).unwrap(), [ChunkId(1), ChunkId(5), ChunkId(9)]);
        for pack in [1, 2, 0x1_0000_0000] {
            delete(&mut rows, pack, 2).unwrap();
        }
        assert_eq!(rows.len(), 1, "only the next number is left");
    }

    #[test]
    fn dead_chunks_are_found_per_pack() {
        let mut rows = Rows::default();
        for (pack, chunk) in [(1, 7), (1, 8), (2, u64::MAX), (9, 1)] {
            rows.put(&dead_key(pack, ChunkId(chunk)), &9u32.to_be_bytes())
                .unwrap();
        }
        assert_eq!(dead(&rows, 1).unwrap(), [(ChunkId(7), 9), (ChunkId(8), 9)]);
        assert_eq!(dead(&rows, 2).unwrap(), [(ChunkId(u64::MAX), 9)]);
        assert!(dead(&rows, 3).unwrap().is_empty());
    }

    #[test]
    fn holders_are_noted_only_of_the_same_file() {
        let hashes = SegmentHashes {
            segment: Hash([1; 32]),
            fragments: std::array::from_fn(|index| Hash([index as u8; 32])),
        };
        let mut names = Names::hashed(std::slice::from_ref(&hashes));
        let file = |segment: Hash| FileInfo {
            segments: vec![(
                segment,
                hashes
                    .fragments
                    .iter()
                    .enumerate()
                    .map(|(index, hash)| FragmentInfo {
                        hash: *hash,
                        available: true,
                        tag: None,
                        miner: AccountId([100 + index as u8; 32]),
                    })
                    .collect(),
            )],
            owners: Vec::new(),
            file_size: 0,
            completion: 0,
        };
        assert!(!names.note_holders(&file(Hash([2; 32])), |_| None));
        assert!(names.holder(0, 3).is_none());
        assert!(names.note_holders(&file(Hash([1; 32])), |_| Some("here".into())));
        assert_eq!(names.holder(0, 3).unwrap().account, [103; 32]);
        // An endpoint once known is kept when the chain does not say it any more.
        assert!(names.note_holders(&file(Hash([1; 32])), |_| None));
        assert_eq!(names.holder(0, 11).unwrap().endpoint.as_deref(), Some("here"));
    }

    proptest! {
        #[test]
        fn contents_come_back(ids in prop::collection::btree_map(any::<u64>(), 0..100_000u32, 0..200)) {
            let slots = slots(&ids.into_iter().collect::<Vec<_>>());
            let mut rows = Rows::default();
            put_contents(&mut rows, 3, 1, &slots).unwrap();
            prop_assert_eq!(contents(&rows, 3, 1).unwrap(), slots);
        }
    }
}
