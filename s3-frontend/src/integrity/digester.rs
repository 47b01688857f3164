//! Computes MD5 and one checksum while a body flows.
//!
//! Hashing on an async worker would stall every other request. Pieces are collected into batches; a
//! full batch is hashed on other threads while the next one arrives and is written: its MD5 together
//! with those of other bodies ([`super::md5`]), a SHA on the blocking pool; a CRC takes less than the hop
//! to another thread. At most one batch per body is away, so memory stays at two batches. Bodies that never fill a batch are hashed in place:
//! cheaper than a thread hop.
use bytes::Bytes;
use s3s::S3Result;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Algorithm;
use super::algorithm::checksum_fields;
use super::md5::{Md5, workers};

/// Bytes per batch: large enough to hide the thread hop, small enough to hash inline below it.
const BATCH: usize = 256 << 10;

/// The hashes of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digests {
    /// MD5.
    pub(crate) md5: [u8; 16],
    /// Base64 of the checksum.
    pub(crate) checksum: String,
}

struct Hashers {
    md5: Md5,
    checksum: Box<ChecksumHasher>,
}

impl Hashers {
    fn update(&mut self, pieces: &[Bytes]) {
        for piece in pieces {
            self.md5.update(piece);
            self.checksum.update(piece);
        }
    }
}

/// A checksum that has the batch, or will have it.
enum Checksumming {
    Done(Box<ChecksumHasher>),
    Away(JoinHandle<Box<ChecksumHasher>>),
}

impl Checksumming {
    fn begin(mut checksum: Box<ChecksumHasher>, batch: Vec<Bytes>) -> Self {
        let is_quick = checksum.sha1.is_none() && checksum.sha256.is_none();
        let update = move || {
            for piece in &batch {
                checksum.update(piece);
            }
            checksum
        };
        if is_quick {
            Self::Done(update())
        } else {
            Self::Away(tokio::task::spawn_blocking(update))
        }
    }

    async fn end(self) -> S3Result<Box<ChecksumHasher>> {
        match self {
            Self::Done(checksum) => Ok(checksum),
            Self::Away(task) => task.await.map_err(s3s::S3Error::internal_error),
        }
    }
}

enum Place {
    Here(Hashers),
    Away {
        md5: oneshot::Receiver<Md5>,
        checksum: Checksumming,
    },
}

/// Takes bytes in order.
pub(crate) struct Digester {
    place: Option<Place>,
    batch: Vec<Bytes>,
    batch_len: usize,
}

impl Digester {
    /// For MD5 and `algorithm`.
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let mut checksum = ChecksumHasher::default();
        match algorithm {
            Algorithm::Crc32 => checksum.crc32 = Some(Crc32::new()),
            Algorithm::Crc32c => checksum.crc32c = Some(Crc32c::new()),
            Algorithm::Crc64Nvme => checksum.crc64nvme = Some(Crc64Nvme::new()),
            Algorithm::Sha1 => checksum.sha1 = Some(Sha1::new()),
            Algorithm::Sha256 => checksum.sha256 = Some(Sha256::new()),
        }
        let hashers = Hashers {
            md5: Md5::new(),
            checksum: Box::new(checksum),
        };
        Self {
            place: Some(Place::Here(hashers)),
            batch: Vec::new(),
            batch_len: 0,
        }
    }

    /// Takes the next bytes; waits only while the batch before the last is still being hashed.
    pub(crate) async fn update(&mut self, piece: Bytes) -> S3Result<()> {
        self.batch_len += piece.len();
        self.batch.push(piece);
        if self.batch_len >= BATCH {
            let Hashers { md5, checksum } = self.hashers().await?;
            let batch = std::mem::take(&mut self.batch);
            self.batch_len = 0;
            self.place = Some(Place::Away {
                md5: workers::hash(md5, batch.clone()),
                checksum: Checksumming::begin(checksum, batch),
            });
        }
        Ok(())
    }

    /// The hashes of everything taken.
    pub(crate) async fn finish(mut self) -> S3Result<Digests> {
        let mut hashers = self.hashers().await?;
        hashers.update(&self.batch);
        let Hashers { md5, checksum } = hashers;
        let checksum = checksum.finalize();
        let checksum = checksum_fields!(checksum)
            .pop()
            .map(|(_, value)| value)
            .unwrap_or_default();
        Ok(Digests {
            md5: md5.finish(),
            checksum,
        })
    }

    async fn hashers(&mut self) -> S3Result<Hashers> {
        match self.place.take() {
            Some(Place::Here(hashers)) => Ok(hashers),
            Some(Place::Away { md5, checksum }) => Ok(Hashers {
                md5: md5.await.map_err(s3s::S3Error::internal_error)?,
                checksum: checksum.end().await?,
            }),
            None => Err(crate::error::fail(
                s3s::S3ErrorCode::InternalError,
                "The hash of this body was lost by an earlier failure.",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use ::md5::Digest as _;

    use super::*;

    async fn digests(algorithm: Algorithm, pieces: &[&[u8]]) -> Digests {
        let mut digester = Digester::new(algorithm);
        for piece in pieces {
            digester.update(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        digester.finish().await.unwrap()
    }

    /// Check values of "123456789" from the CRC catalogue, and the empty and "abc" hashes of RFC 1321
    /// and FIPS 180.
    #[tokio::test]
    async fn published_check_values() {
        for (algorithm, expected) in [
            (Algorithm::Crc32, "y/Q5Jg=="),
            (Algorithm::Crc32c, "4waSgw=="),
            (Algorithm::Crc64Nvme, "rosUhgp5mIg="),
        ] {
            assert_eq!(
                digests(algorithm, &[b"1234", b"56789"]).await.checksum,
                expected,
                "{algorithm:?}"
            );
        }
        let sha1 = digests(Algorithm::Sha1, &[b"abc"]).await;
        assert_eq!(sha1.checksum, "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
        let sha256 = digests(Algorithm::Sha256, &[b"abc"]).await;
        assert_eq!(sha256.checksum, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        assert_eq!(hex::encode(sha256.md5), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(
            hex::encode(digests(Algorithm::Crc32, &[]).await.md5),
            "d41d8cd98f00b204e9800998ecf8427e"
        );
    }

    /// The result does not depend on how the body is cut, across the batch size.
    #[tokio::test]
    async fn cutting_does_not_matter() {
        let body: Vec<u8> = (0..3 * BATCH + 17).map(|i| (i * 31 % 251) as u8).collect();
        let whole = digests(Algorithm::Crc32c, &[&body]).await;
        for size in [1000, 65_536, BATCH - 1, BATCH, BATCH + 1] {
            let pieces: Vec<&[u8]> = body.chunks(size).collect();
            assert_eq!(digests(Algorithm::Crc32c, &pieces).await, whole, "{size}");
        }
        assert_eq!(whole.md5, <[u8; 16]>::from(::md5::Md5::digest(&body)));
    }
}
