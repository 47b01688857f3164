//! Inode records: loading, saving, and what doors see of them.
use std::ops::Bound;

use meta::{Read, Transaction};

use crate::schema::{self, DIR_TIME, DirTimeRecord, INODE, InodeRecord};
use crate::{Attr, Error, InodeNo, Kind, Result, Timestamp};

/// Most names of one inode (as ext4).
pub(crate) const LINKS_MAX: u32 = 65_000;
/// Largest file: offsets are signed 64-bit in POSIX.
pub(crate) const SIZE_MAX: u64 = i64::MAX as u64;

/// A new inode that has no name yet.
pub(crate) fn new(kind: Kind, mode: u32, uid: u32, gid: u32, domain: u64, now: Timestamp) -> InodeRecord {
    InodeRecord {
        kind,
        mode: mode & 0o7777,
        uid,
        gid,
        nlink: if kind == Kind::Directory { 2 } else { 0 },
        rdev: 0,
        size: 0,
        allocated: 0,
        atime: now,
        mtime: now,
        ctime: now,
        birth: now,
        modified: now,
        domain,
        parent: InodeNo(0),
        name: Vec::new(),
        generation: 0,
        etag: None,
        parts: None,
        upload: None,
        explicit: false,
        mtime_is_posix: false,
        fixed_size: false,
        target: Vec::new(),
        quota: InodeNo(0),
    }
}

/// A row as a record. One that ends before the last field counts to no quota.
pub(crate) fn decode(row: &[u8]) -> Result<InodeRecord> {
    schema::decode(row).or_else(|_| {
        let mut whole = row.to_vec();
        whole.push(0);
        schema::decode(&whole)
    })
}

/// What the inode is, without decoding the rest of its record: it is the first field.
pub(crate) fn kind(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<Option<Kind>> {
    let Some(row) = read.get(&schema::inode_key(INODE, ino))? else {
        return Ok(None);
    };
    let (kind, _) = postcard::take_from_bytes(schema::decode_raw(&row)?)
        .map_err(|_| schema::damaged("unreadable row"))?;
    Ok(Some(kind))
}

/// The record without the times of a directory, which other transactions write at any moment.
pub(crate) fn load_timeless(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<Option<InodeRecord>> {
    read.get(&schema::inode_key(INODE, ino))?
        .map(|value| decode(&value))
        .transpose()
}

/// Inodes that lie between two wanted ones and are read past rather than looked up anew.
const GAP: u64 = 4;
/// Neighbours that are worth a scan: to begin one takes as long as some look-ups.
const SCANNED: usize = 8;

/// The records of those of `inos`, which ascend without repetition, that are no directories (which have
/// their times in rows of their own), in that order. Neighbours are read in one scan, which costs a
/// fraction of as many look-ups and does not grow with what else the engine holds.
pub(crate) fn load_files(
    read: &(impl Read + ?Sized),
    inos: &[InodeNo],
) -> Result<Vec<(InodeNo, InodeRecord)>> {
    let mut found = Vec::with_capacity(inos.len());
    let mut keep = |ino: InodeNo, row: &[u8]| -> Result<()> {
        let record = decode(row)?;
        if record.kind != Kind::Directory {
            found.push((ino, record));
        }
        Ok(())
    };
    for run in inos.chunk_by(|a, b| b.0 - a.0 <= GAP) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        if run.len() < SCANNED {
            for &ino in run {
                if let Some(row) = read.get(&schema::inode_key(INODE, ino))? {
                    keep(ino, &row)?;
                }
            }
            continue;
        }
        let (from, to) = (schema::inode_key(INODE, *first), schema::inode_key(INODE, *last));
        let mut wanted = run.iter().copied().peekable();
        for row in read.range(Bound::Included(&from), Bound::Included(&to), false)? {
            let (key, value) = row?;
            let ino = InodeNo(schema::number_at(&key, 1)?);
            while wanted.next_if(|wanted| *wanted < ino).is_some() {}
            if wanted.next_if_eq(&ino).is_some() {
                keep(ino, &value)?;
            }
        }
    }
    Ok(found)
}

/// The record.
pub(crate) fn load(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<Option<InodeRecord>> {
    let Some(mut record) = load_timeless(read, ino)? else {
        return Ok(None);
    };
    if record.kind == Kind::Directory
        && let Some(times) = read.get(&schema::inode_key(DIR_TIME, ino))?
    {
        let times: DirTimeRecord = schema::decode(&times)?;
        record.mtime = times.mtime;
        record.ctime = times.ctime;
    }
    Ok(Some(record))
}

/// The record, or `NotFound`.
pub(crate) fn get(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<InodeRecord> {
    load(read, ino)?.ok_or(Error::NotFound)
}

/// The record of a directory that may take names. Leaves its times alone.
pub(crate) fn live_directory(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<InodeRecord> {
    let record = load_timeless(read, ino)?.ok_or(Error::NotFound)?;
    if record.kind != Kind::Directory {
        return Err(Error::NotDirectory);
    }
    // A removed directory that is still open takes no names.
    if record.nlink == 0 {
        Err(Error::NotFound)
    } else {
        Ok(record)
    }
}

/// Saves a record; times of a directory go with [`put_directory_times`].
pub(crate) fn put(tx: &mut dyn Transaction, ino: InodeNo, record: &InodeRecord) -> Result<()> {
    Ok(tx.put(&schema::inode_key(INODE, ino), &schema::encode(record)?)?)
}

/// Sets the times of a directory without reading anything.
pub(crate) fn put_directory_times(
    tx: &mut dyn Transaction,
    ino: InodeNo,
    mtime: Timestamp,
    ctime: Timestamp,
) -> Result<()> {
    Ok(tx.put(
        &schema::inode_key(DIR_TIME, ino),
        &schema::encode(&DirTimeRecord { mtime, ctime })?,
    )?)
}

/// A name in the directory came or went.
pub(crate) fn touch_directory(tx: &mut dyn Transaction, ino: InodeNo, now: Timestamp) -> Result<()> {
    put_directory_times(tx, ino, now, now)
}

/// ETag without quotes.
pub(crate) fn etag(ino: InodeNo, record: &InodeRecord) -> String {
    match &record.etag {
        Some(etag) => etag.clone(),
        None => format!("{:016x}-{:016x}", ino.0, record.generation),
    }
}

/// What POSIX sees.
pub(crate) fn attr(ino: InodeNo, record: &InodeRecord) -> Attr {
    Attr {
        ino,
        kind: record.kind,
        mode: record.mode,
        uid: record.uid,
        gid: record.gid,
        nlink: record.nlink,
        rdev: record.rdev,
        size: if record.kind == Kind::Symlink {
            record.target.len() as u64
        } else {
            record.size
        },
        allocated: record.allocated,
        atime: record.atime,
        mtime: record.mtime,
        ctime: record.ctime,
        birth: record.birth,
    }
}
