//! Volumes and exports: the block view of a regular file.
use meta::{Durability, Read};

use crate::object::{Content, NewObject, find, place, split_path};
use crate::schema::{self, VOLUME, VolumeRecord};
use crate::vfs::Core;
use crate::{
    Error, Export, InodeNo, Kind, ObjectMeta, Precondition, Result, Vfs, VolumeInfo, bucket, clock, inode,
    posix,
};

impl Vfs {
    /// Makes a volume `bucket/key` of `size` bytes, all hole. `sector` is 512 or 4096, and `size` a
    /// multiple of it. `Exists` when the key is taken.
    pub async fn create_volume(
        &self,
        path: &str,
        size: u64,
        sector: u32,
        description: &str,
    ) -> Result<VolumeInfo> {
        if !matches!(sector, 512 | 4096) {
            return Err(Error::Invalid("the sector size is 512 or 4096"));
        }
        check_size(size, sector)?;
        let (bucket, key) = split_path(path.as_bytes())?;
        if key.is_directory() {
            return Err(Error::InvalidName("a volume's key does not end in a slash"));
        }
        let bucket_ino = bucket::find(&*self.core.snapshot()?, bucket)?;
        let new = NewObject {
            bucket: bucket.to_owned(),
            bucket_ino,
            ino: self.core.new_inodes(1 + key.depth()).await?,
            key,
            size,
            etag: None,
            meta: ObjectMeta::default(),
            parts: None,
            upload: None,
            precondition: Precondition::default(),
            now: clock::now(),
            fixed_size: true,
        };
        let volume = VolumeRecord {
            sector,
            description: description.to_owned(),
        };
        let core = self.core.clone();
        let placed = self
            .core
            .write(Durability::Synced, move |tx| {
                if find(&*tx, bucket_ino, &new.key)?.is_some() {
                    return Err(Error::Exists);
                }
                let placed = place(tx, &core, &new, &Content::Staged(&[]))?;
                let ino = placed.info.ino;
                let mut record = inode::get(&*tx, ino)?;
                record.allocated = 0;
                inode::put(tx, ino, &record)?;
                tx.put(&schema::inode_key(VOLUME, ino), &schema::encode(&volume)?)?;
                Ok(placed)
            })
            .await?;
        self.core.placed(&placed, 0);
        self.volume_info(placed.info.ino)?.ok_or(Error::NotFound)
    }

    /// All volumes, by path.
    pub async fn volumes(&self) -> Result<Vec<VolumeInfo>> {
        let inodes = {
            let snapshot = self.core.snapshot()?;
            let mut inodes = Vec::new();
            for row in schema::scan(&*snapshot, &[VOLUME])? {
                inodes.push(InodeNo(schema::number_at(&row?.0, 1)?));
            }
            inodes
        };
        let mut volumes = Vec::new();
        for ino in inodes {
            volumes.extend(self.volume_info(ino)?);
        }
        volumes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(volumes)
    }

    /// Changes the size; shrinking needs `shrink`, and that nobody has it attached. Who has it
    /// attached sees a larger size at the next attach.
    pub async fn resize_volume(&self, path: &str, size: u64, shrink: bool) -> Result<VolumeInfo> {
        let (ino, volume) = self.core.unfolding(|| self.find_volume(path)).await?;
        check_size(size, volume.sector)?;
        let guard = self.core.nodes.enter(ino)?;
        let attached = self.core.is_attached(&*self.core.snapshot()?, ino)?;
        self.core
            .change(ino, 0, move |layer, _| {
                if size < layer.size && !shrink {
                    return Err(Error::Invalid(
                        "the new size is smaller; shrinking has to be asked for",
                    ));
                }
                if size < layer.size && attached {
                    return Err(Error::Busy("attached as a block device"));
                }
                layer.truncate(size);
                Ok(())
            })
            .await?;
        self.core.flush(guard).await?;
        self.core.meta.sync().await?;
        self.volume_info(ino)?.ok_or(Error::NotFound)
    }

    /// Removes a volume. `Busy` while attached.
    pub async fn delete_volume(&self, path: &str) -> Result<()> {
        self.core.unfolding(|| self.find_volume(path)).await?;
        let (bucket, key) = split_path(path.as_bytes())?;
        // Deleting refuses attached volumes itself, in its transaction.
        let found = self
            .delete_object(bucket, key.bytes(), Precondition::default())
            .await?;
        if found { Ok(()) } else { Err(Error::NotFound) }
    }

