//! Any four of twelve whole fragments: what is left when no range authenticates.
//!
//! Each fragment is checked by its hash before it counts, so what is decoded is what was stored.
//! Concurrent readers of one segment share one decode.
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use cess::codec::{self, SEGMENT_SIZE};
use parking_lot::Mutex;

use super::range::Part;
use super::{Known, Remote};
use crate::read::trace::Log;
use crate::{ChunkId, Error, Result};

/// A segment by pack and number.
type Key = (u64, u32);
/// A segment that is being decoded.
type Flight = Arc<tokio::sync::Mutex<()>>;

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

    /// The whole segment, decoded from any four fragments.
    pub(super) async fn segment(
        &self,
        known: &Arc<Known>,
        segment: u32,
        chunk: ChunkId,
        log: &Log,
    ) -> Result<Bytes> {
        let flight = self.segments.flight((known.pack, segment));
        let _alone = flight.lock().await;
        if let Some(bytes) = self.segments.kept(known.pack, segment) {
            return Ok(bytes);
        }
        let _memory = self.memory.decode().await;
        let fragments = match self.any_four(known, segment, None, &Part::Whole, log).await {
            Ok(fragments) => fragments,
            Err(first) => {
                // Somebody else may hold them by now, or under another endpoint.
                let retried = match self.ask_chain(known).await {
                    Some(fresh) => self.any_four(&fresh, segment, None, &Part::Whole, log).await,
                    None => Err(first),
                };
                retried.map_err(|reason| Error::Unavailable { chunk, reason })?
            }
        };
        let decoded = tokio::task::spawn_blocking(move || {
            let parts: Vec<(usize, &[u8])> = fragments
                .iter()
                .map(|(index, bytes)| (*index, bytes.as_ref()))
                .collect();
            codec::decode(&parts)
        })
        .await
        .map_err(|error| Error::Unavailable {
            chunk,
            reason: format!("decoding stopped: {error}"),
        })?;
        let bytes = Bytes::from(decoded?);
        self.segments.keep((known.pack, segment), bytes.clone());
        Ok(bytes)
    }
}
