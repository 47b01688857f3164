//! Deleting: objects, which adds delete markers, and versions, which does not.
use meta::{Durability, Transaction};

use super::find::{Place, locate};
use super::history::discard;
use super::{History, VersionId, row};
use crate::object::place::{self, make_directories};
use crate::object::{Key, delete, find};
use crate::vfs::Core;
use crate::{
    Error, Governance, InodeNo, Precondition, Result, Timestamp, Vfs, bucket, clock, dentry, inode,
    object_lock, posix, quota, snapshot,
};

/// What a deletion did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// There was something.
    pub existed: bool,
    /// The version that was removed, or the delete marker that was made; `None` in a bucket that was
    /// never versioned.
    pub version: Option<VersionId>,
    /// That is a delete marker.
    pub marker: bool,
}

impl Vfs {
    /// Deletes an object, which in a versioned bucket leaves a delete marker, or removes one version
    /// for good. A version that is not there is no error, whatever the precondition; without a version,
    /// a precondition that wants an object is `NotFound` where neither one nor a delete marker is.
    pub async fn delete_version(
        &self,
        bucket: &str,
        key: &[u8],
        version: Option<VersionId>,
        precondition: Precondition,
    ) -> Result<Deleted> {
        self.delete_version_under(bucket, key, version, precondition, Governance::Binds)
            .await
    }

    /// As [`Self::delete_version`], by who may bypass governance. A version that is held is
    /// [`Error::Locked`].
    pub async fn delete_version_under(
        &self,
        bucket: &str,
        key: &[u8],
        version: Option<VersionId>,
        precondition: Precondition,
        governance: Governance,
    ) -> Result<Deleted> {
        let Some(id) = version else {
            let key = Key::new(key)?;
            let (bucket, core, now) = (bucket.to_owned(), self.core.clone(), clock::now());
            let deleted = self
                .core
                .write(Durability::Synced, move |tx| {
                    let bucket = bucket::find(&*tx, &bucket)?;
                    delete::delete(tx, &core, bucket, &key, &precondition, now)
                })
                .await?;
            self.removed();
            return Ok(deleted);
        };
        self.remove_version(bucket, key, id, precondition, governance, false)
            .await
    }

    /// Removes a version for who saw it noncurrent: what is present by now stays, and so does a delete
    /// marker whose removal would bring an object back ([`Error::NotEmpty`]).
    pub(crate) async fn delete_noncurrent(&self, bucket: &str, key: &[u8], id: VersionId) -> Result<Deleted> {
        let any = Precondition::default();
        self.remove_version(bucket, key, id, any, Governance::Binds, true)
            .await
    }

    async fn remove_version(
        &self,
        bucket: &str,
        key: &[u8],
        id: VersionId,
        precondition: Precondition,
        governance: Governance,
        noncurrent: bool,
    ) -> Result<Deleted> {
        let key = Key::new(key)?;
        let (bucket, core, now) = (bucket.to_owned(), self.core.clone(), clock::now());
        // For the directories of what may come back.
        let spare = self.core.numbers.take(&self.core.meta, key.depth()).await?;
        // What comes back counted all the time: it must not be refused now.
        let (deleted, made) = self
            .core
            .write_beyond_limits(Durability::Synced, move |tx| {
                let bucket = bucket::find(&*tx, &bucket)?;
                snapshot::refuse_change(&*tx, &core.known, bucket, key.bytes())?;
                remove(
                    tx,
                    &core,
                    &Removal {
                        bucket,
                        key: &key,
                        id,
                        governance,
                        noncurrent,
                        now,
                    },
                    &precondition,
                    spare,
                )
            })
            .await?;
        self.core.count_inodes(made);
        self.removed();
        Ok(deleted)
    }

    fn removed(&self) {
        self.core.purge_wanted.notify_one();
        self.core.release_wanted.notify_one();
    }
}

/// A version to remove.
struct Removal<'a> {
    bucket: InodeNo,
    key: &'a Key,
    id: VersionId,
    governance: Governance,
    /// Only while nothing present goes, and nothing comes back.
    noncurrent: bool,
    now: Timestamp,
}

