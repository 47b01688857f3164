//! Where each stretch of an encrypted object begins its counter.
//!
//! A part of an upload keeps its nonce in its tag ([`crate::integrity::record::PartTag`]), an object those
//! of its stretches under an internal header: `ETAG NONCES`, in base64, eight bytes each. Their lengths are
//! those of its parts ([`crate::integrity::record::PartSizes`]). Naming the ETag binds them to the content
//! that they were made for.
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use s3s::{S3ErrorCode, S3Result};
use vfs::ObjectInfo;

use super::cipher::{ContentKey, Keystream, Nonce};
use crate::error::{fail, fail_custom};
use crate::integrity::record::PartSizes;

/// The internal header. Never sent to clients.
pub(crate) const HEADER: &str = "x-cess-nonces";

/// The value of the header.
pub(crate) fn to_header(etag: &str, nonces: &[Nonce]) -> String {
    let all: Vec<u8> = nonces.iter().flat_map(|nonce| nonce.0).collect();
    format!("{etag} {}", BASE64_STANDARD.encode(all))
}

/// An object's stretches: length and nonce of each.
fn stretches(info: &ObjectInfo) -> Option<Vec<(u64, Nonce)>> {
    let (etag, nonces) = info.meta.headers.get(HEADER)?.split_once(' ')?;
    if etag != info.etag {
        return None;
    }
    let nonces = BASE64_STANDARD.decode(nonces).ok()?;
    let (nonces, []) = nonces.as_chunks::<8>() else {
        return None;
    };
    let sizes = match nonces.len() {
        1 => vec![info.size],
        _ => PartSizes::of(info)?.0,
    };
    (sizes.len() == nonces.len()).then(|| {
        let nonces = nonces.iter().map(|nonce| Nonce(*nonce));
        sizes.into_iter().zip(nonces).collect()
    })
}

/// Decrypts an object's bytes, from an offset on.
pub(crate) struct Opened {
    key: ContentKey,
    /// What is still to come, the last first: where each begins, its length and nonce.
    rest: Vec<(u64, u64, Nonce)>,
    /// The stretch that is being read, and what is left of it.
    now: Option<(Keystream, u64)>,
    at: u64,
}

impl Opened {
    /// From the offset `at` on. Fails when another door has changed the bytes.
    pub(crate) fn new(key: ContentKey, info: &ObjectInfo, at: u64) -> S3Result<Self> {
        let stretches = stretches(info).ok_or_else(|| {
            fail_custom(
                "InvalidObjectState",
                http::StatusCode::FORBIDDEN,
                "The object was changed through another door since it was encrypted. Replace it.",
            )
        })?;
        let mut begins = 0;
        let mut rest = Vec::with_capacity(stretches.len());
        for (len, nonce) in stretches {
            if begins + len > at {
                rest.push((begins, len, nonce));
            }
            begins += len;
        }
        rest.reverse();
        Ok(Self {
            key,
            rest,
            now: None,
            at,
        })
    }

    /// The next bytes, decrypted, in one piece or several.
    pub(crate) fn apply(&mut self, mut bytes: Bytes) -> S3Result<Vec<Bytes>> {
        let mut pieces = Vec::with_capacity(1);
        while !bytes.is_empty() {
            let (keystream, left) = match &mut self.now {
                Some((keystream, left)) if *left > 0 => (keystream, left),
                _ => {
                    let (begins, len, nonce) = self.rest.pop().ok_or_else(too_long)?;
                    let mut keystream = self.key.keystream(nonce)?;
                    keystream.seek(self.at - begins);
                    let (keystream, left) = self.now.insert((keystream, begins + len - self.at));
                    (keystream, left)
                }
            };
            let len = (*left).min(bytes.len() as u64);
            pieces.push(keystream.apply(&bytes.split_to(len as usize))?);
            *left -= len;
            self.at += len;
        }
        Ok(pieces)
    }
}

fn too_long() -> s3s::S3Error {
    fail(
        S3ErrorCode::InternalError,
        "The object has more bytes than were encrypted.",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::integrity::record::internal_headers;

    fn info(sizes: &[u64], nonces: &[Nonce]) -> ObjectInfo {
        let parts = (sizes.len() > 1).then(|| PartSizes(sizes.to_vec()));
        let mut headers: BTreeMap<String, String> = internal_headers("tag", None, parts.as_ref());
        headers.insert(HEADER.into(), to_header("tag", nonces));
        ObjectInfo {
            ino: vfs::InodeNo(2),
            key: b"k".to_vec(),
            size: sizes.iter().sum(),
            etag: "tag".into(),
            modified: vfs::Timestamp(0),
            meta: vfs::ObjectMeta {
                headers,
                ..vfs::ObjectMeta::default()
            },
            parts: None,
            version: None,
        }
    }

    #[test]
    fn every_offset_of_every_stretch_opens() {
        let key = ContentKey::derived(b"k", b"s");
        let sizes = [33u64, 0, 16, 50];
        let nonces: Vec<Nonce> = (0..4).map(|number| Nonce([number; 8])).collect();
        let plain: Vec<u8> = (0..99).collect();
        let (mut sealed, mut at) = (Vec::new(), 0);
        for (size, nonce) in sizes.iter().zip(&nonces) {
            let piece = Bytes::copy_from_slice(&plain[at..at + *size as usize]);
            sealed.extend_from_slice(&key.keystream(*nonce).unwrap().apply(&piece).unwrap());
            at += *size as usize;
        }
        assert_ne!(sealed, plain);
        let object = info(&sizes, &nonces);
        for from in 0..=plain.len() {
            for piece in [1, 7, 40, 99] {
                let mut opened = Opened::new(key.clone(), &object, from as u64).unwrap();
                let mut read = Vec::new();
                for bytes in sealed[from..].chunks(piece) {
                    for part in opened.apply(Bytes::copy_from_slice(bytes)).unwrap() {
                        read.extend_from_slice(&part);
                    }
                }
                assert_eq!(read, plain[from..], "{from} {piece}");
            }
        }
        let mut end = Opened::new(key, &object, 99).unwrap();
        assert!(end.apply(Bytes::from_static(b"x")).is_err());
    }

    #[test]
    fn what_another_door_changed_is_not_opened() {
        let key = ContentKey::derived(b"k", b"s");
        let mut object = info(&[5], &[Nonce([1; 8])]);
        assert!(Opened::new(key.clone(), &object, 0).is_ok());
        object.etag = "changed".into();
        let refused = Opened::new(key.clone(), &object, 0).err().unwrap();
        assert_eq!(refused.code().as_str(), "InvalidObjectState");
        for rubbish in ["", "tag", "tag x", "tag AAAA"] {
            let mut object = info(&[5], &[Nonce([1; 8])]);
            object.meta.headers.insert(HEADER.into(), rubbish.into());
            assert!(Opened::new(key.clone(), &object, 0).is_err(), "{rubbish}");
        }
    }
}
