//! The rows of the namespace, byte for byte.
//!
//! The first byte of a key is its table. Numbers in keys are big-endian, so that key order is number
//! order. A value is one version byte followed by a postcard record, except that an extended
//! attribute's value is the version byte followed by the raw bytes.
//!
//! | table | key after the table byte | value |
//! |---|---|---|
//! | [`NEXT_INODE`] | – | first inode number that no block was reserved up to |
//! | [`INODE`] | inode | [`InodeRecord`] |
//! | [`DENTRY`] | parent inode, name (`name/` for a directory) | [`DentryRecord`] |
//! | [`EXTENT`] | inode, offset in the file | [`ExtentRecord`] |
//! | [`XATTR`] | inode, attribute name | raw value |
//! | [`BUCKET`] | inode of the bucket's directory | [`BucketRecord`] |
//! | [`LINK`] | inode, parent inode, name | nothing: a name beyond the one in the inode record |
//! | [`UPLOAD`] | bucket inode, key (escaped, ends in 00 00), upload number | [`UploadRecord`] |
//! | [`PART`] | upload number, part number (4 bytes) | [`PartRecord`] |
//! | [`VOLUME`] | inode | [`VolumeRecord`] |
//! | [`ORPHAN`] | inode | nothing: no name leads to the inode, its rows wait to be purged |
//! | [`LONG_NAME`] | parent inode, SHA-256 of the name as in DENTRY | the name as in DENTRY |
//! | [`DROPPED`] | inode, chunk | references the inode gave up and the store still counts |
//! | [`DIR_TIME`] | directory inode | [`DirTimeRecord`] |
//! | [`QUOTA`] | directory inode | limits, the quota around it, whether it is counted |
//! | [`USAGE`] | directory inode; for a change: and its number (16 bytes) | bytes and inodes: a sum, or a change of it |
//! | [`UNCOUNTED`] | inode of a quota's directory, inode of a directory in it | name after which its entries are not counted yet |
//! | [`RAGGED`] | inode | its generation when small writes left it in pieces |
//! | [`TRASH`] | bucket inode | its directory, and how long something stays |
//! | [`TRASHED`] | bucket inode, moment of deletion, inode | the key that it had |
//! | [`TRASHED_AT`] | inode | that moment |
//! | [`LOCKS`] | inode | who holds which bytes of it ([`crate::locks`]) |
//! | [`ATTACHED`] | inode | the gateway that has it attached as a block device |
//! | [`INQUIRY`] | 0; for an answer: 1, member (2 bytes) | what a gateway asks the others, and what they say ([`crate::inquiry`]) |
//! | [`LOCK_WAITS`] | member, generation, owner | whom that owner waits for to get a lock |
//!
//! Tables from [`LOCKS`] on are of the gateways that run now: no checkpoint has them.
//!
//! | [`VERSIONING`] | bucket inode | whether its objects are versioned |
//! | [`VERSION_OF_KEY`] | bucket inode, key (escaped, ends in 00 00), position with all bits flipped | a version that is not the present one, or a delete marker ([`crate::version`]) |
//! | [`VERSION_ID`] | inode | id of the version that it is; none: `null` |
//! | [`NULL_VERSION`] | bucket inode, key (escaped, ends in 00 00) | position of its VERSION_OF_KEY row whose id is `null` |
//! | [`BUCKET_SETTING`] | bucket inode (the root: of all), name of the setting | raw value ([`crate::setting`]) |
//!
//! The tables of snapshots are described in [`crate::snapshot::row`].
//!
//! Times of a directory live in a row of their own, which is written without being read: creating
//! names in one directory from many requests at once therefore never conflicts on that directory.
use std::ops::Bound;

use meta::{KeyValue, Read};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::ChunkId;

use crate::{Error, InodeNo, Kind, ObjectMeta, Result, Timestamp};

