//! Copying objects.
use futures::StreamExt;
use meta::Durability;

use super::key::{Key, find};
use super::{Commit, Content, NewObject, place};
use crate::snapshot::number::Place;
use crate::{Error, ObjectInfo, ObjectMeta, Precondition, Result, Vfs, bucket, clock, inode};

/// Where metadata of a copy comes from.
#[derive(Clone, Debug)]
pub enum CopyMeta {
    /// From the source.
    Keep,
    /// These.
    Replace(ObjectMeta),
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
        loop {
            let (meta, precondition) = (meta.clone(), precondition.clone());
            match self
                .copy_now(from_bucket, from_key, to_bucket, to_key, meta, precondition)
                .await
            {
                // The source was replaced between the look at it and the transaction.
                Err(Error::Conflict) => {}
                result => return result,
            }
        }
    }

    async fn copy_now(
        &self,
        from_bucket: &str,
        from_key: &[u8],
        to_bucket: &str,
        to_key: &[u8],
        meta: CopyMeta,
        precondition: Precondition,
    ) -> Result<ObjectInfo> {
        let source = self.get_object(from_bucket, from_key).await?;
        let (from, info) = (source.place()?, source.info().clone());
        let meta = match meta {
            CopyMeta::Keep => info.meta.clone(),
            CopyMeta::Replace(meta) => meta,
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
        let from_key = Key::new(from_key)?;
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
                    let found = find(&*tx, bucket_ino, &from_key)?.ok_or(Error::NotFound)?;
                    if found.ino != ino {
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
}
