//! What placing needs from this gateway's own disk and keys.
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use meta::{Read, Transaction};

use crate::frame::Header;
use crate::inner::Inner;
use crate::pack::index::{About, Keys};
use crate::pack::layout::Slot;
use crate::reclaim::restage::Restaged;
use crate::{ChunkId, DomainId, Error, Owner, Result};

/// Staging and keys, as placing sees them.
#[async_trait]
pub(crate) trait Local: Send + Sync + 'static {
    /// The sealed frame of a staged chunk. May block on the disk.
    fn frame(&self, chunk: ChunkId) -> Result<Bytes>;
    /// Who asked for a staged chunk.
    fn owner(&self, chunk: ChunkId) -> Result<Owner>;
    /// Writes the sealed frame of a staged chunk to `room`, which it fills; answers who asked for it.
    /// May block on the disk.
    fn frame_into(&self, chunk: ChunkId, room: &mut [u8]) -> Result<Owner>;
    /// Whose key opens `frame` and what is in it, and the epoch of the key.
    fn about(&self, frame: &[u8]) -> Result<(About, u32)>;
    /// The wrapped domain key and sub-key of `domain` in `epoch`.
    fn wrapped_keys(&self, domain: DomainId, epoch: u32) -> Result<Keys>;
    /// How the passphrase opens the root key, for packs to carry; at most
    /// [`ROOT_ROOM`](crate::pack::segment::ROOT_ROOM) bytes.
    fn root_row(&self) -> Result<Vec<u8>>;
    /// Seals a segment's index, bound to the segment's header.
    fn seal_index(&self, header: &[u8], index: &[u8]) -> Vec<u8>;
    /// Opens what [`Self::seal_index`] sealed; `None` when it is something else.
    fn open_index(&self, header: &[u8], sealed: &[u8]) -> Option<Vec<u8>>;
    /// Fetches frames that only the network has and stages them again, durable and nameless.
    async fn restage(&self, pack: u64, segment: u32, slots: &[Slot]) -> Result<Vec<Restaged>>;
    /// Bytes that staging can take of what need not be in it.
    fn spare(&self) -> u64;
    /// Puts a staged chunk whose record has rotted into staging anew, from the network; false when the
    /// network does not have it.
    async fn heal(&self, chunk: ChunkId) -> Result<bool>;
    /// Gives back the staging space of chunks: the network has them, or nothing refers to them.
    /// Chunks that staging does not have are passed over.
    async fn reclaim(&self, chunks: &[ChunkId]) -> Result<()>;
}

#[async_trait]
impl Local for Arc<Inner> {
    fn frame(&self, chunk: ChunkId) -> Result<Bytes> {
        self.staging.frame(chunk)?.ok_or(Error::UnknownChunk(chunk))
    }
    fn owner(&self, chunk: ChunkId) -> Result<Owner> {
        self.staging.owner(chunk)
    }
    fn frame_into(&self, chunk: ChunkId, room: &mut [u8]) -> Result<Owner> {
        self.staging
            .frame_into(chunk, room)?
            .ok_or(Error::UnknownChunk(chunk))
    }
    fn about(&self, frame: &[u8]) -> Result<(About, u32)> {
        let header = Header::parse(frame)
            .map_err(|error| Error::Disk(format!("staging holds something else than frames: {error}")))?;
        let about = About {
            domain: header.domain,
            plain_len: header.plain_len,
        };
        Ok((about, header.epoch))
    }
    fn wrapped_keys(&self, domain: DomainId, epoch: u32) -> Result<Keys> {
        let wrapped = self.keys.wrapped(domain, epoch)?;
        Ok(Keys {
            domain,
            epoch,
            domain_key: wrapped.domain,
            epoch_key: wrapped.epoch,
        })
    }
    fn root_row(&self) -> Result<Vec<u8>> {
        self.keys.root_row()
    }
    fn seal_index(&self, header: &[u8], index: &[u8]) -> Vec<u8> {
        self.keys.seal_index(header, index)
    }
    fn open_index(&self, header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.keys.open_index(header, sealed)
    }
    async fn restage(&self, pack: u64, segment: u32, slots: &[Slot]) -> Result<Vec<Restaged>> {
        Inner::restage(self, pack, segment, slots).await
    }
    fn spare(&self) -> u64 {
        // The last quarter is for those who write.
        (self.config.staging_limit / 4 * 3).saturating_sub(self.staging.bytes())
    }
    async fn heal(&self, chunk: ChunkId) -> Result<bool> {
        Inner::heal(self, chunk).await
    }
    async fn reclaim(&self, chunks: &[ChunkId]) -> Result<()> {
        Inner::reclaim(self, chunks).await
    }
}

