//! Making clones.
use meta::{Durability, Transaction};

use super::row::{self, CLONE, CloneRecord};
use crate::object::{Content, NewObject, find, place, split_path};
use crate::schema::{self, VOLUME};
use crate::snapshot::as_of::AsOf;
use crate::snapshot::{Source, hidden};
use crate::{
    Attr, Error, InodeNo, Kind, ObjectMeta, Precondition, Result, Vfs, bucket, clock, inode, xattrs,
};

/// Longest chain of clones of clones: each link is one more look per extent that is read.
pub(super) const LINKS_MAX: usize = 16;

impl Vfs {
    /// Makes `to` (`bucket/key`, free, in the same bucket) a clone of the file, volume or directory `from`:
    /// of what is at `bucket/key` now, else of what `bucket/key@snapshot` was. Mode, owner, attributes and
    /// the sector size are the origin's. Writes a few rows, whatever the size; durable when it returns.
    pub async fn make_clone(&self, from: &str, to: &str) -> Result<Attr> {
        let source = self.core.unfolding(|| self.core.clone_source(from)).await?;
        if source.directory {
            return self.clone_directory(source, to).await;
        }
        let (bucket, key) = split_path(to.as_bytes())?;
        if key.is_directory() {
            return Err(Error::InvalidName(
                "the key of a file's clone does not end in a slash",
            ));
        }
        if source.number.is_none() {
            self.core.flush_inode(source.root).await?;
        }
        let bucket_ino = bucket::find(&*self.core.snapshot()?, bucket)?;
        if source.domain != bucket_ino.0 {
            return Err(Error::CrossBucket);
        }
        let mut new = NewObject {
            bucket: bucket.to_owned(),
            bucket_ino,
            ino: self.core.new_inodes(1 + key.depth()).await?,
            key,
            size: 0,
            etag: None,
            meta: ObjectMeta::default(),
            parts: None,
            upload: None,
            precondition: Precondition::default(),
            now: clock::now(),
            fixed_size: false,
        };
        let core = self.core.clone();
        let (placed, record) = self
            .core
            .write(Durability::Synced, move |tx| {
                if find(&*tx, bucket_ino, &new.key)?.is_some() {
                    return Err(Error::Exists);
                }
                let origin = origin_of(tx, &source, new.now)?;
                let then = AsOf::new(&*tx, origin.snapshot, origin.mark);
                let old = inode::get(&then, origin.ino)?;
                if old.kind != Kind::File {
                    return Err(Error::Invalid("not a regular file"));
                }
                if chain_of(&then, origin.ino)? >= LINKS_MAX {
                    return Err(Error::TooManyLinks);
                }
                let attributes = xattrs::with_prefix(&then, origin.ino, b"")?;
                let volume = meta::Read::get(&then, &schema::inode_key(VOLUME, origin.ino))?;
                new.size = old.size;
                new.etag.clone_from(&old.etag);
                new.parts = old.parts;
                new.fixed_size = old.fixed_size;
                let placed = place(tx, &core, &new, &Content::Staged(&[]))?;
                let ino = placed.info.ino;
                let mut record = inode::get(&*tx, ino)?;
                record.mode = old.mode;
                record.uid = old.uid;
                record.gid = old.gid;
                record.allocated = old.allocated;
                record.mtime = old.mtime;
                record.mtime_is_posix = old.mtime_is_posix;
                inode::put(tx, ino, &record)?;
                for (name, value) in &attributes {
                    xattrs::set(tx, ino, name, value)?;
                }
                if let Some(volume) = volume {
                    tx.put(&schema::inode_key(VOLUME, ino), &volume)?;
                }
                tx.put(&schema::inode_key(CLONE, ino), &schema::encode(&origin)?)?;
                row::count(tx, origin.snapshot, true)?;
                Ok((placed, record))
            })
            .await?;
        self.core.placed(&placed, 0);
        Ok(inode::attr(placed.info.ino, &record))
    }
}

/// Where the clone's content comes from: the snapshot, if it is still there, or one of this moment.
pub(super) fn origin_of(
    tx: &mut dyn Transaction,
    source: &Source,
    now: crate::Timestamp,
) -> Result<CloneRecord> {
    let (snapshot, mark) = match source.number {
        Some(number) => (number, hidden::still_there(&*tx, number)?.mark),
        None => hidden::take(tx, source.root, now)?,
    };
    Ok(CloneRecord {
        snapshot,
        ino: source.root,
        mark,
    })
}

/// How many origins are behind an inode.
pub(super) fn chain_of(rows: &dyn meta::Read, ino: InodeNo) -> Result<usize> {
    match row::origin(rows, ino)? {
        None => Ok(0),
        Some(origin) => {
            let then = AsOf::new(rows, origin.snapshot, origin.mark);
            Ok(1 + chain_of(&then, origin.ino)?)
        }
    }
}