pub(crate) const NEXT_INODE: u8 = 0x01;
pub(crate) const INODE: u8 = 0x02;
pub(crate) const DENTRY: u8 = 0x03;
pub(crate) const EXTENT: u8 = 0x04;
pub(crate) const XATTR: u8 = 0x05;
pub(crate) const BUCKET: u8 = 0x06;
pub(crate) const LINK: u8 = 0x07;
pub(crate) const UPLOAD: u8 = 0x08;
pub(crate) const PART: u8 = 0x09;
pub(crate) const VOLUME: u8 = 0x0a;
pub(crate) const ORPHAN: u8 = 0x0b;
pub(crate) const LONG_NAME: u8 = 0x0c;
pub(crate) const DROPPED: u8 = 0x0d;
pub(crate) const DIR_TIME: u8 = 0x0e;
pub(crate) const QUOTA: u8 = 0x20;
pub(crate) const USAGE: u8 = 0x21;
pub(crate) const UNCOUNTED: u8 = 0x22;
pub(crate) const RAGGED: u8 = 0x23;
pub(crate) const TRASH: u8 = 0x24;
pub(crate) const TRASHED: u8 = 0x25;
pub(crate) const TRASHED_AT: u8 = 0x26;
pub(crate) const VERSIONING: u8 = 0x27;
pub(crate) const VERSION_OF_KEY: u8 = 0x28;
pub(crate) const VERSION_ID: u8 = 0x29;
pub(crate) const NULL_VERSION: u8 = 0x2a;
pub(crate) const BUCKET_SETTING: u8 = 0x2b;

pub(crate) const LOCKS: u8 = 0x7c;
pub(crate) const ATTACHED: u8 = 0x7d;
pub(crate) const INQUIRY: u8 = 0x7e;
pub(crate) const LOCK_WAITS: u8 = 0x7f;

/// First byte of every value this build writes.
pub(crate) const VERSION: u8 = 1;

/// A key: the table, then the parts one after the other.
pub(crate) fn key(table: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(table);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// Key of a table that is keyed by one inode.
pub(crate) fn inode_key(table: u8, ino: InodeNo) -> [u8; 9] {
    let mut key = [table; 9];
    key[1..].copy_from_slice(&ino.0.to_be_bytes());
    key
}

/// Key of a table keyed by an inode and a suffix.
pub(crate) fn child_key(table: u8, ino: InodeNo, suffix: &[u8]) -> Vec<u8> {
    key(table, &[&ino.0.to_be_bytes(), suffix])
}

/// Key of an extent.
pub(crate) fn extent_key(ino: InodeNo, offset: u64) -> [u8; 17] {
    let mut key = [EXTENT; 17];
    key[1..9].copy_from_slice(&ino.0.to_be_bytes());
    key[9..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// Key of a dropped reference.
pub(crate) fn dropped_key(ino: InodeNo, chunk: ChunkId) -> [u8; 17] {
    let mut key = [DROPPED; 17];
    key[1..9].copy_from_slice(&ino.0.to_be_bytes());
    key[9..].copy_from_slice(&chunk.0.to_be_bytes());
    key
}

/// Key of a part.
pub(crate) fn part_key(upload: u64, number: u32) -> [u8; 13] {
    let mut key = [PART; 13];
    key[1..9].copy_from_slice(&upload.to_be_bytes());
    key[9..].copy_from_slice(&number.to_be_bytes());
    key
}

/// A name as a part of a key that something follows: 00 becomes 00 ff. Behind it comes 00 00, so that
/// rows sort as the names and no name is the beginning of another.
pub(crate) fn escape(name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len() + 2);
    for &byte in name {
        escaped.push(byte);
        if byte == 0 {
            escaped.push(0xff);
        }
    }
    escaped
}

/// What [`escape`] was given.
pub(crate) fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        name.push(byte);
        if byte == 0 {
            bytes.next();
        }
    }
    name
}

/// The number in `key` at byte `at`.
pub(crate) fn number_at(key: &[u8], at: usize) -> Result<u64> {
    key.get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u64::from_be_bytes)
        .ok_or_else(|| damaged("short key"))
}

/// The smallest key after all keys that begin with `prefix`; `None` if there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Rows whose key begins with `prefix`, from the bound (a whole key) on.
pub(crate) fn scan_from<'a, R: Read + ?Sized>(
    read: &'a R,
    prefix: &[u8],
    from: Bound<&[u8]>,
) -> Result<Box<dyn Iterator<Item = meta::Result<KeyValue>> + 'a>> {
    let end = after_prefix(prefix);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    Ok(read.range(from, to, false)?)
}

/// Rows whose key begins with `prefix`.
pub(crate) fn scan<'a, R: Read + ?Sized>(
    read: &'a R,
    prefix: &[u8],
) -> Result<Box<dyn Iterator<Item = meta::Result<KeyValue>> + 'a>> {
    scan_from(read, prefix, Bound::Included(prefix))
}

/// Room for a value that is about to be written: an inode with a name of usual length.
const TYPICAL_VALUE: usize = 128;

/// A record as a value.
pub(crate) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>> {
    let mut value = Vec::with_capacity(TYPICAL_VALUE);
    value.push(VERSION);
    postcard::to_extend(record, value)
        .map_err(|error| Error::Internal(format!("cannot encode a row: {error}")))
}

