//! Frames from the network as plaintext: what does not open under the chunk's key is not believed.
use bytes::Bytes;
use parking_lot::Mutex;

use crate::cache::memory::Plain;
use crate::inner::Inner;
use crate::read::trace::Log;
use crate::{ChunkId, Error, Result, locations};

impl Inner {
    /// The frame of `chunk` from the miners, and the plaintext in it.
    ///
    /// [`Error::UnknownChunk`] when no pack holds it, [`Error::Key`] when its domain is destroyed.
    pub(crate) async fn fetch(&self, chunk: ChunkId, log: &Log) -> Result<(Bytes, Plain)> {
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
        let authentic = |bytes: &[u8]| {
            let outcome = self.open_frame(chunk, bytes);
            // Another copy would not help against a failure of the metadata. It may against a key
            // that is not there: which key it wants is what this copy says.
            let decided = matches!(outcome, Ok(_) | Err(Error::Meta(_)));
            *opened.lock() = outcome;
            decided
        };
        match remote.fetch_frame(chunk, &authentic, log).await {
            Ok(frame) => Ok((frame, opened.into_inner()?)),
            // Said of fragments whose hashes are right, so the key that they want is the chunk's.
            Err(Error::Damaged(_)) => Err(opened.into_inner().err().unwrap_or(Error::Damaged(chunk))),
            Err(error) => Err(error),
        }
    }
}
