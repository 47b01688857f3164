//! A frame: one chunk, compressed and sealed. The same bytes lie in staging, in the disk cache, in
//! packs and on miners.
//!
//! ```text
//! offset  length  field (integers little endian)
//!      0       1  version, 1
//!      1       1  compression: 0 none, 1 LZ4 block, 2 Zstandard
//!      2       2  reserved, 0
//!      4       4  epoch
//!      8       8  key domain
//!     16       8  chunk id
//!     24       4  length of the plaintext, 1..=262 144
//!     28       4  length of the body
//!     32    body  ciphertext
//!      …      16  tag
//! ```
//! AES-256-GCM under the sub-key of (domain, epoch). The nonce is the chunk id (8 bytes, little
//! endian) and 4 zero bytes: ids are never used twice, and a sub-key lives for one epoch only. The
//! header is the associated data, so a frame opens only as the chunk it was sealed as.
pub(crate) mod compression;

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

use self::compression::Compression;
use crate::{CHUNK_MAX, ChunkId, DomainId};

/// Bytes before the body.
pub(crate) const HEADER: usize = 32;
/// Bytes after the body.
pub(crate) const TAG: usize = 16;
/// What a frame has beside its body.
pub(crate) const OVERHEAD: usize = HEADER + TAG;
/// Longest frame in bytes.
pub(crate) const FRAME_MAX: usize = CHUNK_MAX + OVERHEAD;

const VERSION: u8 = 1;

/// Why bytes are not the frame they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// Not a frame, or one of an unknown version.
    #[error("not a frame: {0}")]
    Malformed(&'static str),
    /// The tag does not fit: other key, other header, or changed bytes.
    #[error("frame fails authentication")]
    Forged,
}

/// What a frame says about itself. Believe it only after [`open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// How the body was compressed.
    pub compression: Compression,
    /// Epoch of the sub-key.
    pub epoch: u32,
    /// Key domain.
    pub domain: DomainId,
    /// The chunk.
    pub chunk: ChunkId,
    /// Bytes of plaintext.
    pub plain_len: u32,
    /// Bytes of ciphertext without tag.
    pub body_len: u32,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0] = VERSION;
        out[1] = self.compression as u8;
        out[4..8].copy_from_slice(&self.epoch.to_le_bytes());
        out[8..16].copy_from_slice(&self.domain.0.to_le_bytes());
        out[16..24].copy_from_slice(&self.chunk.0.to_le_bytes());
        out[24..28].copy_from_slice(&self.plain_len.to_le_bytes());
        out[28..].copy_from_slice(&self.body_len.to_le_bytes());
        out
    }

    /// Reads the header at the front of `bytes`; lengths are checked against each other and against
    /// what a chunk can have, not against the length of `bytes`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let bytes: &[u8; HEADER] = bytes
            .first_chunk()
            .ok_or(FrameError::Malformed("shorter than a header"))?;
        if bytes[0] != VERSION {
            return Err(FrameError::Malformed("unknown version"));
        }
        let compression =
            Compression::from_number(bytes[1]).ok_or(FrameError::Malformed("unknown compression"))?;
        if bytes[2..4] != [0, 0] {
            return Err(FrameError::Malformed("reserved bytes are set"));
        }
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let header = Self {
            compression,
            epoch: u32_at(4),
            domain: DomainId(u64_at(8)),
            chunk: ChunkId(u64_at(16)),
            plain_len: u32_at(24),
            body_len: u32_at(28),
        };
        if header.plain_len == 0 || header.plain_len as usize > CHUNK_MAX {
            return Err(FrameError::Malformed("impossible plaintext length"));
        }
        let fits = match compression {
            Compression::None => header.body_len == header.plain_len,
            Compression::Lz4 | Compression::Zstd => header.body_len < header.plain_len,
        };
        if !fits {
            return Err(FrameError::Malformed("impossible body length"));
        }
        Ok(header)
    }

    /// Bytes of the whole frame.
    pub(crate) const fn frame_len(&self) -> usize {
        self.body_len as usize + OVERHEAD
    }
}

/// Compresses and seals `plain` (1..=[`CHUNK_MAX`] bytes).
pub(crate) fn seal(
    key: &LessSafeKey,
    epoch: u32,
    domain: DomainId,
    chunk: ChunkId,
    plain: &[u8],
    compression: Compression,
) -> Vec<u8> {
    let compressed = compression.compress(plain);
    let (compression, body) = match &compressed {
        Some(smaller) => (compression, smaller.as_slice()),
        None => (Compression::None, plain),
    };
    let header = Header {
        compression,
        epoch,
        domain,
        chunk,
        plain_len: plain.len() as u32,
        body_len: body.len() as u32,
    }
    .to_bytes();
    let mut frame = Vec::with_capacity(body.len() + OVERHEAD);
    frame.extend_from_slice(&header);
    frame.extend_from_slice(body);
    let tag = key
        .seal_in_place_separate_tag(nonce(chunk), Aad::from(header), &mut frame[HEADER..])
        .expect("AES-GCM seals anything shorter than 64 GiB");
    frame.extend_from_slice(tag.as_ref());
    frame
}

