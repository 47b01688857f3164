//! The index of a segment: what a pack says about itself.
//!
//! Plaintext, before sealing (integers little endian):
//! ```text
//! u16 version, 2
//! u16 flags: bit 0 = the key table is not complete
//! u32 keys
//! u32 entries
//! keys ×    { u64 domain, u32 epoch, u16 length, wrapped domain key, u16 length, wrapped sub-key }
//! entries × { u64 chunk id, u32 frame length, u64 inode, u64 offset in the inode,
//!             u64 domain, u32 plaintext length }
//! ```
//! In version 1 entries end after the offset.
//!
//! Entries are in the order of the frames, so offsets in the segment are sums of lengths. The
//! wrapped keys are those of the metadata: the root key opens the domain key, the domain key
//! opens the sub-key, the sub-key opens the frames. The table holds each (domain, epoch) pair
//! that a frame of the segment uses, as far as [`room`] reaches.
//!
//! The whole is sealed with a key derived from the root key; the first 48 bytes of the segment's
//! header are the associated data.
use crate::{ChunkId, DomainId, Owner};

const VERSION: u16 = 2;
/// The version whose entries know neither domain nor plaintext length.
const BRIEF: u16 = 1;
const FIXED: usize = 12;
const ENTRY: usize = 40;
const BRIEF_ENTRY: usize = 28;
/// Room planned per key; longer ones count against their neighbours.
const KEY_ROOM: usize = 192;
/// Keys that room is kept for in one segment.
const KEYS_PLANNED: usize = 1024;
/// What sealing adds at most (nonce and tag, with space to spare).
const SEALING: usize = 64;
const INCOMPLETE: u16 = 1;

/// Most bytes that the sealed index of a segment with `frames` frames takes.
pub(crate) const fn room(frames: usize) -> usize {
    let keys = if frames < KEYS_PLANNED {
        frames
    } else {
        KEYS_PLANNED
    };
    FIXED + frames * ENTRY + keys * KEY_ROOM + SEALING
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The chunk.
    pub chunk: ChunkId,
    /// Length of its frame in bytes.
    pub len: u32,
    /// Who asked for it.
    pub owner: Owner,
    /// What else its frame's header says; `None` in an index of version 1.
    pub frame: Option<About>,
}

/// Whose key opens a frame, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct About {
    /// Its key domain.
    pub domain: DomainId,
    /// Bytes of plaintext.
    pub plain_len: u32,
}

/// The wrapped keys of one (domain, epoch) pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    /// The domain.
    pub domain: DomainId,
    /// The epoch of the sub-key.
    pub epoch: u32,
    /// Domain key, wrapped by the root key.
    pub domain_key: Vec<u8>,
    /// Sub-key, wrapped by the domain key.
    pub epoch_key: Vec<u8>,
}

/// A segment's index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// Keys of the frames.
    pub keys: Vec<Keys>,
    /// Whether every key is there.
    pub complete: bool,
    /// Frames in order.
    pub entries: Vec<Entry>,
}

impl Index {
    /// The plaintext. Keys that do not fit in the room are left out and `complete` cleared.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let limit = room(self.entries.len()) - SEALING - self.entries.len() * ENTRY;
        let mut keys = Vec::new();
        let mut count = 0u32;
        let mut flags = if self.complete { 0 } else { INCOMPLETE };
        for key in &self.keys {
            let size = 16 + key.domain_key.len() + key.epoch_key.len();
            let (Ok(domain_len), Ok(epoch_len)) = (
                u16::try_from(key.domain_key.len()),
                u16::try_from(key.epoch_key.len()),
            ) else {
                flags |= INCOMPLETE;
                continue;
            };
            if FIXED + keys.len() + size > limit {
                flags |= INCOMPLETE;
                continue;
            }
            keys.extend_from_slice(&key.domain.0.to_le_bytes());
            keys.extend_from_slice(&key.epoch.to_le_bytes());
            keys.extend_from_slice(&domain_len.to_le_bytes());
            keys.extend_from_slice(&key.domain_key);
            keys.extend_from_slice(&epoch_len.to_le_bytes());
            keys.extend_from_slice(&key.epoch_key);
            count += 1;
        }
        let mut out = Vec::with_capacity(FIXED + keys.len() + self.entries.len() * ENTRY);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        out.append(&mut keys);
        for entry in &self.entries {
            out.extend_from_slice(&entry.chunk.0.to_le_bytes());
            out.extend_from_slice(&entry.len.to_le_bytes());
            out.extend_from_slice(&entry.owner.inode.to_le_bytes());
            out.extend_from_slice(&entry.owner.offset.to_le_bytes());
            let about = entry.frame.unwrap_or(About {
                domain: DomainId(0),
                plain_len: 0,
            });
            out.extend_from_slice(&about.domain.0.to_le_bytes());
            out.extend_from_slice(&about.plain_len.to_le_bytes());
        }
        out
    }

    /// Reads the plaintext; `None` when it is not an index of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut at = Cursor(bytes);
        let version = at.u16()?;
        let entry = match version {
            VERSION => ENTRY,
            BRIEF => BRIEF_ENTRY,
            _ => return None,
        };
        let flags = at.u16()?;
        let keys = at.u32()?;
        let entries = at.u32()? as usize;
        let mut index = Self {
            complete: flags & INCOMPLETE == 0,
            ..Self::default()
        };
        for _ in 0..keys {
            let domain = DomainId(at.u64()?);
            let epoch = at.u32()?;
            let len = at.u16()?;
            let domain_key = at.take(usize::from(len))?.to_vec();
            let len = at.u16()?;
            let epoch_key = at.take(usize::from(len))?.to_vec();
            index.keys.push(Keys {
                domain,
                epoch,
                domain_key,
                epoch_key,
            });
        }
        if at.0.len() != entries.checked_mul(entry)? {
            return None;
        }
        for _ in 0..entries {
            let (chunk, len) = (ChunkId(at.u64()?), at.u32()?);
            let owner = Owner {
                inode: at.u64()?,
                offset: at.u64()?,
            };
            let frame = if version == BRIEF {
                None
            } else {
                let domain = DomainId(at.u64()?);
                let plain_len = at.u32()?;
                (plain_len > 0).then_some(About { domain, plain_len })
            };
            index.entries.push(Entry {
                chunk,
                len,
                owner,
                frame,
            });
        }
        Some(index)
    }
}

