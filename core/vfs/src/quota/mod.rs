//! Quotas: how many bytes and inodes a bucket or directory may hold.
//!
//! **What counts where.** Every inode record names the innermost directory with a quota that it
//! counts to ([`InodeRecord::quota`](crate::schema::InodeRecord)); a new inode takes it over from
//! the directory of its first name. A directory with a quota counts to itself, and its row names the
//! quota around it, so that quotas nest. An inode counts as one inode and as the bytes of its
//! extents (`allocated`): holes cost nothing, bytes that several inodes share count for each, and an
//! inode with several names counts once. Parts of an upload count to the bucket. Nameless inodes
//! that somebody has open count until they are closed.
//!
//! **Counting** happens in the transaction that changes what is counted, whatever it does:
//! [`tally`] compares each inode record that a transaction writes or deletes with the one before.
//! The sum of a quota would be written by every transaction below it, and all of them would conflict
//! on it. So each transaction adds a row of its own with its change, whose key nobody else has; it
//! reads no sum and conflicts with nobody. Used is what all these rows say together. A worker folds
//! them into one ([`count`]) about once a second.
//!
//! **Enforcing** must be exact although nobody locks the sum: [`room`] sets aside in memory what a
//! transaction (or a write that is only buffered yet) will take, before it commits, and until it has
//! committed. What is stored plus what is set aside is never less than the truth.
//!
//! **Setting** a quota on a directory that holds something begins to count it: the directory's own
//! record is changed at once, so that what is made in it from then on counts; what was there before
//! is counted directory by directory in the background, resumes after a crash, and the limits hold
//! from the moment it is through.
//!
//! **Moving** between quotas would mean counting again whatever lies below. A file moves with what it
//! counts for; a directory that is not empty does not: [`CrossBucket`](crate::Error::CrossBucket),
//! as between buckets, on which `mv` copies.
mod count;
mod cover;
mod record;
mod room;
mod tally;
mod versions;

use meta::{Durability, Read};
use serde::{Deserialize, Serialize};

pub(crate) use self::count::run;
pub(crate) use self::record::{QuotaRecord, adopt, of_directory};
pub(crate) use self::room::{Quotas, Room};
pub(crate) use self::tally::Tally;
use self::versions::VERSIONS;
use crate::schema::{self, QUOTA, UNCOUNTED};
use crate::{Error, InodeNo, Kind, Result, StatFs, Vfs, bucket, inode, object, posix, trash};

/// Limits of a directory; `None`: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaLimits {
    /// Most bytes of file content.
    pub bytes: Option<u64>,
    /// Most inodes, the directory itself included.
    pub inodes: Option<u64>,
}

/// A directory with a quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaInfo {
    /// `bucket/` or `bucket/directory/`.
    pub path: String,
    /// Its inode number.
    pub ino: u64,
    /// What it may hold.
    pub limits: QuotaLimits,
    /// Bytes that it holds.
    pub used_bytes: u64,
    /// Inodes that it holds, itself included.
    pub used_inodes: u64,
    /// Whether all of it is counted. Until then the limits do not hold yet.
    pub counted: bool,
}

impl Vfs {
    /// The directory at `bucket` or `bucket/directory`, with or without a `/` at the end.
    pub async fn directory_at(&self, path: &str) -> Result<InodeNo> {
        let path = path.trim_end_matches('/');
        if !path.contains('/') {
            return bucket::find(&*self.core.snapshot()?, path);
        }
        let (bucket, key) = object::split_path(format!("{path}/").as_bytes())
            .map(|(bucket, key)| (bucket.to_owned(), key))?;
        let look = || {
            let snapshot = self.core.snapshot()?;
            let bucket = bucket::find(&*snapshot, &bucket)?;
            object::find(&*snapshot, bucket, &key)?.ok_or(Error::NotFound)
        };
        Ok(self.core.unfolding(look).await?.ino)
    }

