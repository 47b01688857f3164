//! The transmission phase of one connection.
//!
//! One loop reads requests. Each request becomes a task, so that a slow read does not hold up the
//! ones behind it; replies go through one writer in the order in which they are ready.
//!
//! Memory is bounded before it is taken: a request waits for one of [`IN_FLIGHT_REQUESTS`] places
//! and, if it carries or asks for payload, for as many of [`IN_FLIGHT_BYTES`] bytes. Both are given
//! back when its reply has left, or when all that is left to do is to wait for a flush (`flushes`).
//! While they are out the loop does not read, and TCP slows the client down. A peer that stops in the
//! middle of a message, either way, is cut off after [`STALL_TIMEOUT`] without progress; between
//! requests it may be silent for ever.
//!
//! The session ends when the client says `DISC` or goes, when it breaks the protocol, or at shutdown.
//! In every case requests that were read are carried out, and their replies sent if anybody still
//! listens.
mod check;
mod command;
mod flushes;
mod lost;
mod reply;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::check::{Limits, check};
use self::command::Failure;
use self::flushes::Flushes;
pub use self::flushes::{RUNNING_FLUSHES, WAITING_FLUSHES};
pub(crate) use self::lost::Groups;
use self::lost::Member;
use self::reply::Reply;
use crate::error::{Error, Result};
use crate::export::Device;
use crate::handshake::{Agreed, smallest_block};
use crate::proto::constants::command as code;
use crate::proto::request::Request;

/// Largest payload of one request, either way, in bytes.
pub const MAX_PAYLOAD: u32 = 32 << 20;

/// Payload that one connection may hold in memory, in bytes.
pub const IN_FLIGHT_BYTES: u32 = 64 << 20;

/// Requests of one connection that may be under way, beside those that wait for a flush.
pub const IN_FLIGHT_REQUESTS: usize = 64;

/// Longest time without a byte moving in the middle of a message.
pub const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// What a reply holds until it has left: its place and its bytes of the connection's budget.
struct Held {
    _place: OwnedSemaphorePermit,
    _bytes: Option<OwnedSemaphorePermit>,
}

/// One connection in transmission.
pub(crate) struct Session<D> {
    device: Arc<D>,
    flushes: Arc<Flushes<D>>,
    member: Member,
    limits: Limits,
    structured: bool,
    block: u32,
    closing: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

impl<D: Device> Session<D> {
    pub(crate) fn new(
        agreed: Agreed<D>,
        groups: &Groups,
        closing: CancellationToken,
        abort: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        let device = Arc::new(agreed.device);
        Self {
            limits: Limits {
                size: agreed.export.size,
                structured: agreed.structured,
                allocation: agreed.allocation,
            },
            flushes: Arc::new(Flushes::new(device.clone())),
            member: groups.join(agreed.export.ino),
            device,
            structured: agreed.structured,
            block: smallest_block(&agreed.export),
            closing,
            abort,
            tasks,
            places: Arc::new(Semaphore::new(IN_FLIGHT_REQUESTS)),
            bytes: Arc::new(Semaphore::new(IN_FLIGHT_BYTES as usize)),
        }
    }

    /// Serves until the session ends. The device is let go when the last request is done.
    pub(crate) async fn run<R, W>(self, mut reader: R, writer: W) -> Result<()>
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        // Bounded by the places, of both kinds: every reply holds one.
        let (replies, queue) = mpsc::unbounded_channel();
        let writer_gone = CancellationToken::new();
        let writer = {
            let (gone, abort) = (writer_gone.clone().drop_guard(), self.abort.clone());
            self.tasks.spawn(async move {
                let _gone = gone;
                tokio::select! {
                    () = abort.cancelled() => Ok(()),
                    written = writer::write_replies(writer, queue) => written,
                }
            })
        };
        let read = tokio::select! {
            () = writer_gone.cancelled() => Ok(()),
            read = self.read_requests(&mut reader, &replies) => read,
        };
        // The writer ends when the last request under way has handed in its reply.
        drop(replies);
        let written = writer.await.unwrap_or(Ok(()));
        read.and(written.map_err(Error::Io))
    }

