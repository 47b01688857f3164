//! The rows of versions, byte for byte, and looking into them.
//!
//! | table | key after the table byte | value |
//! |---|---|---|
//! | [`VERSIONING`] | bucket inode | [`Versioning`] |
//! | [`VERSION_OF_KEY`] | bucket inode, key (escaped, ends in 00 00), position with all bits flipped | [`VersionRecord`] |
//! | [`VERSION_ID`] | inode | u64: id of the version that it is; no row: `null` |
//! | [`NULL_VERSION`] | bucket inode, key (escaped, ends in 00 00) | u64: position of its row whose id is `null` |
//!
//! A *position* says where in the history of its key a version stands: higher is newer, and flipped
//! bits make the newest the first row. It is the id itself, unless that would put the version below
//! older ones (an inode that came to the key with a directory that was renamed). What is `null` has
//! no id to go by, so that NULL_VERSION leads to it.
use std::ops::Bound;

use meta::{Read, Transaction};
use serde::{Deserialize, Serialize};

use super::{VersionId, Versioning};
use crate::schema::{self, NULL_VERSION, VERSION_ID, VERSION_OF_KEY, VERSIONING};
use crate::{InodeNo, Result, Timestamp};

/// A version that is not the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionRecord {
    /// The inode, which has no name; 0: a delete marker.
    pub ino: InodeNo,
    pub id: VersionId,
    /// When a delete marker was made, or the object changed last before it was replaced.
    pub at: Timestamp,
}

impl VersionRecord {
    pub(crate) fn is_marker(&self) -> bool {
        self.ino.0 == 0
    }
}

/// A row with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionRow {
    pub key: Vec<u8>,
    pub position: u64,
    pub record: VersionRecord,
}

/// What a bucket does with what is replaced; `None`: it was never versioned.
pub(crate) fn state(read: &(impl Read + ?Sized), bucket: InodeNo) -> Result<Option<Versioning>> {
    read.get(&schema::inode_key(VERSIONING, bucket))?
        .map(|row| schema::decode(&row))
        .transpose()
}

/// Id of the version that the inode is.
pub(crate) fn id_of(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<VersionId> {
    let row = read.get(&schema::inode_key(VERSION_ID, ino))?;
    row.map_or(Ok(VersionId::NULL), |row| schema::decode(&row))
}

/// Gives the inode its id.
pub(crate) fn put_id(tx: &mut dyn Transaction, ino: InodeNo, id: VersionId) -> Result<()> {
    let row = schema::inode_key(VERSION_ID, ino);
    if id == VersionId::NULL {
        Ok(tx.delete(&row)?)
    } else {
        Ok(tx.put(&row, &schema::encode(&id)?)?)
    }
}

/// First part of the keys of all rows of a bucket.
pub(crate) fn of_bucket(bucket: InodeNo) -> [u8; 9] {
    schema::inode_key(VERSION_OF_KEY, bucket)
}

/// First part of the keys of the rows of all keys that begin with `prefix`.
pub(crate) fn of_prefix(bucket: InodeNo, prefix: &[u8]) -> Vec<u8> {
    schema::child_key(VERSION_OF_KEY, bucket, &schema::escape(prefix))
}

/// First part of the keys of all rows of one key.
pub(crate) fn of_key(bucket: InodeNo, key: &[u8]) -> Vec<u8> {
    let mut row = of_prefix(bucket, key);
    row.extend_from_slice(&[0, 0]);
    row
}

/// Key of the row at a position.
pub(crate) fn at(bucket: InodeNo, key: &[u8], position: u64) -> Vec<u8> {
    let mut row = of_key(bucket, key);
    row.extend_from_slice(&(!position).to_be_bytes());
    row
}

fn null_key(bucket: InodeNo, key: &[u8]) -> Vec<u8> {
    let bucket = bucket.0.to_be_bytes();
    schema::key(NULL_VERSION, &[&bucket, &schema::escape(key), &[0, 0]])
}

/// A row as the engine has it.
pub(crate) fn parse((row, value): meta::KeyValue) -> Result<VersionRow> {
    let end = row
        .len()
        .checked_sub(10)
        .filter(|end| *end >= 9)
        .ok_or_else(|| schema::damaged("short version key"))?;
    Ok(VersionRow {
        key: schema::unescape(&row[9..end]),
        position: !schema::number_at(&row, end + 2)?,
        record: schema::decode(&value)?,
    })
}

/// Rows of one key, the newest first.
pub(crate) fn of<'a, R: Read + ?Sized>(
    read: &'a R,
    bucket: InodeNo,
    key: &[u8],
) -> Result<impl Iterator<Item = Result<VersionRow>> + use<'a, R>> {
    let rows = schema::scan(read, &of_key(bucket, key))?;
    Ok(rows.map(|row| parse(row?)))
}

