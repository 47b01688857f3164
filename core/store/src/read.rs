//! Reading a chunk back: memory, disk cache, staging, miners.
//!
//! Whoever wants a chunk that is not in memory joins a flight: one task per chunk that finds a
//! frame, authenticates it, and answers everybody who waits. It runs to its end even when nobody
//! waits any more, so that a cancelled request still warms the cache for its repetition. Bytes that
//! fail authentication are as good as none, wherever they came from; only when every place was
//! tried is the chunk called damaged.
//!
//! What is fetched [`ahead`] of a reader makes flights, too. Each flight leaves a [`trace`].
pub(crate) mod ahead;
mod forget;
pub(crate) mod trace;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use crate::cache::memory::Plain;
use crate::frame::{self, Header};
use crate::inner::Inner;
use crate::place::levels;
use crate::read::ahead::Ahead;
use crate::read::trace::{Log, ReadSource};
use crate::staging::Staging;
use crate::{ChunkId, Error, Level, Result};

/// Bytes of reclaimed frames that the disk cache is given in one go, and the pause after them: it
/// leaves out what comes faster than it writes.
const DISK_BURST: usize = 4 << 20;
const DISK_PAUSE: Duration = Duration::from_millis(20);

/// A read that others can join.
pub(crate) type Flight = Shared<BoxFuture<'static, Result<Bytes>>>;

impl Inner {
    /// The whole plaintext of `chunk`.
    pub(crate) async fn plain(self: &Arc<Self>, chunk: ChunkId) -> Result<Bytes> {
        self.check_open()?;
        if let Some(plain) = self.memory.get(chunk) {
            if self.keys.lives(plain.domain)? {
                return Ok(plain.bytes);
            }
            self.memory.forget(plain.domain);
        }
        self.flight(chunk, None).await
    }

