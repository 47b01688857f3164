//! Reading a version.
use meta::Read;

use super::row::{self, VersionRow};
use super::{VersionEntry, VersionId};
use crate::object::{Key, ObjectReader, find};
use crate::{Error, InodeNo, Kind, Result, Vfs, bucket, schema, vfs};

/// What an id leads to.
pub enum FoundVersion {
    /// An object, which may be the present one.
    Object(ObjectReader),
    /// A delete marker.
    Marker(VersionEntry),
}

/// Where a version is.
pub(super) enum Place {
    /// It is the present object.
    Present(InodeNo),
    /// It has a row.
    Row(VersionRow),
}

/// Finds the version of a key, in a bucket that was never versioned too.
pub(super) fn locate(
    read: &(impl Read + ?Sized),
    bucket: InodeNo,
    key: &Key,
    id: VersionId,
) -> Result<Option<Place>> {
    if let Some(found) = find(read, bucket, key)? {
        let present = match found.kind {
            Kind::File if row::state(read, bucket)?.is_some() => Some(row::id_of(read, found.ino)?),
            Kind::File | Kind::Directory => Some(VersionId::NULL),
            _ => None,
        };
        if present == Some(id) {
            return Ok(Some(Place::Present(found.ino)));
        }
    }
    Ok(row::with_id(read, bucket, key.bytes(), id)?.map(Place::Row))
}

/// The inode of a version (`None`: of what the key leads to now), if it has one.
pub(crate) fn ino_of(
    read: &(impl Read + ?Sized),
    bucket: InodeNo,
    key: &Key,
    id: Option<VersionId>,
) -> Result<Option<InodeNo>> {
    let Some(id) = id else {
        return Ok(find(read, bucket, key)?.map(|found| found.ino));
    };
    Ok(match locate(read, bucket, key, id)? {
        Some(Place::Present(ino)) => Some(ino),
        Some(Place::Row(row)) if !row.record.is_marker() => Some(row.record.ino),
        Some(Place::Row(_)) | None => None,
    })
}

impl Vfs {
    /// Opens a version of an object to read. `NotFound` when there is no such version.
    pub async fn get_version(&self, bucket: &str, key: &[u8], id: VersionId) -> Result<FoundVersion> {
        let key = Key::new(key)?;
        for _ in 0..vfs::LOOKS {
            let look = || {
                let snapshot = self.core.snapshot()?;
                let bucket = bucket::find(&*snapshot, bucket)?;
                locate(&*snapshot, bucket, &key, id)
            };
            let place = self.core.unfolding(look).await?;
            let ino = match place {
                None if id == VersionId::NULL => {
                    // What lies in a snapshot has this version only.
                    return self.get_object(bucket, key.bytes()).await.and_then(only_null);
                }
                None => return Err(Error::NotFound),
                Some(Place::Row(row)) if row.record.is_marker() => {
                    return Ok(FoundVersion::Marker(VersionEntry::marker(row, false)));
                }
                Some(Place::Present(ino)) => ino,
                Some(Place::Row(row)) => row.record.ino,
            };
            // Removed in between: look again.
            let Ok(guard) = self.core.enter(ino) else {
                continue;
            };
            if let Some(mut reader) = self.core.read_inode(guard, ino, key.bytes()).await? {
                reader.set_version(id);
                return Ok(FoundVersion::Object(reader));
            }
        }
        Err(schema::damaged("a version without an inode"))
    }

    /// The delete marker because of which the key is not there; `None` when there is an object, or
    /// there is none for another reason.
    pub async fn delete_marker(&self, bucket: &str, key: &[u8]) -> Result<Option<VersionId>> {
        let key = Key::new(key)?;
        let look = || {
            let snapshot = self.core.snapshot()?;
            let bucket = bucket::find(&*snapshot, bucket)?;
            if row::state(&*snapshot, bucket)?.is_none() || find(&*snapshot, bucket, &key)?.is_some() {
                return Ok(None);
            }
            let newest = row::newest(&*snapshot, bucket, key.bytes())?;
            Ok(newest
                .filter(|newest| newest.record.is_marker())
                .map(|newest| newest.record.id))
        };
        self.core.unfolding(look).await
    }
}

/// An object that has an id of its own came to the key since nothing was found there.
fn only_null(reader: ObjectReader) -> Result<FoundVersion> {
    match reader.info().version {
        None | Some(VersionId::NULL) => Ok(FoundVersion::Object(reader)),
        Some(_) => Err(Error::NotFound),
    }
}