    /// Finds what an export name (`bucket/key`, or `bucket/key@snapshot` if there is no such key;
    /// already percent-decoded) serves. Any regular file can be exported.
    pub async fn export(&self, name: &[u8]) -> Result<Export> {
        let live = self.export_live(name).await;
        if matches!(live, Err(Error::NotFound))
            && let Some(ino) = self.core.unfolding(|| self.core.file_in_snapshot(name)).await?
        {
            return self.export_of(ino, true);
        }
        live
    }

    async fn export_live(&self, name: &[u8]) -> Result<Export> {
        let (bucket, key) = split_path(name).map_err(|_| Error::NotFound)?;
        let look = || {
            let snapshot = self.core.snapshot()?;
            let bucket = bucket::find(&*snapshot, bucket)?;
            find(&*snapshot, bucket, &key)?.ok_or(Error::NotFound)
        };
        let found = self.core.unfolding(look).await?;
        match found.kind {
            Kind::File => self.export_of(found.ino, false),
            Kind::Directory => Err(Error::IsDirectory),
            _ => Err(Error::Invalid("not a regular file")),
        }
    }

    fn export_of(&self, ino: InodeNo, read_only: bool) -> Result<Export> {
        self.core.look_again(ino);
        let size = self.core.current_record(ino)?.size;
        let sight = self.core.sight(ino)?;
        let volume = volume_record(&*sight.read, sight.ino)?;
        let (sector, description) =
            volume.map_or((1, String::new()), |volume| (volume.sector, volume.description));
        Ok(Export {
            ino,
            read_only,
            size,
            sector,
            description,
        })
    }

    /// Marks the inode attached (keeps it alive, makes `delete_volume` refuse) until [`Self::detach`].
    /// `Busy` while it is attached through another gateway, unless it lies in a snapshot.
    pub async fn attach(&self, ino: InodeNo) -> Result<()> {
        let guard = self.core.enter(ino)?;
        self.core.nodes.attach(&guard);
        let attached = self.check_attached(ino).await;
        if attached.is_err() {
            self.core.nodes.detach(guard.ino)?;
        }
        attached
    }

    async fn check_attached(&self, ino: InodeNo) -> Result<()> {
        if Core::writable(ino).is_ok() {
            self.core.claim_attachment(ino).await?;
        }
        self.core.look_again(ino);
        match self.core.current_record(ino)?.kind {
            Kind::File => Ok(()),
            _ => Err(Error::Invalid("not a regular file")),
        }
    }

    /// Undoes one [`Self::attach`]. The last one stores what is buffered before another gateway can
    /// attach it.
    pub async fn detach(&self, ino: InodeNo) -> Result<()> {
        let is_shared = self.is_shared() && Core::writable(ino).is_ok();
        if is_shared {
            // A failure is not the last word: it is tried again in the background.
            let _ = self.core.flush_inode(ino).await;
        }
        self.core.nodes.detach(self.core.node_of(ino)?)?;
        if is_shared && !self.core.nodes.is_attached(ino) {
            self.core.end_attachment(ino).await?;
        }
        Ok(())
    }

    fn find_volume(&self, path: &str) -> Result<(InodeNo, VolumeRecord)> {
        let (bucket, key) = split_path(path.as_bytes())?;
        let snapshot = self.core.snapshot()?;
        let bucket = bucket::find(&*snapshot, bucket)?;
        let found = find(&*snapshot, bucket, &key)?.ok_or(Error::NotFound)?;
        let volume = volume_record(&*snapshot, found.ino)?;
        Ok((found.ino, volume.ok_or(Error::Invalid("a file, not a volume"))?))
    }

    /// `None` when the inode is no volume (any more) or has no name.
    fn volume_info(&self, ino: InodeNo) -> Result<Option<VolumeInfo>> {
        let snapshot = self.core.snapshot()?;
        let (Some(volume), Some(path)) = (
            volume_record(&*snapshot, ino)?,
            posix::lookup::path(&*snapshot, ino)?,
        ) else {
            return Ok(None);
        };
        let record = match self.core.current_record(ino) {
            Ok(record) => record,
            Err(Error::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(VolumeInfo {
            path: String::from_utf8_lossy(&path).into_owned(),
            ino: ino.0,
            size: record.size,
            allocated: record.allocated,
            sector: volume.sector,
            description: volume.description,
        }))
    }
}

fn check_size(size: u64, sector: u32) -> Result<()> {
    if size == 0 || size > inode::SIZE_MAX || !size.is_multiple_of(u64::from(sector)) {
        return Err(Error::Invalid(
            "the size is a multiple of the sector size, and not zero",
        ));
    }
    Ok(())
}

fn volume_record(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<Option<VolumeRecord>> {
    read.get(&schema::inode_key(VOLUME, ino))?
        .map(|row| schema::decode(&row))
        .transpose()
}
