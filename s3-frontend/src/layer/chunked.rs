//! Keeps aws-chunked bodies from being held in memory.
//!
//! The client chooses the chunk size, and s3s holds each chunk until its end: some SDKs send a whole
//! object as one chunk. Unsigned chunks are therefore cut here into small ones, which changes
//! nothing they mean. Signed chunks cannot be cut; they are refused above a size.
//!
//! Framing: `HEXSIZE[;extension]\r\n DATA \r\n …`, ended by a chunk of size 0, then trailers.
use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};
use http::HeaderMap;

use crate::limits::{MAX_SIGNED_CHUNK, UNSIGNED_CHUNK_PIECE};

/// Longest chunk header: 16 digits, a signature and slack.
const MAX_CHUNK_HEADER: usize = 256;

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// As it is.
    Plain,
    /// aws-chunked, every chunk signed.
    Signed,
    /// aws-chunked without signatures.
    Unsigned,
}

impl Framing {
    /// What `x-amz-content-sha256` says.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        match headers
            .get("x-amz-content-sha256")
            .map(http::HeaderValue::as_bytes)
        {
            Some(b"STREAMING-UNSIGNED-PAYLOAD-TRAILER") => Self::Unsigned,
            Some(value) if value.starts_with(b"STREAMING-") => Self::Signed,
            _ => Self::Plain,
        }
    }
}

/// Why a chunk was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkError {
    /// Signed and larger than allowed.
    TooLarge,
    /// Not the framing described above.
    Malformed,
}

enum State {
    Header(Vec<u8>),
    Data(u64),
    /// Bytes of `\r\n` still to come after data.
    DataEnd(usize),
    /// After the last chunk: trailers pass as they are.
    Trailers,
}

/// Follows the framing of one body.
pub(crate) struct Chunks {
    framing: Framing,
    state: State,
}

impl Chunks {
    /// For a body with `framing`; `None` if there is nothing to follow.
    pub(crate) fn new(framing: Framing) -> Option<Self> {
        (framing != Framing::Plain).then(|| Self {
            framing,
            state: State::Header(Vec::new()),
        })
    }

