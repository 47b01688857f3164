//! Any four of twelve whole fragments: what is left when no range authenticates.
//!
//! Each fragment is checked by its hash before it counts, so what is decoded is what was stored.
//! Concurrent readers of one segment share one decode, and its failure.
//!
//! Room for decoding is scarce: for one segment at a time by default. So it goes to those who can use
//! it. Who answers at all is found out before, with a short range of four fragments, and while the
//! chain is asked for other holders no room is held: segments whose miners are silent keep nobody
//! from others. Everything has a deadline, in units of the longest time for one request.
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use cess::codec::{self, SEGMENT_SIZE};
use parking_lot::Mutex;

use super::range::Part;
use super::{Known, Remote};
use crate::read::trace::Log;
use crate::{ChunkId, Error, Result};

/// Bytes of a fragment that are asked for to see who answers.
const PROBE: u32 = 64;
/// Longest wait for room, in requests.
const WAIT: u32 = 2;
/// Longest time for which room is held while fragments come, in requests.
const HOLD: u32 = 2;
/// Longest time for all of it, in requests: two sets of holders, each asked in turns, room waited for
/// and four fragments fetched.
const TOTAL: u32 = 6;

/// A segment by pack and number.
type Key = (u64, u32);
/// A segment that is being decoded. Holds when and why that failed last, for those who wait for it.
type Flight = Arc<tokio::sync::Mutex<Option<(Instant, String)>>>;

/// Segments that are being decoded, and the last ones that were.
pub(crate) struct Segments {
    running: Mutex<HashMap<Key, Flight>>,
    kept: Mutex<VecDeque<(Key, Bytes)>>,
    most: usize,
}

impl Segments {
    /// Keeps at most `most` segments.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            running: Mutex::default(),
            kept: Mutex::default(),
            most,
        }
    }

    fn flight(&self, key: Key) -> Flight {
        let mut running = self.running.lock();
        // Those that nobody waits for any more.
        running.retain(|_, flight| Arc::strong_count(flight) > 1);
        running.entry(key).or_default().clone()
    }

    /// A segment that was decoded lately.
    pub(crate) fn kept(&self, pack: u64, segment: u32) -> Option<Bytes> {
        let mut kept = self.kept.lock();
        let at = kept.iter().position(|(key, _)| *key == (pack, segment))?;
        let entry = kept.remove(at)?;
        let bytes = entry.1.clone();
        kept.push_back(entry);
        Some(bytes)
    }

    fn keep(&self, key: Key, bytes: Bytes) {
        let mut kept = self.kept.lock();
        kept.retain(|(other, _)| *other != key);
        while kept.len() >= self.most {
            kept.pop_front();
        }
        kept.push_back((key, bytes));
    }

    /// Forgets what was decoded.
    pub(crate) fn clear(&self) {
        self.kept.lock().clear();
    }

    /// Bytes kept.
    pub(crate) fn bytes(&self) -> u64 {
        (self.kept.lock().len() * SEGMENT_SIZE) as u64
    }
}

impl Remote {
    /// A whole segment of a pack on the network, from any four fragments that are what was stored.
    /// `chunk` lies in it, and is named in the error.
    pub(crate) async fn whole_segment(
        &self,
        chunk: ChunkId,
        pack: u64,
        segment: u32,
        log: &Log,
    ) -> Result<Bytes> {
        let known = self.known(chunk, pack)?;
        self.segment(&known, segment, chunk, log).await
    }

    /// The whole segment, decoded from any four fragments. [`Error::Unavailable`] within [`TOTAL`]
    /// requests' time, when too few can be had or there is no room to decode them in.
    pub(super) async fn segment(
        &self,
        known: &Arc<Known>,
        segment: u32,
        chunk: ChunkId,
        log: &Log,
    ) -> Result<Bytes> {
        let came = Instant::now();
        let unavailable = |reason| Error::Unavailable { chunk, reason };
        let flight = self.segments.flight((known.pack, segment));
        let mut failed = flight.lock().await;
        if let Some(bytes) = self.segments.kept(known.pack, segment) {
            return Ok(bytes);
        }
        if let Some((at, reason)) = &*failed
            && *at >= came
        {
            // It was tried while we waited; trying once more would make those behind us wait, too.
            return Err(unavailable(reason.clone()));
        }
        let limit = TOTAL * self.limit;
        let outcome = tokio::time::timeout(limit, self.decode(known, segment, log))
            .await
            .unwrap_or_else(|_| Err(format!("no four whole fragments came in {limit:?}")));
        match outcome {
            Ok(bytes) => {
                self.segments.keep((known.pack, segment), bytes.clone());
                *failed = None;
                Ok(bytes)
            }
            Err(reason) => {
                *failed = Some((Instant::now(), reason.clone()));
                Err(unavailable(reason))
            }
        }
    }

    /// Fetches and decodes, from those who hold the fragments by what is known, else by what the
    /// chain says now; or why that is not possible.
    async fn decode(&self, known: &Arc<Known>, segment: u32, log: &Log) -> Result<Bytes, String> {
        let first = match self.decode_from(known, segment, log).await {
            Ok(bytes) => return Ok(bytes),
            Err(reason) => reason,
        };
        // Somebody else may hold them by now, or under another endpoint.
        match self.ask_chain(known).await {
            Some(fresh) => self.decode_from(&fresh, segment, log).await,
            None => Err(first),
        }
    }

    async fn decode_from(&self, known: &Known, segment: u32, log: &Log) -> Result<Bytes, String> {
        let probe = Part::Range(0..PROBE);
        let answering = self.any_four(known, segment, None, &probe, log).await?;
        let answering: Vec<usize> = answering.iter().map(|(index, _)| *index).collect();
        let wait = WAIT * self.limit;
        let room = tokio::time::timeout(wait, self.memory.decode())
            .await
            .map_err(|_| {
                format!("the memory for decoding segments (store.read_memory) was in use for {wait:?}")
            })?;
        let fetching = self.any_four_of(known, segment, None, &Part::Whole, &answering, log);
        let hold = HOLD * self.limit;
        let fragments = tokio::time::timeout(hold, fetching)
            .await
            .map_err(|_| format!("no four whole fragments came in {hold:?}"))??;
        let decoding = tokio::task::spawn_blocking(move || {
            // Whoever waits may be gone before this ends; the memory is taken until then.
            let _room = room;
            let parts: Vec<(usize, &[u8])> = fragments
                .iter()
                .map(|(index, bytes)| (*index, bytes.as_ref()))
                .collect();
            codec::decode(&parts)
        });
        decoding
            .await
            .map_err(|error| format!("decoding stopped: {error}"))?
            .map(Bytes::from)
            .map_err(|error| error.to_string())
    }
}
