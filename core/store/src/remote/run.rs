//! Neighbours in one request.
//!
//! Chunks that are read one after the other lie one behind the other in a pack, most of the time.
//! So what is fetched ahead of a reader is cut into *runs*: chunks of one segment with at most a
//! small hole between them, which one ranged read serves (two where fragments meet). Frames are
//! cut from it unauthenticated; who opens one and fails fetches it alone.
use std::collections::HashMap;

use bytes::Bytes;

use super::range::Way;
use super::{Remote, frame_range};
use crate::locations::{self, Location};
use crate::read::trace::{Log, ReadSource};
use crate::{ChunkId, Error};

/// Most bytes of one read.
const RUN: u32 = 4 << 20;
/// Largest hole that is read over.
const GAP: u32 = 64 << 10;

/// Chunks that one read can serve, in order of their offsets. Never empty.
pub(crate) type Run = Vec<(ChunkId, Location)>;

impl Remote {
    /// Cuts chunks into runs; those that no pack holds are left out.
    pub(crate) fn runs(&self, chunks: &[ChunkId]) -> Vec<Run> {
        let places = self
            .meta
            .snapshot()
            .map_err(Error::from)
            .and_then(|snapshot| locations::get_many(&*snapshot, chunks));
        let Ok(mut places) = places else { return Vec::new() };
        places.sort_by_key(|(_, place)| (place.pack, place.segment, place.offset));
        cut(places)
    }

    /// The frames of a run, as far as they can be had; nothing is authenticated.
    pub(crate) async fn fetch_run(&self, run: &Run, log: &Log) -> HashMap<ChunkId, Bytes> {
        let mut frames = HashMap::new();
        let (Some((chunk, first)), Some((_, last))) = (run.first(), run.last()) else {
            return frames;
        };
        let Ok(known) = self.known(*chunk, first.pack) else {
            return frames;
        };
        let range = first.offset..frame_range(*last).end;
        let bytes = match self.segments.kept(first.pack, first.segment) {
            Some(segment) => {
                log.source(ReadSource::KeptSegment);
                segment
                    .get(range.start as usize..range.end as usize)
                    .map(|found| segment.slice_ref(found))
            }
            None => match self.range(&known, first.segment, range, Way::Ahead, log).await {
                Ok(found) => Some(found.bytes),
                Err(reason) => {
                    tracing::debug!(chunk = chunk.0, reason, "a run cannot be fetched");
                    None
                }
            },
        };
        let Some(bytes) = bytes else { return frames };
        for (chunk, place) in run {
            let at = (place.offset - first.offset) as usize;
            if let Some(frame) = bytes.get(at..at + place.len as usize) {
                frames.insert(*chunk, bytes.slice_ref(frame));
            }
        }
        frames
    }
}

/// Splits sorted places into runs.
fn cut(places: Vec<(ChunkId, Location)>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (chunk, place) in places {
        let range = frame_range(place);
        let neighbour = runs.last_mut().filter(|run| {
            let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else {
                return false;
            };
            let end = frame_range(*last).end;
            place.pack == first.pack
                && place.segment == first.segment
                && range.start >= end
                && range.start - end <= GAP
                && range.end - first.offset <= RUN
        });
        match neighbour {
            Some(run) => run.push((chunk, place)),
            None => runs.push(vec![(chunk, place)]),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_in_one_go_within_limits() {
        let place = |id, segment, offset, len| {
            (
                ChunkId(id),
                Location {
                    pack: 1,
                    segment,
                    offset,
                    len,
                },
            )
        };
        let places = vec![
            place(1, 0, 64, 1000),
            place(2, 0, 1064, 1000),
            place(3, 0, 2064 + GAP, 1000),
            place(4, 0, 4064 + 2 * GAP, 1000),
            place(5, 0, 8 << 20, RUN),
            place(6, 0, (8 << 20) + RUN, 10),
            place(7, 1, 64, 10),
        ];
        let counts: Vec<usize> = cut(places).iter().map(Vec::len).collect();
        assert_eq!(counts, [3, 1, 1, 1, 1]);
    }
}