/// Authenticates `frame` and gives the plaintext. `header` is what [`Header::parse`] read from it.
pub(crate) fn open(key: &LessSafeKey, header: &Header, frame: &[u8]) -> Result<Vec<u8>, FrameError> {
    if frame.len() != header.frame_len() {
        return Err(FrameError::Malformed("another length than the header says"));
    }
    let (head, rest) = frame.split_at(HEADER);
    let (body, tag) = rest.split_at(header.body_len as usize);
    let mut plain = vec![0; body.len()];
    key.open_separate_gather(nonce(header.chunk), Aad::from(head), body, tag, &mut plain)
        .map_err(|_| FrameError::Forged)?;
    header
        .compression
        .decompress(plain, header.plain_len as usize)
        .ok_or(FrameError::Malformed("body does not decompress"))
}

fn nonce(chunk: ChunkId) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&chunk.0.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::wrap;
    use crate::testing::noise;

    fn any_compression() -> impl Strategy<Value = Compression> {
        prop_oneof![
            Just(Compression::None),
            Just(Compression::Lz4),
            Just(Compression::Zstd)
        ]
    }

    fn round_trip(plain: &[u8], compression: Compression) {
        let key = wrap::cipher(&[7; 32]);
        let frame = seal(&key, 3, DomainId(4), ChunkId(5), plain, compression);
        assert!(frame.len() <= plain.len() + OVERHEAD);
        let header = Header::parse(&frame).unwrap();
        assert_eq!(
            (header.epoch, header.domain, header.chunk),
            (3, DomainId(4), ChunkId(5))
        );
        assert_eq!(header.frame_len(), frame.len());
        assert_eq!(open(&key, &header, &frame).unwrap(), plain);
    }

    #[test]
    fn every_size_class_comes_back() {
        for len in [
            1, 15, 16, 127, 128, 4095, 4096, 16_384, 16_385, 100_000, CHUNK_MAX,
        ] {
            for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
                round_trip(&noise(len, 9), compression);
                round_trip(&vec![b'x'; len], compression);
            }
        }
    }

    #[test]
    fn the_layout_is_byte_exact() {
        let key = wrap::cipher(&[1; 32]);
        let frame = seal(
            &key,
            0x0a0b_0c0d,
            DomainId(0x11),
            ChunkId(0x0102_0304_0506_0708),
            b"plain",
            Compression::Zstd,
        );
        assert_eq!(
            hex::encode(&frame[..HEADER]),
            "010000000d0c0b0a110000000000000008070605040302010500000005000000"
        );
        assert_eq!(frame.len(), 32 + 5 + 16);
        // Sealed by hand: nonce from the id, header as associated data.
        let mut body = frame[HEADER..].to_vec();
        let nonce = Nonce::assume_unique_for_key([8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0]);
        assert_eq!(
            key.open_in_place(nonce, Aad::from(&frame[..HEADER]), &mut body)
                .unwrap(),
            b"plain"
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let key = wrap::cipher(&[7; 32]);
        for plain in [noise(60, 1), vec![0; 300]] {
            let frame = seal(&key, 1, DomainId(1), ChunkId(1), &plain, Compression::Zstd);
            let opens = |bytes: &[u8]| Header::parse(bytes).and_then(|header| open(&key, &header, bytes));
            for bit in 0..frame.len() * 8 {
                let mut bad = frame.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(opens(&bad).is_err(), "bit {bit}");
            }
            for len in 0..frame.len() {
                assert!(opens(&frame[..len]).is_err());
            }
            let longer = [&frame[..], &[0]].concat();
            assert!(opens(&longer).is_err());
        }
    }

    #[test]
    fn another_key_does_not_open_it() {
        let frame = seal(
            &wrap::cipher(&[7; 32]),
            1,
            DomainId(1),
            ChunkId(1),
            b"secret",
            Compression::None,
        );
        let header = Header::parse(&frame).unwrap();
        assert_eq!(
            open(&wrap::cipher(&[8; 32]), &header, &frame),
            Err(FrameError::Forged)
        );
    }

    proptest! {
        #[test]
        fn anything_comes_back(
            plain in prop::collection::vec(any::<u8>(), 1..5000),
            repeat in 1..20usize,
            compression in any_compression(),
        ) {
            let plain = plain.repeat(repeat);
            round_trip(&plain[..plain.len().min(CHUNK_MAX)], compression);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), version in any::<bool>()) {
            let mut bytes = bytes;
            if version && bytes.len() >= HEADER {
                // Past the first checks, into the lengths and the cipher.
                bytes[..4].copy_from_slice(&[VERSION, 2, 0, 0]);
            }
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert!(open(&wrap::cipher(&[7; 32]), &header, &bytes).is_err());
            }
        }
    }
}