    /// Sets what the directory `dir` may hold; no limit at all lifts its quota. Durable when it
    /// returns. A directory that had none before and is not empty is counted in the background, and
    /// its limits hold from then on.
    pub async fn set_quota(&self, dir: InodeNo, limits: QuotaLimits) -> Result<QuotaInfo> {
        if dir == InodeNo::ROOT {
            return Err(Error::Invalid("a quota is of a bucket or of a directory in one"));
        }
        self.core.quotas.exist();
        self.core
            .write_beyond_limits(Durability::Synced, move |tx| {
                let mut record = inode::live_directory(&*tx, dir)?;
                trash::refuse(&*tx, dir, &record)?;
                let key = schema::inode_key(QUOTA, dir);
                let quota = match record::get(&*tx, dir)? {
                    Some(known) => QuotaRecord { limits, ..known },
                    None => {
                        let within = record.quota;
                        record.quota = dir;
                        let begin = schema::child_key(UNCOUNTED, dir, &dir.0.to_be_bytes());
                        tx.put(&begin, &schema::encode_raw(&[]))?;
                        if record.domain == dir.0 {
                            let versions = schema::child_key(UNCOUNTED, dir, &VERSIONS.0.to_be_bytes());
                            tx.put(&versions, &schema::encode_raw(&[]))?;
                        }
                        QuotaRecord {
                            limits,
                            within,
                            counted: false,
                        }
                    }
                };
                tx.put(&key, &schema::encode(&quota)?)?;
                inode::put(tx, dir, &record)
            })
            .await?;
        self.core.quotas.count_wanted.notify_one();
        self.quota(dir).await?.ok_or(Error::NotFound)
    }

    /// The quota of a directory, if it has one of its own.
    pub async fn quota(&self, dir: InodeNo) -> Result<Option<QuotaInfo>> {
        let snapshot = self.core.snapshot()?;
        match record::get(&*snapshot, dir)? {
            Some(record) => describe(&*snapshot, dir, record),
            None => Ok(None),
        }
    }

    /// All quotas that limit something, by path.
    pub async fn quotas(&self) -> Result<Vec<QuotaInfo>> {
        let snapshot = self.core.snapshot()?;
        let mut found = Vec::new();
        for row in schema::scan(&*snapshot, &[QUOTA])? {
            let (key, value) = row?;
            let record: QuotaRecord = schema::decode(&value)?;
            if record.limits != QuotaLimits::default() {
                found.extend(describe(
                    &*snapshot,
                    InodeNo(schema::number_at(&key, 1)?),
                    record,
                )?);
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Space and inodes as `ino` has them: what the quotas leave that it counts to, else what
    /// [`Vfs::statfs`] says. The size is the limit of the innermost quota, what is free the least
    /// that any of them leaves.
    pub async fn statfs_at(&self, ino: InodeNo) -> Result<StatFs> {
        let mut space = self.statfs().await?;
        let snapshot = self.core.snapshot()?;
        let Some(record) = inode::load_timeless(&*snapshot, ino)? else {
            return Ok(space);
        };
        let (mut bytes, mut inodes) = (None, None);
        for (root, quota) in record::chain(&*snapshot, record.quota)? {
            if !quota.counted {
                continue;
            }
            let used = record::usage(&*snapshot, root)?.amounts();
            if let Some(limit) = quota.limits.bytes {
                let free = limit.saturating_sub(used.bytes);
                let (total, least) = bytes.unwrap_or((limit, free));
                bytes = Some((total, free.min(least)));
            }
            if let Some(limit) = quota.limits.inodes {
                let free = limit.saturating_sub(used.inodes);
                let (total, least) = inodes.unwrap_or((used.inodes.max(limit), free));
                inodes = Some((total, free.min(least)));
            }
        }
        if let Some((total, free)) = bytes {
            space.total_bytes = total;
            space.free_bytes = free;
        }
        if let Some((total, free)) = inodes {
            space.inodes = total - free;
            space.free_inodes = Some(free);
        }
        Ok(space)
    }
}

/// `None` when the directory is gone.
fn describe(read: &(impl Read + ?Sized), dir: InodeNo, record: QuotaRecord) -> Result<Option<QuotaInfo>> {
    let Some(path) = posix::lookup::path(read, dir)? else {
        return Ok(None);
    };
    let used = record::usage(read, dir)?.amounts();
    Ok(Some(QuotaInfo {
        path: String::from_utf8_lossy(&path).into_owned(),
        ino: dir.0,
        limits: record.limits,
        used_bytes: used.bytes,
        used_inodes: used.inodes,
        counted: record.counted,
    }))
}

/// Whether an inode of this kind can be moved with what it counts for: see the module.
pub(crate) fn moves_alone(kind: Kind, nlink: u32) -> bool {
    kind != Kind::Directory && nlink == 1
}
