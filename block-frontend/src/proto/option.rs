//! Messages of the handshake: the greeting, options, and replies to options.
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::constants::{GREETING_MAGIC, MAX_STRING, OPTION_MAGIC, OPTION_REPLY_MAGIC, info};
use super::{Decoded, Malformed};

/// What a server says first: 18 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// [`super::constants::handshake_flag`] bits.
    pub flags: u16,
}

impl Greeting {
    /// Bytes on the wire.
    pub const SIZE: usize = 18;

    /// To the wire.
    pub fn encode(self, out: &mut BytesMut) {
        out.put_u64(GREETING_MAGIC);
        out.put_u64(OPTION_MAGIC);
        out.put_u16(self.flags);
    }

    /// From the wire.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        const WHAT: Malformed = Malformed("greeting");
        if wire.try_get_u64() != Ok(GREETING_MAGIC) || wire.try_get_u64() != Ok(OPTION_MAGIC) {
            return Err(WHAT);
        }
        let flags = wire.try_get_u16().map_err(|_| WHAT)?;
        Ok(Self { flags })
    }
}

/// What stands before an option's data: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionHeader {
    /// [`super::constants::option_code`], or one we do not know.
    pub option: u32,
    /// Bytes of data that follow.
    pub len: u32,
}

impl OptionHeader {
    /// Bytes on the wire.
    pub const SIZE: usize = 16;

    /// To the wire.
    pub fn encode(self, out: &mut BytesMut) {
        out.put_u64(OPTION_MAGIC);
        out.put_u32(self.option);
        out.put_u32(self.len);
    }

    /// From the wire.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        const WHAT: Malformed = Malformed("option header");
        if wire.try_get_u64() != Ok(OPTION_MAGIC) {
            return Err(WHAT);
        }
        Ok(Self {
            option: wire.try_get_u32().map_err(|_| WHAT)?,
            len: wire.try_get_u32().map_err(|_| WHAT)?,
        })
    }
}

/// Data of `INFO` and `GO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoRequest {
    /// Export name.
    pub name: Bytes,
    /// [`info`] numbers the client would like; size and flags come in any case.
    pub wanted: Vec<u16>,
}

impl InfoRequest {
    /// To the wire.
    pub fn encode(&self, out: &mut BytesMut) {
        put_string(out, &self.name);
        out.put_u16(self.wanted.len() as u16);
        for kind in &self.wanted {
            out.put_u16(*kind);
        }
    }

    /// From the wire.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        const WHAT: Malformed = Malformed("request for information");
        let name = get_string(&mut wire, WHAT)?;
        let count = usize::from(wire.try_get_u16().map_err(|_| WHAT)?);
        if wire.len() != count * 2 {
            return Err(WHAT);
        }
        let mut wanted = Vec::with_capacity(count);
        for _ in 0..count {
            wanted.push(wire.try_get_u16().map_err(|_| WHAT)?);
        }
        Ok(Self { name, wanted })
    }
}

/// Data of `LIST_META_CONTEXT` and `SET_META_CONTEXT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaContextRequest {
    /// Export name.
    pub name: Bytes,
    /// Contexts asked for; an empty list asks `LIST_META_CONTEXT` for all.
    pub queries: Vec<Bytes>,
}

impl MetaContextRequest {
    /// To the wire.
    pub fn encode(&self, out: &mut BytesMut) {
        put_string(out, &self.name);
        out.put_u32(self.queries.len() as u32);
        for query in &self.queries {
            put_string(out, query);
        }
    }

    /// From the wire.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        const WHAT: Malformed = Malformed("request for metadata contexts");
        let name = get_string(&mut wire, WHAT)?;
        let count = wire.try_get_u32().map_err(|_| WHAT)?;
        let mut queries = Vec::new();
        for _ in 0..count {
            queries.push(get_string(&mut wire, WHAT)?);
        }
        if wire.has_remaining() {
            return Err(WHAT);
        }
        Ok(Self { name, queries })
    }
}

/// What stands before the data of a reply to an option: 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionReplyHeader {
    /// The option answered.
    pub option: u32,
    /// [`super::constants::option_reply`].
    pub kind: u32,
    /// Bytes of data that follow.
    pub len: u32,
}

impl OptionReplyHeader {
    /// Bytes on the wire.
    pub const SIZE: usize = 20;

