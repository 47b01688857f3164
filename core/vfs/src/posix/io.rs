//! Reading and writing bytes.
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};

use crate::buffer::{Base, Layer, Piece};
use crate::extent::{self, Extent};
use crate::snapshot::Sight;
use crate::vfs::Core;
use crate::{Error, InodeNo, Kind, Level, Result, Vfs, inode};

/// Chunks of one read that are fetched at a time.
const PARALLEL_CHUNKS: usize = 8;

impl Vfs {
    /// Bytes at `offset`, fewer at the end of the file. Sees every acknowledged write.
    pub async fn read(&self, ino: InodeNo, offset: u64, len: u32) -> Result<Bytes> {
        let guard = self.core.enter(ino)?;
        let view = {
            // Layers and extents are looked at in one step: a flush forgets its layer under this lock
            // after its commit, so that either the layer or the commit is seen, or both.
            let mut state = guard.node.state.lock();
            let Sight {
                read: snapshot, ino, ..
            } = self.core.sight(ino)?;
            let record = inode::get(&*snapshot, ino)?;
            match record.kind {
                Kind::File => {}
                Kind::Directory => return Err(Error::IsDirectory),
                _ => return Err(Error::Invalid("not a regular file")),
            }
            let size = state.size_over(record.size);
            let range = offset.min(size)..offset.saturating_add(u64::from(len)).min(size);
            if range.is_empty() {
                return Ok(Bytes::new());
            }
            let mut pieces = Vec::new();
            // Lower first: later pieces cover earlier ones.
            let mut below = record.size;
            for layer in state.layers() {
                pieces.extend(layer.pieces_over(below, &range));
                below = layer.size_over(below);
            }
            let (reader, ahead) = state.readers.note(&self.core.readers, &range);
            if let Some(ahead) = ahead {
                let wanted = ahead.start..ahead.end.min(record.size);
                let next = extent::overlapping(&*snapshot, ino, &wanted, usize::MAX)?;
                if let Some(end) = self.core.fetch_ahead(&next) {
                    reader.fell_short(end);
                }
            }
            let mut extents = Vec::new();
            for gap in gaps(&range, &pieces) {
                let found = extent::overlapping(&*snapshot, ino, &gap, usize::MAX)?;
                extents.extend(found.iter().map(|extent| extent.cut(&gap)));
            }
            if extents.len() > 1 {
                // Together they may take fewer requests than one by one.
                self.core.fetch_ahead(&extents);
            }
            View {
                range,
                pieces,
                extents,
            }
        };
        assemble(&self.core, view).await
    }

    /// Writes into the inode's write buffer; waits when too much is dirty.
    pub async fn write(&self, ino: InodeNo, offset: u64, data: Bytes) -> Result<()> {
        let len = data.len() as u64;
        if len == 0 {
            return Ok(());
        }
        let room = self.core.room_for(ino, Some(offset), len).await?;
        self.core
            .change_within(ino, len, room, move |layer, base| {
                check_end(layer, base, offset.checked_add(len))?;
                layer.write(offset, &data);
                Ok(())
            })
            .await
    }

    /// Appends atomically; answers the offset written at.
    pub async fn append(&self, ino: InodeNo, data: Bytes) -> Result<u64> {
        let len = data.len() as u64;
        let room = self.core.room_for(ino, None, len).await?;
        self.core
            .change_within(ino, len, room, move |layer, base| {
                check_end(layer, base, layer.size.checked_add(len))?;
                Ok(layer.append(&data))
            })
            .await
    }

    /// Makes everything written before the call durable at the level in force, and at least `level`.
    ///
    /// When a write could never be stored, as many calls as the inode had openers at that time answer
    /// [`Error::WriteLost`], once each.
    pub async fn fsync(&self, ino: InodeNo, level: Option<Level>) -> Result<()> {
        let guard = self.core.enter(ino)?;
        self.core.flush_inode(ino).await?;
        {
            let mut state = guard.node.state.lock();
            if state.lost > 0 {
                state.lost -= 1;
                return Err(Error::WriteLost);
            }
        }
        self.core.meta.sync().await?;
        self.core.wait_level(ino, self.terms.and(level)).await
    }
}

/// A write up to `end` is possible.
pub(super) fn check_end(layer: &Layer, base: &Base, end: Option<u64>) -> Result<()> {
    match end {
        Some(end) if end <= inode::SIZE_MAX => {
            if base.fixed_size && end > layer.size {
                Err(Error::NoSpace)
            } else {
                Ok(())
            }
        }
        _ => Err(Error::TooLarge),
    }
}

/// What a read puts together.
struct View {
    range: Range<u64>,
    pieces: Vec<(u64, Piece)>,
    /// Stored bytes that no piece covers.
    extents: Vec<Extent>,
}

async fn assemble(core: &Core, view: View) -> Result<Bytes> {
    let View {
        range,
        pieces,
        extents,
    } = view;
    let len = (range.end - range.start) as usize;
    if let ([extent], []) = (extents.as_slice(), pieces.as_slice())
        && extent.record.len as usize == len
    {
        return Ok(core.store.read(extent.record.chunk, extent.in_chunk()).await?);
    }
    let mut bytes = BytesMut::zeroed(len);
    let mut put = |offset: u64, data: &[u8]| {
        let at = (offset - range.start) as usize;
        bytes[at..at + data.len()].copy_from_slice(data);
    };
    let stored: Vec<(u64, Bytes)> = futures::stream::iter(extents)
        .map(|extent| async move {
            let data = core.store.read(extent.record.chunk, extent.in_chunk()).await?;
            if data.len() != extent.record.len as usize {
                return Err(Error::Damaged(format!(
                    "chunk {} is too short",
                    extent.record.chunk.0
                )));
            }
            Ok((extent.offset, data))
        })
        .buffered(PARALLEL_CHUNKS)
        .try_collect()
        .await?;
    for (offset, data) in &stored {
        put(*offset, data);
    }
    for (offset, piece) in &pieces {
        match piece {
            Piece::Data(data) => put(*offset, data),
            Piece::Zero(len) => put(*offset, &vec![0; *len as usize]),
        }
    }
    Ok(bytes.freeze())
}

/// The parts of `range` that no piece covers.
fn gaps(range: &Range<u64>, pieces: &[(u64, Piece)]) -> Vec<Range<u64>> {
    let mut covered: Vec<Range<u64>> = pieces
        .iter()
        .map(|(offset, piece)| *offset..*offset + piece.len())
        .collect();
    covered.sort_unstable_by_key(|range| range.start);
    let mut gaps = Vec::new();
    let mut at = range.start;
    for piece in covered {
        if piece.start > at {
            gaps.push(at..piece.start);
        }
        at = at.max(piece.end);
    }
    if at < range.end {
        gaps.push(at..range.end);
    }
    gaps
}
