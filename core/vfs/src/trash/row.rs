//! The rows of the trash, and moving in and out.
use std::ops::Bound;

use meta::{Read, Transaction};
use serde::{Deserialize, Serialize};
use time::macros::format_description;

use crate::schema::{self, InodeRecord, TRASH, TRASHED, TRASHED_AT};
use crate::{Error, InodeNo, Kind, Result, Timestamp, dentry, inode, names, object_lock, posix, quota};

/// The directory, as in DENTRY.
pub(crate) const NAME: &[u8] = b".trash/";
/// Bytes of the old name that the new one carries at most: together with time and number it is shown
/// in full.
const NAME_PART: usize = 180;

/// The trash of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrashRecord {
    pub dir: InodeNo,
    /// Seconds that something stays; `None`: nothing goes there any more.
    pub retention: Option<u64>,
}

/// A row of TRASHED.
pub(super) struct Trashed {
    pub at: Timestamp,
    pub ino: InodeNo,
    /// The key that it had.
    pub key: Vec<u8>,
}

/// The trash of a bucket, if it has one.
pub(crate) fn get(read: &(impl Read + ?Sized), bucket: InodeNo) -> Result<Option<TrashRecord>> {
    read.get(&schema::inode_key(TRASH, bucket))?
        .map(|row| schema::decode(&row))
        .transpose()
}

/// Whether `ino`, which has this record, is the trash of its bucket.
pub(crate) fn is_trash(read: &(impl Read + ?Sized), ino: InodeNo, record: &InodeRecord) -> Result<bool> {
    // The name decides for nearly everybody, without a look.
    if record.kind != Kind::Directory || record.name != NAME || record.parent.0 != record.domain {
        return Ok(false);
    }
    Ok(get(read, record.parent)?.is_some_and(|trash| trash.dir == ino))
}

/// `NotPermitted` when the directory is a trash: nothing is put there by name, and it stays what and
/// where it is.
pub(crate) fn refuse(read: &(impl Read + ?Sized), ino: InodeNo, record: &InodeRecord) -> Result<()> {
    if is_trash(read, ino, record)? {
        Err(Error::NotPermitted)
    } else {
        Ok(())
    }
}

fn trashed_key(bucket: InodeNo, at: Timestamp, ino: InodeNo) -> Vec<u8> {
    let at = (at.0.max(0) as u64).to_be_bytes();
    schema::key(TRASHED, &[&bucket.0.to_be_bytes(), &at, &ino.0.to_be_bytes()])
}

fn parse((key, value): meta::KeyValue) -> Result<Trashed> {
    Ok(Trashed {
        at: Timestamp(schema::number_at(&key, 9)? as i64),
        ino: InodeNo(schema::number_at(&key, 17)?),
        key: schema::decode_raw(&value)?.to_vec(),
    })
}

/// What lies in the trash, the oldest first.
pub(super) fn oldest<R: Read + ?Sized>(
    read: &R,
    bucket: InodeNo,
) -> Result<impl Iterator<Item = Result<Trashed>> + '_> {
    let rows = schema::scan(read, &schema::inode_key(TRASHED, bucket))?;
    Ok(rows.map(|row| parse(row?)))
}

/// What lies in the trash, the newest first, of what came before `before`, if that is given.
pub(super) fn newest<'a, R: Read + ?Sized>(
    read: &'a R,
    bucket: InodeNo,
    before: Option<&Trashed>,
) -> Result<impl Iterator<Item = Result<Trashed>> + use<'a, R>> {
    let from = schema::inode_key(TRASHED, bucket);
    let to = match before {
        Some(before) => trashed_key(bucket, before.at, before.ino),
        None => schema::after_prefix(&from).ok_or_else(|| schema::damaged("a bucket without end"))?,
    };
    let rows = read.range(Bound::Included(&from), Bound::Excluded(&to), true)?;
    Ok(rows.map(|row| parse(row?)))
}

