//! From what a command came to, to the bytes of its reply.
use bytes::{Bytes, BytesMut};

use super::command::{Failure, Outcome, Part};
use crate::handshake::ALLOCATION_CONTEXT;
use crate::proto::constants::{chunk, command as code};
use crate::proto::reply::{BlockStatus, ChunkError, ChunkHeader, Hole, SimpleReply};
use crate::proto::request::Request;

/// The bytes of one reply, in order.
pub struct Reply(pub Vec<Bytes>);

impl Reply {
    /// Encodes a reply. Reads and block status are structured if that was agreed on, and so is every
    /// failure, which then carries a message; the rest is simple.
    pub fn encode(request: &Request, outcome: Result<Outcome, Failure>, structured: bool) -> Self {
        let cookie = request.cookie;
        match outcome {
            Err(failure) if structured => {
                let mut payload = BytesMut::new();
                ChunkError {
                    error: failure.errno as u32,
                    message: failure.message.into(),
                }
                .encode(&mut payload);
                Self(vec![chunk_of(cookie, chunk::ERROR, true, &payload)])
            }
            Err(failure) => Self::simple(cookie, failure.errno as u32),
            Ok(Outcome::Read(parts)) if structured => Self::structured_read(cookie, parts),
            Ok(Outcome::Read(parts)) => {
                let mut bytes = Self::simple(cookie, 0);
                for part in parts {
                    match part {
                        Part::Data { pieces, .. } => bytes.0.extend(pieces),
                        Part::Hole { len, .. } => bytes.0.push(vec![0; len as usize].into()),
                    }
                }
                bytes
            }
            Ok(Outcome::Status(runs)) => {
                let mut payload = BytesMut::new();
                BlockStatus {
                    context: ALLOCATION_CONTEXT,
                    runs,
                }
                .encode(&mut payload);
                Self(vec![chunk_of(cookie, chunk::BLOCK_STATUS, true, &payload)])
            }
            // The specification leaves the choice for all but reads and block status.
            Ok(Outcome::Done) => {
                debug_assert!(request.command != code::READ && request.command != code::BLOCK_STATUS);
                Self::simple(cookie, 0)
            }
        }
    }

    fn simple(cookie: u64, error: u32) -> Self {
        let mut bytes = BytesMut::with_capacity(SimpleReply::SIZE);
        SimpleReply { error, cookie }.encode(&mut bytes);
        Self(vec![bytes.freeze()])
    }

    fn structured_read(cookie: u64, parts: Vec<Part>) -> Self {
        let mut bytes = Vec::with_capacity(parts.len() * 2);
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Self(vec![chunk_of(cookie, chunk::NONE, true, &[])]);
        }
        let last = parts.len() - 1;
        for (index, part) in parts.into_iter().enumerate() {
            let done = index == last;
            match part {
                Part::Hole { offset, len } => {
                    let mut payload = BytesMut::with_capacity(Hole::SIZE);
                    Hole { offset, len }.encode(&mut payload);
                    bytes.push(chunk_of(cookie, chunk::OFFSET_HOLE, done, &payload));
                }
                Part::Data { offset, pieces } => {
                    let len: usize = pieces.iter().map(Bytes::len).sum();
                    let mut head = BytesMut::with_capacity(ChunkHeader::SIZE + 8);
                    header(cookie, chunk::OFFSET_DATA, done, 8 + len).encode(&mut head);
                    head.extend_from_slice(&offset.to_be_bytes());
                    bytes.push(head.freeze());
                    bytes.extend(pieces);
                }
            }
        }
        Self(bytes)
    }
}

impl Part {
    fn is_empty(&self) -> bool {
        match self {
            Self::Data { pieces, .. } => pieces.iter().all(Bytes::is_empty),
            Self::Hole { len, .. } => *len == 0,
        }
    }
}

fn header(cookie: u64, kind: u16, done: bool, len: usize) -> ChunkHeader {
    ChunkHeader {
        flags: if done { chunk::FLAG_DONE } else { 0 },
        kind,
        cookie,
        len: len as u32,
    }
}

fn chunk_of(cookie: u64, kind: u16, done: bool, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(ChunkHeader::SIZE + payload.len());
    header(cookie, kind, done, payload.len()).encode(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes.freeze()
}