/// Answers, too, how many directories it made.
fn remove(
    tx: &mut dyn Transaction,
    core: &Core,
    removal: &Removal<'_>,
    precondition: &Precondition,
    spare: InodeNo,
) -> Result<(Deleted, i64)> {
    let &Removal {
        bucket,
        key,
        id,
        governance,
        noncurrent,
        now,
    } = removal;
    let versioned = History::of(&*tx, bucket, key.bytes())?.is_some();
    let place = locate(&*tx, bucket, key, id)?;
    let is_present = matches!(place, Some(Place::Present(_)));
    if noncurrent && is_present {
        return Ok((Deleted::default(), 0));
    }
    if !versioned && (is_present || place.is_none()) {
        if id != VersionId::NULL {
            return Ok((
                Deleted {
                    version: Some(id),
                    ..Deleted::default()
                },
                0,
            ));
        }
        let deleted = delete::delete(tx, core, bucket, key, precondition, now)?;
        return Ok((
            Deleted {
                version: Some(id),
                ..deleted
            },
            0,
        ));
    }
    let mut deleted = Deleted {
        existed: place.is_some(),
        version: Some(id),
        marker: false,
    };
    match place {
        // It is gone already, whatever it was to be.
        None => Ok((deleted, 0)),
        Some(Place::Present(ino)) => {
            place::check(tx, core, Some(ino), precondition)?;
            let found = find(&*tx, bucket, key)?.ok_or(Error::NotFound)?;
            object_lock::waive(tx, ino, governance)?;
            delete::refuse_attached(&*tx, core, ino, &inode::get(&*tx, ino)?)?;
            let name = crate::object::leaf(key);
            posix::remove::remove_file(tx, &core.nodes, found.parent, name, ino, now)?;
            inode::touch_directory(tx, found.parent, now)?;
            let made = bring_back(tx, removal, spare)?;
            if made.is_none() {
                delete::prune(tx, core, bucket, found.parent, now)?;
            }
            Ok((deleted, made.unwrap_or(0)))
        }
        Some(Place::Row(row)) => {
            let object = (!row.record.is_marker()).then_some(row.record.ino);
            match object {
                Some(ino) => place::check(tx, core, Some(ino), precondition)?,
                None => place::check_marker(precondition)?,
            }
            let newest = row::newest(&*tx, bucket, key.bytes())?;
            let was_newest = newest.is_some_and(|newest| newest.position == row.position);
            row::delete(tx, bucket, &row)?;
            if let Some(ino) = object {
                object_lock::waive(tx, ino, governance)?;
            }
            discard(tx, &core.nodes, &row.record)?;
            deleted.marker = row.record.is_marker();
            let mut made = None;
            if deleted.marker && was_newest && find(&*tx, bucket, key)?.is_none() {
                let next = row::newest(&*tx, bucket, key.bytes())?;
                if noncurrent && next.is_some_and(|next| !next.record.is_marker()) {
                    return Err(Error::NotEmpty);
                }
                made = bring_back(tx, removal, spare)?;
            }
            Ok((deleted, made.unwrap_or(0)))
        }
    }
}

/// Makes the newest version the present object again, unless it is a delete marker. Answers how many
/// directories that took; `None` when nothing came back.
fn bring_back(tx: &mut dyn Transaction, removal: &Removal<'_>, spare: InodeNo) -> Result<Option<i64>> {
    let &Removal { bucket, key, now, .. } = removal;
    let Some(row) = row::newest(&*tx, bucket, key.bytes())?.filter(|row| !row.record.is_marker()) else {
        return Ok(None);
    };
    row::delete(tx, bucket, &row)?;
    let mut made = 0;
    let (parent, _) = make_directories(tx, bucket, key, spare, now, &mut made)?;
    let ino = row.record.ino;
    let mut record = inode::get(&*tx, ino)?;
    record.nlink = 1;
    record.ctime = now;
    record.quota = quota::of_directory(&*tx, parent)?;
    dentry::attach(tx, parent, crate::object::leaf(key), ino, &mut record)?;
    inode::put(tx, ino, &record)?;
    inode::touch_directory(tx, parent, now)?;
    Ok(Some(made))
}
