//! The ETag and checksum of a multipart object, from those of its parts.
use ::md5::{Digest as _, Md5};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;

use super::record::{Checksum, Coverage, PartTag};
use super::{Algorithm, Digester};

/// MD5 over the parts' MD5s, then `-` and their number. `None` if a part's tag is no MD5.
pub(crate) fn etag(parts: &[PartTag]) -> Option<String> {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(hex::decode(&part.md5).ok()?);
    }
    Some(format!("{}-{}", hex::encode(md5.finalize()), parts.len()))
}

/// How an upload's checksum covers the object unless the client says: CRC64NVME exists only over
/// the full object, the others default to composite.
pub(crate) fn default_coverage(algorithm: Algorithm) -> Coverage {
    match algorithm {
        Algorithm::Crc64Nvme => Coverage::FullObject,
        Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Sha1 | Algorithm::Sha256 => Coverage::Composite,
    }
}

/// Whether S3 knows this combination: CRCs can be joined without the bytes, SHAs cannot, and
/// CRC64NVME is never composite.
pub(crate) fn is_possible(algorithm: Algorithm, coverage: Coverage) -> bool {
    match coverage {
        Coverage::FullObject => crc(algorithm).is_some(),
        Coverage::Composite => algorithm != Algorithm::Crc64Nvme,
    }
}

fn crc(algorithm: Algorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        Algorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        Algorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        Algorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        Algorithm::Sha1 | Algorithm::Sha256 => None,
    }
}

/// The checksum of the whole, from `(tag, size)` of each part. `None` when the parts do not all have
/// a checksum of one algorithm, or the combination does not exist.
pub(crate) async fn checksum(parts: &[(PartTag, u64)], coverage: Option<Coverage>) -> Option<Checksum> {
    let algorithm = parts.first()?.0.checksum.as_ref()?.0;
    let coverage = coverage.unwrap_or_else(|| default_coverage(algorithm));
    if !is_possible(algorithm, coverage) {
        return None;
    }
    let mut digests = Vec::with_capacity(parts.len());
    for (tag, size) in parts {
        let (of, value) = tag.checksum.as_ref()?;
        let digest = BASE64_STANDARD.decode(value).ok()?;
        if *of != algorithm || digest.len() != algorithm.digest_len() {
            return None;
        }
        digests.push((digest, *size));
    }
    let value = match coverage {
        Coverage::FullObject => join_crcs(algorithm, &digests)?,
        Coverage::Composite => {
            let mut digester = Digester::new(algorithm);
            let all: Vec<u8> = digests
                .iter()
                .flat_map(|(digest, _)| digest.iter().copied())
                .collect();
            digester.update(Bytes::from(all)).await.ok()?;
            format!("{}-{}", digester.finish().await.ok()?.checksum, parts.len())
        }
    };
    Some(Checksum {
        algorithm,
        coverage,
        value,
    })
}

fn join_crcs(algorithm: Algorithm, digests: &[(Vec<u8>, u64)]) -> Option<String> {
    let crc = crc(algorithm)?;
    let number = |digest: &[u8]| {
        digest
            .iter()
            .fold(0u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let (first, rest) = digests.split_first()?;
    let joined = rest.iter().fold(number(&first.0), |joined, (digest, size)| {
        crc_fast::checksum_combine(crc, joined, number(digest), *size)
    });
    let bytes = joined.to_be_bytes();
    Some(BASE64_STANDARD.encode(bytes.get(8 - algorithm.digest_len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn part(algorithm: Algorithm, bytes: &[u8]) -> (PartTag, u64) {
        let mut digester = Digester::new(algorithm);
        digester.update(Bytes::copy_from_slice(bytes)).await.unwrap();
        let digests = digester.finish().await.unwrap();
        let tag = PartTag {
            md5: hex::encode(digests.md5),
            nonce: None,
            checksum: Some((algorithm, digests.checksum)),
        };
        (tag, bytes.len() as u64)
    }

    #[tokio::test]
    async fn joined_crcs_equal_the_crc_of_the_whole() {
        let whole: Vec<u8> = (0..10_000u32).map(|i| (i * 7 % 255) as u8).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let mut parts = Vec::new();
            for piece in [&whole[..1], &whole[1..4096], &whole[4096..4096], &whole[4096..]] {
                parts.push(part(algorithm, piece).await);
            }
            let joined = checksum(&parts, Some(Coverage::FullObject)).await.unwrap();
            let expected = part(algorithm, &whole).await.0.checksum.unwrap().1;
            assert_eq!(joined.value, expected, "{algorithm:?}");
        }
    }

    #[tokio::test]
    async fn composite_is_the_checksum_of_the_checksums() {
        let parts = [
            part(Algorithm::Sha256, b"one").await,
            part(Algorithm::Sha256, b"two").await,
        ];
        let composite = checksum(&parts, None).await.unwrap();
        let digests: Vec<u8> = parts
            .iter()
            .flat_map(|(tag, _)| BASE64_STANDARD.decode(&tag.checksum.as_ref().unwrap().1).unwrap())
            .collect();
        let expected = part(Algorithm::Sha256, &digests).await.0.checksum.unwrap().1;
        assert_eq!(composite.value, format!("{expected}-2"));
        assert_eq!(composite.coverage, Coverage::Composite);
    }

    #[tokio::test]
    async fn what_cannot_be_is_none() {
        let crc64 = [part(Algorithm::Crc64Nvme, b"x").await];
        assert_eq!(checksum(&crc64, Some(Coverage::Composite)).await, None);
        let sha = [part(Algorithm::Sha1, b"x").await];
        assert_eq!(checksum(&sha, Some(Coverage::FullObject)).await, None);
        let mixed = [
            part(Algorithm::Crc32, b"x").await,
            part(Algorithm::Crc32c, b"x").await,
        ];
        assert_eq!(checksum(&mixed, None).await, None);
        assert_eq!(checksum(&[], None).await, None);
    }

    /// The widely known ETag of two parts: MD5 over the two binary MD5s.
    #[test]
    fn etag_counts_its_parts() {
        let parts: Vec<PartTag> = [
            "900150983cd24fb0d6963f7d28e17f72",
            "d41d8cd98f00b204e9800998ecf8427e",
        ]
        .map(|md5| PartTag {
            md5: md5.into(),
            nonce: None,
            checksum: None,
        })
        .into();
        let mut md5 = Md5::new();
        md5.update(hex::decode("900150983cd24fb0d6963f7d28e17f72d41d8cd98f00b204e9800998ecf8427e").unwrap());
        assert_eq!(
            etag(&parts).unwrap(),
            format!("{}-2", hex::encode(md5.finalize()))
        );
        assert_eq!(
            etag(&[PartTag {
                md5: "opaque".into(),
                nonce: None,
                checksum: None
            }]),
            None
        );
    }
}