/// Moves `ino`, whose name in `parent` is to go, to the trash of its bucket. Answers `false`, and has
/// done nothing, when it does not go there: the bucket keeps none, it has other names, or it lies
/// there already (what is known of it there is forgotten then).
pub(crate) fn keep(
    tx: &mut dyn Transaction,
    parent: InodeNo,
    suffix: &[u8],
    ino: InodeNo,
    now: Timestamp,
) -> Result<bool> {
    let mut record = inode::get(&*tx, ino)?;
    let bucket = InodeNo(record.domain);
    let Some(trash) = get(&*tx, bucket)? else {
        return Ok(false);
    };
    if parent == trash.dir {
        forget(tx, bucket, ino)?;
        return Ok(false);
    }
    if trash.retention.is_none() || record.nlink != 1 {
        return Ok(false);
    }
    object_lock::refuse(&*tx, ino, &record)?;
    let path = posix::lookup::path(&*tx, ino)?;
    let Some(key) = path.as_deref().and_then(|path| {
        let bucket = path.iter().position(|byte| *byte == b'/')?;
        path.get(bucket + 1..)
    }) else {
        return Ok(false);
    };
    let key = key.to_vec();
    let name = entry_name(now, ino, suffix);
    let from = quota::of_directory(&*tx, parent)?;
    let to = quota::of_directory(&*tx, trash.dir)?;
    quota::adopt(tx, ino, &mut record, from, to)?;
    dentry::detach(tx, parent, suffix, ino, &mut record)?;
    dentry::attach(tx, trash.dir, &name, ino, &mut record)?;
    record.ctime = now;
    inode::put(tx, ino, &record)?;
    inode::touch_directory(tx, trash.dir, now)?;
    tx.put(&trashed_key(bucket, now, ino), &schema::encode_raw(&key))?;
    tx.put(&schema::inode_key(TRASHED_AT, ino), &schema::encode(&now)?)?;
    Ok(true)
}

/// `ino` leaves the trash. Answers whether it was there.
pub(crate) fn forget(tx: &mut dyn Transaction, bucket: InodeNo, ino: InodeNo) -> Result<bool> {
    let row = schema::inode_key(TRASHED_AT, ino);
    let Some(at) = tx.get(&row)? else {
        return Ok(false);
    };
    tx.delete(&trashed_key(bucket, schema::decode(&at)?, ino))?;
    tx.delete(&row)?;
    Ok(true)
}

/// A bucket is to be removed: removes its trash, if nothing lies in it.
pub(crate) fn drop_empty(
    tx: &mut dyn Transaction,
    nodes: &crate::buffer::Nodes,
    bucket: InodeNo,
    now: Timestamp,
) -> Result<()> {
    let Some(trash) = get(&*tx, bucket)? else {
        return Ok(());
    };
    if dentry::is_empty(&*tx, trash.dir)? {
        posix::remove::remove_directory(tx, nodes, bucket, NAME, trash.dir, now)?;
        tx.delete(&schema::inode_key(TRASH, bucket))?;
    }
    Ok(())
}

/// `TIME-INODE-NAME`: sorts by time, is never used twice, and says what it was.
fn entry_name(now: Timestamp, ino: InodeNo, suffix: &[u8]) -> Vec<u8> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let moment = time::OffsetDateTime::from_unix_timestamp(now.0.div_euclid(1_000_000_000))
        .ok()
        .and_then(|moment| moment.format(format).ok())
        .unwrap_or_default();
    let name = names::without_slash(suffix);
    let name = &name[..name.len().min(NAME_PART)];
    [format!("{moment}-{:x}-", ino.0).as_bytes(), name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_named_after_moment_and_file() {
        let moment = Timestamp(1_763_634_093_999_999_999);
        assert_eq!(
            entry_name(moment, InodeNo(0x1a2b), b"c.txt"),
            b"20251120T102133Z-1a2b-c.txt"
        );
        let long = entry_name(Timestamp(i64::MAX), InodeNo(u64::MAX), &[b'x'; 1000]);
        assert!(long.len() <= names::SHOWN_MAX);
    }

    #[test]
    fn rows_are_in_order_of_deletion() {
        let key = |at| trashed_key(InodeNo(1), Timestamp(at), InodeNo(9));
        assert!(key(5) < key(6) && key(255) < key(256));
        let back = parse((key(7), schema::encode_raw(b"a/b"))).unwrap();
        assert_eq!(
            (back.at, back.ino, back.key),
            (Timestamp(7), InodeNo(9), b"a/b".to_vec())
        );
    }
}
