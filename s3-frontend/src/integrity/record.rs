//! What is kept of checksums, and how.
//!
//! An object's checksum sits in its metadata under the internal header [`HEADER`], a part's beside
//! its MD5 in the text that the namespace keeps as the part's tag. Both are text:
//!
//! ```text
//! object: ETAG ALGORITHM TYPE VALUE        part: MD5HEX[~NONCEHEX][/ALGORITHM/VALUE]
//! ```
//!
//! The object's record names the ETag it was made for. When another door changes the content, the
//! ETag changes and the record no longer counts: a stale checksum is never shown.
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use s3s::dto::ChecksumType;
use vfs::{ObjectInfo, ObjectMeta};

use super::Algorithm;
use crate::encryption::cipher::Nonce;
use crate::encryption::nonces;

/// Internal header of an object's checksum. Never sent to clients.
pub(crate) const HEADER: &str = "x-cess-checksum";
/// Internal header of the sizes of a multipart object's parts. Never sent to clients.
pub(crate) const PARTS_HEADER: &str = "x-cess-parts";
/// Internal header of the checksums of a multipart object's parts. Never sent to clients.
pub(crate) const PART_CHECKSUMS_HEADER: &str = "x-cess-part-checksums";
/// All internal headers that say something about an object's bytes.
const INTERNAL_HEADERS: [&str; 4] = [HEADER, PARTS_HEADER, PART_CHECKSUMS_HEADER, nonces::HEADER];

/// Whether the value covers the object's bytes, or the checksums of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// Of all bytes.
    FullObject,
    /// Of the parts' checksums, followed by `-` and their number.
    Composite,
}

impl Coverage {
    /// As S3 names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FullObject => ChecksumType::FULL_OBJECT,
            Self::Composite => ChecksumType::COMPOSITE,
        }
    }

    /// By S3's name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite]
            .into_iter()
            .find(|coverage| coverage.name() == name)
    }

    /// As s3s's type.
    pub(crate) fn to_dto(self) -> ChecksumType {
        ChecksumType::from_static(self.name())
    }
}

/// A checksum of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checksum {
    pub(crate) algorithm: Algorithm,
    pub(crate) coverage: Coverage,
    /// Base64, with `-n` when composite.
    pub(crate) value: String,
}

impl Checksum {
    /// The internal header for an object with `etag`.
    pub(crate) fn to_header(&self, etag: &str) -> String {
        format!(
            "{etag} {} {} {}",
            self.algorithm.name(),
            self.coverage.name(),
            self.value
        )
    }

    fn parse(text: &str, etag: &str) -> Option<Self> {
        let mut words = text.split(' ');
        if words.next() != Some(etag) {
            return None;
        }
        let checksum = Self {
            algorithm: Algorithm::from_name(words.next()?)?,
            coverage: Coverage::from_name(words.next()?)?,
            value: words.next()?.to_owned(),
        };
        words.next().is_none().then_some(checksum)
    }

    /// The checksum of an object, if one is kept for its present content.
    pub(crate) fn of(info: &ObjectInfo) -> Option<Self> {
        Self::parse(info.meta.headers.get(HEADER)?, &info.etag)
    }
}

/// Sizes of a multipart object's parts, in order; runs of equal sizes are kept once, so that 10,000
/// parts take a few bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartSizes(pub(crate) Vec<u64>);

impl PartSizes {
    /// The internal header for an object with `etag`: `ETAG SIZExCOUNT,SIZExCOUNT,…`.
    pub(crate) fn to_header(&self, etag: &str) -> String {
        let runs: Vec<String> = self
            .0
            .chunk_by(|a, b| a == b)
            .map(|run| format!("{}x{}", run.first().copied().unwrap_or_default(), run.len()))
            .collect();
        format!("{etag} {}", runs.join(","))
    }

    /// The part sizes of an object, if they are kept for its present content.
    pub(crate) fn of(info: &ObjectInfo) -> Option<Self> {
        let (etag, runs) = info.meta.headers.get(PARTS_HEADER)?.split_once(' ')?;
        if etag != info.etag {
            return None;
        }
        let mut sizes = Vec::new();
        for run in runs.split(',') {
            let (size, count) = run.split_once('x')?;
            let (size, count): (u64, usize) = (size.parse().ok()?, count.parse().ok()?);
            if sizes.len() + count > crate::limits::MAX_PARTS as usize {
                return None;
            }
            sizes.extend(std::iter::repeat_n(size, count));
        }
        let total = sizes.iter().try_fold(0u64, |sum, size| sum.checked_add(*size))?;
        (total == info.size).then_some(Self(sizes))
    }
}