    /// Takes the next bytes and appends what s3s shall see.
    pub(crate) fn feed(&mut self, mut input: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), ChunkError> {
        if self.framing == Framing::Signed {
            // Signed bodies pass as they are; only the sizes are looked at.
            out.push_back(input.clone());
        }
        let unsigned = self.framing == Framing::Unsigned;
        while input.has_remaining() {
            match &mut self.state {
                State::Header(line) => {
                    let end = input.iter().position(|byte| *byte == b'\n');
                    let taken = input.split_to(end.map_or(input.len(), |end| end + 1));
                    line.extend_from_slice(&taken);
                    if line.len() > MAX_CHUNK_HEADER {
                        return Err(ChunkError::Malformed);
                    }
                    if end.is_some() {
                        let size = chunk_size(line).ok_or(ChunkError::Malformed)?;
                        if !unsigned && size > MAX_SIGNED_CHUNK {
                            return Err(ChunkError::TooLarge);
                        }
                        if size == 0 {
                            if unsigned {
                                out.push_back(Bytes::from_static(b"0\r\n"));
                            }
                            self.state = State::Trailers;
                        } else {
                            self.state = State::Data(size);
                        }
                    }
                }
                State::Data(left) => {
                    let len = (*left).min(UNSIGNED_CHUNK_PIECE).min(input.len() as u64);
                    let data = input.split_to(len as usize);
                    if unsigned {
                        out.push_back(Bytes::from(format!("{len:x}\r\n")));
                        out.push_back(data);
                        out.push_back(Bytes::from_static(b"\r\n"));
                    }
                    *left -= len;
                    if *left == 0 {
                        self.state = State::DataEnd(2);
                    }
                }
                State::DataEnd(left) => {
                    let expected = if *left == 2 { b'\r' } else { b'\n' };
                    if input.get_u8() != expected {
                        return Err(ChunkError::Malformed);
                    }
                    *left -= 1;
                    if *left == 0 {
                        self.state = State::Header(Vec::new());
                    }
                }
                State::Trailers => {
                    let rest = input.split_to(input.len());
                    if unsigned {
                        out.push_back(rest);
                    }
                }
            }
        }
        Ok(())
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r")?;
    let digits = line.split(|byte| *byte == b';').next()?;
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(framing: Framing, pieces: &[&[u8]]) -> Result<Vec<u8>, ChunkError> {
        let mut chunks = Chunks::new(framing).unwrap();
        let mut out = VecDeque::new();
        for piece in pieces {
            chunks.feed(Bytes::copy_from_slice(piece), &mut out)?;
        }
        Ok(out.into_iter().flatten().collect())
    }

    /// Reads chunks back: (data, largest chunk, what follows the last chunk header).
    fn decode(mut wire: &[u8]) -> (Vec<u8>, usize, Vec<u8>) {
        let (mut data, mut largest) = (Vec::new(), 0);
        loop {
            let end = wire.iter().position(|b| *b == b'\n').unwrap();
            let size = chunk_size(&wire[..=end]).unwrap() as usize;
            wire = &wire[end + 1..];
            if size == 0 {
                return (data, largest, wire.to_vec());
            }
            largest = largest.max(size);
            data.extend_from_slice(&wire[..size]);
            wire = wire[size..].strip_prefix(b"\r\n").unwrap();
        }
    }

    #[test]
    fn a_huge_unsigned_chunk_is_cut() {
        let data: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
        let mut wire = format!("{:X}\r\n", data.len()).into_bytes();
        wire.extend_from_slice(&data);
        wire.extend_from_slice(b"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n");
        let (decoded, largest, trailers) = decode(&run(Framing::Unsigned, &[&wire]).unwrap());
        assert_eq!(decoded, data);
        assert!(largest as u64 <= UNSIGNED_CHUNK_PIECE);
        assert_eq!(trailers, b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n");
    }

    #[test]
    fn signed_bodies_pass_unchanged_up_to_the_limit() {
        let wire = b"3;chunk-signature=00\r\nabc\r\n0;chunk-signature=11\r\n\r\n";
        assert_eq!(run(Framing::Signed, &[wire]).unwrap(), wire);
        let large = format!("{:x};chunk-signature=00\r\n", MAX_SIGNED_CHUNK + 1);
        assert_eq!(
            run(Framing::Signed, &[large.as_bytes()]),
            Err(ChunkError::TooLarge)
        );
    }

    #[test]
    fn rubbish_is_malformed() {
        let long = [b'1'; MAX_CHUNK_HEADER + 1];
        for wire in [
            &b"\r\n"[..],
            b"zz\r\n",
            b"3\n",
            b"3\r\nabcd\r\n",
            b"11111111111111111\r\n",
            b"-1\r\n",
            &long,
        ] {
            assert_eq!(
                run(Framing::Unsigned, &[wire]),
                Err(ChunkError::Malformed),
                "{wire:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_followed_or_refused(
            wire in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b';'), any::<u8>()], 0..300),
            cut in 1usize..40,
        ) {
            let pieces: Vec<&[u8]> = wire.chunks(cut).collect();
            for framing in [Framing::Signed, Framing::Unsigned] {
                let whole = run(framing, &[&wire]);
                let cut = run(framing, &pieces);
                prop_assert_eq!(whole.is_ok(), cut.is_ok());
                if let (Framing::Signed, Ok(out)) = (framing, whole) {
                    prop_assert_eq!(&out, &wire);
                }
            }
        }

        #[test]
        fn any_cut_of_the_wire_decodes_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..6),
            cut in 1usize..40,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\na:b\r\n\r\n");
            let pieces: Vec<&[u8]> = wire.chunks(cut).collect();
            let (data, _, trailers) = decode(&run(Framing::Unsigned, &pieces).unwrap());
            prop_assert_eq!(data, chunks.concat());
            prop_assert_eq!(trailers, b"a:b\r\n\r\n");
        }
    }
}
