//! Putting an object in its place: the one transaction in which a PUT, a copy and a completed
//! upload become visible.
use meta::Transaction;
use store::{StagedChunk, Store};

use super::key::{Key, leaf};
use super::{assemble, delete};
use crate::extent::{self, Extent};
use crate::schema::{self, ExtentRecord, INODE, InodeRecord, ORPHAN};
use crate::snapshot::number::Place;
use crate::version::History;
use crate::vfs::Core;
use crate::{
    Error, InodeNo, Kind, ObjectInfo, ObjectMeta, Precondition, Result, Timestamp, bucket, dentry, inode,
    object_lock, posix, snapshot, trash, version, xattrs,
};

/// Permission bits of what S3 makes.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Where the bytes of a new object come from.
pub(crate) enum Content<'a> {
    /// Chunks staged by a writer, and whether earlier ones are on the inode already.
    Staged(&'a [(u64, StagedChunk)]),
    /// A range of another inode of the same bucket, in a snapshot too.
    Shared {
        from: Place,
        range: std::ops::Range<u64>,
    },
    /// Nameless inodes, one after the other, with their sizes.
    Parts(&'a [(InodeNo, u64)]),
    /// The inode to be has them already; it shared them with these parts.
    Gathered(&'a [(InodeNo, u64)]),
}

/// An object to be.
#[derive(Clone)]
pub(crate) struct NewObject {
    pub bucket: String,
    /// The directory that the bucket had when the bytes were staged.
    pub bucket_ino: InodeNo,
    pub key: Key,
    /// The inode, followed by spare numbers for directories, as many as the key is deep.
    pub ino: InodeNo,
    pub size: u64,
    /// `None`: opaque.
    pub etag: Option<String>,
    pub meta: ObjectMeta,
    pub parts: Option<u32>,
    pub upload: Option<u64>,
    pub precondition: Precondition,
    pub now: Timestamp,
    /// Set for a volume.
    pub fixed_size: bool,
}

/// What [`place`] did.
pub(crate) struct Placed {
    pub info: ObjectInfo,
    /// Inodes more (or fewer) than before, orphans not counted.
    pub inodes: i64,
}

/// Fills the inode and gives it the key.
pub(crate) fn place(
    tx: &mut dyn Transaction,
    core: &Core,
    new: &NewObject,
    content: &Content<'_>,
) -> Result<Placed> {
    let bucket = bucket::find(&*tx, &new.bucket)?;
    if bucket != new.bucket_ino {
        return Err(Error::NoSuchBucket);
    }
    snapshot::refuse_change(&*tx, &core.known, bucket, new.key.bytes())?;
    let mut inodes = 1;
    // The numbers after the object's own are for directories.
    let spare = InodeNo(new.ino.0 + 1);
    let (parent, existing) = make_directories(tx, bucket, &new.key, spare, new.now, &mut inodes)?;
    check(tx, core, existing, &new.precondition)?;
    let old = match existing {
        Some(ino) => {
            let record = inode::get(&*tx, ino)?;
            delete::refuse_attached(&*tx, core, ino, &record)?;
            Some((ino, record))
        }
        None => None,
    };
    let allocated = fill(tx, &core.store, new, content)?;
    let parent_record = inode::live_directory(&*tx, parent)?;
    trash::refuse(&*tx, parent, &parent_record)?;
    let mut versioned = false;
    let (ino, mut record) = if new.key.is_directory() {
        // The directory stays; only its content changes.
        let (ino, record) = old.ok_or_else(|| schema::damaged("a directory vanished in its transaction"))?;
        trash::refuse(&*tx, ino, &record)?;
        extent::remove(tx, &core.store, ino, &(0..u64::MAX))?;
        extent::take_over(tx, new.ino, ino, 0)?;
        tx.delete(&schema::inode_key(INODE, new.ino))?;
        inodes -= 1;
        (ino, record)
    } else {
        let like = old.as_ref().filter(|(_, old)| old.kind == Kind::File);
        let (mode, uid, gid) = like.map_or((FILE_MODE, parent_record.uid, parent_record.gid), |(_, old)| {
            (old.mode, old.uid, old.gid)
        });
        let mut record = inode::new(Kind::File, mode, uid, gid, bucket.0, new.now);
        record.nlink = 1;
        let history = History::of(&*tx, bucket, new.key.bytes())?;
        versioned = history.is_some();
        if let Some((old, _)) = old {
            let kept = match &history {
                Some(history) => history.keep(tx, parent, leaf(&new.key), old, new.now)?,
                None => false,
            };
            if !kept {
                posix::remove::remove_file(tx, &core.nodes, parent, leaf(&new.key), old, new.now)?;
            }
        }
        if let Some(history) = &history {
            history.arrive(tx, &core.nodes, new.ino, new.now)?;
        }
        dentry::attach(tx, parent, leaf(&new.key), new.ino, &mut record)?;
        inode::touch_directory(tx, parent, new.now)?;
        (new.ino, record)
    };
    // A writer that had much to store made the inode early, as an orphan.
    tx.delete(&schema::inode_key(ORPHAN, new.ino))?;
    record.explicit = true;
    record.size = new.size;
    record.allocated = allocated;
    record.etag.clone_from(&new.etag);
    record.parts = new.parts;
    record.upload = new.upload;
    record.fixed_size = new.fixed_size;
    record.generation += 1;
    record.modified = new.now;
    record.ctime = new.now;
    record.mtime = xattrs::mtime_of(&new.meta).unwrap_or(new.now);
    record.mtime_is_posix = false;
    inode::put(tx, ino, &record)?;
    if record.kind == Kind::Directory {
        inode::put_directory_times(tx, ino, record.mtime, record.ctime)?;
    }
    // A volume is made before it is written, as what a mount makes: nothing holds it.
    let held = versioned && !new.fixed_size;
    let meta = object_lock::with_default(&*tx, bucket, &new.key, held, &new.meta)?;
    xattrs::put_object_meta(tx, ino, &meta)?;
    Ok(Placed {
        info: info(&*tx, ino, new.key.bytes(), &record)?,
        inodes,
    })
}

/// Walks to the directory of the key, making what is missing with the numbers from `spare` on. Answers
/// it, and the entry that the key has already. A key that is a directory is made too, but is no
/// existing object if it was not explicit.
pub(crate) fn make_directories(
    tx: &mut dyn Transaction,
    bucket: InodeNo,
    key: &Key,
    spare: InodeNo,
    now: Timestamp,
    inodes: &mut i64,
) -> Result<(InodeNo, Option<InodeNo>)> {
    let mut at = (InodeNo(0), bucket);
    for (number, suffix) in (spare.0..).zip(key.suffixes()) {
        let parent = at.1;
        match dentry::get(&*tx, parent, suffix)? {
            Some(entry) => at = (parent, entry.ino),
            None if !suffix.ends_with(b"/") => return Ok((parent, None)),
            None => {
                let ino = InodeNo(number);
                let mut record = inode::live_directory(&*tx, parent)?;
                trash::refuse(&*tx, parent, &record)?;
                let mut made = inode::new(
                    Kind::Directory,
                    DIRECTORY_MODE,
                    record.uid,
                    record.gid,
                    bucket.0,
                    now,
                );
                dentry::attach(tx, parent, suffix, ino, &mut made)?;
                inode::put(tx, ino, &made)?;
                record.nlink += 1;
                inode::put(tx, parent, &record)?;
                inode::touch_directory(tx, parent, now)?;
                *inodes += 1;
                at = (parent, ino);
            }
        }
    }
    Ok((at.0, Some(at.1)))
}

/// Decides a precondition against what the key leads to now.
pub(crate) fn check(
    tx: &mut dyn Transaction,
    core: &Core,
    existing: Option<InodeNo>,
    precondition: &Precondition,
) -> Result<()> {
    let mut object = None;
    if let Some(ino) = existing {
        let mut record = inode::get(&*tx, ino)?;
        core.overlay(ino, &mut record);
        if is_object(&record) {
            object = Some((inode::etag(ino, &record), record));
        }
    }
    let names = |tags: &[String], etag: &str| tags.iter().any(|tag| tag == "*" || tag == etag);
    let Some((etag, record)) = object else {
        return if precondition.wants_object() {
            Err(Error::NotFound)
        } else {
            Ok(())
        };
    };
    let second = record.modified.0.div_euclid(1_000_000_000);
    let holds = precondition
        .if_match
        .as_ref()
        .is_none_or(|tags| names(tags, &etag))
        && precondition
            .if_none_match
            .as_ref()
            .is_none_or(|tags| !names(tags, &etag))
        && precondition.if_modified_at.is_none_or(|wanted| wanted == second)
        && precondition.if_size.is_none_or(|size| size == record.size);
    if holds {
        Ok(())
    } else {
        Err(Error::PreconditionFailed)
    }
}

/// Decides the precondition of a deletion against a delete marker, which exists and has nothing that
/// could be compared.
pub(crate) fn check_marker(precondition: &Precondition) -> Result<()> {
    let any = |tags: &[String]| tags.iter().any(|tag| tag == "*");
    let holds = precondition.if_match.as_deref().is_none_or(any)
        && precondition.if_modified_at.is_none()
        && precondition.if_size.is_none();
    if holds {
        Ok(())
    } else {
        Err(Error::PreconditionFailed)
    }
}

/// Whether S3 shows the inode.
pub(crate) fn is_object(record: &InodeRecord) -> bool {
    match record.kind {
        Kind::File => true,
        Kind::Directory => record.explicit,
        _ => false,
    }
}

/// Writes the extents of the new inode. Answers how many bytes they hold.
fn fill(tx: &mut dyn Transaction, store: &Store, new: &NewObject, content: &Content<'_>) -> Result<u64> {
    match content {
        Content::Staged(chunks) => {
            put_staged(tx, store, new.ino, chunks)?;
            Ok(new.size)
        }
        Content::Shared { from, range } => extent::share(tx, store, *from, range, new.ino, 0),
        Content::Parts(parts) => {
            let (mut at, mut allocated) = (0, 0);
            for &(part, size) in *parts {
                allocated += inode::get(&*tx, part)?.allocated;
                extent::take_over(tx, part, new.ino, at)?;
                tx.delete(&schema::inode_key(INODE, part))?;
                at += size;
            }
            Ok(allocated)
        }
        Content::Gathered(parts) => {
            assemble::drop_gathered(tx, parts)?;
            Ok(inode::get(&*tx, new.ino)?.allocated)
        }
    }
}

/// Names staged chunks as extents of the inode.
pub(super) fn put_staged(
    tx: &mut dyn Transaction,
    store: &Store,
    ino: InodeNo,
    chunks: &[(u64, StagedChunk)],
) -> Result<()> {
    for (offset, chunk) in chunks {
        store.record(tx, chunk)?;
        let record = ExtentRecord {
            chunk: chunk.id,
            start: 0,
            len: chunk.len,
        };
        extent::insert(
            tx,
            ino,
            &Extent {
                offset: *offset,
                record,
            },
        )?;
    }
    Ok(())
}

/// An object as HEAD shows it.
pub(crate) fn info(
    read: &(impl meta::Read + ?Sized),
    ino: InodeNo,
    key: &[u8],
    record: &InodeRecord,
) -> Result<ObjectInfo> {
    Ok(ObjectInfo {
        ino,
        key: key.to_vec(),
        size: record.size,
        etag: inode::etag(ino, record),
        modified: record.modified,
        meta: xattrs::object_meta(read, ino, record)?,
        parts: record.parts,
        version: version::shown(read, ino, record)?,
    })
}
