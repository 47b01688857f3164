//! Reading a chunk back: memory, disk cache, staging, miners.
//!
//! Whoever wants a chunk that is not in memory joins a flight: one task per chunk that finds a
//! frame, authenticates it, and answers everybody who waits. It runs to its end even when nobody
//! waits any more, so that a cancelled request still warms the cache for its repetition. Bytes that
//! fail authentication are as good as none, wherever they came from; only when every place was
//! tried is the chunk called damaged.
//!
//! A prefetch makes flights, too. Those whose chunks only the network has share one errand, which
//! fetches neighbours in as few reads as possible.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use crate::frame::{self, Header};
use crate::inner::Inner;
use crate::place::levels;
use crate::{CHUNK_MAX, ChunkId, Error, Level, Result};

/// Prefetches under way at a time.
const PREFETCHES: usize = 32;
/// Bytes of reclaimed frames that the disk cache is given in one go, and the pause after them: it
/// leaves out what comes faster than it writes.
const DISK_BURST: usize = 4 << 20;
const DISK_PAUSE: Duration = Duration::from_millis(20);

/// A read that others can join.
pub(crate) type Flight = Shared<BoxFuture<'static, Result<Bytes>>>;

/// Frames fetched together for several flights; not authenticated.
type Errand = Shared<BoxFuture<'static, Arc<HashMap<ChunkId, Bytes>>>>;

impl Inner {
    /// The whole plaintext of `chunk`.
    pub(crate) async fn plain(self: &Arc<Self>, chunk: ChunkId) -> Result<Bytes> {
        self.check_open()?;
        if let Some(plain) = self.memory.get(chunk) {
            return Ok(plain);
        }
        self.flight(chunk, None).await
    }

    /// Starts reading chunks that are not in memory, as far as memory and patience go.
    pub(crate) fn prefetch(self: &Arc<Self>, chunks: &[ChunkId]) {
        let most = PREFETCHES.min((self.config.memory_cache / 4) as usize / CHUNK_MAX);
        let wanted: Vec<_> = {
            let flights = self.flights.lock();
            let room = most.saturating_sub(flights.len());
            let missing = |chunk: &ChunkId| !flights.contains_key(chunk) && !self.memory.contains(*chunk);
            chunks.iter().copied().filter(missing).take(room).collect()
        };
        if wanted.is_empty() || self.check_open().is_err() {
            return;
        }
        let errand = self.errand(wanted.clone());
        for chunk in wanted {
            drop(self.flight(chunk, Some(errand.clone())));
        }
    }

    fn flight(self: &Arc<Self>, chunk: ChunkId, errand: Option<Errand>) -> Flight {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&chunk) {
            return flight.clone();
        }
        let inner = self.clone();
        let task = tokio::spawn(async move {
            let _landing = Landing {
                inner: inner.clone(),
                chunk,
            };
            let fetched = match errand {
                Some(errand) => errand.await.get(&chunk).cloned(),
                None => None,
            };
            let opened = fetched.and_then(|frame| Some((inner.open_frame(chunk, &frame).ok()?, frame)));
            let plain = match opened {
                Some((plain, frame)) => {
                    inner.disk.insert(chunk, frame).await;
                    plain
                }
                None => inner.find(chunk).await?,
            };
            inner.memory.insert(chunk, plain.clone());
            Ok(plain)
        });
        let flight = task
            .map(|done| done.unwrap_or(Err(Error::ShuttingDown)))
            .boxed()
            .shared();
        flights.insert(chunk, flight.clone());
        flight
    }

    /// Fetches those of `chunks` that only the network has.
    fn errand(self: &Arc<Self>, chunks: Vec<ChunkId>) -> Errand {
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
            Arc::new(remote.fetch_run(&far).await.into_iter().collect())
        }
        .boxed()
        .shared()
    }

    /// Tries one place after the other.
    async fn find(self: &Arc<Self>, chunk: ChunkId) -> Result<Bytes> {
        if let Some(frame) = self.disk.get(chunk).await {
            if let Ok(plain) = self.open_frame(chunk, &frame) {
                return Ok(plain);
            }
            self.disk.remove(chunk).await;
        }
        let inner = self.clone();
        let staged = tokio::task::spawn_blocking(move || match inner.staging.frame(chunk)? {
            Some(frame) => inner.open_frame(chunk, &frame).map(Some),
            None => Ok(None),
        })
        .await
        .map_err(|_| Error::ShuttingDown)?;
        match staged {
            Ok(Some(plain)) => Ok(plain),
            Ok(None) => self.fetch_and_keep(chunk).await,
            // The network may have a good copy of what rotted here, or of what the disk cannot read.
            Err(Error::Damaged(_) | Error::Disk(_))
                if levels::level(&*self.meta.snapshot()?, &[chunk])? > Level::Staged =>
            {
                self.fetch_and_keep(chunk).await
            }
            Err(error) => Err(error),
        }
    }

    async fn fetch_and_keep(&self, chunk: ChunkId) -> Result<Bytes> {
        let (frame, plain) = self.fetch(chunk).await?;
        self.disk.insert(chunk, frame).await;
        Ok(plain)
    }

    /// Lets chunks leave staging. What was written lately is read lately: their frames move to the
    /// disk cache, no faster than it takes them.
    pub(crate) async fn reclaim(self: &Arc<Self>, chunks: &[ChunkId]) -> Result<()> {
        if self.disk.is_on().await {
            let mut gathered = 0;
            for &chunk in chunks {
                let inner = self.clone();
                let frame = tokio::task::spawn_blocking(move || inner.staging.frame(chunk))
                    .await
                    .map_err(|_| Error::ShuttingDown)?;
                if let Ok(Some(frame)) = frame {
                    gathered += frame.len();
                    self.disk.insert(chunk, frame).await;
                }
                if gathered > DISK_BURST {
                    gathered = 0;
                    tokio::time::sleep(DISK_PAUSE).await;
                }
            }
        }
        self.staging.reclaim(chunks).await
    }

    /// Empties the caches, once the reads under way have put into them what they will.
    pub(crate) async fn drop_caches(&self) -> Result<()> {
        let flights: Vec<_> = self.flights.lock().values().cloned().collect();
        // Whether they succeed is their callers' business.
        let _ = futures::future::join_all(flights).await;
        self.memory.clear();
        if let Some(remote) = &self.remote {
            remote.forget();
        }
        self.disk.clear().await
    }

    /// Authenticates a frame as that of `chunk`.
    pub(crate) fn open_frame(&self, chunk: ChunkId, frame: &[u8]) -> Result<Bytes> {
        let damaged = |error: frame::FrameError| {
            tracing::warn!(chunk = chunk.0, %error, "a copy of a chunk is damaged");
            Error::Damaged(chunk)
        };
        let header = Header::parse(frame).map_err(damaged)?;
        if header.chunk != chunk {
            return Err(damaged(frame::FrameError::Forged));
        }
        let key = self.keys.opening(header.domain, header.epoch)?;
        frame::open(&key.cipher, &header, frame)
            .map(Bytes::from)
            .map_err(damaged)
    }
}

/// Takes the flight off the board, even when its task panics.
struct Landing {
    inner: Arc<Inner>,
    chunk: ChunkId,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.inner.flights.lock().remove(&self.chunk);
    }
}
