//! Encrypting what is written and decrypting what is read.
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::Extensions;
use s3s::{S3ErrorCode, S3Result};
use vfs::object::ObjectReader;
use vfs::{ObjectInfo, ObjectMeta};

use super::cipher::{ContentKey, Keystream, Nonce};
use super::customer::CustomerKey;
use super::kept::{Kept, Shown, not_applicable};
use super::nonces::{self, Opened};
use super::wish::Wish;
use crate::door::Door;
use crate::error::fail;

/// The encryption of something new.
#[derive(Clone, Debug)]
pub(crate) struct Sealing {
    key: ContentKey,
    kept: Kept,
}

impl Sealing {
    /// What answers say of it.
    pub(crate) fn shown(of: Option<&Self>, given: Option<&CustomerKey>) -> Shown {
        Shown::of(of.map(|sealing| &sealing.kept), given)
    }

    /// Notes it in the metadata of an upload.
    pub(crate) fn keep(&self, meta: &mut ObjectMeta) -> S3Result<()> {
        self.kept.keep(meta)
    }

    /// Notes it in the metadata of an object of one stretch.
    pub(crate) fn keep_object(&self, etag: &str, nonce: Nonce, meta: &mut ObjectMeta) -> S3Result<()> {
        meta.headers
            .insert(nonces::HEADER.to_owned(), nonces::to_header(etag, &[nonce]));
        self.kept.keep(meta)
    }

    /// A stretch of new bytes.
    pub(crate) fn stretch(&self) -> S3Result<Stretch> {
        Stretch::new(&self.key)
    }

    /// The ETag of bytes with this MD5.
    pub(crate) fn etag(of: Option<&Self>, md5: &[u8; 16]) -> String {
        of.map_or_else(|| hex::encode(md5), |sealing| sealing.key.tag(md5))
    }
}

/// New bytes that are being encrypted.
pub(crate) struct Stretch {
    /// Where their counter begins.
    pub(crate) nonce: Nonce,
    /// What turns them.
    pub(crate) keystream: Keystream,
}

impl Stretch {
    fn new(key: &ContentKey) -> S3Result<Self> {
        let nonce = Nonce::fresh();
        Ok(Self {
            nonce,
            keystream: key.keystream(nonce)?,
        })
    }
}

/// The encryption of an upload, for its parts.
pub(crate) struct PartSealing {
    key: ContentKey,
}

impl PartSealing {
    /// A stretch of new bytes.
    pub(crate) fn stretch(&self) -> S3Result<Stretch> {
        Stretch::new(&self.key)
    }

    /// The ETag of bytes with this MD5.
    pub(crate) fn etag(of: Option<&Self>, md5: &[u8; 16]) -> String {
        of.map_or_else(|| hex::encode(md5), |sealing| sealing.key.tag(md5))
    }
}

/// How an object is read.
pub(crate) struct Reading {
    key: Option<ContentKey>,
    kept: Option<Kept>,
}

impl Reading {
    /// Whether its bytes are encrypted.
    pub(crate) fn is_sealed(&self) -> bool {
        self.key.is_some()
    }

    /// What answers say of it.
    pub(crate) fn shown(&self, given: Option<&CustomerKey>) -> Shown {
        Shown::of(self.kept.as_ref(), given)
    }

    /// The bytes of a range, as they were written.
    pub(crate) fn stream(
        self,
        reader: ObjectReader,
        range: std::ops::Range<u64>,
    ) -> S3Result<BoxStream<'static, vfs::Result<Bytes>>> {
        let Some(key) = self.key else {
            return Ok(reader.stream(range));
        };
        let mut opened = Opened::new(key, reader.info(), range.start)?;
        let pieces = reader.stream(range).flat_map(move |piece| {
            let pieces = piece.and_then(|bytes| {
                opened
                    .apply(bytes)
                    .map_err(|error| vfs::Error::Internal(format!("decrypting: {error}")))
            });
            let pieces: Vec<vfs::Result<Bytes>> = match pieces {
                Ok(pieces) => pieces.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            futures::stream::iter(pieces)
        });
        Ok(pieces.boxed())
    }
}

impl Door {
    /// The encryption of a new object in a bucket; `None`: as everything is.
    pub(crate) async fn sealing(
        &self,
        bucket: &str,
        wish: &Wish,
        extensions: &Extensions,
    ) -> S3Result<Option<Sealing>> {
        let asked = match wish {
            Wish::Plain => return Ok(None),
            Wish::Customer(key) => {
                self.customer_keys.check(extensions)?;
                let (kept, content) = Kept::by_customer(key);
                return Ok(Some(Sealing { key: content, kept }));
            }
            Wish::Kms(asked) => asked.clone(),
            Wish::Unsaid => match self.default_key(bucket).await? {
                Some(asked) => asked,
                None => return Ok(None),
            },
        };
        let (kept, key) = Kept::by_named_key(asked, &*self.keys).await?;
        Ok(Some(Sealing { key, kept }))
    }

    /// The encryption of a part, which is that of its upload.
    pub(crate) async fn part_sealing(
        &self,
        upload: &ObjectMeta,
        given: Option<&CustomerKey>,
        extensions: &Extensions,
    ) -> S3Result<Option<PartSealing>> {
        if given.is_some() {
            self.customer_keys.check(extensions)?;
        }
        match (Kept::of(upload)?, given) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(fail(
                S3ErrorCode::InvalidRequest,
                "The multipart upload initiate did not request encryption. Please resend the request without \
                 encryption parameters.",
            )),
            (Some(Kept::Customer { .. }), None) => Err(fail(
                S3ErrorCode::InvalidRequest,
                "The multipart upload initiate requested encryption. Subsequent part requests must include \
                 the appropriate encryption parameters.",
            )),
            (Some(kept), given) => Ok(Some(PartSealing {
                key: kept.open(given, &*self.keys).await?,
            })),
        }
    }

    /// Refuses to complete an upload for who did not bring the client's key that it takes.
    pub(crate) fn check_key(
        &self,
        upload: &ObjectMeta,
        given: Option<&CustomerKey>,
        extensions: &Extensions,
    ) -> S3Result<()> {
        if given.is_some() {
            self.customer_keys.check(extensions)?;
        }
        match Kept::of(upload)? {
            None if given.is_some() => Err(not_applicable()),
            None => Ok(()),
            Some(kept) => kept.check(given),
        }
    }

    /// How to read an object for who brought that key.
    pub(crate) async fn reading(
        &self,
        info: &ObjectInfo,
        given: Option<&CustomerKey>,
        extensions: &Extensions,
    ) -> S3Result<Reading> {
        let kept = self.facts(info, given, extensions)?;
        let key = match &kept {
            None => None,
            Some(kept) => Some(kept.open(given, &*self.keys).await?),
        };
        Ok(Reading { key, kept })
    }

    /// How an object is encrypted, for who brought that key and asks for no bytes.
    pub(crate) fn facts(
        &self,
        info: &ObjectInfo,
        given: Option<&CustomerKey>,
        extensions: &Extensions,
    ) -> S3Result<Option<Kept>> {
        if given.is_some() {
            self.customer_keys.check(extensions)?;
        }
        let kept = Kept::of(&info.meta)?;
        match &kept {
            None if given.is_some() => return Err(not_applicable()),
            None => {}
            Some(kept) => kept.check(given)?,
        }
        Ok(kept)
    }
}
