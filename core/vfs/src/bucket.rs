//! Buckets: the directories in the root. Each is a key domain of the store.
use meta::{Durability, Read, Transaction};
use store::DomainId;

use crate::schema::{self, BUCKET, BucketRecord, PART, PartRecord, UPLOAD};
use crate::setting::BucketSettings;
use crate::vfs::Core;
use crate::{
    Attr, Bucket, Creator, Error, InodeNo, Kind, Level, Result, Vfs, clock, dentry, inode, names,
    object_lock, posix, purge, setting, snapshot, trash, version,
};

/// Permission bits of a bucket that S3 makes.
const MODE: u32 = 0o755;

/// What a new bucket has from its first moment on.
#[derive(Clone, Debug, Default)]
pub struct NewBucket {
    /// The level that it asks for.
    pub ack: Option<Level>,
    /// Whether it has Object Lock, and with it versioning.
    pub object_lock: bool,
    /// What doors keep about it ([`Vfs::set_bucket_setting`]).
    pub settings: BucketSettings,
}

impl Vfs {
    /// Makes a bucket. `Exists` if there.
    pub async fn create_bucket(&self, name: &str) -> Result<Bucket> {
        self.create_bucket_with_ack(name, None).await
    }

    /// Makes a bucket that asks for a level. `Exists` if there.
    pub async fn create_bucket_with_ack(&self, name: &str, ack: Option<Level>) -> Result<Bucket> {
        let new = NewBucket {
            ack,
            ..NewBucket::default()
        };
        self.create_bucket_with(name, new).await
    }

    /// Makes a bucket with what it is to have, in one step. `Exists` if there.
    pub async fn create_bucket_with(&self, name: &str, new: NewBucket) -> Result<Bucket> {
        setting::check_of_bucket(&new.settings)?;
        let attr = make(&self.core, name.as_bytes(), None, new, Durability::Synced).await?;
        Ok(Bucket {
            name: name.to_owned(),
            ino: attr.ino,
            created: attr.birth,
        })
    }

    /// Removes an empty bucket without snapshots, versions and delete markers. Uploads in flight go with it; its key is destroyed as
    /// soon as nobody has a nameless file of it open any more.
    pub async fn delete_bucket(&self, name: &str) -> Result<()> {
        let (core, name) = (self.core.clone(), name.to_owned());
        let now = clock::now();
        self.core
            .write(Durability::Synced, move |tx| {
                let bucket = find(&*tx, &name)?;
                without_snapshots(&*tx, bucket)?;
                drop_uploads(tx, bucket)?;
                version::drop_bucket(tx, bucket)?;
                setting::drop_bucket(tx, bucket)?;
                trash::drop_empty(tx, &core.nodes, bucket, now)?;
                let suffix = names::suffix(name.as_bytes(), true);
                posix::remove::remove_directory(tx, &core.nodes, InodeNo::ROOT, &suffix, bucket, now)?;
                let mut root = inode::live_directory(&*tx, InodeNo::ROOT)?;
                root.nlink -= 1;
                inode::put(tx, InodeNo::ROOT, &root)?;
                inode::touch_directory(tx, InodeNo::ROOT, now)
            })
            .await?;
        self.core.purge_wanted.notify_one();
        Ok(())
    }

    /// How a bucket's bytes are compressed before they are sealed.
    pub async fn compression(&self, bucket: &str) -> Result<store::Compression> {
        let ino = find(&*self.core.snapshot()?, bucket)?;
        Ok(self.core.store.compression(DomainId(ino.0))?)
    }

    /// Sets how a bucket's bytes are compressed from now on; `None`: as the gateway does.
    pub async fn set_compression(&self, bucket: &str, compression: Option<store::Compression>) -> Result<()> {
        let ino = find(&*self.core.snapshot()?, bucket)?;
        match self
            .core
            .store
            .set_compression(DomainId(ino.0), compression)
            .await
        {
            // Somebody deletes it at this moment.
            Err(store::Error::Key(_)) => Err(Error::NoSuchBucket),
            done => Ok(done?),
        }
    }

    /// One bucket.
    pub async fn bucket(&self, name: &str) -> Result<Bucket> {
        let snapshot = self.core.snapshot()?;
        let ino = find(&*snapshot, name)?;
        Ok(Bucket {
            name: name.to_owned(),
            ino,
            created: created(&*snapshot, ino)?,
        })
    }

