//! A segment's bytes.
//!
//! ```text
//! offset  length  field (integers little endian)
//!      0       8  magic "CESSGSEG"
//!      8       2  version, 1
//!     10       2  reserved, 0
//!     12       4  number of this segment in its pack, from 0
//!     16       4  segments in the pack
//!     20       4  frames in this segment
//!     24       8  pack number
//!     32      16  nonce of the pack, random: two packs are never the same file
//!     48       4  offset of the sealed index (= end of the frames)
//!     52       4  length of the sealed index in bytes
//!     56       4  length of the root row behind the index in bytes; 0: none
//!     60       4  CRC-32 (ISO-HDLC) of bytes 0..60
//!     64       …  frames back to back, in rising order of the index
//!      …       …  sealed index (see `index`); associated data: bytes 0..48
//!      …       …  root row: how the passphrase opens the root key (see `keys`)
//!      …       …  zeros, up to 33 554 432
//! ```
//! The index follows the frames because its length is known only when the frames were read.
//! Zeros come last, so that what a short pack does not use becomes all-zero fragments, which
//! need no transfer. All content is ciphertext; the segment's header, the frames' own headers (epoch,
//! domain, chunk id, lengths) and the root row can be read by anybody. The root row is what makes a
//! pack enough: whoever has it and the passphrase has the root key, which opens the index.
use std::ops::Range;

use crate::pack::layout::Slot;

/// Bytes in a segment.
pub(crate) const SIZE: usize = cess::codec::SEGMENT_SIZE;
/// Bytes of the header; the first frame begins here.
pub(crate) const HEADER: usize = 64;
/// Most bytes of a root row. Room for it is kept in every segment.
pub(crate) const ROOT_ROOM: usize = 256;

const MAGIC: &[u8; 8] = b"CESSGSEG";
const VERSION: u16 = 1;

/// Why a segment cannot be laid out or understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SegmentError {
    /// A frame has another length than the layout says, or the index does not fit.
    #[error("segment layout: {0}")]
    Layout(String),
    /// The bytes are not a segment of this kind, or damaged.
    #[error("segment: {0}")]
    Damaged(&'static str),
}

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Number of the pack.
    pub pack: u64,
    /// Number of this segment in the pack.
    pub segment: u32,
    /// Segments in the pack.
    pub segments: u32,
    /// Frames in this segment.
    pub frames: u32,
    /// Random bytes of the pack.
    pub nonce: [u8; 16],
    /// Where the sealed index begins.
    pub index_offset: u32,
    /// Its length in bytes.
    pub index_len: u32,
    /// Length of the root row behind it in bytes; 0: none.
    pub root_len: u32,
}

impl Header {
    /// The header as it lies in the segment.
    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.segment.to_le_bytes());
        out[16..20].copy_from_slice(&self.segments.to_le_bytes());
        out[20..24].copy_from_slice(&self.frames.to_le_bytes());
        out[24..32].copy_from_slice(&self.pack.to_le_bytes());
        out[32..48].copy_from_slice(&self.nonce);
        out[48..52].copy_from_slice(&self.index_offset.to_le_bytes());
        out[52..56].copy_from_slice(&self.index_len.to_le_bytes());
        out[56..60].copy_from_slice(&self.root_len.to_le_bytes());
        let crc = crc32fast::hash(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the header of a segment.
    pub(crate) fn parse(segment: &[u8]) -> Result<Self, SegmentError> {
        let bytes: &[u8; HEADER] = segment
            .first_chunk()
            .ok_or(SegmentError::Damaged("shorter than a header"))?;
        if &bytes[..8] != MAGIC {
            return Err(SegmentError::Damaged("no magic"));
        }
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if u32_at(60) != crc32fast::hash(&bytes[..60]) {
            return Err(SegmentError::Damaged("header checksum"));
        }
        if u16::from_le_bytes([bytes[8], bytes[9]]) != VERSION {
            return Err(SegmentError::Damaged("unknown version"));
        }
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&bytes[32..48]);
        let mut pack = [0; 8];
        pack.copy_from_slice(&bytes[24..32]);
        let header = Self {
            pack: u64::from_le_bytes(pack),
            segment: u32_at(12),
            segments: u32_at(16),
            frames: u32_at(20),
            nonce,
            index_offset: u32_at(48),
            index_len: u32_at(52),
            root_len: u32_at(56),
        };
        let end = header.index_range().end + header.root_len as usize;
        if (header.index_offset as usize) < HEADER || end > SIZE {
            return Err(SegmentError::Damaged("index outside the segment"));
        }
        if header.root_len as usize > ROOT_ROOM {
            return Err(SegmentError::Damaged("a root row of an absurd length"));
        }
        Ok(header)
    }

    /// Where the sealed index lies in the segment.
    pub(crate) const fn index_range(&self) -> std::ops::Range<usize> {
        self.index_offset as usize..self.index_offset as usize + self.index_len as usize
    }

    /// Where the root row lies in the segment.
    pub(crate) const fn root_range(&self) -> std::ops::Range<usize> {
        let start = self.index_offset as usize + self.index_len as usize;
        start..start + self.root_len as usize
    }
}

