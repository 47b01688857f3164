//! Versions: what an object was before it was replaced or deleted.
//!
//! A bucket is unversioned until somebody enables versioning; from then on it is *enabled* or
//! *suspended*. The rules are those of S3:
//!
//! | | enabled | suspended |
//! |---|---|---|
//! | a new object | has an id of its own | is `null` |
//! | what it replaces | becomes a version | becomes a version, unless it is `null`: that goes |
//! | an older `null` version | stays | goes |
//! | a deletion | makes a delete marker with an id | makes a delete marker that is `null` |
//!
//! **The present state stays the tree of dentries** and nothing else: mounts, exports and listings of
//! objects never look at a version. What is replaced or deleted loses its name and gets a row in
//! VERSION_OF_KEY instead, in the same transaction: the same inode, the same extents, no byte moves.
//! When the newest of a key is removed by its id, the one before it gets its name back.
//!
//! **Ids** are moments in nanoseconds, at least one above the newest of the key: they are ordered
//! without a counter that all writers of a bucket would share. An inode that has no id is `null`, so
//! that enabling versioning touches no object.
//!
//! **Keys, not places.** The rows are keyed by bucket and key, not by directory: a version outlives
//! its directory and stays under its key when a mount renames the directory above it.
//!
//! What has no versions: keys that end in `/` (a directory has one state), what lies in the trash,
//! paths of a mount over 1,024 bytes (no S3 client can name them), and a file that has further names:
//! it is still there under those. What a mount or an export writes *into* an object changes the
//! present version, as a write in place does everywhere; replacing it by a rename, or deleting it,
//! makes a version. Two files that trade names keep what they are.
//!
//! What a versioned bucket keeps counts to the quota of the bucket, and not to that of a directory.
//! Deletions make versions and nothing goes to the trash, except what suspended versioning gives up.
//! Snapshots hold the present state of their moment, and no older one.
mod find;
mod history;
mod list;
mod remove;
pub(crate) mod row;

use std::fmt;

use meta::{Durability, Read, Transaction};
use serde::{Deserialize, Serialize};

pub use self::find::FoundVersion;
pub(crate) use self::find::ino_of;
pub(crate) use self::history::{Histories, History};
pub use self::list::{VersionEntry, VersionPage, VersionRequest};
pub use self::remove::Deleted;
use crate::schema::{self, InodeRecord, VERSIONING};
use crate::{Error, InodeNo, Kind, Result, Vfs, bucket, object_lock};

/// What a versioned bucket does with what is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    /// Everything is kept.
    Enabled,
    /// What has an id is kept; new objects and delete markers are `null` and replace each other.
    Suspended,
}

/// Names a version of a key. Ids of one key are never used twice; they say nothing to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionId(pub(crate) u64);

impl VersionId {
    /// The version that a key has without versioning.
    pub const NULL: Self = Self(0);

    /// An id as [`fmt::Display`] writes it; `None` for what never was one.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::NULL);
        }
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(is_digit) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().filter(|id| *id != 0).map(Self)
    }
}

/// `null`, or 16 hexadecimal digits.
impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("null"),
            id => write!(f, "{id:016x}"),
        }
    }
}

impl Vfs {
    /// What a bucket does with what is replaced; `None`: it was never versioned.
    pub async fn versioning(&self, bucket: &str) -> Result<Option<Versioning>> {
        let snapshot = self.core.snapshot()?;
        let bucket = bucket::find(&*snapshot, bucket)?;
        row::state(&*snapshot, bucket)
    }

    /// Sets what a bucket does with what is replaced from now on; durable when it returns. `None`, for
    /// a bucket as it was before, is [`Error::NotEmpty`] while it has versions or delete markers. With
    /// Object Lock it stays enabled: all else is [`Error::Locked`].
    pub async fn set_versioning(&self, bucket: &str, versioning: Option<Versioning>) -> Result<()> {
        let name = bucket.to_owned();
        self.core
            .write(Durability::Synced, move |tx| {
                let bucket = bucket::find(&*tx, &name)?;
                if versioning != Some(Versioning::Enabled) && object_lock::of_bucket(&*tx, bucket)?.is_some()
                {
                    return Err(Error::Locked);
                }
                match versioning {
                    Some(state) => {
                        Ok(tx.put(&schema::inode_key(VERSIONING, bucket), &schema::encode(&state)?)?)
                    }
                    None => drop_bucket(tx, bucket),
                }
            })
            .await
    }
}

/// The bucket is to be removed, or to be unversioned: `NotEmpty` when it has versions.
pub(crate) fn drop_bucket(tx: &mut dyn Transaction, bucket: InodeNo) -> Result<()> {
    if row::any_in_bucket(&*tx, bucket)? {
        return Err(Error::NotEmpty);
    }
    Ok(tx.delete(&schema::inode_key(VERSIONING, bucket))?)
}

/// Which version an object is, for who asks for it.
pub(crate) fn shown(
    read: &(impl Read + ?Sized),
    ino: InodeNo,
    record: &InodeRecord,
) -> Result<Option<VersionId>> {
    match row::state(read, InodeNo(record.domain))? {
        None => Ok(None),
        Some(_) if record.kind != Kind::File => Ok(Some(VersionId::NULL)),
        Some(_) => row::id_of(read, ino).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_and_nothing_else_is_one() {
        for id in [VersionId::NULL, VersionId(1), VersionId(u64::MAX)] {
            assert_eq!(VersionId::parse(&id.to_string()), Some(id));
        }
        for strange in [
            "",
            "Null",
            "1",
            "0000000000000000",
            "+000000000000001",
            "000000000000000G",
            "000000000000000A",
            "00000000000000001",
        ] {
            assert_eq!(VersionId::parse(strange), None, "{strange}");
        }
    }
}
