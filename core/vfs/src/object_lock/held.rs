//! Refusing what a lock forbids, within the transaction that would do it.
use meta::{Read, Transaction};

use super::{Governance, LEGAL_HOLD, ObjectLock, RETENTION, RetentionMode, of_bucket};
use crate::object::Key;
use crate::schema::InodeRecord;
use crate::{Error, InodeNo, Kind, ObjectMeta, Result, clock, dentry, xattrs};

/// What is said about an inode.
pub(super) fn of(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<ObjectLock> {
    let setting = |name: &str| -> Result<Option<String>> {
        let value = xattrs::get(read, ino, &[xattrs::SETTING, name.as_bytes()].concat())?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    };
    let (retention, legal_hold) = (setting(RETENTION)?, setting(LEGAL_HOLD)?);
    Ok(ObjectLock::parse(retention.as_deref(), legal_hold.as_deref()))
}

/// [`Error::Locked`] if the inode is held now.
pub(crate) fn refuse(read: &(impl Read + ?Sized), ino: InodeNo, record: &InodeRecord) -> Result<()> {
    match record.kind {
        Kind::File => refuse_file(read, ino, InodeNo(record.domain)),
        _ => Ok(()),
    }
}

/// As [`refuse`], of a file of that bucket.
pub(crate) fn refuse_file(read: &(impl Read + ?Sized), ino: InodeNo, bucket: InodeNo) -> Result<()> {
    if of_bucket(read, bucket)?.is_none() {
        return Ok(());
    }
    if of(read, ino)?.holds(clock::now()) {
        Err(Error::Locked)
    } else {
        Ok(())
    }
}

/// [`Error::Locked`] if the inode may not get another name: it is held, or a directory below which
/// something may be. To look at all that lies there would cost as much as it holds.
pub(crate) fn refuse_move(read: &(impl Read + ?Sized), ino: InodeNo, record: &InodeRecord) -> Result<()> {
    if record.kind != Kind::Directory {
        return refuse(read, ino, record);
    }
    let is_bucket = record.domain == ino.0;
    if is_bucket || of_bucket(read, InodeNo(record.domain))?.is_none() || dentry::is_empty(read, ino)? {
        return Ok(());
    }
    Err(Error::Locked)
}

/// A version is to be removed by who bypasses governance: what holds it in that mode ends.
pub(crate) fn waive(tx: &mut dyn Transaction, ino: InodeNo, governance: Governance) -> Result<()> {
    if governance == Governance::Bypassed
        && of(&*tx, ino)?
            .retention
            .is_some_and(|retention| retention.mode == RetentionMode::Governance)
    {
        xattrs::remove(tx, ino, &[xattrs::SETTING, RETENTION.as_bytes()].concat())?;
    }
    Ok(())
}

/// The metadata of a new object of the bucket, with the retention that the bucket gives it; where the
/// key has no versions, there is none. [`Error::Invalid`] where a lock is asked for that there cannot
/// be.
pub(crate) fn with_default(
    read: &(impl Read + ?Sized),
    bucket: InodeNo,
    key: &Key,
    versioned: bool,
    meta: &ObjectMeta,
) -> Result<ObjectMeta> {
    let (mut meta, mut lock) = (meta.clone(), ObjectLock::of(meta));
    if !versioned && lock.is_empty() {
        return Ok(meta);
    }
    let is_directory = key.is_directory();
    match of_bucket(read, bucket)? {
        None if lock.is_empty() => {}
        None => return Err(Error::Invalid("the bucket has no Object Lock")),
        Some(_) if is_directory => return Err(Error::Invalid("a key that ends in / cannot be locked")),
        Some(_) if !versioned => return Err(Error::Invalid("a key without versions cannot be locked")),
        Some(of_bucket) => {
            let default = of_bucket.default.map(|default| default.from(clock::now()));
            lock.retention = lock.retention.or(default);
            lock.keep(&mut meta);
        }
    }
    Ok(meta)
}