/// Lays the frames of a segment out in `out`, whatever was in it. `frame` writes the frame of a slot.
/// [`close`] does the rest.
pub(crate) fn lay_out<E: From<SegmentError>>(
    out: &mut [u8],
    slots: &[Slot],
    mut frame: impl FnMut(&Slot, &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut end = HEADER;
    for slot in slots {
        if slot.offset as usize != end {
            return Err(SegmentError::Layout(format!(
                "chunk {} is planned at {}, the frame before ends at {end}",
                slot.chunk.0, slot.offset
            ))
            .into());
        }
        let room = out
            .get_mut(end..end + slot.len as usize)
            .ok_or_else(|| SegmentError::Layout(format!("chunk {} leaves the segment", slot.chunk.0)))?;
        frame(slot, room)?;
        end += slot.len as usize;
    }
    Ok(())
}

/// Writes header, index, root row and zeros around the frames that [`lay_out`] wrote.
pub(crate) fn close(
    out: &mut [u8],
    header: Header,
    sealed_index: &[u8],
    root: &[u8],
) -> Result<(), SegmentError> {
    if out.len() != SIZE
        || sealed_index.len() != header.index_len as usize
        || root.len() != header.root_len as usize
    {
        return Err(SegmentError::Layout(
            "the index is not what the header says".into(),
        ));
    }
    let Range { start, end } = header.index_range();
    out.get_mut(start..end)
        .ok_or_else(|| SegmentError::Layout("the index does not fit".into()))?
        .copy_from_slice(sealed_index);
    let (start, end) = (end, end + root.len());
    out.get_mut(start..end)
        .ok_or_else(|| SegmentError::Layout("the root row does not fit".into()))?
        .copy_from_slice(root);
    out[end..].fill(0);
    out[..HEADER].copy_from_slice(&header.to_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChunkId;
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            pack: 0x0102_0304_0506_0708,
            segment: 2,
            segments: 5,
            frames: 2,
            nonce: [9; 16],
            index_offset: 64 + 30,
            index_len: 7,
            root_len: 4,
        }
    }

    #[test]
    fn the_header_is_byte_exact() {
        let bytes = header().to_bytes();
        assert_eq!(
            hex::encode(&bytes[..60]),
            "434553534753454701000000020000000500000002000000080706050403020109090909090909090909\
             0909090909095e0000000700000004000000"
        );
        assert_eq!(Header::parse(&bytes).unwrap(), header());
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_found() {
        let bytes = header().to_bytes();
        for bit in 0..HEADER * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&bad).is_err(), "bit {bit}");
        }
        assert!(Header::parse(&bytes[..63]).is_err());
    }

    #[test]
    fn a_segment_is_header_frames_index_zeros_and_the_same_every_time() {
        let slots = [
            Slot {
                chunk: ChunkId(4),
                offset: 64,
                len: 10,
            },
            Slot {
                chunk: ChunkId(9),
                offset: 74,
                len: 20,
            },
        ];
        let made = |before: u8| {
            let mut out = vec![before; SIZE];
            lay_out(&mut out, &slots, |slot, room| -> Result<(), SegmentError> {
                room.fill(slot.chunk.0 as u8);
                Ok(())
            })
            .unwrap();
            close(&mut out, header(), b"7 bytes", b"root").unwrap();
            out
        };
        let bytes = made(0);
        assert_eq!(bytes[64..74], [4; 10]);
        assert_eq!(bytes[74..94], [9; 20]);
        assert_eq!(&bytes[Header::parse(&bytes).unwrap().index_range()], b"7 bytes");
        assert_eq!(&bytes[Header::parse(&bytes).unwrap().root_range()], b"root");
        assert!(bytes[105..].iter().all(|byte| *byte == 0));
        assert!(
            made(0xee) == bytes,
            "what was in the memory before does not matter"
        );
    }

    #[test]
    fn a_layout_with_holes_or_without_room_is_refused() {
        let mut out = vec![0; SIZE];
        let mut refused = |offset: u32, len: u32| {
            let slots = [Slot {
                chunk: ChunkId(4),
                offset,
                len,
            }];
            lay_out(&mut out, &slots, |_, _| Ok::<(), SegmentError>(())).is_err()
        };
        assert!(!refused(64, 30));
        assert!(refused(65, 30));
        assert!(refused(64, SIZE as u32));
        assert!(close(&mut out, header(), b"8 bytes!", b"root").is_err());
        assert!(close(&mut out, header(), b"7 bytes", b"").is_err());
        let outside = Header {
            index_offset: SIZE as u32 - 3,
            ..header()
        };
        assert!(close(&mut out, outside, b"7 bytes", b"root").is_err());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Header::parse(&bytes);
        }
    }
}
