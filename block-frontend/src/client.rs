//! A small NBD client over [`crate::proto`]: one request at a time, for the gateway's own
//! measurements and for tests. It checks what servers promise (cookies, lengths, order of chunks) and
//! treats every breach as an error.
use std::net::SocketAddr;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use crate::error::{Error, Result};
use crate::proto::constants::{
    BASE_ALLOCATION, CHUNK_MAGIC, Errno, SIMPLE_REPLY_MAGIC, chunk, command, command_flag, handshake_flag,
    info, option_code, option_reply,
};
use crate::proto::option::{
    Greeting, Info, InfoRequest, ListedExport, MetaContext, MetaContextRequest, OptionHeader,
    OptionReplyHeader,
};
use crate::proto::reply::{BlockStatus, ChunkError, ChunkHeader, Descriptor, Hole, SimpleReply};
use crate::proto::request::Request;

/// Most bytes the client takes in one message.
const MAX_MESSAGE: u32 = 64 << 20;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Wire = BufReader<Box<dyn Stream>>;

/// A connection in its handshake.
pub struct Handshake {
    wire: Wire,
    structured: bool,
    allocation: Option<u32>,
}

impl Handshake {
    /// Connects over TCP.
    pub async fn tcp(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Self::greet(Box::new(stream)).await
    }

    /// Connects to a Unix socket.
    pub async fn unix(path: &Path) -> Result<Self> {
        Self::greet(Box::new(UnixStream::connect(path).await?)).await
    }

    async fn greet(stream: Box<dyn Stream>) -> Result<Self> {
        let mut wire = BufReader::new(stream);
        let mut greeting = [0; Greeting::SIZE];
        wire.read_exact(&mut greeting).await?;
        let wanted = handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES;
        if Greeting::decode(&greeting)?.flags & wanted != wanted {
            return Err(Error::Protocol("the server is not fixed newstyle"));
        }
        wire.write_u32(u32::from(wanted)).await?;
        Ok(Self {
            wire,
            structured: false,
            allocation: None,
        })
    }

    /// Sends any option and returns its replies, kind and data, without the final `ACK`.
    pub async fn option(&mut self, option: u32, data: &[u8]) -> Result<Vec<(u32, Bytes)>> {
        let mut out = BytesMut::new();
        OptionHeader {
            option,
            len: data.len() as u32,
        }
        .encode(&mut out);
        out.extend_from_slice(data);
        self.wire.write_all(&out).await?;
        let mut replies = Vec::new();
        loop {
            let mut header = [0; OptionReplyHeader::SIZE];
            self.wire.read_exact(&mut header).await?;
            let header = OptionReplyHeader::decode(&header)?;
            if header.option != option {
                return Err(Error::Protocol("reply to another option"));
            }
            let data = read_exact(&mut self.wire, header.len).await?;
            if header.kind & option_reply::ERROR_BIT != 0 {
                let message = String::from_utf8_lossy(&data).into_owned();
                return Err(Error::OptionRefused {
                    code: header.kind,
                    message,
                });
            }
            if header.kind == option_reply::ACK {
                return Ok(replies);
            }
            replies.push((header.kind, data));
        }
    }

    /// Agrees on structured replies.
    pub async fn structured_replies(&mut self) -> Result<()> {
        self.option(option_code::STRUCTURED_REPLY, &[]).await?;
        self.structured = true;
        Ok(())
    }

    /// Chooses `base:allocation` for an export. Needs structured replies.
    pub async fn allocation(&mut self, name: &[u8]) -> Result<()> {
        let mut data = BytesMut::new();
        MetaContextRequest {
            name: Bytes::copy_from_slice(name),
            queries: vec![Bytes::from_static(BASE_ALLOCATION.as_bytes())],
        }
        .encode(&mut data);
        for (kind, data) in self.option(option_code::SET_META_CONTEXT, &data).await? {
            let context = MetaContext::decode(&data)?;
            if kind == option_reply::META_CONTEXT && context.name == BASE_ALLOCATION {
                self.allocation = Some(context.id);
            }
        }
        Ok(())
    }

    /// The exports that the server shows.
    pub async fn list(&mut self) -> Result<Vec<ListedExport>> {
        let replies = self.option(option_code::LIST, &[]).await?;
        replies
            .iter()
            .filter(|(kind, _)| *kind == option_reply::SERVER)
            .map(|(_, data)| Ok(ListedExport::decode(data)?))
            .collect()
    }

    /// What the server says about an export.
    pub async fn info(&mut self, name: &[u8]) -> Result<Vec<Info>> {
        self.describe(option_code::INFO, name).await
    }

