//! Reading back from the miners.
//!
//! The usual way is one ranged read of the data fragment in which the frame lies, from the miner
//! that holds it; the frame's own tag says whether the bytes are right, so nothing else is
//! fetched. When the answer is wrong, missing, or later than `hedge`, any four of the segment's
//! twelve fragments are fetched whole ([`decode`]), checked by hash and decoded; what comes first
//! wins. Decoded segments stay in memory for a moment, because the neighbours are wanted next.
//!
//! Hashes, holders and endpoints come from the pack table, so reads need no chain. Only when
//! too few fragments can be had is the chain asked whether somebody else holds them now.
mod authentic;
pub(crate) mod decode;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cess::codec::FRAGMENT_SIZE;
use cess::{AccountId, Hash};
use futures::future::{Either, select, try_join_all};
use meta::{Durability, Meta};
use parking_lot::Mutex;
use quick_cache::sync::Cache;

use crate::locations::{self, Location};
use crate::pack::record::{self, Names};
use crate::place::miners::Miners;
use crate::place::network::Network;
use crate::place::pace::Pace;
use crate::{ChunkId, Error, PackState, Result};

/// Packs whose names stay in memory; a few kilobytes each.
const PACKS_KNOWN: usize = 1024;
/// Decoded segments kept, 32 MiB each.
const SEGMENTS_KEPT: usize = 3;
/// Segments decoded at a time, 64 MiB each.
const DECODING: usize = 2;
/// Most bytes of one coalesced read.
const RUN: u32 = 4 << 20;
/// Largest hole that a coalesced read reads over.
const GAP: u32 = 64 << 10;

/// What reading a pack takes.
struct Known {
    pack: u64,
    fid: Hash,
    names: Names,
}

/// Reads frames from the network. Cheap to share.
pub(crate) struct Remote {
    meta: Meta,
    network: Arc<dyn Network>,
    miners: Arc<Miners>,
    hedge: Duration,
    limit: Duration,
    known: Cache<u64, Arc<Known>>,
    segments: Mutex<VecDeque<((u64, u32), Bytes)>>,
    flights: decode::Flights,
}

impl Remote {
    /// Reads over `network`, with the judgement of `miners`.
    pub(crate) fn new(meta: Meta, network: Arc<dyn Network>, miners: Arc<Miners>, pace: &Pace) -> Self {
        Self {
            meta,
            network,
            miners,
            hedge: pace.hedge,
            limit: pace.get_timeout,
            known: Cache::new(PACKS_KNOWN),
            segments: Mutex::default(),
            flights: decode::Flights::new(DECODING),
        }
    }

    /// Forgets decoded segments.
    pub(crate) fn forget(&self) {
        self.segments.lock().clear();
        self.known.clear();
    }

    /// The sealed frame of `chunk`. `authentic` says whether bytes are that frame.
    ///
    /// [`Error::UnknownChunk`]: no pack holds it. [`Error::Unavailable`]: too few miners answer.
    /// [`Error::Damaged`]: the fragments are what was stored, and the frame in them is not.
    pub(crate) async fn fetch_frame(
        &self,
        chunk: ChunkId,
        authentic: &(dyn Fn(&[u8]) -> bool + Sync),
    ) -> Result<Bytes> {
        let place = locations::get(&*self.meta.snapshot()?, chunk)?.ok_or(Error::UnknownChunk(chunk))?;
        let known = self.known(chunk, place.pack)?;
        if let Some(segment) = self.decoded(place.pack, place.segment) {
            return cut(&segment, place, chunk, authentic);
        }
        let direct = Box::pin(async {
            let bytes = self.read(&known, place.segment, frame_range(place)).await;
            bytes.ok().filter(|bytes| authentic(bytes))
        });
        // A miner that keeps failing is asked, but not waited for.
        let waiting = Box::pin(tokio::time::sleep(if self.promising(&known, place) {
            self.hedge
        } else {
            Duration::ZERO
        }));
        let late = match select(direct, waiting).await {
            Either::Left((Some(bytes), _)) => return Ok(bytes),
            Either::Left((None, _)) => None,
            Either::Right(((), direct)) => Some(direct),
        };
        let fallback = Box::pin(self.segment(&known, place.segment, chunk));
        let Some(direct) = late else {
            return cut(&fallback.await?, place, chunk, authentic);
        };
        match select(direct, fallback).await {
            Either::Left((Some(bytes), _)) => Ok(bytes),
            Either::Left((None, fallback)) => cut(&fallback.await?, place, chunk, authentic),
            Either::Right((Ok(segment), _)) => cut(&segment, place, chunk, authentic),
            Either::Right((Err(error), direct)) => direct.await.ok_or(error),
        }
    }