/// Checksums of a multipart object's parts, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartChecksums {
    pub(crate) algorithm: Algorithm,
    /// Base64.
    pub(crate) values: Vec<String>,
}

impl PartChecksums {
    /// Of parts that all have one of the same algorithm.
    pub(crate) fn of_parts<'a>(parts: impl Iterator<Item = &'a PartTag>) -> Option<Self> {
        let all: Option<Vec<&(Algorithm, String)>> = parts.map(|part| part.checksum.as_ref()).collect();
        let all = all?;
        let algorithm = all.first()?.0;
        let same = all.iter().all(|(of, _)| *of == algorithm);
        same.then(|| Self {
            algorithm,
            values: all.into_iter().map(|(_, value)| value.clone()).collect(),
        })
    }

    /// The internal header for an object with `etag`: `ETAG ALGORITHM DIGESTS`, the digests one after the
    /// other, in base64.
    pub(crate) fn to_header(&self, etag: &str) -> Option<String> {
        let mut digests = Vec::with_capacity(self.values.len() * self.algorithm.digest_len());
        for value in &self.values {
            digests.extend(BASE64_STANDARD.decode(value).ok()?);
        }
        let name = self.algorithm.name();
        Some(format!("{etag} {name} {}", BASE64_STANDARD.encode(digests)))
    }

    /// Those of an object, if they are kept for its present content.
    pub(crate) fn of(info: &ObjectInfo) -> Option<Self> {
        let mut words = info.meta.headers.get(PART_CHECKSUMS_HEADER)?.splitn(3, ' ');
        if words.next() != Some(&info.etag) {
            return None;
        }
        let algorithm = Algorithm::from_name(words.next()?)?;
        let digests = BASE64_STANDARD.decode(words.next()?).ok()?;
        let (len, parts) = (algorithm.digest_len(), info.parts? as usize);
        (digests.len() == len * parts).then(|| Self {
            algorithm,
            values: digests
                .chunks_exact(len)
                .map(|digest| BASE64_STANDARD.encode(digest))
                .collect(),
        })
    }
}

/// Takes the internal headers out of metadata that are to belong to other bytes.
pub(crate) fn drop_internal_headers(meta: &mut ObjectMeta) {
    for name in INTERNAL_HEADERS {
        meta.headers.remove(name);
    }
}

/// Moves the internal headers of one object's metadata to another's, for copies.
pub(crate) fn carry_internal_headers(from: &ObjectMeta, to: &mut ObjectMeta) {
    for name in INTERNAL_HEADERS {
        if let Some(value) = from.headers.get(name) {
            to.headers.insert(name.to_owned(), value.clone());
        }
    }
}

/// Internal headers of a new object.
pub(crate) fn internal_headers(
    etag: &str,
    checksum: Option<&Checksum>,
    parts: Option<&PartSizes>,
) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    if let Some(checksum) = checksum {
        headers.insert(HEADER.to_owned(), checksum.to_header(etag));
    }
    if let Some(parts) = parts {
        headers.insert(PARTS_HEADER.to_owned(), parts.to_header(etag));
    }
    headers
}

/// What is kept of a part: its MD5, where its counter begins if it is encrypted and, if known, its
/// checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartTag {
    /// MD5 in hex: the part's ETag. Of an encrypted part something that looks so.
    pub(crate) md5: String,
    /// Of an encrypted part.
    pub(crate) nonce: Option<Nonce>,
    /// The checksum of its bytes.
    pub(crate) checksum: Option<(Algorithm, String)>,
}

impl PartTag {
    /// The text the namespace keeps.
    pub(crate) fn to_text(&self) -> String {
        let mut text = self.md5.clone();
        if let Some(nonce) = self.nonce {
            text.push('~');
            text.push_str(&hex::encode(nonce.0));
        }
        if let Some((algorithm, value)) = &self.checksum {
            text.push_str(&format!("/{}/{value}", algorithm.name()));
        }
        text
    }

