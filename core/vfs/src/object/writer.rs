//! Taking an object's bytes in.
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use meta::Durability;
use store::{CHUNK_MAX, DomainId, Owner, StagedChunk};
use tokio::task::JoinHandle;

use super::append::{self, Append, Appended};
use super::key::Key;
use super::multipart::{self, PartTarget};
use super::{Content, NewObject, place};
use crate::ack::Terms;
use crate::vfs::Core;
use crate::{
    Error, InodeNo, Kind, Level, ObjectInfo, ObjectMeta, PartInfo, Precondition, Result, Vfs, bucket, clock,
    inode, purge,
};

/// Chunks of one writer that are sealed at a time: 2 MiB of plaintext in flight.
const PARALLEL_CHUNKS: usize = 8;
/// Chunks after which a writer notes what it staged on its nameless inode (64 MiB), so that neither
/// its memory nor its last transaction grows with the object.
const SPILL: usize = 256;

/// What a finished write of an object carries.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// ETag without quotes (the door computed it).
    pub etag: String,
    /// Headers and user metadata. `user["mtime"]` (rclone) sets the inode's mtime.
    pub meta: ObjectMeta,
    /// Decided in the transaction. `if_match` without an object is `NotFound`.
    pub precondition: Precondition,
    /// Level to reach before answering, if it is above the one in force.
    pub level: Option<Level>,
}

/// What the bytes will be.
pub(super) enum Target {
    Object { bucket: String, key: Key },
    Part(PartTarget),
}

/// Takes an object's (or part's) bytes in order; nothing is visible before a commit, and dropping
/// it leaves nothing behind.
pub struct ObjectWriter {
    core: Arc<Core>,
    terms: Terms,
    target: Target,
    bucket_ino: InodeNo,
    /// Number of the inode to be; spare numbers for directories follow it.
    ino: InodeNo,
    /// Less than a chunk.
    rest: BytesMut,
    len: u64,
    sealing: VecDeque<JoinHandle<Result<(u64, StagedChunk)>>>,
    staged: Vec<(u64, StagedChunk)>,
    /// The nameless inode exists, and is kept from being purged.
    spilled: Option<Arc<Spilled>>,
}

/// Keeps the nameless inode of a writer from being purged. Every transaction on it holds this too:
/// it goes on when the caller, and with it the writer, goes away in the middle.
pub(super) struct Spilled {
    core: Arc<Core>,
    ino: InodeNo,
}

impl Spilled {
    fn new(core: &Arc<Core>, ino: InodeNo) -> Result<Self> {
        let guard = core.nodes.enter(ino)?;
        core.nodes.open(&guard);
        Ok(Self {
            core: core.clone(),
            ino,
        })
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        // Opened in `new`, and by nobody else's hand closed.
        let _ = self.core.nodes.close(self.ino);
        self.core.purge_wanted.notify_one();
    }
}

impl Vfs {
    /// Begins an object.
    pub async fn object_writer(&self, bucket: &str, key: &[u8]) -> Result<ObjectWriter> {
        let key = Key::new(key)?;
        let bucket_ino = bucket::find(&*self.core.snapshot()?, bucket)?;
        let ino = self.core.new_inodes(1 + key.depth()).await?;
        let target = Target::Object {
            bucket: bucket.to_owned(),
            key,
        };
        Ok(ObjectWriter::new(self, target, bucket_ino, ino))
    }
}

impl ObjectWriter {
    pub(super) fn new(vfs: &Vfs, target: Target, bucket_ino: InodeNo, ino: InodeNo) -> Self {
        Self {
            core: vfs.core.clone(),
            terms: vfs.terms,
            target,
            bucket_ino,
            ino,
            rest: BytesMut::new(),
            len: 0,
            sealing: VecDeque::new(),
            staged: Vec::new(),
            spilled: None,
        }
    }

    /// Appends bytes. Waits when too much is in flight.
    pub async fn write(&mut self, mut data: Bytes) -> Result<()> {
        if self
            .len
            .checked_add(data.len() as u64)
            .is_none_or(|len| len > inode::SIZE_MAX)
        {
            return Err(Error::TooLarge);
        }
        while !data.is_empty() {
            if self.rest.is_empty() && data.len() >= CHUNK_MAX {
                let chunk = data.split_to(CHUNK_MAX);
                self.seal(chunk).await?;
                continue;
            }
            let room = CHUNK_MAX - self.rest.len();
            self.rest.extend_from_slice(&data.split_to(room.min(data.len())));
            if self.rest.len() == CHUNK_MAX {
                let chunk = self.rest.split().freeze();
                self.seal(chunk).await?;
            }
        }
        Ok(())
    }

    /// Bytes taken so far.
    pub fn len(&self) -> u64 {
        self.len + self.rest.len() as u64
    }

    /// Whether none were.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the object: durable and visible when this returns. [`Error::NotYet`] means that it is
    /// there, staged, and on its way to the level asked for.
    pub async fn commit(mut self, commit: Commit) -> Result<ObjectInfo> {
        self.finish().await?;
        let staged = std::mem::take(&mut self.staged);
        self.place(commit, staged).await
    }

