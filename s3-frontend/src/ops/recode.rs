//! CopyObject of bytes that change on the way: out of one encryption, or into one.
use s3s::S3Result;
use vfs::object::{Commit, ObjectReader};
use vfs::{ObjectInfo, ObjectMeta, Precondition, Vfs};

use crate::encryption::sealing::{Reading, Sealing};
use crate::error;
use crate::ingest;
use crate::integrity::Algorithm;
use crate::integrity::record::{Checksum, Coverage, internal_headers};

/// A copy that is encrypted otherwise than what it is made of.
pub(crate) struct Recoding<'a> {
    pub(crate) source: ObjectReader,
    pub(crate) reading: Reading,
    /// Of the copy.
    pub(crate) sealing: Option<&'a Sealing>,
    /// Of the copy, without anything about its bytes.
    pub(crate) meta: ObjectMeta,
    pub(crate) precondition: Precondition,
}

impl Recoding<'_> {
    /// Makes the copy. The inner result is that of the commit.
    pub(crate) async fn run(
        mut self,
        vfs: &Vfs,
        bucket: &str,
        key: &[u8],
    ) -> S3Result<vfs::Result<ObjectInfo>> {
        let info = self.source.info().clone();
        let algorithm = Checksum::of(&info).map_or(Algorithm::Crc64Nvme, |kept| kept.algorithm);
        let stretch = self.sealing.map(Sealing::stretch).transpose()?;
        let nonce = stretch.as_ref().map(|stretch| stretch.nonce);
        let mut writer = vfs.object_writer(bucket, key).await.map_err(error::object)?;
        let bytes = self.reading.stream(self.source, 0..info.size)?;
        let digests = ingest::recode(bytes, stretch, algorithm, &mut writer).await?;
        let etag = Sealing::etag(self.sealing, &digests.md5);
        let checksum = Checksum {
            algorithm,
            coverage: Coverage::FullObject,
            value: digests.checksum,
        };
        self.meta
            .headers
            .extend(internal_headers(&etag, Some(&checksum), None));
        if let Some((sealing, nonce)) = self.sealing.zip(nonce) {
            sealing.keep_object(&etag, nonce, &mut self.meta)?;
        }
        let commit = Commit {
            etag,
            meta: self.meta,
            precondition: self.precondition,
            level: None,
        };
        Ok(writer.commit(commit).await)
    }
}
