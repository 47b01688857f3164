//! Which of the chunks that wait go into one pack.
//!
//! Large chunks remember whose they are: the inode that asked for them is their *stream*. A stream
//! that fills a pack gets one of its own, so that a large object lies in as few packs as it can, is
//! read back with large reads and dies with them. Small chunks are one stream together, and so are
//! those that come back from old packs. Chunks of
//! several streams share a pack only when no stream fills one: each stream's lie side by side then,
//! the largest streams first when there is too much for one pack.
use std::collections::BTreeMap;

use crate::ChunkId;
use crate::pack::layout::Filling;

/// Packs' worth of chunks that may wait for their own stream to fill a pack.
const HELD: u32 = 2;

/// Plaintext of this many bytes is of a stream.
const LARGE: u32 = 128 << 10;

/// The stream of chunks that come back from old packs.
pub(crate) const MOVED: u64 = u64::MAX;

/// The stream of a chunk of `plain_len` bytes that `inode` asked for; 0 is that of small chunks.
pub(crate) const fn stream(plain_len: u32, inode: u64) -> u64 {
    if plain_len >= LARGE { inode } else { 0 }
}

/// A chunk that waits for a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// The chunk.
    pub chunk: ChunkId,
    /// Bytes of its frame.
    pub len: u32,
    /// Its stream.
    pub stream: u64,
}

/// Sees chunks one by one and says when they are enough for a pack.
pub(crate) struct Gathering {
    segments: u32,
    streams: BTreeMap<u64, Filling>,
    all: Filling,
    full: bool,
}

impl Gathering {
    /// For packs of at most `segments` segments.
    pub(crate) fn new(segments: u32) -> Self {
        Self {
            segments,
            streams: BTreeMap::new(),
            all: Filling::new(segments.saturating_mul(HELD)),
            full: false,
        }
    }

    /// Sees one more; false when there are enough.
    pub(crate) fn push(&mut self, waiting: Waiting) -> bool {
        let stream = self
            .streams
            .entry(waiting.stream)
            .or_insert_with(|| Filling::new(self.segments));
        let fits = stream.push(waiting.chunk, waiting.len) && self.all.push(waiting.chunk, waiting.len);
        self.full |= !fits;
        fits
    }

    /// Whether a pack can be filled.
    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    /// How much of the segments that they would take is used: 0.0 to 1.0.
    pub(crate) fn fill(&self) -> f64 {
        self.all.fill()
    }

    /// Bytes of frames seen.
    pub(crate) const fn bytes(&self) -> u64 {
        self.all.bytes()
    }
}

/// The chunks for one pack of at most `segments` segments, laid out. With `only_full`, `None` unless
/// they fill it.
pub(crate) fn choose(waiting: &[Waiting], segments: u32, only_full: bool) -> Option<Filling> {
    let mut streams: BTreeMap<u64, Vec<Waiting>> = BTreeMap::new();
    let mut all = Filling::new(segments.saturating_mul(HELD));
    let mut held = true;
    for one in waiting {
        streams.entry(one.stream).or_default().push(*one);
        held &= all.push(one.chunk, one.len);
    }
    let mut streams: Vec<Vec<Waiting>> = streams.into_values().collect();
    if only_full {
        for stream in &streams {
            let mut filling = Filling::new(segments);
            if !stream.iter().all(|one| filling.push(one.chunk, one.len)) {
                return Some(filling);
            }
        }
        if held {
            return None;
        }
        let bytes = |stream: &Vec<Waiting>| stream.iter().map(|one| u64::from(one.len)).sum::<u64>();
        streams.sort_by_key(|stream| std::cmp::Reverse(bytes(stream)));
    } else {
        // Who waits longest goes first.
        streams.sort_by_key(|stream| stream.first().map(|one| one.chunk));
    }
    let mut filling = Filling::new(segments);
    let _ = streams
        .iter()
        .flatten()
        .all(|one| filling.push(one.chunk, one.len));
    (filling.chunks() > 0).then_some(filling)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEN: u32 = 262_192;
    /// Chunks of that size that fill a segment.
    const FULL: u64 = 127;

    fn chunks(stream: u64, ids: impl Iterator<Item = u64>) -> Vec<Waiting> {
        ids.map(|id| Waiting {
            chunk: ChunkId(id),
            len: LEN,
            stream,
        })
        .collect()
    }

    fn ids(filling: Filling) -> Vec<u64> {
        filling
            .into_segments()
            .iter()
            .flatten()
            .map(|slot| slot.chunk.0)
            .collect()
    }

    fn interleaved(streams: u64, each: u64) -> Vec<Waiting> {
        let mut all: Vec<_> = (0..streams)
            .flat_map(|stream| chunks(stream + 1, (0..each).map(move |number| number * streams + stream)))
            .collect();
        all.sort_by_key(|one| one.chunk);
        all
    }

    fn seen(waiting: &[Waiting]) -> Gathering {
        let mut gathering = Gathering::new(1);
        let _ = waiting.iter().all(|one| gathering.push(*one));
        gathering
    }

    #[test]
    fn a_stream_that_fills_a_pack_has_it_for_itself() {
        let mut waiting = interleaved(2, 100);
        assert!(!seen(&waiting).is_full());
        assert!(choose(&waiting, 1, true).is_none());
        waiting.extend(chunks(2, 200..200 + 28));
        assert!(seen(&waiting).is_full());
        let ids = ids(choose(&waiting, 1, true).unwrap());
        assert_eq!(ids.len() as u64, FULL);
        assert!(ids.iter().all(|id| *id >= 200 || id % 2 == 1));
    }

    #[test]
    fn too_many_streams_share_a_pack_side_by_side() {
        let waiting = interleaved(6, 50);
        assert!(seen(&waiting).is_full());
        let ids = ids(choose(&waiting, 1, true).unwrap());
        assert_eq!(ids.len() as u64, FULL);
        let changes = ids.windows(2).filter(|pair| pair[0] % 6 != pair[1] % 6).count();
        assert_eq!(changes, 2, "three streams, one behind the other");
    }

    #[test]
    fn what_is_due_goes_however_little_and_the_oldest_stream_first() {
        let mut waiting = chunks(9, 1..4);
        waiting.extend(chunks(3, 4..6));
        assert!(choose(&waiting, 1, true).is_none());
        assert_eq!(ids(choose(&waiting, 1, false).unwrap()), [1, 2, 3, 4, 5]);
        assert!(choose(&[], 1, false).is_none());
    }

    #[test]
    fn small_chunks_are_one_stream() {
        assert_eq!(stream(1000, 7), 0);
        assert_eq!(stream(LARGE, 7), 7);
    }

    proptest! {
        #[test]
        fn nothing_is_taken_twice_and_what_is_seen_as_full_is_full(
            lens in prop::collection::vec((0..5u64, prop_oneof![1..500u32, 200_000..262_300u32]), 1..700),
        ) {
            let waiting: Vec<_> = lens
                .iter()
                .enumerate()
                .map(|(id, (stream, len))| Waiting { chunk: ChunkId(id as u64), len: *len, stream: *stream })
                .collect();
            let full = choose(&waiting, 1, true);
            prop_assert_eq!(full.is_some(), seen(&waiting).is_full());
            for filling in full.into_iter().chain(choose(&waiting, 1, false)) {
                let mut ids = ids(filling);
                let count = ids.len();
                ids.sort_unstable();
                ids.dedup();
                prop_assert_eq!(ids.len(), count);
                prop_assert!(ids.iter().all(|id| *id < waiting.len() as u64));
            }
        }
    }
}
