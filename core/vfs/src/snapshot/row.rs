//! The rows of snapshots, byte for byte.
//!
//! | table | key after the table byte | value |
//! |---|---|---|
//! | [`SNAPSHOTS`] | – | [`SnapshotsRecord`] |
//! | [`SNAPSHOT`] | snapshot number | [`SnapshotRecord`] |
//! | [`PRESERVED`] | inode, table of the row, rest of its key (escaped, ends in 00 00), snapshot number | 00, or 01 and the row's value |
//! | [`PRESERVED_IN`] | snapshot number, inode | nothing: rows of the inode are kept under the number |
//!
//! Rows are kept of the tables in [`is_kept`]. Each of their rows belongs to one inode, whose number
//! follows the table byte. In the rest of the key 00 becomes 00 ff, so that kept rows sort as the
//! rows themselves, and those of one row by snapshot.
use meta::Read;
use serde::{Deserialize, Serialize};

use crate::clone::row::{CLONE, COPIED};
use crate::schema::{self, DENTRY, DIR_TIME, EXTENT, INODE, LINK, LONG_NAME, VOLUME, XATTR};
use crate::{InodeNo, Result, Timestamp};

/// What changes with every creation and deletion.
pub(crate) const SNAPSHOTS: u8 = 0x30;
/// The snapshots.
pub(crate) const SNAPSHOT: u8 = 0x31;
/// Rows as they were.
pub(crate) const PRESERVED: u8 = 0x32;
/// Which inodes have rows kept under a number.
pub(crate) const PRESERVED_IN: u8 = 0x33;

/// Read by every transaction that changes rows of inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotsRecord {
    /// Rises with every creation and deletion.
    pub changes: u64,
    /// Number of the last snapshot. None is ever used twice.
    pub last: u64,
    /// There may be folded directories ([`crate::clone::fold`]).
    pub folded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotRecord {
    pub root: InodeNo,
    /// Inode of the bucket.
    pub domain: u64,
    /// The root is a directory.
    pub directory: bool,
    pub name: String,
    /// `bucket/key` of the root when the snapshot was taken.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    pub created: Timestamp,
    /// Inodes with this number or a higher one came later.
    pub mark: u64,
    /// Made by a retention rule, and deleted by it.
    pub automatic: bool,
    /// Out of sight.
    pub deleted: bool,
    /// Rows that name it as the origin of a clone ([`crate::clone`]); as long as there are any, it is
    /// kept although deleted.
    pub clones: u64,
}

impl SnapshotRecord {
    /// Nothing needs it any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.deleted && self.clones == 0
    }
}

/// Whether rows of the table are kept for snapshots.
pub(crate) fn is_kept(table: u8) -> bool {
    matches!(
        table,
        INODE | DENTRY | EXTENT | XATTR | LINK | VOLUME | LONG_NAME | DIR_TIME | CLONE | COPIED
    )
}

/// The inode that a row of a kept table belongs to; `None` for all other rows.
pub(crate) fn owner(key: &[u8]) -> Option<InodeNo> {
    let (&table, rest) = key.split_first()?;
    let ino = rest.get(..8)?.try_into().ok()?;
    is_kept(table).then(|| InodeNo(u64::from_be_bytes(ino)))
}

/// Key of a snapshot.
pub(crate) fn snapshot_key(number: u64) -> Vec<u8> {
    schema::key(SNAPSHOT, &[&number.to_be_bytes()])
}

/// Key of the note that rows of `ino` are kept under `number`.
pub(crate) fn preserved_in_key(number: u64, ino: InodeNo) -> Vec<u8> {
    schema::key(PRESERVED_IN, &[&number.to_be_bytes(), &ino.0.to_be_bytes()])
}

/// First part of the keys of the kept rows of one table of one inode.
pub(crate) fn preserved_table(table: u8, ino: InodeNo) -> Vec<u8> {
    schema::key(PRESERVED, &[&ino.0.to_be_bytes(), &[table]])
}

/// First part of the keys under which a row whose key goes on with `rest` after table and inode is
/// kept; the snapshot number follows.
pub(crate) fn preserved_row(table: u8, ino: InodeNo, rest: &[u8]) -> Vec<u8> {
    let mut key = preserved_table(table, ino);
    key.reserve(rest.len() + 10);
    for &byte in rest {
        key.push(byte);
        if byte == 0 {
            key.push(0xff);
        }
    }
    key.extend_from_slice(&[0, 0]);
    key
}

/// The same for the row with this key.
pub(crate) fn preserved_row_of(key: &[u8]) -> Option<Vec<u8>> {
    Some(preserved_row(*key.first()?, owner(key)?, &key[9..]))
}

