//! The handshake: fixed newstyle, no other.
//!
//! The server greets, the client answers with its flags, then sends options one by one until one of
//! them (`EXPORT_NAME` or `GO`) starts the transmission, or `ABORT` ends the connection. Every option
//! is read whole before anything is decided, so that whatever it holds, the next one is found. An
//! option that cannot be had gets an error reply and the handshake goes on; bytes that are no option
//! end the connection. A handshake holds at most one option of [`MAX_OPTION`] bytes in memory, and
//! the caller bounds its time.
use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use vfs::Export;

use crate::error::{Error, Result, message, option_error};
use crate::export::Namespace;
use crate::proto::constants::{
    BASE_ALLOCATION, MAX_STRING, export_flag, handshake_flag, info, option_code, option_reply,
};
use crate::proto::option::{
    Greeting, Info, InfoRequest, ListedExport, MetaContext, MetaContextRequest, OptionHeader,
    OptionReplyHeader,
};

/// Most bytes of data of one option. The longest honest one (metadata contexts) stays far below.
pub const MAX_OPTION: u32 = 64 << 10;

/// Request size in bytes that costs no more than a smaller one.
const PREFERRED_BLOCK: u32 = 4096;

/// Number of the context `base:allocation` in block status replies.
pub const ALLOCATION_CONTEXT: u32 = 1;

/// What a handshake agreed on.
pub struct Agreed<D> {
    /// The attached device.
    pub device: D,
    /// What it is.
    pub export: Export,
    /// Structured replies.
    pub structured: bool,
    /// Block status for `base:allocation`.
    pub allocation: bool,
}

/// What to do after an option.
enum Next<D> {
    Option,
    Close,
    Transmit(D, Export),
}

/// Speaks the handshake. `None`: the client went, or has seen what it wanted.
pub async fn negotiate<N, R, W>(
    namespace: &N,
    reader: &mut R,
    writer: &mut W,
) -> Result<Option<Agreed<N::Device>>>
where
    N: Namespace,
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    let mut out = BytesMut::new();
    Greeting {
        flags: handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES,
    }
    .encode(&mut out);
    writer.write_all(&out).await?;

    let flags = reader.read_u32().await?;
    let known = u32::from(handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES);
    if flags & !known != 0 {
        return Err(Error::Protocol("unknown client flags"));
    }
    let mut handshake = Handshake {
        namespace,
        reader,
        writer,
        fixed: flags & u32::from(handshake_flag::FIXED_NEWSTYLE) != 0,
        padded: flags & u32::from(handshake_flag::NO_ZEROES) == 0,
        structured: false,
        allocation_for: None,
    };
    loop {
        match handshake.option().await? {
            Next::Option => {}
            Next::Close => return Ok(None),
            Next::Transmit(device, export) => {
                let structured = handshake.structured;
                return Ok(Some(Agreed {
                    device,
                    allocation: handshake.allocation_for == Some(export.ino),
                    export,
                    structured,
                }));
            }
        }
    }
}

struct Handshake<'a, N, R, W> {
    namespace: &'a N,
    reader: &'a mut R,
    writer: &'a mut W,
    /// The client speaks fixed newstyle; one that does not can send nothing but `EXPORT_NAME`.
    fixed: bool,
    /// The answer to `EXPORT_NAME` is padded.
    padded: bool,
    structured: bool,
    /// The export for which the client chose `base:allocation`.
    allocation_for: Option<vfs::InodeNo>,
}