/// Chunks that no pack holds.
///
/// A member's rows lie side by side, because each packs what lies in its own staging: looking through
/// them, it neither reads what others write nor conflicts with them. Whose row a chunk has is the member that staged it.
pub(crate) mod unpacked {
    use super::*;
    use crate::place::waiting::Waiting;
    use crate::staging::Staging;
    use crate::tables::{self, UNPACKED};
    use std::ops::Bound;

    /// Value: frame length u32 BE, stream u64 BE (left out when 0).
    fn parse(row: meta::KeyValue) -> Result<Waiting> {
        let (key, value) = row;
        let (len, stream) = value.split_at_checked(4).unwrap_or((&value, &[]));
        Ok(Waiting {
            chunk: tables::member_and_chunk(&key)?.1,
            len: tables::u32_from(len)?,
            stream: if stream.is_empty() {
                0
            } else {
                tables::u64_from(stream)?
            },
        })
    }

    /// Chunks of `member` from `from` on, in rising order.
    pub(crate) fn from<R: Read + ?Sized>(
        read: &R,
        member: u16,
        from: ChunkId,
    ) -> Result<impl Iterator<Item = Result<Waiting>> + '_> {
        Ok(tables::member_rows(read, UNPACKED, member, from)?.map(|row| parse(row?)))
    }

    /// Chunks of `member` from `first` to `last`.
    pub(crate) fn between<R: Read + ?Sized>(
        read: &R,
        member: u16,
        first: ChunkId,
        last: ChunkId,
    ) -> Result<impl Iterator<Item = Result<Waiting>> + '_> {
        let (start, end) = (
            tables::member_key(UNPACKED, member, first),
            tables::member_key(UNPACKED, member, last),
        );
        Ok(read
            .range(Bound::Included(&start), Bound::Included(&end), false)?
            .map(|row| parse(row?)))
    }

    /// The highest chunk of `member`.
    pub(crate) fn last<R: Read + ?Sized>(read: &R, member: u16) -> Result<Option<ChunkId>> {
        let (start, end) = (
            tables::member_key(UNPACKED, member, ChunkId(0)),
            tables::member_key(UNPACKED, member, ChunkId((1 << tables::CHUNK_BITS) - 1)),
        );
        let row = read
            .range(Bound::Included(&start), Bound::Included(&end), true)?
            .next();
        row.map(|row| Ok(parse(row?)?.chunk)).transpose()
    }

    /// The members that have some.
    pub(crate) fn members<R: Read + ?Sized>(read: &R) -> Result<Vec<u16>> {
        tables::members_with_rows(read, UNPACKED)
    }

    /// The chunks of all members from `first` on, in rising order.
    pub(crate) fn everywhere<R: Read + ?Sized>(
        read: &R,
        first: ChunkId,
    ) -> Result<impl Iterator<Item = Result<Waiting>> + '_> {
        let mut members = Vec::new();
        for member in self::members(read)? {
            members.push(from(read, member, first)?.peekable());
        }
        Ok(std::iter::from_fn(move || {
            let lowest = members.iter_mut().enumerate().filter_map(|(at, rows)| {
                // An error goes first.
                let chunk = rows.peek()?.as_ref().map_or(ChunkId(0), |waiting| waiting.chunk);
                Some((chunk, at))
            });
            let (_, at) = lowest.min()?;
            members.get_mut(at)?.next()
        }))
    }

    /// Who packs `chunk`, if no pack holds it though it is recorded.
    pub(crate) fn member<R: Read + ?Sized>(read: &R, chunk: ChunkId) -> Result<Option<u16>> {
        let member = Staging::holder(read, chunk)?.unwrap_or(0);
        let row = read.get(&tables::member_key(UNPACKED, member, chunk))?;
        Ok(row.map(|_| member))
    }

    /// Whether no pack holds `chunk`, though it is recorded.
    pub(crate) fn contains<R: Read + ?Sized>(read: &R, chunk: ChunkId) -> Result<bool> {
        Ok(member(read, chunk)?.is_some())
    }

    /// A chunk that is staged waits for a pack of whoever staged it.
    pub(crate) fn put(tx: &mut dyn Transaction, waiting: Waiting) -> Result<()> {
        let member = Staging::holder(&*tx, waiting.chunk)?.unwrap_or(0);
        let mut value = waiting.len.to_be_bytes().to_vec();
        if waiting.stream != 0 {
            value.extend_from_slice(&waiting.stream.to_be_bytes());
        }
        Ok(tx.put(&tables::member_key(UNPACKED, member, waiting.chunk), &value)?)
    }

    /// A pack of `member` took `chunk`.
    pub(crate) fn delete(tx: &mut dyn Transaction, member: u16, chunk: ChunkId) -> Result<()> {
        Ok(tx.delete(&tables::member_key(UNPACKED, member, chunk))?)
    }
}