    async fn read_requests<R: AsyncRead + Unpin>(
        &self,
        reader: &mut R,
        replies: &mpsc::UnboundedSender<(Reply, Held)>,
    ) -> Result<()> {
        loop {
            let first = tokio::select! {
                () = self.closing.cancelled() => return Ok(()),
                first = reader.read_u8() => first,
            };
            let mut header = [0; Request::SIZE];
            match first {
                Ok(byte) => header[0] = byte,
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            in_time("request", reader.read_exact(&mut header[1..])).await?;
            let request = Request::decode(&header)?;
            if request.command == code::DISC {
                return Ok(());
            }
            self.take(request, reader, replies).await?;
        }
    }

    /// Takes one request: its payload off the wire, its share of the budget, and a task of its own.
    async fn take<R: AsyncRead + Unpin>(
        &self,
        request: Request,
        reader: &mut R,
        replies: &mpsc::UnboundedSender<(Reply, Held)>,
    ) -> Result<()> {
        let checked = check(&request, &self.limits);
        let place = permits(&self.places, 1).await?;
        let budget = match &checked {
            Ok(command) if command.payload() > 0 => Some(permits(&self.bytes, command.payload()).await?),
            _ => None,
        };
        let held = Held {
            _place: place,
            _bytes: budget,
        };

        let data = if request.command != code::WRITE {
            Bytes::new()
        } else if checked.is_ok() {
            read_payload(reader, request.len).await?
        } else if request.len <= IN_FLIGHT_BYTES {
            discard(reader, request.len).await?;
            Bytes::new()
        } else {
            return Err(Error::Protocol("write far larger than the largest request"));
        };

        let (device, flushes, replies) = (self.device.clone(), self.flushes.clone(), replies.clone());
        let (block, structured) = (self.block, self.structured);
        let (group, tasks) = (self.member.group().clone(), self.tasks.clone());
        self.tasks.spawn(async move {
            let mut held = held;
            let mut outcome = match checked {
                Ok(command) if command.is_change() && group.has_lost() => Err(Failure::lost()),
                Ok(command) => command::run(&*device, block, command, data).await,
                Err(errno) => Err(Failure::new(errno, "the request makes no sense here")),
            };
            if outcome.is_ok() && checked.is_ok_and(|command| command.is_flushed()) {
                if let Some(place) = flushes.place().await {
                    held = Held {
                        _place: place,
                        _bytes: None,
                    };
                }
                if let Err(error) = flushes.flush().await {
                    if matches!(error, vfs::Error::WriteLost) {
                        let others = group.lose();
                        tasks.spawn(async move { lost::take_up(&*device, others).await });
                    }
                    outcome = Err(error.into());
                } else if group.has_lost() {
                    // Another connection was told, maybe of what this one flushed.
                    outcome = Err(Failure::lost());
                }
            }
            let reply = Reply::encode(&request, outcome, structured);
            // Nobody listens any more if this fails; the request is done all the same.
            let _ = replies.send((reply, held));
        });
        Ok(())
    }
}

async fn permits(of: &Arc<Semaphore>, count: u32) -> Result<OwnedSemaphorePermit> {
    of.clone()
        .acquire_many_owned(count)
        .await
        .map_err(|_| Error::Protocol("session closed"))
}

/// Reads a write's payload. Memory is taken as bytes arrive, not as the header claims.
async fn read_payload<R: AsyncRead + Unpin>(reader: &mut R, len: u32) -> Result<Bytes> {
    const STEP: usize = 1 << 20;
    let len = len as usize;
    let mut data = BytesMut::with_capacity(len.min(STEP));
    while data.len() < len {
        let missing = len - data.len();
        if data.capacity() == data.len() {
            data.reserve(missing.min(data.len().max(STEP)));
        }
        let mut limited = (&mut *reader).take(missing as u64);
        if in_time("payload", limited.read_buf(&mut data)).await? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok(data.freeze())
}

/// Reads past the payload of a write that will be refused.
async fn discard<R: AsyncRead + Unpin>(reader: &mut R, len: u32) -> Result<()> {
    let mut missing = u64::from(len);
    let mut buffer = vec![0; 64 << 10];
    while missing > 0 {
        let step = buffer.len().min(missing as usize);
        let read = in_time("payload", reader.read(&mut buffer[..step])).await?;
        if read == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        missing -= read as u64;
    }
    Ok(())
}

async fn in_time<T>(what: &'static str, io: impl Future<Output = std::io::Result<T>>) -> Result<T> {
    match tokio::time::timeout(STALL_TIMEOUT, io).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Error::Timeout(what, STALL_TIMEOUT)),
    }
}