    /// All buckets by name, as a mount shows them. Names that are not UTF-8 are left out.
    pub async fn buckets(&self) -> Result<Vec<Bucket>> {
        let snapshot = self.core.snapshot()?;
        let mut buckets = Vec::new();
        for entry in dentry::scan(&*snapshot, InodeNo::ROOT, std::ops::Bound::Unbounded)? {
            let entry = entry?;
            let shown = dentry::display(&*snapshot, InodeNo::ROOT, &entry.suffix)?;
            if let Ok(name) = String::from_utf8(shown) {
                buckets.push(Bucket {
                    name,
                    ino: entry.ino,
                    created: created(&*snapshot, entry.ino)?,
                });
            }
        }
        // In DENTRY, `a-b/` comes before `a/`.
        buckets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(buckets)
    }
}

fn created(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<crate::Timestamp> {
    let row = read.get(&schema::inode_key(BUCKET, ino))?;
    let row = row.ok_or_else(|| schema::damaged("a bucket without a record"))?;
    Ok(schema::decode::<BucketRecord>(&row)?.created)
}

/// The directory of a bucket.
pub(crate) fn find(read: &(impl Read + ?Sized), name: &str) -> Result<InodeNo> {
    if name.is_empty() || name.contains('/') {
        return Err(Error::NoSuchBucket);
    }
    let suffix = names::suffix(name.as_bytes(), true);
    Ok(dentry::get(read, InodeNo::ROOT, &suffix)?
        .ok_or(Error::NoSuchBucket)?
        .ino)
}

/// Makes the bucket that a mount shows as `name`.
pub(crate) async fn make(
    core: &Core,
    name: &[u8],
    creator: Option<Creator>,
    new: NewBucket,
    durability: Durability,
) -> Result<Attr> {
    let ino = core.new_inodes(1).await?;
    let (name, store, now) = (name.to_vec(), core.store.clone(), clock::now());
    let record = core
        .write(durability, move |tx| {
            let mut root = inode::live_directory(&*tx, InodeNo::ROOT)?;
            let suffix = dentry::free_name(&*tx, InodeNo::ROOT, &name, Kind::Directory)?;
            let Creator { uid, gid, mode } = creator.unwrap_or(Creator {
                uid: root.uid,
                gid: root.gid,
                mode: MODE,
            });
            let mut record = inode::new(Kind::Directory, mode, uid, gid, ino.0, now);
            record.explicit = true;
            dentry::attach(tx, InodeNo::ROOT, &suffix, ino, &mut record)?;
            store.create_domain(tx, DomainId(ino.0))?;
            let bucket = BucketRecord { created: now };
            tx.put(&schema::inode_key(BUCKET, ino), &schema::encode(&bucket)?)?;
            inode::put(tx, ino, &record)?;
            if let Some(level) = new.ack {
                crate::ack::set(tx, ino, &record, crate::ack::name(Some(level)).as_bytes())?;
            }
            if new.object_lock {
                object_lock::begin(tx, ino)?;
            }
            for (name, value) in &new.settings {
                setting::put_of_bucket(tx, ino, name, value)?;
            }
            root.nlink += 1;
            inode::put(tx, InodeNo::ROOT, &root)?;
            inode::touch_directory(tx, InodeNo::ROOT, now)?;
            Ok(record)
        })
        .await?;
    core.count_inodes(1);
    Ok(inode::attr(ino, &record))
}

/// `NotEmpty` when there are snapshots in the bucket: its key must outlive them.
pub(crate) fn without_snapshots(read: &(impl Read + ?Sized), bucket: InodeNo) -> Result<()> {
    if snapshot::any_in_bucket(read, bucket, false)? {
        return Err(Error::NotEmpty);
    }
    Ok(())
}

/// Drops every upload in flight of a bucket.
pub(crate) fn drop_uploads(tx: &mut dyn Transaction, bucket: InodeNo) -> Result<()> {
    let uploads: Vec<_> =
        schema::scan(&*tx, &schema::inode_key(UPLOAD, bucket))?.collect::<Result<_, _>>()?;
    for (key, _) in uploads {
        let upload = schema::number_at(&key, key.len().saturating_sub(8))?;
        drop_parts(tx, upload)?;
        tx.delete(&key)?;
    }
    Ok(())
}

/// Drops the parts of an upload.
pub(crate) fn drop_parts(tx: &mut dyn Transaction, upload: u64) -> Result<()> {
    let parts: Vec<_> =
        schema::scan(&*tx, &schema::key(PART, &[&upload.to_be_bytes()]))?.collect::<Result<_, _>>()?;
    for (key, value) in parts {
        purge::orphan(tx, schema::decode::<PartRecord>(&value)?.ino)?;
        tx.delete(&key)?;
    }
    Ok(())
}
