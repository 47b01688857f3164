//! Appending to an object.
//!
//! The object stays the inode that it is and gets the new extents behind its own, so that an append
//! costs what is appended, however long the object is. It is a write in place like those of a mount
//! and an export: none of these comes in between, what they wrote before is stored first, and who
//! reads meanwhile reads the old bytes or those with the new ones behind them.
use std::sync::Arc;

use meta::{Durability, Transaction};
use store::StagedChunk;

use super::key::{Key, find};
use super::writer::Spilled;
use super::{Commit, delete, place};
use crate::schema::{self, INODE, ORPHAN, RAGGED};
use crate::vfs::Core;
use crate::{
    Error, InodeNo, Kind, ObjectInfo, Precondition, Result, bucket, clock, compact, extent, inode, snapshot,
    trash, version, xattrs,
};

/// Setting under which a door keeps what it did to the bytes of an object: others cannot follow them.
const ENCRYPTION: &[u8] = b"encryption";

/// Bytes that a writer took, and what they are to be put behind.
pub(super) struct Append {
    pub bucket: String,
    pub bucket_ino: InodeNo,
    pub key: Key,
    /// Where they go: the size that the object must have.
    pub offset: u64,
    pub len: u64,
    pub precondition: Precondition,
    /// The writer's nameless inode; it exists, with extents, if the writer spilled.
    pub from: InodeNo,
    pub spilled: Option<Arc<Spilled>>,
    /// What is not on that inode, by its offset in what was written.
    pub staged: Vec<(u64, StagedChunk)>,
}

/// What became of an attempt.
pub(super) enum Appended {
    Done(ObjectInfo),
    /// There is no object.
    Nothing,
}

/// Appends; the caller goes on when there is no object.
pub(super) async fn append(core: &Arc<Core>, append: Arc<Append>) -> Result<Appended> {
    loop {
        let look = || {
            let snapshot = core.snapshot()?;
            let bucket = bucket::find(&*snapshot, &append.bucket)?;
            find(&*snapshot, bucket, &append.key)
        };
        let Some(found) = core.unfolding(look).await? else {
            return Ok(Appended::Nothing);
        };
        // Runs on although the caller goes away: it holds the inode's locks until it has committed.
        let task = tokio::spawn(to_inode(core.clone(), found.ino, append.clone()));
        let done = task
            .await
            .map_err(|error| Error::Internal(format!("appending: {error}")))?;
        match done {
            // The key leads elsewhere by now.
            Err(Error::Conflict) => {}
            done => return done.map(Appended::Done),
        }
    }
}

async fn to_inode(core: Arc<Core>, ino: InodeNo, append: Arc<Append>) -> Result<ObjectInfo> {
    let Ok(guard) = core.nodes.enter(ino) else {
        return Err(Error::Conflict);
    };
    // From here on nobody writes to it, so that its size is the stored one.
    let _content = guard.node.content.write().await;
    let _gate = guard.node.gate.lock().await;
    core.flush_gated(&guard).await?;
    let early = i64::from(append.spilled.is_some());
    let inner = core.clone();
    let info = core
        .write(Durability::Synced, move |tx| commit(tx, &inner, ino, &append))
        .await?;
    core.count_inodes(-early);
    core.release_wanted.notify_one();
    Ok(info)
}

fn commit(tx: &mut dyn Transaction, core: &Core, ino: InodeNo, append: &Append) -> Result<ObjectInfo> {
    let (bucket, now) = (bucket::find(&*tx, &append.bucket)?, clock::now());
    if bucket != append.bucket_ino {
        return Err(Error::NoSuchBucket);
    }
    snapshot::refuse_change(&*tx, &core.known, bucket, append.key.bytes())?;
    if version::row::state(&*tx, bucket)?.is_some() {
        return Err(Error::Invalid(
            "objects of a versioned bucket are not appended to",
        ));
    }
    let found = find(&*tx, bucket, &append.key)?.filter(|found| found.ino == ino);
    let found = found.ok_or(Error::Conflict)?;
    let mut record = inode::get(&*tx, ino)?;
    match record.kind {
        Kind::File if record.fixed_size => return Err(Error::Invalid("a volume does not grow by appending")),
        Kind::File => {}
        Kind::Directory => return Err(Error::IsDirectory),
        _ => return Err(Error::Invalid("not a regular file")),
    }
    if xattrs::get(&*tx, ino, &[xattrs::SETTING, ENCRYPTION].concat())?.is_some() {
        return Err(Error::Invalid("what is encrypted on request is not appended to"));
    }
    let parent = inode::live_directory(&*tx, found.parent)?;
    trash::refuse(&*tx, found.parent, &parent)?;
    delete::refuse_attached(&*tx, core, ino, &record)?;
    place::check(tx, core, Some(ino), &append.precondition)?;
    let size = append.offset.checked_add(append.len);
    let size = size
        .filter(|size| *size <= inode::SIZE_MAX)
        .ok_or(Error::TooLarge)?;
    if record.size != append.offset {
        return Err(Error::OutOfRange);
    }
    if append.spilled.is_some() {
        extent::take_over(tx, append.from, ino, append.offset)?;
        tx.delete(&schema::inode_key(INODE, append.from))?;
        tx.delete(&schema::inode_key(ORPHAN, append.from))?;
    }
    let staged: Vec<_> = append
        .staged
        .iter()
        .map(|(at, chunk)| (append.offset + at, chunk.clone()))
        .collect();
    place::put_staged(tx, &core.store, ino, &staged)?;
    // Every chunk lies as far from the blocks of the object as the first one.
    let first = u32::try_from(append.len).unwrap_or(u32::MAX);
    if compact::is_ragged(append.offset, first, size) {
        let noted = schema::encode(&(record.generation + 1))?;
        tx.put(&schema::inode_key(RAGGED, ino), &noted)?;
    }
    record.size = size;
    record.allocated += append.len;
    record.generation += 1;
    record.etag = None;
    record.parts = None;
    record.upload = None;
    record.modified = now;
    record.mtime = now;
    record.ctime = now;
    inode::put(tx, ino, &record)?;
    place::info(&*tx, ino, append.key.bytes(), &record)
}

/// The commit of an append that makes its object: nothing may be there.
pub(super) fn only_new(commit: &Commit) -> Commit {
    let mut commit = commit.clone();
    commit
        .precondition
        .if_none_match
        .get_or_insert_default()
        .push("*".to_owned());
    commit
}