impl<N, R, W> Handshake<'_, N, R, W>
where
    N: Namespace,
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send,
{
    /// Reads and answers one option.
    async fn option(&mut self) -> Result<Next<N::Device>> {
        let mut header = [0; OptionHeader::SIZE];
        match self.reader.read_exact(&mut header).await {
            Ok(_) => {}
            // Going without a word is how many a client ends a handshake.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(Next::Close),
            Err(error) => return Err(error.into()),
        }
        let header = OptionHeader::decode(&header)?;
        if !self.fixed && header.option != option_code::EXPORT_NAME {
            return Err(Error::Protocol("option from a client that does not know replies"));
        }
        if header.len > MAX_OPTION {
            if header.option == option_code::EXPORT_NAME {
                return Err(Error::Protocol("export name too long"));
            }
            let rest = &mut (&mut *self.reader).take(u64::from(header.len));
            tokio::io::copy(rest, &mut tokio::io::sink()).await?;
            return self
                .refuse(header.option, option_reply::ERR_TOO_BIG, "option too long")
                .await;
        }
        let mut data = vec![0; header.len as usize];
        self.reader.read_exact(&mut data).await?;

        let option = header.option;
        match option {
            option_code::EXPORT_NAME => self.export_name(&data).await,
            option_code::ABORT => {
                // The client may be gone already.
                let _ = self.reply(option, option_reply::ACK, &[]).await;
                Ok(Next::Close)
            }
            option_code::LIST if data.is_empty() => self.list().await,
            option_code::STRUCTURED_REPLY if data.is_empty() => {
                self.structured = true;
                self.acknowledge(option).await
            }
            option_code::LIST | option_code::STRUCTURED_REPLY => {
                self.refuse(option, option_reply::ERR_INVALID, "this option takes no data")
                    .await
            }
            option_code::INFO | option_code::GO => match InfoRequest::decode(&data) {
                Ok(request) => self.info(option, &request).await,
                Err(error) => {
                    self.refuse(option, option_reply::ERR_INVALID, &error.to_string())
                        .await
                }
            },
            option_code::LIST_META_CONTEXT | option_code::SET_META_CONTEXT => {
                match MetaContextRequest::decode(&data) {
                    Ok(request) => self.meta_context(option, &request).await,
                    Err(error) => {
                        self.refuse(option, option_reply::ERR_INVALID, &error.to_string())
                            .await
                    }
                }
            }
            // STARTTLS and EXTENDED_HEADERS among them: the client goes on without.
            _ => {
                self.refuse(option, option_reply::ERR_UNSUP, "option not supported")
                    .await
            }
        }
    }

    async fn export_name(&mut self, name: &[u8]) -> Result<Next<N::Device>> {
        // This option has no error reply: all that can be done is to close.
        let found = match self.namespace.find(name).await {
            Ok(export) => self
                .namespace
                .attach(&export)
                .await
                .map(|device| (device, export)),
            Err(error) => Err(error),
        };
        let (device, export) = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "export cannot be had");
                return Ok(Next::Close);
            }
        };
        let mut out = BytesMut::new();
        out.extend_from_slice(&export.size.to_be_bytes());
        out.extend_from_slice(&flags(&export, self.structured).to_be_bytes());
        if self.padded {
            out.extend_from_slice(&[0; 124]);
        }
        self.writer.write_all(&out).await?;
        Ok(Next::Transmit(device, export))
    }

    async fn list(&mut self) -> Result<Next<N::Device>> {
        let option = option_code::LIST;
        let exports = match self.namespace.list().await {
            Ok(exports) => exports,
            Err(error) => return self.refuse(option, option_error(&error), &message(&error)).await,
        };
        for (name, description) in exports {
            if name.len() > MAX_STRING {
                continue;
            }
            let mut data = BytesMut::new();
            ListedExport {
                name: name.into(),
                description: cut(&description),
            }
            .encode(&mut data);
            self.reply(option, option_reply::SERVER, &data).await?;
        }
        self.acknowledge(option).await
    }

    async fn info(&mut self, option: u32, request: &InfoRequest) -> Result<Next<N::Device>> {
        if request.name.is_empty() {
            let text = "there is no default export: ask for bucket/key";
            return self.refuse(option, option_reply::ERR_UNKNOWN, text).await;
        }
        let export = match self.namespace.find(&request.name).await {
            Ok(export) => export,
            Err(error) => return self.refuse(option, option_error(&error), &message(&error)).await,
        };
        let device = if option == option_code::GO {
            match self.namespace.attach(&export).await {
                Ok(device) => Some(device),
                Err(error) => return self.refuse(option, option_error(&error), &message(&error)).await,
            }
        } else {
            None
        };
        self.inform(
            option,
            &Info::Export {
                size: export.size,
                flags: flags(&export, self.structured),
            },
        )
        .await?;
        for kind in request.wanted.iter().copied().collect::<BTreeSet<_>>() {
            match kind {
                info::NAME => self.inform(option, &Info::Name(request.name.clone())).await?,
                info::DESCRIPTION if !export.description.is_empty() => {
                    self.inform(option, &Info::Description(cut(&export.description)))
                        .await?;
                }
                info::BLOCK_SIZE => {
                    let min = smallest_block(&export);
                    let sizes = Info::BlockSize {
                        min,
                        preferred: PREFERRED_BLOCK.max(min),
                        max: crate::session::MAX_PAYLOAD,
                    };
                    self.inform(option, &sizes).await?;
                }
                _ => {}
            }
        }
        self.reply(option, option_reply::ACK, &[]).await?;
        Ok(match device {
            Some(device) => Next::Transmit(device, export),
            None => Next::Option,
        })
    }

    async fn meta_context(&mut self, option: u32, request: &MetaContextRequest) -> Result<Next<N::Device>> {
        let set = option == option_code::SET_META_CONTEXT;
        if set {
            // Whatever comes of it, an earlier choice is forgotten.
            self.allocation_for = None;
        }
        if !self.structured {
            let text = "metadata contexts need structured replies";
            return self.refuse(option, option_reply::ERR_INVALID, text).await;
        }
        let export = match self.namespace.find(&request.name).await {
            Ok(export) => export,
            Err(error) => return self.refuse(option, option_error(&error), &message(&error)).await,
        };
        // A list may ask for all contexts, or for all of a namespace ("base:"); a choice names one.
        let chosen = request.queries.iter().any(|query| query == BASE_ALLOCATION)
            || !set && (request.queries.is_empty() || request.queries.iter().any(|query| query == "base:"));
        if chosen {
            let id = if set { ALLOCATION_CONTEXT } else { 0 };
            let mut data = BytesMut::new();
            MetaContext {
                id,
                name: BASE_ALLOCATION.into(),
            }
            .encode(&mut data);
            self.reply(option, option_reply::META_CONTEXT, &data).await?;
            if set {
                self.allocation_for = Some(export.ino);
            }
        }
        self.acknowledge(option).await
    }

    async fn inform(&mut self, option: u32, info: &Info) -> Result<()> {
        let mut data = BytesMut::new();
        info.encode(&mut data);
        self.reply(option, option_reply::INFO, &data).await
    }

    async fn acknowledge(&mut self, option: u32) -> Result<Next<N::Device>> {
        self.reply(option, option_reply::ACK, &[]).await?;
        Ok(Next::Option)
    }

    async fn refuse(&mut self, option: u32, kind: u32, text: &str) -> Result<Next<N::Device>> {
        self.reply(option, kind, text.as_bytes()).await?;
        Ok(Next::Option)
    }

    async fn reply(&mut self, option: u32, kind: u32, data: &[u8]) -> Result<()> {
        let mut out = BytesMut::with_capacity(OptionReplyHeader::SIZE + data.len());
        OptionReplyHeader {
            option,
            kind,
            len: data.len() as u32,
        }
        .encode(&mut out);
        out.extend_from_slice(data);
        self.writer.write_all(&out).await?;
        Ok(())
    }
}

