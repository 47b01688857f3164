//! Any four of twelve: a whole segment from whichever miners answer first.
//!
//! Fragments are asked for in the order of what their miners are expected to cost; four at first,
//! one more whenever one fails or nothing arrives for `hedge`. All-zero fragments cost nothing.
//! Each fragment is checked by hash before it counts.
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use cess::codec::{self, DATA_FRAGMENTS, FRAGMENT_SIZE, FRAGMENTS};
use cess::{AccountId, Hash};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Known, Remote};
use crate::{ChunkId, Error, Result};

/// A segment that is being decoded, by pack and number.
type Flight = Arc<tokio::sync::Mutex<()>>;

/// Keeps concurrent readers of one segment from fetching it twice.
pub(crate) struct Flights {
    running: Mutex<HashMap<(u64, u32), Flight>>,
    memory: Semaphore,
}

impl Flights {
    /// At most `limit` segments at a time.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            running: Mutex::default(),
            memory: Semaphore::new(limit),
        }
    }

    fn of(&self, key: (u64, u32)) -> Flight {
        let mut running = self.running.lock();
        // Those that nobody waits for any more.
        running.retain(|_, flight| Arc::strong_count(flight) > 1);
        running.entry(key).or_default().clone()
    }
}

fn zero_fragment() -> &'static (Hash, Bytes) {
    static ZERO: OnceLock<(Hash, Bytes)> = OnceLock::new();
    ZERO.get_or_init(|| {
        let bytes = Bytes::from(vec![0; FRAGMENT_SIZE]);
        (Hash::of(&bytes), bytes)
    })
}

impl Remote {
    /// The whole segment, decoded from any four fragments.
    pub(super) async fn segment(&self, known: &Arc<Known>, segment: u32, chunk: ChunkId) -> Result<Bytes> {
        let flight = self.flights.of((known.pack, segment));
        let _alone = flight.lock().await;
        if let Some(bytes) = self.decoded(known.pack, segment) {
            return Ok(bytes);
        }
        // The semaphore is never closed.
        let _memory = self.flights.memory.acquire().await.ok();
        let fragments = match self.gather(known, segment).await {
            Ok(fragments) => fragments,
            Err(first) => {
                // Somebody else may hold them by now, or under another endpoint.
                let retried = match self.ask_chain(known).await {
                    Some(fresh) => self.gather(&fresh, segment).await,
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
        self.keep(known.pack, segment, bytes.clone());
        Ok(bytes)
    }

    /// Four checked fragments, or why not.
    async fn gather(&self, known: &Known, segment: u32) -> std::result::Result<Vec<(usize, Bytes)>, String> {
        let names = known
            .names
            .segments
            .get(segment as usize)
            .ok_or("no such segment")?;
        let mut have: Vec<(usize, Bytes)> = Vec::with_capacity(DATA_FRAGMENTS);
        let mut candidates: Vec<(f64, usize, AccountId, String)> = Vec::new();
        let (zero, zeros) = zero_fragment();
        for index in 0..FRAGMENTS {
            if names.fragments[index] == zero.0 {
                if have.len() < DATA_FRAGMENTS {
                    have.push((index, zeros.clone()));
                }
            } else if let Some((account, endpoint)) = self.holder(known, segment, index) {
                // Data fragments need no arithmetic; prefer them among equals.
                let parity = if index < DATA_FRAGMENTS { 1.0 } else { 1.05 };
                candidates.push((self.miners.cost(account) * parity, index, account, endpoint));
            }
        }
        candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut candidates = candidates.into_iter();
        let mut running = FuturesUnordered::new();
        let start = |candidate: (f64, usize, AccountId, String)| async move {
            let (_, index, account, endpoint) = candidate;
            let hash = Hash(names.fragments[index]);
            let read = self.network.get(&endpoint, known.fid, hash);
            (index, self.scored(account, FRAGMENT_SIZE, read).await)
        };
        let mut reasons = Vec::new();
        while have.len() < DATA_FRAGMENTS {
            while have.len() + running.len() < DATA_FRAGMENTS {
                let Some(candidate) = candidates.next() else { break };
                running.push(start(candidate));
            }
            if running.is_empty() {
                return Err(format!(
                    "{} of {DATA_FRAGMENTS} fragments can be had: {}",
                    have.len(),
                    reasons.join("; ")
                ));
            }
            match tokio::time::timeout(self.hedge, running.next()).await {
                Ok(Some((index, Ok(bytes)))) => have.push((index, bytes)),
                Ok(Some((index, Err(error)))) => reasons.push(format!("fragment {index}: {error}")),
                Ok(None) => {}
                Err(_) => running.extend(candidates.next().map(start)),
            }
        }
        have.truncate(DATA_FRAGMENTS);
        Ok(have)
    }
}