    /// To the wire.
    pub fn encode(self, out: &mut BytesMut) {
        out.put_u64(OPTION_REPLY_MAGIC);
        out.put_u32(self.option);
        out.put_u32(self.kind);
        out.put_u32(self.len);
    }

    /// From the wire.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        const WHAT: Malformed = Malformed("option reply header");
        if wire.try_get_u64() != Ok(OPTION_REPLY_MAGIC) {
            return Err(WHAT);
        }
        Ok(Self {
            option: wire.try_get_u32().map_err(|_| WHAT)?,
            kind: wire.try_get_u32().map_err(|_| WHAT)?,
            len: wire.try_get_u32().map_err(|_| WHAT)?,
        })
    }
}

/// Data of a `SERVER` reply: one export of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedExport {
    /// Export name.
    pub name: Bytes,
    /// Free text, may be empty.
    pub description: Bytes,
}

impl ListedExport {
    /// To the wire.
    pub fn encode(&self, out: &mut BytesMut) {
        put_string(out, &self.name);
        out.put_slice(&self.description);
    }

    /// From the wire.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        let name = get_string(&mut wire, Malformed("listed export"))?;
        Ok(Self {
            name,
            description: Bytes::copy_from_slice(wire),
        })
    }
}

/// Data of a `META_CONTEXT` reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaContext {
    /// Number that block status will use for it; 0 when only listed.
    pub id: u32,
    /// Name of the context.
    pub name: Bytes,
}

impl MetaContext {
    /// To the wire.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u32(self.id);
        out.put_slice(&self.name);
    }

    /// From the wire.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        let id = wire.try_get_u32().map_err(|_| Malformed("metadata context"))?;
        Ok(Self {
            id,
            name: Bytes::copy_from_slice(wire),
        })
    }
}

/// Data of an `INFO` reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Info {
    /// Size in bytes and [`super::constants::export_flag`] bits.
    Export {
        /// Bytes.
        size: u64,
        /// Flags.
        flags: u16,
    },
    /// Canonical name.
    Name(Bytes),
    /// Free text.
    Description(Bytes),
    /// Request sizes in bytes.
    BlockSize {
        /// Smallest.
        min: u32,
        /// Preferred.
        preferred: u32,
        /// Largest payload.
        max: u32,
    },
    /// A kind this crate does not know.
    Other(u16),
}

impl Info {
    /// To the wire.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Export { size, flags } => {
                out.put_u16(info::EXPORT);
                out.put_u64(*size);
                out.put_u16(*flags);
            }
            Self::Name(name) => {
                out.put_u16(info::NAME);
                out.put_slice(name);
            }
            Self::Description(text) => {
                out.put_u16(info::DESCRIPTION);
                out.put_slice(text);
            }
            Self::BlockSize { min, preferred, max } => {
                out.put_u16(info::BLOCK_SIZE);
                out.put_u32(*min);
                out.put_u32(*preferred);
                out.put_u32(*max);
            }
            Self::Other(kind) => out.put_u16(*kind),
        }
    }

    /// From the wire.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        const WHAT: Malformed = Malformed("information about an export");
        let read = match wire.try_get_u16().map_err(|_| WHAT)? {
            info::EXPORT => Self::Export {
                size: wire.try_get_u64().map_err(|_| WHAT)?,
                flags: wire.try_get_u16().map_err(|_| WHAT)?,
            },
            info::NAME => return Ok(Self::Name(Bytes::copy_from_slice(wire))),
            info::DESCRIPTION => return Ok(Self::Description(Bytes::copy_from_slice(wire))),
            info::BLOCK_SIZE => Self::BlockSize {
                min: wire.try_get_u32().map_err(|_| WHAT)?,
                preferred: wire.try_get_u32().map_err(|_| WHAT)?,
                max: wire.try_get_u32().map_err(|_| WHAT)?,
            },
            other => return Ok(Self::Other(other)),
        };
        if wire.has_remaining() {
            return Err(WHAT);
        }
        Ok(read)
    }
}

fn put_string(out: &mut BytesMut, text: &[u8]) {
    out.put_u32(text.len() as u32);
    out.put_slice(text);
}