/// What an export can do. Multi-connection holds because a flush is one of the inode, whoever wrote.
fn flags(export: &Export, structured: bool) -> u16 {
    let read_only = if export.read_only {
        export_flag::READ_ONLY
    } else {
        0
    };
    let flags = read_only
        | export_flag::HAS_FLAGS
        | export_flag::SEND_FLUSH
        | export_flag::SEND_FUA
        | export_flag::SEND_TRIM
        | export_flag::SEND_WRITE_ZEROES
        | export_flag::CAN_MULTI_CONN
        | export_flag::SEND_CACHE
        | export_flag::SEND_FAST_ZERO;
    if structured {
        flags | export_flag::SEND_DF
    } else {
        flags
    }
}

/// The smallest request in bytes that the export should get. It must be a power of two that divides
/// the size, or clients could not reach the end.
pub fn smallest_block(export: &Export) -> u32 {
    let sector = export.sector;
    let fits = sector.is_power_of_two()
        && sector <= crate::session::MAX_PAYLOAD
        && export.size.is_multiple_of(u64::from(sector));
    if fits { sector } else { 1 }
}

/// The longest beginning that fits a string of the protocol and is still UTF-8.
fn cut(text: &str) -> Bytes {
    Bytes::copy_from_slice(&text.as_bytes()[..text.floor_char_boundary(MAX_STRING)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(size: u64, sector: u32) -> Export {
        Export {
            ino: vfs::InodeNo(7),
            read_only: false,
            size,
            sector,
            description: String::new(),
        }
    }

    #[test]
    fn the_smallest_block_divides_the_size() {
        assert_eq!(smallest_block(&export(8192, 4096)), 4096);
        assert_eq!(smallest_block(&export(8192 + 512, 4096)), 1);
        assert_eq!(smallest_block(&export(8192 + 512, 512)), 512);
        assert_eq!(smallest_block(&export(1000, 1)), 1);
        assert_eq!(smallest_block(&export(1000, 0)), 1);
        assert_eq!(smallest_block(&export(0, 3)), 1);
    }

    #[test]
    fn only_what_lies_in_a_snapshot_is_read_only() {
        let mut export = export(8192, 512);
        assert_eq!(flags(&export, true) & export_flag::READ_ONLY, 0);
        export.read_only = true;
        assert_ne!(flags(&export, false) & export_flag::READ_ONLY, 0);
    }

    #[test]
    fn long_descriptions_are_cut_between_characters() {
        let text = "ä".repeat(MAX_STRING);
        assert_eq!(cut(&text).len(), MAX_STRING);
        let text = format!("x{text}");
        assert_eq!(cut(&text).len(), MAX_STRING - 1);
    }
}