    /// Frames of neighbouring chunks with as few reads as possible. Best effort, for prefetching:
    /// what cannot be had in one go is left out, and nothing is authenticated.
    pub(crate) async fn fetch_run(&self, chunks: &[ChunkId]) -> Vec<(ChunkId, Bytes)> {
        let places = self
            .meta
            .snapshot()
            .map_err(Error::from)
            .and_then(|snapshot| locations::get_many(&*snapshot, chunks));
        let Ok(mut places) = places else { return Vec::new() };
        places.sort_by_key(|(_, place)| (place.pack, place.segment, place.offset));
        let mut frames = Vec::new();
        for run in runs(&places) {
            let Some((chunk, first)) = run.first() else {
                continue;
            };
            let Ok(known) = self.known(*chunk, first.pack) else {
                continue;
            };
            let end = run
                .last()
                .map_or(first.offset, |(_, last)| frame_range(*last).end);
            let start = first.offset;
            let bytes = match self.decoded(first.pack, first.segment) {
                Some(segment) => segment
                    .get(start as usize..end as usize)
                    .map(|_| segment.slice(start as usize..end as usize)),
                None => self.read(&known, first.segment, start..end).await.ok(),
            };
            let Some(bytes) = bytes else { continue };
            for (chunk, place) in run {
                let at = (place.offset - start) as usize;
                // A copy, so that a cached frame does not keep the whole run in memory.
                frames.push((
                    *chunk,
                    Bytes::copy_from_slice(&bytes[at..at + place.len as usize]),
                ));
            }
        }
        frames
    }

    fn known(&self, chunk: ChunkId, pack: u64) -> Result<Arc<Known>> {
        if let Some(known) = self.known.get(&pack) {
            return Ok(known);
        }
        let unavailable = |reason: &str| Error::Unavailable {
            chunk,
            reason: reason.into(),
        };
        let snapshot = self.meta.snapshot()?;
        let record = record::get(&*snapshot, pack)?.ok_or_else(|| unavailable("its pack is forgotten"))?;
        let (Some(fid), true) = (record.fid, record.state >= PackState::Placed) else {
            return Err(unavailable("its pack is not on the network yet"));
        };
        let names = record::names(&*snapshot, pack)?.ok_or_else(|| unavailable("its pack has no names"))?;
        let known = Arc::new(Known {
            pack,
            fid: Hash(fid),
            names,
        });
        self.known.insert(pack, known.clone());
        Ok(known)
    }

    fn decoded(&self, pack: u64, segment: u32) -> Option<Bytes> {
        let mut kept = self.segments.lock();
        let at = kept.iter().position(|(key, _)| *key == (pack, segment))?;
        let entry = kept.remove(at)?;
        let bytes = entry.1.clone();
        kept.push_back(entry);
        Some(bytes)
    }

    fn keep(&self, pack: u64, segment: u32, bytes: Bytes) {
        let mut kept = self.segments.lock();
        kept.retain(|(key, _)| *key != (pack, segment));
        if kept.len() >= SEGMENTS_KEPT {
            kept.pop_front();
        }
        kept.push_back(((pack, segment), bytes));
    }

    /// Who has fragment `index` of a segment, and where.
    fn holder(&self, known: &Known, segment: u32, index: usize) -> Option<(AccountId, String)> {
        let holder = known.names.holder(segment as usize, index)?;
        let account = AccountId(holder.account);
        let endpoint = self
            .miners
            .endpoint(account)
            .or_else(|| holder.endpoint.clone())?;
        Some((account, endpoint))
    }

    /// Whether the miners that hold a frame answered lately, as far as is known.
    fn promising(&self, known: &Known, place: Location) -> bool {
        pieces(frame_range(place)).into_iter().all(|(index, _)| {
            known
                .names
                .holder(place.segment as usize, index)
                .is_some_and(|holder| !self.miners.failing(AccountId(holder.account)))
        })
    }

    /// Bytes of a segment from its data fragments; unauthenticated.
    async fn read(&self, known: &Known, segment: u32, range: Range<u32>) -> cess::Result<Bytes> {
        let pieces = pieces(range).into_iter().map(|(index, part)| async move {
            let (account, endpoint) = self
                .holder(known, segment, index)
                .ok_or_else(|| cess::Error::Unreachable("no miner is known".into()))?;
            let hash = known
                .names
                .segments
                .get(segment as usize)
                .map(|names| Hash(names.fragments[index]))
                .ok_or_else(|| cess::Error::Invalid("no such segment".into()))?;
            let len = part.len();
            let read = self.network.get_range(&endpoint, known.fid, hash, part);
            self.scored(account, len, read).await
        });
        let parts = try_join_all(pieces).await?;
        if let [only] = parts.as_slice() {
            return Ok(only.clone());
        }
        let mut bytes = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
        for part in parts {
            bytes.extend_from_slice(&part);
        }
        Ok(bytes.freeze())
    }