fn get_string(wire: &mut &[u8], what: Malformed) -> Decoded<Bytes> {
    let len = wire.try_get_u32().map_err(|_| what)? as usize;
    if len > MAX_STRING || len > wire.len() {
        return Err(what);
    }
    let (text, rest) = wire.split_at(len);
    *wire = rest;
    Ok(Bytes::copy_from_slice(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from)
    }

    fn encoded(encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let mut out = BytesMut::new();
        encode(&mut out);
        out
    }

    fn infos() -> impl Strategy<Value = Info> {
        prop_oneof![
            any::<(u64, u16)>().prop_map(|(size, flags)| Info::Export { size, flags }),
            text().prop_map(Info::Name),
            text().prop_map(Info::Description),
            any::<(u32, u32, u32)>().prop_map(|(min, preferred, max)| Info::BlockSize {
                min,
                preferred,
                max
            }),
            (4_u16..).prop_map(Info::Other),
        ]
    }

    proptest! {
        #[test]
        fn headers_survive_the_wire(option: u32, kind: u32, len: u32, flags: u16) {
            let greeting = Greeting { flags };
            prop_assert_eq!(Greeting::decode(&encoded(|out| greeting.encode(out))), Ok(greeting));
            let header = OptionHeader { option, len };
            let wire = encoded(|out| header.encode(out));
            prop_assert_eq!(wire.len(), OptionHeader::SIZE);
            prop_assert_eq!(OptionHeader::decode(&wire), Ok(header));
            let reply = OptionReplyHeader { option, kind, len };
            let wire = encoded(|out| reply.encode(out));
            prop_assert_eq!(wire.len(), OptionReplyHeader::SIZE);
            prop_assert_eq!(OptionReplyHeader::decode(&wire), Ok(reply));
        }

        #[test]
        fn option_data_survives_the_wire(
            name in text(),
            wanted in proptest::collection::vec(any::<u16>(), 0..8),
            queries in proptest::collection::vec(text(), 0..8),
            description in text(),
            id: u32,
            info in infos(),
        ) {
            let request = InfoRequest { name: name.clone(), wanted };
            prop_assert_eq!(InfoRequest::decode(&encoded(|out| request.encode(out))), Ok(request));
            let request = MetaContextRequest { name: name.clone(), queries };
            prop_assert_eq!(MetaContextRequest::decode(&encoded(|out| request.encode(out))), Ok(request));
            let listed = ListedExport { name: name.clone(), description };
            prop_assert_eq!(ListedExport::decode(&encoded(|out| listed.encode(out))), Ok(listed));
            let context = MetaContext { id, name };
            prop_assert_eq!(MetaContext::decode(&encoded(|out| context.encode(out))), Ok(context));
            prop_assert_eq!(Info::decode(&encoded(|out| info.encode(out))), Ok(info));
        }

        /// What decodes encodes to the same bytes, and nothing panics on the way.
        #[test]
        fn any_bytes_are_decoded_or_refused(wire in proptest::collection::vec(any::<u8>(), 0..96)) {
            if let Ok(read) = InfoRequest::decode(&wire) {
                prop_assert_eq!(&encoded(|out| read.encode(out))[..], &wire[..]);
            }
            if let Ok(read) = MetaContextRequest::decode(&wire) {
                prop_assert_eq!(&encoded(|out| read.encode(out))[..], &wire[..]);
            }
            if let Ok(read) = ListedExport::decode(&wire) {
                prop_assert_eq!(&encoded(|out| read.encode(out))[..], &wire[..]);
            }
            if let Ok(read) = MetaContext::decode(&wire) {
                prop_assert_eq!(&encoded(|out| read.encode(out))[..], &wire[..]);
            }
            let _ = (Info::decode(&wire), Greeting::decode(&wire));
            let _ = (OptionHeader::decode(&wire), OptionReplyHeader::decode(&wire));
        }

        #[test]
        fn every_cut_is_refused(name in text(), wanted in proptest::collection::vec(any::<u16>(), 0..4)) {
            let wire = encoded(|out| InfoRequest { name, wanted }.encode(out));
            for cut in 0..wire.len() {
                prop_assert!(InfoRequest::decode(&wire[..cut]).is_err());
            }
        }
    }

    #[test]
    fn a_count_of_queries_that_is_a_lie_takes_no_memory() {
        let mut wire = BytesMut::new();
        put_string(&mut wire, b"x");
        wire.put_u32(u32::MAX);
        assert!(MetaContextRequest::decode(&wire).is_err());
    }
}
