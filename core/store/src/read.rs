//! Reading a chunk back: memory, disk cache, staging, miners.
//!
//! Whoever wants a chunk that is not in memory joins a flight: one task per chunk that finds a
//! frame, authenticates it, and answers everybody who waits. It runs to its end even when nobody
//! waits any more, so that a cancelled request still warms the cache for its repetition. Bytes that
//! fail authentication are as good as none, wherever they came from; only when every place was
//! tried is the chunk called damaged.
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use crate::frame::{self, Header};
use crate::inner::Inner;
use crate::place::levels;
use crate::{CHUNK_MAX, ChunkId, Error, Level, Result};

/// Prefetches under way at a time.
const PREFETCHES: usize = 32;

/// A read that others can join.
pub(crate) type Flight = Shared<BoxFuture<'static, Result<Bytes>>>;

impl Inner {
    /// The whole plaintext of `chunk`.
    pub(crate) async fn plain(self: &Arc<Self>, chunk: ChunkId) -> Result<Bytes> {
        self.check_open()?;
        if let Some(plain) = self.memory.get(chunk) {
            return Ok(plain);
        }
        self.flight(chunk).await
    }

    /// Starts reading chunks that are not in memory, as far as memory and patience go.
    pub(crate) fn prefetch(self: &Arc<Self>, chunks: &[ChunkId]) {
        let most = PREFETCHES.min((self.config.memory_cache / 4) as usize / CHUNK_MAX);
        for &chunk in chunks {
            if self.check_open().is_err() || self.flights.lock().len() >= most {
                return;
            }
            if !self.memory.contains(chunk) {
                drop(self.flight(chunk));
            }
        }
    }

    fn flight(self: &Arc<Self>, chunk: ChunkId) -> Flight {
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
            let plain = inner.find(chunk).await?;
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

    /// Tries one place after the other.
    async fn find(self: &Arc<Self>, chunk: ChunkId) -> Result<Bytes> {
        let inner = self.clone();
        let staged = tokio::task::spawn_blocking(move || match inner.staging.frame(chunk)? {
            Some(frame) => inner.open_frame(chunk, &frame).map(Some),
            None => Ok(None),
        })
        .await
        .map_err(|_| Error::ShuttingDown)?;
        match staged {
            Ok(Some(plain)) => Ok(plain),
            Ok(None) => Ok(self.fetch(chunk).await?.1),
            // The network may have a good copy of what rotted here.
            Err(Error::Damaged(_)) if levels::level(&*self.meta.snapshot()?, &[chunk])? > Level::Staged => {
                Ok(self.fetch(chunk).await?.1)
            }
            Err(error) => Err(error),
        }
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