    /// Runs a read within the time limit and remembers how the miner did.
    async fn scored<T: AsRef<[u8]>>(
        &self,
        account: AccountId,
        len: usize,
        read: impl Future<Output = cess::Result<T>>,
    ) -> cess::Result<T> {
        let began = Instant::now();
        let result = tokio::time::timeout(self.limit, read)
            .await
            .unwrap_or_else(|_| Err(cess::Error::Unreachable("no answer in time".into())))
            .and_then(|bytes| {
                if bytes.as_ref().len() == len {
                    Ok(bytes)
                } else {
                    Err(cess::Error::Corrupt("a miner sent another length".into()))
                }
            });
        match &result {
            Ok(_) => self.miners.succeeded(account, len, began.elapsed()),
            Err(_) => self.miners.failed(account),
        }
        result
    }

    /// Asks the chain again who holds the fragments of a pack.
    async fn ask_chain(&self, known: &Known) -> Option<Arc<Known>> {
        self.miners.list().await.ok()?;
        let file = self.network.file(known.fid).await.ok()??;
        let mut names = known.names.clone();
        if !names.note_holders(&file, |account| self.miners.endpoint(account)) {
            return None;
        }
        let fresh = Arc::new(Known {
            pack: known.pack,
            fid: known.fid,
            names,
        });
        if fresh.names != known.names {
            let (pack, names) = (known.pack, fresh.names.clone());
            let noted = self
                .meta
                .write(Durability::Buffered, move |tx| -> Result<()> {
                    if record::get(tx, pack)?.is_some() {
                        record::put_names(tx, pack, &names)?;
                    }
                    Ok(())
                })
                .await;
            if let Err(error) = noted {
                tracing::warn!(pack, %error, "cannot note who holds a pack");
            }
        }
        self.known.insert(known.pack, fresh.clone());
        Some(fresh)
    }
}

const fn frame_range(place: Location) -> Range<u32> {
    place.offset..place.offset.saturating_add(place.len)
}

/// The frame in a segment that was decoded from checked fragments.
fn cut(
    segment: &Bytes,
    place: Location,
    chunk: ChunkId,
    authentic: &(dyn Fn(&[u8]) -> bool + Sync),
) -> Result<Bytes> {
    let range = frame_range(place);
    segment
        .get(range.start as usize..range.end as usize)
        .filter(|bytes| authentic(bytes))
        // A copy, so that a cached frame does not keep the whole segment in memory.
        .map(Bytes::copy_from_slice)
        .ok_or(Error::Damaged(chunk))
}

/// The parts of a segment's range by data fragment.
fn pieces(range: Range<u32>) -> Vec<(usize, Range<u32>)> {
    let size = FRAGMENT_SIZE as u32;
    let mut pieces = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let index = start / size;
        let end = range.end.min((index + 1) * size);
        pieces.push((index as usize, start - index * size..end - index * size));
        start = end;
    }
    pieces
}

/// Splits sorted places into runs that one read can serve.
fn runs(places: &[(ChunkId, Location)]) -> impl Iterator<Item = &[(ChunkId, Location)]> {
    let mut rest = places;
    std::iter::from_fn(move || {
        let (_, first) = rest.first()?;
        let mut end = frame_range(*first).end;
        let mut count = 1;
        for (_, place) in &rest[1..] {
            let range = frame_range(*place);
            let neighbour = place.pack == first.pack
                && place.segment == first.segment
                && range.start >= end
                && range.start - end <= GAP
                && range.end - first.offset <= RUN;
            if !neighbour {
                break;
            }
            end = range.end;
            count += 1;
        }
        let (run, after) = rest.split_at(count);
        rest = after;
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_split_where_fragments_meet() {
        let size = FRAGMENT_SIZE as u32;
        assert_eq!(pieces(5..10), [(0, 5..10)]);
        assert_eq!(pieces(size..size + 1), [(1, 0..1)]);
        assert_eq!(pieces(size - 3..size + 4), [(0, size - 3..size), (1, 0..4)]);
        assert_eq!(pieces(3 * size..4 * size), [(3, 0..size)]);
        assert!(pieces(7..7).is_empty());
    }

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
        let places = [
            place(1, 0, 64, 1000),
            place(2, 0, 1064, 1000),
            place(3, 0, 2064 + GAP, 1000),
            place(4, 0, 4064 + 2 * GAP, 1000),
            place(5, 0, 8 << 20, RUN),
            place(6, 0, (8 << 20) + RUN, 10),
            place(7, 1, 64, 10),
        ];
        let counts: Vec<usize> = runs(&places).map(<[_]>::len).collect();
        assert_eq!(counts, [3, 1, 1, 1, 1]);
    }
}
