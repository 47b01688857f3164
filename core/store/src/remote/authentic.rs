//! Frames from the network as plaintext: what does not open under the chunk's key is not believed.
use bytes::Bytes;
use parking_lot::Mutex;

use crate::inner::Inner;
use crate::{ChunkId, Error, Result, locations};

impl Inner {
    /// The frame of `chunk` from the miners, and the plaintext in it.
    ///
    /// [`Error::UnknownChunk`] when no pack holds it, [`Error::Key`] when its domain is destroyed.
    pub(crate) async fn fetch(&self, chunk: ChunkId) -> Result<(Bytes, Bytes)> {
        let Some(remote) = &self.remote else {
            return Err(match locations::get(&*self.meta.snapshot()?, chunk)? {
                Some(_) => Error::Unavailable {
                    chunk,
                    reason: "no network is configured".into(),
                },
                None => Error::UnknownChunk(chunk),
            });
        };
        let opened = Mutex::new(Err(Error::Damaged(chunk)));
        let authentic = |bytes: &[u8]| match self.open_frame(chunk, bytes) {
            // Another copy would not help against a failure on this side.
            outcome @ (Ok(_) | Err(Error::Key(_) | Error::Meta(_))) => {
                *opened.lock() = outcome;
                true
            }
            Err(_) => false,
        };
        let frame = remote.fetch_frame(chunk, &authentic).await?;
        Ok((frame, opened.into_inner()?))
    }
}
