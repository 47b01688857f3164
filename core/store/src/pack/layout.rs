//! Which frame lies where in a pack.
//!
//! Frames are taken in the order given (rising chunk ids) and laid back to back behind the
//! segment's header; a frame never leaves its segment but may straddle fragments. The sealed
//! index follows the last frame, so room for it is kept free while filling. How many distinct
//! keys the frames use is not known before they are read; [`index::room`] is an upper bound.
use crate::ChunkId;
use crate::locations::Location;
use crate::pack::{index, segment};

/// Most chunks in one pack: bounds the transaction that freezes it.
pub(crate) const MAX_PACK_CHUNKS: usize = 1 << 17;

/// Room kept behind the frames of a segment: for its index and the root row.
const fn behind(frames: usize) -> usize {
    index::room(frames) + segment::ROOT_ROOM
}

/// One frame of a segment, in order of offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The chunk.
    pub chunk: ChunkId,
    /// Bytes from the start of the segment.
    pub offset: u32,
    /// Length of the frame in bytes.
    pub len: u32,
}

/// Fills segments, frame by frame.
#[derive(Debug)]
pub(crate) struct Filling {
    limit: u32,
    segments: Vec<Vec<Slot>>,
    /// Where the next frame of the last segment would begin.
    end: usize,
    chunks: usize,
    bytes: u64,
}

impl Filling {
    /// For at most `limit` segments.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit: limit.max(1),
            segments: Vec::new(),
            end: 0,
            chunks: 0,
            bytes: 0,
        }
    }

    /// Takes a frame of `len` bytes; false when the pack is full and the frame must wait for the
    /// next one.
    pub(crate) fn push(&mut self, chunk: ChunkId, len: u32) -> bool {
        if self.chunks >= MAX_PACK_CHUNKS {
            return false;
        }
        let fits = self
            .segments
            .last()
            .is_some_and(|slots| self.end + len as usize + behind(slots.len() + 1) <= segment::SIZE);
        if !fits {
            if self.segments.len() >= self.limit as usize
                || segment::HEADER + len as usize + behind(1) > segment::SIZE
            {
                return false;
            }
            self.segments.push(Vec::new());
            self.end = segment::HEADER;
        }
        if let Some(slots) = self.segments.last_mut() {
            slots.push(Slot {
                chunk,
                offset: self.end as u32,
                len,
            });
        }
        self.end += len as usize;
        self.chunks += 1;
        self.bytes += u64::from(len);
        true
    }

    /// How much of the segments opened so far is used: 0.0 to 1.0.
    pub(crate) fn fill(&self) -> f64 {
        if self.segments.is_empty() {
            return 0.0;
        }
        self.bytes as f64 / (self.segments.len() as f64 * segment::SIZE as f64)
    }

    /// Chunks taken.
    pub(crate) const fn chunks(&self) -> usize {
        self.chunks
    }

    /// Bytes of the frames taken.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The segments, first to last.
    pub(crate) fn into_segments(self) -> Vec<Vec<Slot>> {
        self.segments
    }
}

/// The rows of the location table for a pack laid out like this.
pub(crate) fn locations(pack: u64, segments: &[Vec<Slot>]) -> impl Iterator<Item = (ChunkId, Location)> + '_ {
    segments.iter().enumerate().flat_map(move |(number, slots)| {
        slots.iter().map(move |slot| {
            (
                slot.chunk,
                Location {
                    pack,
                    segment: number as u32,
                    offset: slot.offset,
                    len: slot.len,
                },
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(segments: &[Vec<Slot>]) {
        for slots in segments {
            let mut end = segment::HEADER;
            for slot in slots {
                assert_eq!(slot.offset as usize, end);
                end += slot.len as usize;
            }
            assert!(end + behind(slots.len()) <= segment::SIZE);
        }
    }

    #[test]
    fn full_chunks_fill_a_segment_to_the_brim() {
        let mut filling = Filling::new(1);
        let len = 262_144 + 64;
        let mut taken = 0;
        while filling.push(ChunkId(taken), len) {
            taken += 1;
        }
        assert_eq!(taken, 127);
        assert!(filling.fill() > 0.98);
        check(&filling.into_segments());
    }

    #[test]
    fn a_pack_of_tiny_chunks_is_bounded() {
        let mut filling = Filling::new(1000);
        let mut taken = 0;
        while filling.push(ChunkId(taken), 60) {
            taken += 1;
        }
        assert_eq!(taken as usize, MAX_PACK_CHUNKS);
        check(&filling.into_segments());
    }

    #[test]
    fn a_frame_larger_than_a_segment_is_refused() {
        let mut filling = Filling::new(4);
        assert!(!filling.push(ChunkId(1), segment::SIZE as u32));
        assert_eq!(filling.chunks(), 0);
    }

    proptest! {
        #[test]
        fn frames_lie_back_to_back_and_none_is_lost(
            lens in prop::collection::vec(prop_oneof![1..500u32, 200_000..262_300u32], 1..600),
            limit in 1..4u32,
        ) {
            let mut filling = Filling::new(limit);
            let taken = lens
                .iter()
                .enumerate()
                .take_while(|(id, len)| filling.push(ChunkId(*id as u64), **len))
                .count();
            prop_assert_eq!(filling.chunks(), taken);
            let bytes: u64 = lens[..taken].iter().map(|len| u64::from(*len)).sum();
            prop_assert_eq!(filling.bytes(), bytes);
            let segments = filling.into_segments();
            prop_assert!(segments.len() <= limit as usize);
            check(&segments);
            let ids: Vec<u64> = segments.iter().flatten().map(|slot| slot.chunk.0).collect();
            prop_assert_eq!(ids, (0..taken as u64).collect::<Vec<_>>());
        }
    }
}