    async fn describe(&mut self, option: u32, name: &[u8]) -> Result<Vec<Info>> {
        let wanted = vec![info::NAME, info::DESCRIPTION, info::BLOCK_SIZE];
        let mut data = BytesMut::new();
        InfoRequest {
            name: Bytes::copy_from_slice(name),
            wanted,
        }
        .encode(&mut data);
        let replies = self.option(option, &data).await?;
        replies
            .iter()
            .filter(|(kind, _)| *kind == option_reply::INFO)
            .map(|(_, data)| Ok(Info::decode(data)?))
            .collect()
    }

    /// Attaches an export.
    pub async fn go(mut self, name: &[u8]) -> Result<Client> {
        let infos = self.describe(option_code::GO, name).await?;
        let export = infos.iter().find_map(|info| match info {
            Info::Export { size, flags } => Some((*size, *flags)),
            _ => None,
        });
        let (size, flags) = export.ok_or(Error::Protocol("no size"))?;
        Ok(Client {
            wire: self.wire,
            structured: self.structured,
            allocation: self.allocation,
            size,
            flags,
            cookie: 0,
        })
    }

    /// Attaches an export the old way, for which there is no refusal but a closed connection.
    pub async fn export_name(mut self, name: &[u8]) -> Result<Client> {
        let mut out = BytesMut::new();
        OptionHeader {
            option: option_code::EXPORT_NAME,
            len: name.len() as u32,
        }
        .encode(&mut out);
        out.extend_from_slice(name);
        self.wire.write_all(&out).await?;
        let size = self.wire.read_u64().await?;
        let flags = self.wire.read_u16().await?;
        Ok(Client {
            wire: self.wire,
            structured: self.structured,
            allocation: None,
            size,
            flags,
            cookie: 0,
        })
    }
}

/// An attached export.
pub struct Client {
    wire: Wire,
    structured: bool,
    allocation: Option<u32>,
    size: u64,
    flags: u16,
    cookie: u64,
}

/// What a reply brought.
enum Answer {
    Nothing,
    Bytes(BytesMut),
    Status(Vec<Descriptor>),
}

impl Client {
    /// Attaches an export over TCP with structured replies and `base:allocation`.
    pub async fn attach(address: SocketAddr, name: &[u8]) -> Result<Self> {
        let mut handshake = Handshake::tcp(address).await?;
        handshake.structured_replies().await?;
        handshake.allocation(name).await?;
        handshake.go(name).await
    }

    /// Bytes of the export.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// [`crate::proto::constants::export_flag`] bits.
    pub fn flags(&self) -> u16 {
        self.flags
    }

    /// Reads bytes.
    pub async fn read(&mut self, offset: u64, len: u32) -> Result<Bytes> {
        match self.request(command::READ, 0, offset, len, &[]).await? {
            Answer::Bytes(bytes) => Ok(bytes.freeze()),
            _ => Err(Error::Protocol("a read without data")),
        }
    }

    /// Writes bytes; with `fua` they are durable when this returns.
    pub async fn write(&mut self, offset: u64, data: &[u8], fua: bool) -> Result<()> {
        let flags = if fua { command_flag::FUA } else { 0 };
        self.request(command::WRITE, flags, offset, data.len() as u32, data)
            .await
            .map(drop)
    }

    /// Makes all writes that were answered durable.
    pub async fn flush(&mut self) -> Result<()> {
        self.request(command::FLUSH, 0, 0, 0, &[]).await.map(drop)
    }

    /// Frees a range.
    pub async fn trim(&mut self, offset: u64, len: u32, fua: bool) -> Result<()> {
        let flags = if fua { command_flag::FUA } else { 0 };
        self.request(command::TRIM, flags, offset, len, &[])
            .await
            .map(drop)
    }

    /// Brings a range near.
    pub async fn cache(&mut self, offset: u64, len: u32) -> Result<()> {
        self.request(command::CACHE, 0, offset, len, &[]).await.map(drop)
    }

    /// Zeroes a range; `flags` are [`command_flag`] bits.
    pub async fn write_zeroes(&mut self, offset: u64, len: u32, flags: u16) -> Result<()> {
        self.request(command::WRITE_ZEROES, flags, offset, len, &[])
            .await
            .map(drop)
    }

    /// Runs of `base:allocation` from `offset` on, perhaps fewer than to the end of the range.
    pub async fn block_status(&mut self, offset: u64, len: u32) -> Result<Vec<Descriptor>> {
        match self.request(command::BLOCK_STATUS, 0, offset, len, &[]).await? {
            Answer::Status(runs) => Ok(runs),
            _ => Err(Error::Protocol("block status without runs")),
        }
    }

    /// Says goodbye and waits until the server has closed.
    pub async fn disconnect(mut self) -> Result<()> {
        self.send(command::DISC, 0, 0, 0, &[]).await?;
        let mut rest = [0];
        match self.wire.read(&mut rest).await? {
            0 => Ok(()),
            _ => Err(Error::Protocol("bytes after the end")),
        }
    }

