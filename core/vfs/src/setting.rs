//! Settings that a door keeps for a bucket or an object: text and bytes that `vfs` does not interpret.
//!
//! Those of a bucket are rows of their own and go with it. Those of an object are kept as extended
//! attributes that no mount sees ([`ObjectMeta::settings`](crate::ObjectMeta)): what snapshots, clones,
//! versions, copies and checkpoints do to attributes they do to them.
use std::collections::BTreeMap;

use meta::{Durability, Transaction};

use crate::object::{Key, place};
use crate::schema::{self, BUCKET_SETTING};
use crate::version::ino_of;
use crate::{
    Error, InodeNo, ObjectInfo, Result, VersionId, Vfs, bucket, clock, inode, object_lock, snapshot, xattrs,
};

/// Largest setting of a bucket, in bytes: the largest document that S3 takes (a lifecycle of 1,000
/// rules) has less.
pub(crate) const BUCKET_SETTING_MAX: usize = 1 << 20;
/// Largest setting of an object, in bytes.
const OBJECT_SETTING_MAX: usize = 64 << 10;

/// Settings of a bucket by name.
pub type BucketSettings = BTreeMap<String, Vec<u8>>;

/// Settings to set (`Some`) and to remove (`None`), by name.
pub type SettingChanges = BTreeMap<String, Option<String>>;

impl Vfs {
    /// A setting of a bucket, from memory when it was looked at before.
    pub async fn bucket_setting(&self, bucket: &str, name: &str) -> Result<Option<Vec<u8>>> {
        let rows = self.core.rows();
        let bucket = bucket::find(&rows, bucket)?;
        let row = meta::Read::get(&rows, &schema::child_key(BUCKET_SETTING, bucket, name.as_bytes()))?;
        row.map(|row| schema::decode_raw(&row).map(<[u8]>::to_vec))
            .transpose()
    }

    /// All settings of a bucket, by name.
    pub async fn bucket_settings(&self, bucket: &str) -> Result<BucketSettings> {
        let snapshot = self.core.snapshot()?;
        let bucket = bucket::find(&*snapshot, bucket)?;
        let rows = schema::scan(&*snapshot, &schema::inode_key(BUCKET_SETTING, bucket))?;
        rows.map(|row| {
            let (key, value) = row?;
            let name = key.get(9..).and_then(|name| std::str::from_utf8(name).ok());
            let name = name.ok_or_else(|| schema::damaged("the name of a setting"))?;
            Ok((name.to_owned(), schema::decode_raw(&value)?.to_vec()))
        })
        .collect()
    }

    /// Sets a setting of a bucket, or removes it with `None`; durable when it returns. At most 1 MiB,
    /// else [`Error::TooLarge`]. That of Object Lock is changed by [`Vfs::set_object_lock`] alone.
    pub async fn set_bucket_setting(&self, bucket: &str, name: &str, value: Option<Vec<u8>>) -> Result<()> {
        check(name, value.as_deref())?;
        let (bucket, name) = (bucket.to_owned(), name.to_owned());
        self.core
            .write(Durability::Synced, move |tx| {
                let bucket = bucket::find(&*tx, &bucket)?;
                match &value {
                    Some(value) => put_of_bucket(tx, bucket, &name, value),
                    None => Ok(tx.delete(&schema::child_key(BUCKET_SETTING, bucket, name.as_bytes()))?),
                }
            })
            .await
    }

    /// Changes settings of an object, or of one version of it, without touching its content or times
    /// that S3 shows; durable when it returns. `changes` sees the object as it is in the transaction and
    /// may be asked more than once. [`Error::NotFound`] for no object and for a delete marker.
    pub async fn change_object_settings<F>(
        &self,
        bucket: &str,
        key: &[u8],
        version: Option<VersionId>,
        mut changes: F,
    ) -> Result<ObjectInfo>
    where
        F: FnMut(&ObjectInfo) -> Result<SettingChanges> + Send + 'static,
    {
        let key = Key::new(key)?;
        let (bucket, core, now) = (bucket.to_owned(), self.core.clone(), clock::now());
        self.core
            .write(Durability::Synced, move |tx| {
                let bucket = bucket::find(&*tx, &bucket)?;
                snapshot::refuse_change(&*tx, &core.known, bucket, key.bytes())?;
                let ino = ino_of(&*tx, bucket, &key, version)?.ok_or(Error::NotFound)?;
                let mut record = inode::get(&*tx, ino)?;
                if !place::is_object(&record) {
                    return Err(Error::NotFound);
                }
                let before = place::info(&*tx, ino, key.bytes(), &record)?;
                for (name, value) in changes(&before)? {
                    if [object_lock::RETENTION, object_lock::LEGAL_HOLD].contains(&name.as_str()) {
                        return Err(Error::NotPermitted);
                    }
                    let name = [xattrs::SETTING, name.as_bytes()].concat();
                    match value {
                        Some(value) if value.len() > OBJECT_SETTING_MAX => return Err(Error::TooLarge),
                        Some(value) => xattrs::set(tx, ino, &name, value.as_bytes())?,
                        None => xattrs::remove(tx, ino, &name)?,
                    }
                }
                record.ctime = now;
                inode::put(tx, ino, &record)?;
                place::info(&*tx, ino, key.bytes(), &record)
            })
            .await
    }
}

fn check(name: &str, value: Option<&[u8]>) -> Result<()> {
    if name == object_lock::OF_BUCKET {
        return Err(Error::NotPermitted);
    }
    if value.is_some_and(|value| value.len() > BUCKET_SETTING_MAX) {
        return Err(Error::TooLarge);
    }
    Ok(())
}

/// Whether a bucket may have these: errors as [`Vfs::set_bucket_setting`].
pub(crate) fn check_of_bucket(settings: &BucketSettings) -> Result<()> {
    settings
        .iter()
        .try_for_each(|(name, value)| check(name, Some(value)))
}

/// Writes a setting that was checked.
pub(crate) fn put_of_bucket(
    tx: &mut dyn Transaction,
    bucket: InodeNo,
    name: &str,
    value: &[u8],
) -> Result<()> {
    let key = schema::child_key(BUCKET_SETTING, bucket, name.as_bytes());
    Ok(tx.put(&key, &schema::encode_raw(value))?)
}

/// The bucket is removed.
pub(crate) fn drop_bucket(tx: &mut dyn Transaction, bucket: InodeNo) -> Result<()> {
    let rows: Vec<_> =
        schema::scan(&*tx, &schema::inode_key(BUCKET_SETTING, bucket))?.collect::<Result<_, _>>()?;
    for (key, _) in rows {
        tx.delete(&key)?;
    }
    Ok(())
}