    /// Joins the read of `chunk` that is under way, or begins one.
    fn flight(self: &Arc<Self>, chunk: ChunkId, ahead: Option<Ahead>) -> Flight {
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
            let (log, found) = match ahead {
                Some(ahead) => inner.take_ahead(chunk, ahead).await,
                None => (Log::new(false), None),
            };
            let found = match found {
                Some(plain) => Ok(plain),
                None => inner.find(chunk, &log).await,
            };
            let error = found.as_ref().err().map(ToString::to_string);
            inner.traces.add(chunk, log, error);
            let plain = found?;
            inner.memory.insert(chunk, plain.clone());
            Ok(plain.bytes)
        });
        let flight = task
            .map(|done| done.unwrap_or(Err(Error::ShuttingDown)))
            .boxed()
            .shared();
        flights.insert(chunk, flight.clone());
        flight
    }

    /// Tries one place after the other.
    async fn find(self: &Arc<Self>, chunk: ChunkId, log: &Log) -> Result<Plain> {
        if let Some(frame) = self.disk.get(chunk).await {
            if let Ok(plain) = self.open_frame(chunk, &frame) {
                log.source(ReadSource::DiskCache);
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
            Ok(Some(plain)) => {
                log.source(ReadSource::Staging);
                Ok(plain)
            }
            Ok(None) => match self.fetch_and_keep(chunk, log).await {
                // It may have come back to staging meanwhile, on its way to another pack.
                Err(error @ (Error::Unavailable { .. } | Error::UnknownChunk(_))) => {
                    let inner = self.clone();
                    let staged = tokio::task::spawn_blocking(move || inner.staging.frame(chunk))
                        .await
                        .map_err(|_| Error::ShuttingDown)?;
                    let Ok(Some(frame)) = staged else {
                        return Err(error);
                    };
                    log.source(ReadSource::Staging);
                    self.open_frame(chunk, &frame)
                }
                done => done,
            },
            // The network may have a good copy of what rotted here, or of what the disk cannot read.
            Err(Error::Damaged(_) | Error::Disk(_))
                if levels::level(&*self.meta.snapshot()?, &[chunk])? > Level::Staged =>
            {
                self.fetch_and_keep(chunk, log).await
            }
            Err(Error::Elsewhere(_)) => self.fetch_elsewhere(chunk, log).await,
            Err(error) => Err(error),
        }
    }

    /// The gateway in whose staging `chunk` lies, if that is another one.
    pub(crate) fn staged_elsewhere(&self, chunk: ChunkId) -> Result<Option<String>> {
        let member = self.staging.elsewhere(chunk)?;
        member.map(|member| self.members.name(member)).transpose()
    }

    /// A chunk that another gateway has in staging: from there, or from the miners if they have it already.
    async fn fetch_elsewhere(&self, chunk: ChunkId, log: &Log) -> Result<Plain> {
        let (level, holder) = {
            let snapshot = self.meta.snapshot()?;
            (
                levels::level(&*snapshot, &[chunk])?,
                Staging::holder(&*snapshot, chunk)?,
            )
        };
        let mut why = String::new();
        if let Some(holder) = holder {
            match self.fetch_from_peer(holder, chunk).await {
                Ok(plain) => {
                    log.source(ReadSource::Gateway);
                    return Ok(plain);
                }
                Err(reason) => why = format!("{}: {reason}", self.members.waits_for(holder)?),
            }
        }
        // It may have left that staging for the miners since it was looked at.
        let placed =
            level > Level::Staged || levels::level(&*self.meta.snapshot()?, &[chunk])? > Level::Staged;
        if placed || holder.is_none() {
            return self.fetch_and_keep(chunk, log).await;
        }
        Err(Error::Unavailable { chunk, reason: why })
    }

    /// From the staging of `member`; else why not, for the operator.
    async fn fetch_from_peer(&self, member: u16, chunk: ChunkId) -> std::result::Result<Plain, String> {
        let peer = self.members.peer(member).map_err(|error| error.to_string())?;
        let Some(peer) = peer else {
            return Err("it cannot be asked now".to_owned());
        };
        let Some(frame) = self.peers.frame(&peer, chunk).await? else {
            return Err("it does not have it any more".to_owned());
        };
        self.open_frame(chunk, &frame).map_err(|error| error.to_string())
    }

    async fn fetch_and_keep(&self, chunk: ChunkId, log: &Log) -> Result<Plain> {
        let (frame, plain) = self.fetch(chunk, log).await?;
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

    /// Puts a chunk whose record has rotted into staging anew, when the network has it.
    pub(crate) async fn heal(self: &Arc<Self>, chunk: ChunkId) -> Result<bool> {
        if levels::level(&*self.meta.snapshot()?, &[chunk])? == Level::Staged {
            return Ok(false);
        }
        let (frame, _) = self.fetch(chunk, &Log::new(false)).await?;
        self.staging.replace(chunk, frame).await
    }

    /// Empties the caches, once the reads under way have put into them what they will. Answers what is left,
    /// and why.
    pub(crate) async fn drop_caches(&self) -> Result<Option<&'static str>> {
        let flights: Vec<_> = self.flights.lock().values().cloned().collect();
        // Whether they succeed is their callers' business.
        let _ = futures::future::join_all(flights).await;
        self.memory.clear();
        if let Some(remote) = &self.remote {
            remote.forget();
        }
        self.disk.clear().await?;
        // Small frames rode in rows: once those are gone, their bytes are a cache like any other.
        let left = self.meta.cannot_scour();
        if left.is_none() {
            self.meta.scour().await?;
        }
        Ok(left)
    }

    /// Authenticates a frame as that of `chunk`.
    pub(crate) fn open_frame(&self, chunk: ChunkId, frame: &[u8]) -> Result<Plain> {
        let damaged = |error: frame::FrameError| {
            tracing::warn!(chunk = chunk.0, %error, "a copy of a chunk is damaged");
            Error::Damaged(chunk)
        };
        let header = Header::parse(frame).map_err(damaged)?;
        if header.chunk != chunk {
            return Err(damaged(frame::FrameError::Forged));
        }
        let key = self.keys.opening(header.domain, header.epoch)?;
        let bytes = frame::open(&key.cipher, &header, frame)
            .map(Bytes::from)
            .map_err(damaged)?;
        Ok(Plain {
            domain: header.domain,
            bytes,
        })
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
