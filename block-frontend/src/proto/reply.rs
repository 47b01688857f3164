//! Replies of the transmission phase: simple ones, and chunks of structured ones.
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::constants::{CHUNK_MAGIC, MAX_STRING, SIMPLE_REPLY_MAGIC};
use super::{Decoded, Malformed};

/// A simple reply: 16 bytes; the data of a successful read follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimpleReply {
    /// 0, or a number of [`super::constants::Errno`].
    pub error: u32,
    /// The request's.
    pub cookie: u64,
}

impl SimpleReply {
    /// Bytes on the wire.
    pub const SIZE: usize = 16;

    /// To the wire.
    pub fn encode(self, out: &mut BytesMut) {
        out.put_u32(SIMPLE_REPLY_MAGIC);
        out.put_u32(self.error);
        out.put_u64(self.cookie);
    }

    /// From the wire.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        const WHAT: Malformed = Malformed("simple reply");
        if wire.try_get_u32() != Ok(SIMPLE_REPLY_MAGIC) {
            return Err(WHAT);
        }
        Ok(Self {
            error: wire.try_get_u32().map_err(|_| WHAT)?,
            cookie: wire.try_get_u64().map_err(|_| WHAT)?,
        })
    }
}

/// What stands before the payload of a chunk: 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// [`super::constants::chunk::FLAG_DONE`] on the last.
    pub flags: u16,
    /// [`super::constants::chunk`].
    pub kind: u16,
    /// The request's.
    pub cookie: u64,
    /// Bytes of payload that follow.
    pub len: u32,
}

impl ChunkHeader {
    /// Bytes on the wire.
    pub const SIZE: usize = 20;

    /// To the wire.
    pub fn encode(self, out: &mut BytesMut) {
        out.put_u32(CHUNK_MAGIC);
        out.put_u16(self.flags);
        out.put_u16(self.kind);
        out.put_u64(self.cookie);
        out.put_u32(self.len);
    }

    /// From the wire.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        const WHAT: Malformed = Malformed("chunk header");
        if wire.try_get_u32() != Ok(CHUNK_MAGIC) {
            return Err(WHAT);
        }
        Ok(Self {
            flags: wire.try_get_u16().map_err(|_| WHAT)?,
            kind: wire.try_get_u16().map_err(|_| WHAT)?,
            cookie: wire.try_get_u64().map_err(|_| WHAT)?,
            len: wire.try_get_u32().map_err(|_| WHAT)?,
        })
    }
}

/// Payload of an `OFFSET_HOLE` chunk: 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// First byte.
    pub offset: u64,
    /// Bytes, all zero.
    pub len: u32,
}

impl Hole {
    /// Bytes on the wire.
    pub const SIZE: usize = 12;

    /// To the wire.
    pub fn encode(self, out: &mut BytesMut) {
        out.put_u64(self.offset);
        out.put_u32(self.len);
    }

    /// From the wire.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        const WHAT: Malformed = Malformed("hole");
        if wire.len() != Self::SIZE {
            return Err(WHAT);
        }
        Ok(Self {
            offset: wire.try_get_u64().map_err(|_| WHAT)?,
            len: wire.try_get_u32().map_err(|_| WHAT)?,
        })
    }
}

/// One run of equal status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Bytes, never 0.
    pub len: u32,
    /// Bits of the context ([`super::constants::allocation`]).
    pub status: u32,
}

/// Payload of a `BLOCK_STATUS` chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockStatus {
    /// Number of the context, from the handshake.
    pub context: u32,
    /// Runs from the request's offset on, in order, without gaps.
    pub runs: Vec<Descriptor>,
}

impl BlockStatus {
    /// To the wire.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u32(self.context);
        for run in &self.runs {
            out.put_u32(run.len);
            out.put_u32(run.status);
        }
    }

    /// From the wire.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        const WHAT: Malformed = Malformed("block status");
        let context = wire.try_get_u32().map_err(|_| WHAT)?;
        if wire.is_empty() || !wire.len().is_multiple_of(8) {
            return Err(WHAT);
        }
        let mut runs = Vec::with_capacity(wire.len() / 8);
        while wire.has_remaining() {
            runs.push(Descriptor {
                len: wire.try_get_u32().map_err(|_| WHAT)?,
                status: wire.try_get_u32().map_err(|_| WHAT)?,
            });
        }
        Ok(Self { context, runs })
    }
}

/// Payload of an `ERROR` chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkError {
    /// A number of [`super::constants::Errno`].
    pub error: u32,
    /// For a person; at most [`MAX_STRING`] bytes.
    pub message: Bytes,
}

impl ChunkError {
    /// To the wire.
    pub fn encode(&self, out: &mut BytesMut) {
        let message = self.message.get(..MAX_STRING).unwrap_or(&self.message);
        out.put_u32(self.error);
        out.put_u16(message.len() as u16);
        out.put_slice(message);
    }

    /// From the wire. Takes `ERROR_OFFSET` too, whose offset stands behind the message.
    pub fn decode(mut wire: &[u8]) -> Decoded<Self> {
        const WHAT: Malformed = Malformed("error chunk");
        let error = wire.try_get_u32().map_err(|_| WHAT)?;
        let len = usize::from(wire.try_get_u16().map_err(|_| WHAT)?);
        let message = wire.get(..len).ok_or(WHAT)?;
        Ok(Self {
            error,
            message: Bytes::copy_from_slice(message),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let mut out = BytesMut::new();
        encode(&mut out);
        out
    }

    proptest! {
        #[test]
        fn replies_survive_the_wire(
            error: u32, flags: u16, kind: u16, cookie: u64, offset: u64, len: u32, context: u32,
            runs in proptest::collection::vec((1_u32.., any::<u32>()), 1..20),
            message in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let reply = SimpleReply { error, cookie };
            let wire = encoded(|out| reply.encode(out));
            prop_assert_eq!(wire.len(), SimpleReply::SIZE);
            prop_assert_eq!(SimpleReply::decode(&wire), Ok(reply));
            let header = ChunkHeader { flags, kind, cookie, len };
            let wire = encoded(|out| header.encode(out));
            prop_assert_eq!(wire.len(), ChunkHeader::SIZE);
            prop_assert_eq!(ChunkHeader::decode(&wire), Ok(header));
            let hole = Hole { offset, len };
            prop_assert_eq!(Hole::decode(&encoded(|out| hole.encode(out))), Ok(hole));
            let runs = runs.into_iter().map(|(len, status)| Descriptor { len, status }).collect();
            let status = BlockStatus { context, runs };
            prop_assert_eq!(BlockStatus::decode(&encoded(|out| status.encode(out))), Ok(status));
            let failure = ChunkError { error, message: message.into() };
            prop_assert_eq!(ChunkError::decode(&encoded(|out| failure.encode(out))), Ok(failure));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(wire in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(read) = BlockStatus::decode(&wire) {
                prop_assert_eq!(&encoded(|out| read.encode(out))[..], &wire[..]);
            }
            if let Ok(read) = Hole::decode(&wire) {
                prop_assert_eq!(&encoded(|out| read.encode(out))[..], &wire[..]);
            }
            let _ = (ChunkError::decode(&wire), SimpleReply::decode(&wire), ChunkHeader::decode(&wire));
        }
    }

    #[test]
    fn a_long_message_is_cut() {
        let failure = ChunkError {
            error: 5,
            message: vec![b'x'; 70_000].into(),
        };
        let read = ChunkError::decode(&encoded(|out| failure.encode(out))).unwrap();
        assert_eq!(read.message.len(), MAX_STRING);
    }
}
