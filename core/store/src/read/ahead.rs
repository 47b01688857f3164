//! Fetching ahead of readers.
//!
//! A reader that goes on where it stopped tells what it will want next ([`crate::Store::prefetch`]).
//! Each chunk gets a flight at once, so that whoever wants it joins; flights whose chunks only the
//! network has wait for the [`Run`] that brings their frames, with their neighbours', in one
//! request. A flight that its run leaves without a good frame goes its own way.
//!
//! What is on its way is limited by `read_memory`; what has come is in the memory cache, and in its
//! budget.
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::OwnedSemaphorePermit;

use crate::ChunkId;
use crate::cache::memory::Plain;
use crate::inner::Inner;
use crate::read::trace::Log;
use crate::remote::memory::LEAST;
use crate::remote::run::Run;

/// Chunks for which room is worth taking.
const FEW: usize = 8;

/// Frames of a run that is on its way, and how it went.
type Fetch = Shared<BoxFuture<'static, (Arc<Log>, Arc<HashMap<ChunkId, Bytes>>)>>;
/// Which run brings which chunk.
type Plan = Shared<BoxFuture<'static, Arc<HashMap<ChunkId, Fetch>>>>;

/// What a flight that was begun ahead of a reader goes by.
pub(crate) struct Ahead {
    plan: Plan,
    /// Its room, until it has landed.
    _room: Option<OwnedSemaphorePermit>,
}

impl Inner {
    /// Starts reading chunks that are not in memory, in this order, as far as there is room. Answers
    /// how many of them are here or on their way.
    pub(crate) fn prefetch(self: &Arc<Self>, chunks: &[ChunkId]) -> usize {
        if self.check_open().is_err() {
            return 0;
        }
        // A few chunks at a time would be as many requests as none: better wait for room.
        if let Some(remote) = &self.remote
            && remote.memory().ahead_free() < FEW.min(chunks.len())
        {
            return 0;
        }
        let mut wanted = Vec::new();
        let mut taken = 0;
        {
            let flights = self.flights.lock();
            for chunk in chunks {
                if !flights.contains_key(chunk) && !self.memory.contains(*chunk) {
                    let room = self.remote.as_ref().map(|remote| remote.memory().ahead());
                    match room {
                        // Without a network nothing is far away.
                        None => wanted.push((*chunk, None)),
                        Some(Some(room)) => wanted.push((*chunk, Some(room))),
                        Some(None) => break,
                    }
                }
                taken += 1;
            }
        }
        if !wanted.is_empty() {
            let plan = self.plan(wanted.iter().map(|(chunk, _)| *chunk).collect());
            for (chunk, room) in wanted {
                let plan = plan.clone();
                drop(self.flight(chunk, Some(Ahead { plan, _room: room })));
            }
        }
        taken
    }

    /// Bytes that readers may ask for ahead of where they are, all together.
    pub(crate) fn prefetch_limit(&self) -> u64 {
        let fetched = self
            .remote
            .as_ref()
            .map_or(LEAST / 4, |remote| remote.memory().ahead_limit());
        // Readers run ahead of what has landed by a few chunks each, and what has landed must still be
        // in memory when it is read.
        (fetched / 3 * 2).min(self.config.memory_cache / 2)
    }

    /// Memory in use for reading from miners, and how much may be.
    pub(crate) fn read_memory(&self) -> (u64, u64) {
        let used = self.remote.as_ref().map_or(0, |remote| remote.memory_used());
        (used, self.config.read_memory.max(LEAST))
    }

    /// Plans the runs for those of `chunks` that only the network has.
    fn plan(self: &Arc<Self>, chunks: Vec<ChunkId>) -> Plan {
        let inner = self.clone();
        async move {
            let Some(remote) = &inner.remote else {
                return Arc::default();
            };
            let mut far = Vec::new();
            for chunk in chunks {
                let here = inner.disk.contains(chunk).await || inner.staging.holds(chunk).unwrap_or(true);
                if !here {
                    far.push(chunk);
                }
            }
            let mut plan = HashMap::new();
            for run in remote.runs(&far) {
                let chunks: Vec<ChunkId> = run.iter().map(|(chunk, _)| *chunk).collect();
                let fetch = inner.fetch_ahead(run);
                plan.extend(chunks.into_iter().map(|chunk| (chunk, fetch.clone())));
            }
            Arc::new(plan)
        }
        .boxed()
        .shared()
    }

    fn fetch_ahead(self: &Arc<Self>, run: Run) -> Fetch {
        let inner = self.clone();
        async move {
            let log = Log::new(true);
            let frames = match &inner.remote {
                Some(remote) => remote.fetch_run(&run, &log).await,
                None => HashMap::new(),
            };
            (log, Arc::new(frames))
        }
        .boxed()
        .shared()
    }

    /// The plaintext of `chunk` as its run brings it; `None` when it must be looked for.
    pub(super) async fn take_ahead(&self, chunk: ChunkId, ahead: Ahead) -> (Arc<Log>, Option<Plain>) {
        let Some(fetch) = ahead.plan.await.get(&chunk).cloned() else {
            return (Log::new(true), None);
        };
        let (log, frames) = fetch.await;
        let opened = frames
            .get(&chunk)
            .and_then(|frame| Some((self.open_frame(chunk, frame).ok()?, frame)));
        let Some((plain, frame)) = opened else {
            return (log, None);
        };
        if self.disk.is_on().await {
            // A copy, so that a cached frame does not keep the whole run in memory.
            self.disk.insert(chunk, Bytes::copy_from_slice(frame)).await;
        }
        (log, Some(plain))
    }
}
