//! The life of one object: which extents it has, which chunks those lie in, and what the store knows
//! of them.
use std::collections::HashSet;

use meta::Read;
use serde::{Deserialize, Serialize};
use store::{ChunkId, Explained, Level};

use crate::extent;
use crate::object::{find, split_path};
use crate::schema::{self, EXTENT, ExtentRecord, VERSION_OF_KEY};
use crate::snapshot::{self, Sight};
use crate::{Error, InodeNo, Kind, Result, Vfs, bucket, posix, version};

/// A range of a file and the chunk it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtentLife {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
    /// The chunk.
    pub chunk: u64,
    /// First byte in the chunk.
    pub start: u32,
}

/// One object, file or volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLife {
    /// `bucket/key`.
    pub path: String,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Bytes that are not holes.
    pub allocated: u64,
    /// Whether some of its bytes are in the write buffer only.
    pub buffered: bool,
    /// Level that all of it has reached; `None` while some is buffered.
    pub level: Option<Level>,
    /// Extents it has.
    pub extent_count: u64,
    /// The first of them, as many as were wanted.
    pub extents: Vec<ExtentLife>,
    /// What the store knows of its chunks; one by one those of `extents`.
    pub store: Explained,
}

/// A range of a file that needs a chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkUser {
    /// The chunk.
    pub chunk: u64,
    /// Inode number.
    pub ino: u64,
    /// `bucket/key`, of an older version `bucket/key?versionId=ID`, of what only snapshots need
    /// `bucket/key@snapshot`; `None` when it has no name (any more).
    pub path: Option<String>,
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
}

impl Vfs {
    /// The regular file at `bucket/key`; `InvalidName` when it is not of that form.
    pub async fn file_at_key(&self, path: &[u8]) -> Result<InodeNo> {
        let (bucket, key) = split_path(path)?;
        let look = || {
            let snapshot = self.core.snapshot()?;
            let bucket = bucket::find(&*snapshot, bucket)?;
            find(&*snapshot, bucket, &key)?.ok_or(Error::NotFound)
        };
        let found = self.core.unfolding(look).await?;
        regular(found.kind)?;
        Ok(found.ino)
    }

    /// The regular file at a path of the mount, relative to the mount point.
    pub async fn file_at_mount(&self, path: &[u8]) -> Result<InodeNo> {
        let mut at = self.getattr(InodeNo::ROOT).await?;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            at = self.lookup(at.ino, name).await?;
        }
        regular(at.kind)?;
        Ok(at.ino)
    }

    /// Different chunks that a file consists of, without what is only buffered.
    pub async fn chunks_of(&self, ino: InodeNo) -> Result<Vec<ChunkId>> {
        let Sight { read, ino, .. } = self.core.sight(ino)?;
        let mut chunks = extent::chunks(&*read, ino)?;
        chunks.sort_unstable();
        chunks.dedup();
        Ok(chunks)
    }

    /// The life of a file; its first `details` extents one by one.
    pub async fn explain(&self, ino: InodeNo, details: usize) -> Result<ObjectLife> {
        let record = self.core.current_record(ino)?;
        regular(record.kind)?;
        let level = self.level(ino).await?;
        let mut extents = Vec::new();
        let mut chunks = Vec::new();
        let mut extent_count = 0;
        let path = {
            let Sight {
                read: snapshot, ino, ..
            } = self.core.sight(ino)?;
            for row in schema::scan(&*snapshot, &schema::inode_key(EXTENT, ino))? {
                let (key, value) = row?;
                let record: ExtentRecord = schema::decode(&value)?;
                if extents.len() < details {
                    extents.push(ExtentLife {
                        offset: schema::number_at(&key, 9)?,
                        len: record.len,
                        chunk: record.chunk.0,
                        start: record.start,
                    });
                }
                extent_count += 1;
                if chunks.last() != Some(&record.chunk) {
                    chunks.push(record.chunk);
                }
            }
            posix::lookup::path(&*snapshot, ino)?
        };
        let named: HashSet<u64> = extents.iter().map(|extent| extent.chunk).collect();
        Ok(ObjectLife {
            path: path.map_or_else(String::new, |path| String::from_utf8_lossy(&path).into_owned()),
            ino: ino.0,
            size: record.size,
            allocated: record.allocated,
            buffered: level.is_none(),
            level,
            extent_count,
            extents,
            store: self
                .core
                .store
                .explain(&chunks, |chunk| named.contains(&chunk.0))
                .await?,
        })
    }

    /// Which ranges of which files need one of `chunks`; at most `most`. Reads all extents there
    /// are: for the rare case that chunks are lost.
    pub async fn users_of(&self, chunks: &[ChunkId], most: usize) -> Result<Vec<ChunkUser>> {
        let wanted: HashSet<ChunkId> = chunks.iter().copied().collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let snapshot = self.core.snapshot()?;
        tokio::task::spawn_blocking(move || users(&*snapshot, &wanted, most))
            .await
            .map_err(|error| Error::Internal(error.to_string()))?
    }
}

pub(crate) fn users(
    read: &(impl Read + ?Sized),
    wanted: &HashSet<ChunkId>,
    most: usize,
) -> Result<Vec<ChunkUser>> {
    let mut users = all_users(read, wanted, most)?;
    name_versions(read, &mut users)?;
    Ok(users)
}

fn all_users(read: &(impl Read + ?Sized), wanted: &HashSet<ChunkId>, most: usize) -> Result<Vec<ChunkUser>> {
    let mut users = Vec::new();
    for row in schema::scan(read, &[EXTENT])? {
        let (key, value) = row?;
        let record: ExtentRecord = schema::decode(&value)?;
        if !wanted.contains(&record.chunk) {
            continue;
        }
        let ino = schema::number_at(&key, 1)?;
        let path = posix::lookup::path(read, InodeNo(ino))?;
        users.push(ChunkUser {
            chunk: record.chunk.0,
            ino,
            path: path.map(|path| String::from_utf8_lossy(&path).into_owned()),
            offset: schema::number_at(&key, 9)?,
            len: record.len,
        });
        if users.len() >= most {
            return Ok(users);
        }
    }
    for kept in snapshot::kept_extents(read)? {
        let (ino, extent, path) = kept?;
        if wanted.contains(&extent.record.chunk) && users.len() < most {
            users.push(ChunkUser {
                chunk: extent.record.chunk.0,
                ino: ino.0,
                path,
                offset: extent.offset,
                len: extent.record.len,
            });
        }
    }
    Ok(users)
}

/// Says of files without a name which versions they are. Reads the rows of all versions.
fn name_versions(read: &(impl Read + ?Sized), users: &mut [ChunkUser]) -> Result<()> {
    if users.iter().all(|user| user.path.is_some()) {
        return Ok(());
    }
    for row in schema::scan(read, &[VERSION_OF_KEY])? {
        let row = row?;
        let bucket = InodeNo(schema::number_at(&row.0, 1)?);
        let version = version::row::parse(row)?;
        for user in users
            .iter_mut()
            .filter(|user| user.ino == version.record.ino.0 && user.path.is_none())
        {
            let bucket = posix::lookup::path(read, bucket)?.unwrap_or_default();
            let path = [bucket.as_slice(), &version.key].concat();
            let (path, id) = (String::from_utf8_lossy(&path), version.record.id);
            user.path = Some(format!("{path}?versionId={id}"));
        }
    }
    Ok(())
}

fn regular(kind: Kind) -> Result<()> {
    match kind {
        Kind::File => Ok(()),
        Kind::Directory => Err(Error::IsDirectory),
        _ => Err(Error::Invalid("not a regular file")),
    }
}
