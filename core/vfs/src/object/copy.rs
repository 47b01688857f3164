//! Copying objects.
use std::sync::Arc;

use futures::StreamExt;
use meta::Durability;

use super::key::Key;
use super::{Commit, Content, NewObject, ObjectReader, place};
use crate::snapshot::number::Place;
use crate::{
    Error, FoundVersion, ObjectInfo, ObjectLock, ObjectMeta, Precondition, Result, VersionId, Vfs, bucket,
    clock, inode, version,
};

/// Makes the metadata of a copy out of its source, or refuses to copy that.
pub type MakeMeta = dyn Fn(&ObjectInfo) -> Result<ObjectMeta> + Send + Sync;

/// Where metadata of a copy comes from.
#[derive(Clone)]
pub enum CopyMeta {
    /// From the source.
    Keep,
    /// These.
    Replace(ObjectMeta),
    /// Made of what is copied in the end: asked again when the source is replaced meanwhile.
    Made(Arc<MakeMeta>),
}

/// What a copy is made of.
#[derive(Clone, Copy, Debug)]
pub struct ObjectSource<'a> {
    /// Bucket.
    pub bucket: &'a str,
    /// Key.
    pub key: &'a [u8],
    /// A version of it; `None`: the present object.
    pub version: Option<VersionId>,
}

impl Vfs {
    /// Copies an object; shares extents within a bucket, seals anew across buckets.
    pub async fn copy_object(
        &self,
        from_bucket: &str,
        from_key: &[u8],
        to_bucket: &str,
        to_key: &[u8],
        meta: CopyMeta,
        precondition: Precondition,
    ) -> Result<ObjectInfo> {
        let from = ObjectSource {
            bucket: from_bucket,
            key: from_key,
            version: None,
        };
        self.copy_version(from, to_bucket, to_key, meta, precondition)
            .await
    }

    /// As [`Self::copy_object`], of a version too. A delete marker is `NotFound`.
    pub async fn copy_version(
        &self,
        from: ObjectSource<'_>,
        to_bucket: &str,
        to_key: &[u8],
        meta: CopyMeta,
        precondition: Precondition,
    ) -> Result<ObjectInfo> {
        loop {
            let (meta, precondition) = (meta.clone(), precondition.clone());
            match self.copy_now(from, to_bucket, to_key, meta, precondition).await {
                // The source was replaced between the look at it and the transaction.
                Err(Error::Conflict) => {}
                result => return result,
            }
        }
    }

    async fn copy_now(
        &self,
        from_object: ObjectSource<'_>,
        to_bucket: &str,
        to_key: &[u8],
        meta: CopyMeta,
        precondition: Precondition,
    ) -> Result<ObjectInfo> {
        let source = self.open_source(from_object).await?;
        let (from_bucket, version) = (from_object.bucket, from_object.version);
        let (from, info) = (source.place()?, source.info().clone());
        let meta = match meta {
            CopyMeta::Keep => {
                let mut meta = info.meta.clone();
                // What holds an object does not hold its copies.
                ObjectLock::default().keep(&mut meta);
                meta
            }
            CopyMeta::Replace(meta) => meta,
            CopyMeta::Made(make) => make(&info)?,
        };
        if from_bucket != to_bucket {
            let mut writer = self.object_writer(to_bucket, to_key).await?;
            let mut bytes = source.stream(0..info.size);
            while let Some(data) = bytes.next().await {
                writer.write(data?).await?;
            }
            return writer
                .commit(Commit {
                    etag: info.etag,
                    meta,
                    precondition,
                    level: None,
                })
                .await;
        }
        let key = Key::new(to_key)?;
        let from_key = Key::new(from_object.key)?;
        let bucket_ino = bucket::find(&*self.core.snapshot()?, to_bucket)?;
        let ino = self.core.new_inodes(1 + key.depth()).await?;
        let mut new = NewObject {
            bucket: to_bucket.to_owned(),
            bucket_ino,
            key,
            ino,
            size: 0,
            etag: None,
            meta,
            parts: None,
            upload: None,
            precondition,
            now: clock::now(),
            fixed_size: false,
        };
        let core = self.core.clone();
        let placed = self
            .core
            .write(Durability::Synced, move |tx| {
                if let Place::Live(ino) = from {
                    if version::ino_of(&*tx, bucket_ino, &from_key, version)? != Some(ino) {
                        return Err(Error::Conflict);
                    }
                    let record = inode::get(&*tx, ino)?;
                    new.size = record.size;
                    new.etag.clone_from(&record.etag);
                    new.parts = record.parts;
                } else {
                    // Nothing changes there.
                    new.size = info.size;
                    new.etag = Some(info.etag.clone());
                    new.parts = info.parts;
                }
                let range = 0..new.size;
                place(tx, &core, &new, &Content::Shared { from, range })
            })
            .await?;
        drop(source);
        self.core.placed(&placed, 0);
        self.core.wait_level_of(placed.info.ino, self.terms).await?;
        Ok(placed.info)
    }

    /// Opens what a copy is made of.
    pub(super) async fn open_source(&self, source: ObjectSource<'_>) -> Result<ObjectReader> {
        let Some(id) = source.version else {
            return self.get_object(source.bucket, source.key).await;
        };
        match self.get_version(source.bucket, source.key, id).await? {
            FoundVersion::Object(reader) => Ok(reader),
            FoundVersion::Marker(_) => Err(Error::NotFound),
        }
    }
}