/// The newest row of a key.
pub(crate) fn newest(read: &(impl Read + ?Sized), bucket: InodeNo, key: &[u8]) -> Result<Option<VersionRow>> {
    of(read, bucket, key)?.next().transpose()
}

/// Whether a bucket has any row.
pub(crate) fn any_in_bucket(read: &(impl Read + ?Sized), bucket: InodeNo) -> Result<bool> {
    let first = schema::scan(read, &of_bucket(bucket))?.next().transpose()?;
    Ok(first.is_some())
}

/// The row of a key with this id. One look where position and id are the same, which is nearly
/// everywhere.
pub(crate) fn with_id(
    read: &(impl Read + ?Sized),
    bucket: InodeNo,
    key: &[u8],
    id: VersionId,
) -> Result<Option<VersionRow>> {
    let position = if id == VersionId::NULL {
        match read.get(&null_key(bucket, key))? {
            Some(row) => schema::decode(&row)?,
            None => return Ok(None),
        }
    } else {
        id.0
    };
    let row = at(bucket, key, position);
    if let Some(value) = read.get(&row)? {
        let found = parse((row, value))?;
        if found.record.id == id {
            return Ok(Some(found));
        }
    }
    for row in of(read, bucket, key)? {
        let row = row?;
        if row.record.id == id {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// Writes a row.
pub(crate) fn put(tx: &mut dyn Transaction, bucket: InodeNo, row: &VersionRow) -> Result<()> {
    if row.record.id == VersionId::NULL {
        let position = schema::encode(&row.position)?;
        tx.put(&null_key(bucket, &row.key), &position)?;
    }
    let value = schema::encode(&row.record)?;
    Ok(tx.put(&at(bucket, &row.key, row.position), &value)?)
}

/// Removes a row.
pub(crate) fn delete(tx: &mut dyn Transaction, bucket: InodeNo, row: &VersionRow) -> Result<()> {
    if row.record.id == VersionId::NULL {
        tx.delete(&null_key(bucket, &row.key))?;
    }
    Ok(tx.delete(&at(bucket, &row.key, row.position))?)
}

/// Rows of a bucket behind a row's key (empty: all), for looking at all of them in pieces.
pub(crate) fn behind<'a, R: Read + ?Sized>(
    read: &'a R,
    bucket: InodeNo,
    after: &[u8],
) -> Result<Box<dyn Iterator<Item = meta::Result<meta::KeyValue>> + 'a>> {
    let prefix = of_bucket(bucket);
    let from = if after.is_empty() {
        Bound::Included(&prefix[..])
    } else {
        Bound::Excluded(after)
    };
    schema::scan_from(read, &prefix, from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0u8), Just(0xffu8), any::<u8>()], 0..6)
    }

    proptest! {
        #[test]
        fn rows_sort_by_key_with_the_newest_first_and_lead_back(a in name(), b in name(), positions: (u64, u64)) {
            let bucket = InodeNo(7);
            let rows = [at(bucket, &a, positions.0), at(bucket, &b, positions.1)];
            let expected = a.cmp(&b).then(positions.1.cmp(&positions.0));
            prop_assert_eq!(rows[0].cmp(&rows[1]), expected);
            let record = VersionRecord { ino: InodeNo(3), id: VersionId(4), at: Timestamp(5) };
            let back = parse((rows[0].clone(), schema::encode(&record).unwrap())).unwrap();
            prop_assert_eq!(back, VersionRow { key: a, position: positions.0, record });
        }
    }

    #[test]
    fn short_keys_are_damage() {
        assert!(parse((vec![VERSION_OF_KEY; 18], Vec::new())).is_err());
        assert!(parse((Vec::new(), Vec::new())).is_err());
    }
}
