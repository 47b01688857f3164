//! The rows of quotas, and how inodes come to count to one.
use meta::{Read, Transaction};
use serde::{Deserialize, Serialize};

use super::{QuotaLimits, moves_alone};
use crate::schema::{self, InodeRecord, QUOTA, UNCOUNTED, USAGE};
use crate::{Error, InodeNo, Kind, Result, dentry, inode};

/// Quotas inside each other that are followed. Each level costs a few reads per transaction; a loop
/// would be damage.
const NESTED_MAX: usize = 64;

/// The quota of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuotaRecord {
    pub limits: QuotaLimits,
    /// The directory with a quota around it; 0: none.
    pub within: InodeNo,
    /// Everything in it is counted.
    pub counted: bool,
}

/// A sum of what is used, or a change of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub bytes: i64,
    pub inodes: i64,
}

/// What is used, or will be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub bytes: u64,
    pub inodes: u64,
}

impl Usage {
    /// One inode that has this record.
    pub(crate) fn of(record: &InodeRecord) -> Self {
        Self {
            bytes: record.allocated as i64,
            inodes: 1,
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }

    pub(crate) fn minus(self) -> Self {
        Self {
            bytes: -self.bytes,
            inodes: -self.inodes,
        }
    }

    pub(crate) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// What it comes to; less than nothing is nothing.
    pub(crate) fn amounts(self) -> Amounts {
        Amounts {
            bytes: self.bytes.max(0) as u64,
            inodes: self.inodes.max(0) as u64,
        }
    }
}

/// The quota of `dir` itself.
pub(crate) fn get(read: &(impl Read + ?Sized), dir: InodeNo) -> Result<Option<QuotaRecord>> {
    read.get(&schema::inode_key(QUOTA, dir))?
        .map(|row| schema::decode(&row))
        .transpose()
}

/// The quotas that something counts to which counts to `innermost`, from the inside out.
pub(crate) fn chain(read: &(impl Read + ?Sized), innermost: InodeNo) -> Result<Vec<(InodeNo, QuotaRecord)>> {
    let mut found = Vec::new();
    let mut at = innermost;
    while at.0 != 0 {
        let Some(record) = get(read, at)? else { break };
        if found.len() == NESTED_MAX {
            return Err(schema::damaged("quotas inside each other without end"));
        }
        found.push((at, record));
        at = record.within;
    }
    Ok(found)
}

/// What `root` holds: all its rows together. In a transaction this conflicts with every change of it.
pub(crate) fn usage(read: &(impl Read + ?Sized), root: InodeNo) -> Result<Usage> {
    let mut sum = Usage::default();
    for row in schema::scan(read, &schema::inode_key(USAGE, root))? {
        sum.add(schema::decode(&row?.1)?);
    }
    Ok(sum)
}

/// The quota that what is made in `dir` counts to.
pub(crate) fn of_directory(read: &(impl Read + ?Sized), dir: InodeNo) -> Result<InodeNo> {
    Ok(inode::load_timeless(read, dir)?.map_or(InodeNo(0), |record| record.quota))
}

/// An inode moves from a directory that counts to `from` to one that counts to `to` (both the same
/// when it stays in its directory): changes what it counts to, or refuses. The caller saves `record`.
pub(crate) fn adopt(
    tx: &mut dyn Transaction,
    ino: InodeNo,
    record: &mut InodeRecord,
    from: InodeNo,
    to: InodeNo,
) -> Result<()> {
    let counts_to = if record.quota == ino {
        // It has a quota of its own; what matters is the one around that.
        get(&*tx, ino)?.map_or(InodeNo(0), |own| own.within)
    } else {
        record.quota
    };
    if counts_to == to {
        return Ok(());
    }
    if record.quota == ino {
        return Err(Error::CrossBucket);
    }
    if moves_alone(record.kind, record.nlink) {
        record.quota = to;
        return Ok(());
    }
    if record.kind != Kind::Directory {
        // Its other names stay where they are, and so does it.
        return if from == to {
            Ok(())
        } else {
            Err(Error::CrossBucket)
        };
    }
    if dentry::is_empty(&*tx, ino)? {
        record.quota = to;
        return Ok(());
    }
    if from != to {
        return Err(Error::CrossBucket);
    }
    // Its directory is being counted and it was not reached yet; under its new name it may never be.
    record.quota = to;
    if to.0 != 0 {
        let key = schema::child_key(UNCOUNTED, to, &ino.0.to_be_bytes());
        tx.put(&key, &schema::encode_raw(&[]))?;
    }
    Ok(())
}