/// A value as a record.
pub(crate) fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T> {
    postcard::from_bytes(decode_raw(value)?).map_err(|_| damaged("unreadable row"))
}

/// A raw value with its version byte.
pub(crate) fn encode_raw(value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len() + 1);
    bytes.push(VERSION);
    bytes.extend_from_slice(value);
    bytes
}

/// A raw value without its version byte.
pub(crate) fn decode_raw(value: &[u8]) -> Result<&[u8]> {
    match value.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        _ => Err(damaged("row of an unknown version")),
    }
}

/// The metadata holds something this program never wrote.
pub(crate) fn damaged(what: &str) -> Error {
    Error::Damaged(format!("namespace metadata: {what}"))
}

/// What is known of an inode besides its bytes, names and attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InodeRecord {
    /// The first field: it can be read without the rest.
    pub kind: Kind,
    /// Permission bits (07777).
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Names of a non-directory; 2 + subdirectories of a directory; 0 of an orphan.
    pub nlink: u32,
    /// Device number of a device node.
    pub rdev: u32,
    /// Bytes.
    pub size: u64,
    /// Sum of the lengths of its extents.
    pub allocated: u64,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub birth: Timestamp,
    /// Last change of content through any door.
    pub modified: Timestamp,
    /// Inode of its bucket, which is its key domain; 0 for the root.
    pub domain: u64,
    /// Where one of its names is: the directory; 0 when it has none.
    pub parent: InodeNo,
    /// That name, as in DENTRY.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
    /// Rises with every committed change of content.
    pub generation: u64,
    /// ETag that a client knows; `None` when POSIX or NBD wrote last.
    pub etag: Option<String>,
    /// Parts of a multipart object.
    pub parts: Option<u32>,
    /// Upload that made it.
    pub upload: Option<u64>,
    /// A directory that S3 lists.
    pub explicit: bool,
    /// The mtime was not set by the last PUT.
    pub mtime_is_posix: bool,
    /// Only [`crate::Vfs::resize_volume`] changes the size.
    pub fixed_size: bool,
    /// Target of a symlink.
    #[serde(with = "serde_bytes")]
    pub target: Vec<u8>,
    /// The innermost directory with a quota that it counts to, maybe itself; 0: it counts nowhere.
    /// The last field: whether it is 0 shows in the last byte of the row.
    pub quota: InodeNo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DentryRecord {
    pub ino: InodeNo,
    pub kind: Kind,
}

/// `len` bytes of a chunk from byte `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExtentRecord {
    pub chunk: ChunkId,
    pub start: u32,
    pub len: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketRecord {
    pub created: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadRecord {
    pub created: Timestamp,
    /// Makes the upload's id hard to guess.
    pub nonce: u64,
    pub meta: ObjectMeta,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartRecord {
    /// Nameless inode that holds the bytes.
    pub ino: InodeNo,
    pub size: u64,
    pub etag: String,
    pub modified: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeRecord {
    pub sector: u32,
    pub description: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DirTimeRecord {
    pub mtime: Timestamp,
    pub ctime: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_like_numbers() {
        assert!(extent_key(InodeNo(1), 0xff) < extent_key(InodeNo(1), 0x100));
        assert!(extent_key(InodeNo(1), u64::MAX) < extent_key(InodeNo(2), 0));
        assert_eq!(number_at(&extent_key(InodeNo(7), 9), 1).unwrap(), 7);
        assert_eq!(number_at(&extent_key(InodeNo(7), 9), 9).unwrap(), 9);
        assert!(number_at(&[1, 2], 1).is_err());
    }

    #[test]
    fn after_prefix_is_the_next_key() {
        assert_eq!(after_prefix(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(after_prefix(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(after_prefix(&[0xff]), None);
        assert_eq!(after_prefix(&[]), None);
    }

    #[test]
    fn unknown_versions_and_torn_rows_are_damage() {
        let row = encode(&DentryRecord {
            ino: InodeNo(300),
            kind: Kind::File,
        })
        .unwrap();
        assert_eq!(decode::<DentryRecord>(&row).unwrap().ino, InodeNo(300));
        let mut other = row.clone();
        other[0] = 9;
        assert!(matches!(decode::<DentryRecord>(&other), Err(Error::Damaged(_))));
        assert!(matches!(
            decode::<DentryRecord>(&row[..2]),
            Err(Error::Damaged(_))
        ));
        assert!(matches!(decode::<DentryRecord>(&[]), Err(Error::Damaged(_))));
    }
}