    async fn send(&mut self, command: u16, flags: u16, offset: u64, len: u32, payload: &[u8]) -> Result<()> {
        self.cookie += 1;
        let mut out = BytesMut::with_capacity(Request::SIZE + payload.len());
        Request {
            flags,
            command,
            cookie: self.cookie,
            offset,
            len,
        }
        .encode(&mut out);
        out.extend_from_slice(payload);
        self.wire.write_all(&out).await?;
        Ok(())
    }

    async fn request(
        &mut self,
        command: u16,
        flags: u16,
        offset: u64,
        len: u32,
        payload: &[u8],
    ) -> Result<Answer> {
        self.send(command, flags, offset, len, payload).await?;
        let mut bytes = BytesMut::new();
        if command == command::READ {
            bytes.resize(len as usize, 0);
        }
        let mut filled = 0;
        let mut status = None;
        let mut failed = None;
        loop {
            let magic = self.wire.read_u32().await?;
            if magic == SIMPLE_REPLY_MAGIC && !(self.structured && command == command::READ) {
                let mut header = [0; SimpleReply::SIZE];
                header[..4].copy_from_slice(&magic.to_be_bytes());
                self.wire.read_exact(&mut header[4..]).await?;
                let reply = SimpleReply::decode(&header)?;
                self.expect_cookie(reply.cookie)?;
                if reply.error != 0 {
                    return Err(Error::Failed {
                        errno: Errno::from_wire(reply.error),
                        message: String::new(),
                    });
                }
                self.wire.read_exact(&mut bytes).await?;
                filled = bytes.len();
                break;
            }
            if magic != CHUNK_MAGIC || !self.structured {
                return Err(Error::Protocol("not a reply"));
            }
            let mut header = [0; ChunkHeader::SIZE];
            header[..4].copy_from_slice(&magic.to_be_bytes());
            self.wire.read_exact(&mut header[4..]).await?;
            let header = ChunkHeader::decode(&header)?;
            self.expect_cookie(header.cookie)?;
            let payload = read_exact(&mut self.wire, header.len).await?;
            match header.kind {
                chunk::NONE => {}
                chunk::OFFSET_DATA if payload.len() >= 8 => {
                    let (at, data) = payload.split_at(8);
                    let at = u64::from_be_bytes(at.try_into().unwrap_or_default());
                    let place = place(&mut bytes, offset, at, data.len())?;
                    place.copy_from_slice(data);
                    filled += data.len();
                }
                chunk::OFFSET_HOLE => {
                    let hole = Hole::decode(&payload)?;
                    place(&mut bytes, offset, hole.offset, hole.len as usize)?.fill(0);
                    filled += hole.len as usize;
                }
                chunk::BLOCK_STATUS => {
                    let told = BlockStatus::decode(&payload)?;
                    if Some(told.context) != self.allocation {
                        return Err(Error::Protocol("status of another context"));
                    }
                    status = Some(told.runs);
                }
                chunk::ERROR | chunk::ERROR_OFFSET => {
                    let error = ChunkError::decode(&payload)?;
                    failed = Some(Error::Failed {
                        errno: Errno::from_wire(error.error),
                        message: String::from_utf8_lossy(&error.message).into_owned(),
                    });
                }
                _ => return Err(Error::Protocol("unknown chunk")),
            }
            if header.flags & chunk::FLAG_DONE != 0 {
                break;
            }
        }
        if let Some(failed) = failed {
            return Err(failed);
        }
        if filled != bytes.len() {
            return Err(Error::Protocol("a read with gaps"));
        }
        Ok(match status {
            Some(runs) => Answer::Status(runs),
            None if command == command::READ => Answer::Bytes(bytes),
            None => Answer::Nothing,
        })
    }

    fn expect_cookie(&self, cookie: u64) -> Result<()> {
        if cookie == self.cookie {
            Ok(())
        } else {
            Err(Error::Protocol("reply to another request"))
        }
    }
}

/// Where the bytes at `at` belong in the answer to a read from `start`.
fn place(bytes: &mut BytesMut, start: u64, at: u64, len: usize) -> Result<&mut [u8]> {
    const OUTSIDE: Error = Error::Protocol("data outside the range read");
    let from = at
        .checked_sub(start)
        .and_then(|from| usize::try_from(from).ok())
        .ok_or(OUTSIDE)?;
    let to = from.checked_add(len).ok_or(OUTSIDE)?;
    bytes.get_mut(from..to).ok_or(OUTSIDE)
}

async fn read_exact(wire: &mut Wire, len: u32) -> Result<Bytes> {
    if len > MAX_MESSAGE {
        return Err(Error::Protocol("message too long"));
    }
    let mut data = vec![0; len as usize];
    wire.read_exact(&mut data).await?;
    Ok(data.into())
}
