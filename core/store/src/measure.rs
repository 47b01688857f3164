//! What a benchmark needs of the inside: sealing as ingest does it, without a store around it.
use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};

use crate::{ChunkId, Compression, DomainId, Error, Result, frame};

/// Answers a closure that seals `chunk` (1..=[`crate::CHUNK_MAX`] bytes) once per call, compression
/// off, under a fixed key that protects nothing.
pub fn seal(chunk: &[u8]) -> Result<impl FnMut() -> usize> {
    if chunk.is_empty() || chunk.len() > crate::CHUNK_MAX {
        return Err(Error::Disk(format!(
            "a chunk has 1 to {} bytes",
            crate::CHUNK_MAX
        )));
    }
    let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| Error::Key("no AES-256-GCM".into()))?;
    let key = LessSafeKey::new(key);
    let mut id = 0;
    Ok(move || {
        id += 1;
        frame::seal(&key, 1, DomainId(1), ChunkId(id), chunk, Compression::None).len()
    })
}