    /// From the text the namespace keeps. Base64 may contain `/`: it comes last.
    pub(crate) fn parse(text: &str) -> Self {
        let mut pieces = text.splitn(3, '/');
        let head = pieces.next().unwrap_or_default();
        let (md5, nonce) = head.split_once('~').map_or((head, None), |(md5, nonce)| {
            let mut bytes = [0; 8];
            let read = hex::decode_to_slice(nonce, &mut bytes);
            (md5, read.is_ok().then_some(Nonce(bytes)))
        });
        let checksum = pieces
            .next()
            .and_then(Algorithm::from_name)
            .zip(pieces.next().map(str::to_owned));
        Self {
            md5: md5.to_owned(),
            nonce,
            checksum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(etag: &str, size: u64, headers: BTreeMap<String, String>) -> ObjectInfo {
        ObjectInfo {
            ino: vfs::InodeNo(2),
            key: b"k".to_vec(),
            size,
            etag: etag.into(),
            modified: vfs::Timestamp(0),
            meta: ObjectMeta {
                headers,
                ..ObjectMeta::default()
            },
            parts: None,
            version: None,
        }
    }

    #[test]
    fn records_count_only_for_the_content_they_were_made_for() {
        let checksum = Checksum {
            algorithm: Algorithm::Crc32,
            coverage: Coverage::Composite,
            value: "AAAAAA==-2".into(),
        };
        let parts = PartSizes(vec![5, 5, 5, 3]);
        let headers = internal_headers("tag", Some(&checksum), Some(&parts));
        assert_eq!(headers[PARTS_HEADER], "tag 5x3,3x1");
        let same = info("tag", 18, headers.clone());
        assert_eq!(Checksum::of(&same), Some(checksum));
        assert_eq!(PartSizes::of(&same), Some(parts));
        let changed = info("other", 18, headers.clone());
        assert_eq!(Checksum::of(&changed), None);
        assert_eq!(PartSizes::of(&changed), None);
        assert_eq!(PartSizes::of(&info("tag", 17, headers)), None);
    }

    #[test]
    fn checksums_of_parts_come_back() {
        let tag = |value: &str| PartTag {
            md5: "00".into(),
            nonce: None,
            checksum: Some((Algorithm::Crc32, value.to_owned())),
        };
        let tags = [tag("AAAAAA=="), tag("AAAAAQ==")];
        let kept = PartChecksums::of_parts(tags.iter()).unwrap();
        let header = kept.to_header("tag").unwrap();
        let headers = BTreeMap::from([(PART_CHECKSUMS_HEADER.to_owned(), header)]);
        let mut object = info("tag", 2, headers);
        assert_eq!(PartChecksums::of(&object), None);
        object.parts = Some(2);
        assert_eq!(PartChecksums::of(&object), Some(kept));
        object.etag = "other".into();
        assert_eq!(PartChecksums::of(&object), None);
        let mixed = PartTag {
            checksum: Some((Algorithm::Sha1, "AAAAAA==".into())),
            ..tag("")
        };
        assert_eq!(PartChecksums::of_parts([&tags[0], &mixed].into_iter()), None);
    }

    #[test]
    fn rubbish_set_through_the_mount_is_ignored() {
        for rubbish in [
            "",
            "tag",
            "tag X",
            "tag 5x",
            "tag 5x99999999999",
            "tag 18446744073709551615x2",
            "tag ,",
        ] {
            let headers = [HEADER, PARTS_HEADER, PART_CHECKSUMS_HEADER]
                .map(|name| (name.to_owned(), rubbish.to_owned()))
                .into();
            let info = info("tag", 5, headers);
            assert_eq!(Checksum::of(&info), None, "{rubbish}");
            assert_eq!(PartSizes::of(&info), None, "{rubbish}");
            assert_eq!(PartChecksums::of(&info), None, "{rubbish}");
        }
    }

    #[test]
    fn part_tags_round_trip() {
        for nonce in [None, Some(Nonce([9; 8]))] {
            for checksum in [None, Some((Algorithm::Sha256, "a/b/c+=".to_owned()))] {
                let tag = PartTag {
                    md5: "00ff".into(),
                    nonce,
                    checksum,
                };
                assert_eq!(PartTag::parse(&tag.to_text()), tag);
            }
        }
        assert_eq!(PartTag::parse("00ff/NONE/x").checksum, None);
    }
}