    /// Makes the object of what is on the inode already and of what is staged.
    async fn place(&self, commit: Commit, staged: Vec<(u64, StagedChunk)>) -> Result<ObjectInfo> {
        let Target::Object { bucket, key } = &self.target else {
            return Err(Error::Invalid("a part is committed as a part"));
        };
        let new = NewObject {
            bucket: bucket.clone(),
            bucket_ino: self.bucket_ino,
            key: key.clone(),
            ino: self.ino,
            size: self.len,
            etag: Some(commit.etag),
            meta: commit.meta,
            parts: None,
            upload: None,
            precondition: commit.precondition,
            now: clock::now(),
            fixed_size: false,
        };
        let (core, spilled) = (self.core.clone(), self.spilled.clone());
        let placed = self
            .core
            .write(Durability::Synced, move |tx| {
                let _kept = &spilled;
                place(tx, &core, &new, &Content::Staged(&staged))
            })
            .await?;
        let early = i64::from(self.spilled.is_some());
        self.core.placed(&placed, early);
        self.core
            .wait_level_of(placed.info.ino, self.terms.and(commit.level))
            .await?;
        Ok(placed.info)
    }

    /// Puts what was written behind the object of the key, which must have `offset` bytes, else
    /// [`Error::OutOfRange`]; durable and visible when this returns. At 0, an object that is not there
    /// is made of it, with all that `commit` says; from one that is there, the precondition alone
    /// counts: metadata stay, and the ETag is opaque from then on. [`Error::Invalid`] in a versioned
    /// bucket.
    pub async fn append(mut self, offset: u64, commit: Commit) -> Result<ObjectInfo> {
        self.finish().await?;
        let staged = std::mem::take(&mut self.staged);
        let Target::Object { bucket, key } = &self.target else {
            return Err(Error::Invalid("a part is committed as a part"));
        };
        let append = Arc::new(Append {
            bucket: bucket.clone(),
            bucket_ino: self.bucket_ino,
            key: key.clone(),
            offset,
            len: self.len,
            precondition: commit.precondition.clone(),
            from: self.ino,
            spilled: self.spilled.clone(),
            staged,
        });
        loop {
            if let Appended::Done(info) = append::append(&self.core, append.clone()).await? {
                let terms = self.terms.and(commit.level);
                self.core.wait_level_of(info.ino, terms).await?;
                return Ok(info);
            }
            if commit.precondition.wants_object() {
                return Err(Error::NotFound);
            }
            if offset > 0 {
                return Err(Error::OutOfRange);
            }
            match self.place(append::only_new(&commit), append.staged.clone()).await {
                // Somebody made one meanwhile.
                Err(Error::PreconditionFailed) => {}
                placed => return placed,
            }
        }
    }

    /// Makes the part of a multipart upload (for writers from [`Vfs::part_writer`]).
    pub async fn commit_part(mut self, etag: String) -> Result<PartInfo> {
        self.finish().await?;
        let Target::Part(target) = &self.target else {
            return Err(Error::Invalid("an object is committed as an object"));
        };
        let staged = std::mem::take(&mut self.staged);
        multipart::put_part(
            &self.core,
            target,
            self.ino,
            self.len,
            etag,
            Content::Staged(&staged),
            self.spilled.clone(),
        )
        .await
    }

    async fn seal(&mut self, data: Bytes) -> Result<()> {
        if self.sealing.len() == PARALLEL_CHUNKS {
            self.sealed().await?;
        }
        let (store, offset) = (self.core.store.clone(), self.len);
        let (domain, owner) = (
            DomainId(self.bucket_ino.0),
            Owner {
                inode: self.ino.0,
                offset,
            },
        );
        self.len += data.len() as u64;
        let id = store.next_chunk().await?;
        self.sealing.push_back(tokio::spawn(async move {
            Ok((offset, store.stage_as(id, domain, owner, data).await?))
        }));
        if self.staged.len() >= SPILL {
            self.spill().await?;
        }
        Ok(())
    }

    /// Waits for the oldest chunk that is being sealed.
    async fn sealed(&mut self) -> Result<()> {
        if let Some(task) = self.sealing.pop_front() {
            let chunk = task
                .await
                .map_err(|error| Error::Internal(format!("sealing: {error}")))??;
            self.staged.push(chunk);
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        if !self.rest.is_empty() {
            let chunk = self.rest.split().freeze();
            self.seal(chunk).await?;
        }
        while !self.sealing.is_empty() {
            self.sealed().await?;
        }
        Ok(self.core.store.sync_staged().await?)
    }

    /// Notes what is staged on the inode, which has no name yet.
    async fn spill(&mut self) -> Result<()> {
        // It counts when it gets its name; who has no room for it need not send the rest.
        self.core.check_room(self.bucket_ino, self.len)?;
        self.core.store.sync_staged().await?;
        if self.spilled.is_none() {
            self.spilled = Some(Arc::new(Spilled::new(&self.core, self.ino)?));
            self.core.count_inodes(1);
        }
        let spilled = self.spilled.clone();
        let staged = std::mem::take(&mut self.staged);
        let (store, ino, domain, now) = (self.core.store.clone(), self.ino, self.bucket_ino.0, clock::now());
        self.core
            .write(Durability::Buffered, move |tx| {
                let _kept = &spilled;
                if inode::load(&*tx, ino)?.is_none() {
                    inode::put(tx, ino, &inode::new(Kind::File, 0, 0, 0, domain, now))?;
                    purge::orphan(tx, ino)?;
                }
                place::put_staged(tx, &store, ino, &staged)
            })
            .await
    }
}

impl Core {
    /// After [`place`] has committed; `early` inodes were counted before.
    pub(crate) fn placed(&self, placed: &super::Placed, early: i64) {
        self.count_inodes(placed.inodes - early);
        self.purge_wanted.notify_one();
        self.release_wanted.notify_one();
    }

    /// As [`Core::wait_level`], for an inode that may be gone by now.
    pub(super) async fn wait_level_of(self: &Arc<Self>, ino: InodeNo, terms: Terms) -> Result<()> {
        match self.nodes.enter(ino) {
            Ok(_guard) => self.wait_level(ino, terms).await,
            Err(_) => Ok(()),
        }
    }
}