/// Reads from the front, never beyond the end.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> impl Strategy<Value = Keys> {
        (
            any::<u64>(),
            any::<u32>(),
            prop::collection::vec(any::<u8>(), 0..80),
            prop::collection::vec(any::<u8>(), 0..80),
        )
            .prop_map(|(domain, epoch, domain_key, epoch_key)| Keys {
                domain: DomainId(domain),
                epoch,
                domain_key,
                epoch_key,
            })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        (any::<[u64; 4]>(), any::<u32>(), 0..u32::MAX).prop_map(
            |([chunk, inode, offset, domain], len, plain_len)| Entry {
                chunk: ChunkId(chunk),
                len,
                owner: Owner { inode, offset },
                frame: (plain_len > 0).then_some(About {
                    domain: DomainId(domain),
                    plain_len,
                }),
            },
        )
    }

    proptest! {
        #[test]
        fn comes_back_and_stays_in_its_room(
            entries in prop::collection::vec(entry(), 1..60),
            mut keys in prop::collection::vec(keys(), 0..60),
        ) {
            keys.truncate(entries.len());
            let index = Index { keys, complete: true, entries };
            let bytes = index.encode();
            prop_assert!(bytes.len() + SEALING <= room(index.entries.len()));
            prop_assert_eq!(Index::decode(&bytes).unwrap(), index);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Index::decode(&bytes);
        }

        #[test]
        fn a_cut_index_is_refused(entries in prop::collection::vec(entry(), 1..5), cut in 1..40usize) {
            let bytes = Index { keys: Vec::new(), complete: true, entries }.encode();
            prop_assert!(Index::decode(&bytes[..bytes.len() - cut]).is_none());
        }
    }

    #[test]
    fn the_version_before_is_read() {
        let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
        for number in [
            7u64.to_le_bytes().as_slice(),
            &5u32.to_le_bytes(),
            &3u64.to_le_bytes(),
            &9u64.to_le_bytes(),
        ] {
            bytes.extend_from_slice(number);
        }
        let entry = Entry {
            chunk: ChunkId(7),
            len: 5,
            owner: Owner { inode: 3, offset: 9 },
            frame: None,
        };
        assert_eq!(Index::decode(&bytes).unwrap().entries, [entry]);
    }

    #[test]
    fn keys_without_room_are_left_out_and_it_says_so() {
        let key = |epoch| Keys {
            domain: DomainId(1),
            epoch,
            domain_key: vec![1; 150],
            epoch_key: vec![2; 150],
        };
        let entry = Entry {
            chunk: ChunkId(1),
            len: 5,
            owner: Owner { inode: 1, offset: 0 },
            frame: None,
        };
        let index = Index {
            keys: (0..10).map(key).collect(),
            complete: true,
            entries: vec![entry; 3],
        };
        let bytes = index.encode();
        assert!(bytes.len() + SEALING <= room(3));
        let back = Index::decode(&bytes).unwrap();
        assert!(!back.complete);
        assert_eq!(back.keys[..], index.keys[..1]);
        assert_eq!(back.entries, index.entries);
    }
}
