//! Reading a file that the chain lists and the pack table does not know.
//!
//! A restore has nothing but the chain's word for which file is a pack. So it asks the segment: the
//! header says where the root row and the sealed index lie, and the seal, which covers the header,
//! says whether both are what this namespace wrote. What does not open is fetched once more from
//! fragments that are checked by hash, before it counts as somebody else's.
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cess::Hash;

use super::range::Way;
use super::{Known, Remote};
use crate::pack::index::Index;
use crate::pack::record::Names;
use crate::pack::segment::{self, Header};
use crate::place::build::BOUND;
use crate::read::trace::Log;
use crate::remote::index::Opener;
use crate::{ChunkId, Error, Result};

/// Set in the numbers under which unlisted files are kept in memory, so that they are no pack's.
const NO_PACK: u64 = 1 << 63;

/// A file that no row knows.
pub(crate) struct Unlisted(Arc<Known>);

impl Unlisted {
    /// The file `fid` with the names and holders that the chain lists.
    pub(crate) fn new(fid: Hash, names: Names) -> Self {
        let mut number = [0; 8];
        number.copy_from_slice(&fid.0[..8]);
        Self(Arc::new(Known {
            pack: u64::from_be_bytes(number) | NO_PACK,
            fid,
            names,
        }))
    }

    /// Its name on the network.
    pub(crate) fn fid(&self) -> Hash {
        self.0.fid
    }

    /// Its names.
    pub(crate) fn names(&self) -> &Names {
        &self.0.names
    }
}

/// What a segment says of itself.
pub(crate) struct SelfPortrait {
    /// Its header.
    pub header: Header,
    /// Its index.
    pub index: Index,
}

impl Remote {
    /// The root row that a file's first segment carries, not authenticated; `None` when it is no pack
    /// or carries none. With `checked`, from fragments that are what was stored.
    pub(crate) async fn root_row(&self, file: &Unlisted, checked: bool) -> Result<Option<Vec<u8>>> {
        let log = Log::new(false);
        if checked {
            let whole = self.segment(&file.0, 0, ChunkId(0), &log).await?;
            let row = Header::parse(&whole)
                .ok()
                .and_then(|header| whole.get(header.root_range()).map(<[u8]>::to_vec));
            return Ok(row.filter(|row| !row.is_empty()));
        }
        let head = self.unlisted_range(file, 0, 0..segment::HEADER, &log).await?;
        match Header::parse(&head) {
            Ok(header) if header.root_len > 0 => {
                let row = self.unlisted_range(file, 0, header.root_range(), &log).await?;
                Ok(Some(row.to_vec()))
            }
            _ => Ok(None),
        }
    }

    /// What `segment` of a file says of itself; `None` when `open` does not open its index: it is not
    /// of this namespace. [`Error::Unavailable`] when too few miners answer.
    pub(crate) async fn self_portrait(
        &self,
        file: &Unlisted,
        segment: u32,
        open: &Opener<'_>,
    ) -> Result<Option<SelfPortrait>> {
        let log = Log::new(false);
        let direct = async {
            let head = self
                .unlisted_range(file, segment, 0..segment::HEADER, &log)
                .await
                .ok()?;
            let header = Header::parse(&head)
                .ok()
                .filter(|header| header.segment == segment)?;
            let sealed = self
                .unlisted_range(file, segment, header.index_range(), &log)
                .await
                .ok()?;
            let index = Index::decode(&open(&head[..BOUND], &sealed)?)?;
            Some(SelfPortrait { header, index })
        };
        if let Some(found) = direct.await {
            return Ok(Some(found));
        }
        let whole = self.segment(&file.0, segment, ChunkId(0), &log).await?;
        let Some(header) = Header::parse(&whole)
            .ok()
            .filter(|header| header.segment == segment)
        else {
            return Ok(None);
        };
        let index = whole
            .get(header.index_range())
            .and_then(|sealed| open(&whole[..BOUND], sealed))
            .and_then(|plain| Index::decode(&plain));
        Ok(index.map(|index| SelfPortrait { header, index }))
    }

    async fn unlisted_range(
        &self,
        file: &Unlisted,
        segment: u32,
        range: Range<usize>,
        log: &Log,
    ) -> Result<Bytes> {
        let range = range.start as u32..range.end as u32;
        self.range(&file.0, segment, range, Way::Direct, log)
            .await
            .map(|found| found.bytes)
            .map_err(|reason| Error::Unavailable {
                chunk: ChunkId(0),
                reason: format!("file {}: {reason}", file.0.fid),
            })
    }
}
