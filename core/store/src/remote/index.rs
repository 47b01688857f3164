//! A segment's own index, read back from the miners.
//!
//! The index lies behind the last frame; the header at the front of the segment says where. Two
//! small reads do, and what they bring is authenticated by the seal of the index, which covers the
//! header. When that fails, the segment is decoded from any four fragments.
use std::ops::Range;

use bytes::Bytes;

use super::Remote;
use super::range::Way;
use crate::pack::index::Index;
use crate::pack::segment::{self, Header};
use crate::place::build::BOUND;
use crate::read::trace::Log;
use crate::{ChunkId, Error, Result};

/// Opens a sealed index, given the front of its segment's header.
pub(crate) type Opener<'a> = dyn Fn(&[u8], &[u8]) -> Option<Vec<u8>> + Sync + 'a;

impl Remote {
    /// The index of `segment` of `pack`, in which `chunk` lies. [`Error::Unavailable`] when too few
    /// miners answer, [`Error::Damaged`] when the segment is what was stored and has no such index.
    pub(crate) async fn fetch_index(
        &self,
        chunk: ChunkId,
        pack: u64,
        segment: u32,
        open: &Opener<'_>,
        log: &Log,
    ) -> Result<Index> {
        let known = self.known(chunk, pack)?;
        let fitting = |header: &Header| header.pack == pack && header.segment == segment;
        let direct = async {
            let bytes = async |range: Range<usize>| {
                let range = range.start as u32..range.end as u32;
                let found = self.range(&known, segment, range, Way::Direct, log).await;
                found.ok().map(|found| found.bytes)
            };
            let head = bytes(0..segment::HEADER).await?;
            let header = Header::parse(&head).ok().filter(fitting)?;
            let sealed = bytes(header.index_range()).await?;
            Index::decode(&open(&head[..BOUND], &sealed)?)
        };
        if self.segments.kept(pack, segment).is_none()
            && let Some(index) = direct.await
        {
            return Ok(index);
        }
        let whole: Bytes = self.segment(&known, segment, chunk, log).await?;
        Header::parse(&whole)
            .ok()
            .filter(fitting)
            .and_then(|header| whole.get(header.index_range()))
            .and_then(|sealed| open(&whole[..BOUND], sealed))
            .and_then(|plain| Index::decode(&plain))
            .ok_or(Error::Damaged(chunk))
    }
}