/// `row` (as [`preserved_row`] answers it) and the number.
pub(crate) fn preserved_key(row: &[u8], number: u64) -> Vec<u8> {
    [row, &number.to_be_bytes()].concat()
}

/// The table of a kept row.
pub(crate) fn table_of_kept(key: &[u8]) -> Option<u8> {
    key.get(9).copied()
}

/// A kept row's own key, and the number it is kept under.
pub(crate) fn parse_preserved(key: &[u8]) -> Result<(Vec<u8>, u64)> {
    let damaged = || schema::damaged("strange key of a kept row");
    let number_at = key
        .len()
        .checked_sub(8)
        .filter(|at| *at >= 12)
        .ok_or_else(damaged)?;
    let (head, escaped) = key[..number_at - 2].split_at(10);
    let mut own = Vec::with_capacity(key.len());
    own.push(head[9]);
    own.extend_from_slice(&head[1..9]);
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        own.push(byte);
        if byte == 0 && bytes.next() != Some(&0xff) {
            return Err(damaged());
        }
    }
    Ok((own, schema::number_at(key, number_at)?))
}

/// A row's old value, or that there was none, as it is kept.
pub(crate) fn encode_kept(value: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![schema::VERSION, u8::from(value.is_some())];
    bytes.extend_from_slice(value.unwrap_or_default());
    bytes
}

/// What [`encode_kept`] was given.
pub(crate) fn decode_kept(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    match schema::decode_raw(bytes)?.split_first() {
        Some((0, [])) => Ok(None),
        Some((1, value)) => Ok(Some(value.to_vec())),
        _ => Err(schema::damaged("strange kept row")),
    }
}

/// The row that every creation and deletion writes.
pub(crate) fn state(read: &(impl Read + ?Sized)) -> Result<SnapshotsRecord> {
    let Some(mut row) = read.get(&[SNAPSHOTS])? else {
        return Ok(SnapshotsRecord::default());
    };
    schema::decode(&row).or_else(|_| {
        // One that ends before the last field was written when no directory was ever folded.
        row.push(0);
        schema::decode(&row)
    })
}

/// All snapshots, deleted ones included, by number.
pub(crate) fn all(read: &(impl Read + ?Sized)) -> Result<Vec<(u64, SnapshotRecord)>> {
    let mut all = Vec::new();
    for row in schema::scan(read, &[SNAPSHOT])? {
        let (key, value) = row?;
        all.push((schema::number_at(&key, 1)?, schema::decode(&value)?));
    }
    Ok(all)
}

/// Whether something of the bucket is needed for a snapshot. `deleted`: also for one that is on its
/// way out.
pub(crate) fn any_in_bucket(read: &(impl Read + ?Sized), bucket: InodeNo, deleted: bool) -> Result<bool> {
    let all = all(read)?;
    Ok(all
        .iter()
        .any(|(_, snapshot)| snapshot.domain == bucket.0 && (deleted || !snapshot.deleted)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rest() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![Just(0u8), Just(0xffu8), any::<u8>()], 0..6)
    }

    proptest! {
        #[test]
        fn kept_rows_sort_like_rows_and_lead_back(a in rest(), b in rest(), numbers: (u64, u64)) {
            let keys = [(&a, numbers.0), (&b, numbers.1)].map(|(rest, number)| {
                preserved_key(&preserved_row(DENTRY, InodeNo(7), rest), number)
            });
            prop_assert_eq!(keys[0].cmp(&keys[1]), (&a, numbers.0).cmp(&(&b, numbers.1)));
            let own = schema::child_key(DENTRY, InodeNo(7), &a);
            prop_assert_eq!(parse_preserved(&keys[0]).unwrap(), (own, numbers.0));
        }
    }

    #[test]
    fn what_is_no_kept_row_is_damage() {
        for key in [&[PRESERVED][..], &[PRESERVED; 19], &[0; 20]] {
            assert!(parse_preserved(key).is_err() || key.len() >= 20, "{key:?}");
        }
        assert_eq!(decode_kept(&encode_kept(None)).unwrap(), None);
        assert_eq!(
            decode_kept(&encode_kept(Some(b"x"))).unwrap(),
            Some(b"x".to_vec())
        );
        assert_eq!(decode_kept(&encode_kept(Some(b""))).unwrap(), Some(Vec::new()));
        for bad in [&[][..], &[1], &[1, 2], &[9, 0], &[1, 0, 3]] {
            assert!(decode_kept(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rows_of_an_inode_have_an_owner() {
        assert_eq!(owner(&schema::extent_key(InodeNo(9), 4)), Some(InodeNo(9)));
        assert_eq!(owner(&schema::dropped_key(InodeNo(9), store::ChunkId(1))), None);
        assert_eq!(owner(&[INODE, 1]), None);
        assert_eq!(owner(&[]), None);
    }
}
