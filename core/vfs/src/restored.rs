//! What a restore of the store asks of the namespace.
//!
//! The store brings rows and chunks back and knows no names. Here are the things that need them: what the
//! namespace holds ([`holds`]), which files have bytes that no pack holds ([`lost_content`]), and, when no
//! checkpoint was left, files made from what the packs' indexes say ([`rescue`]).
//!
//! # Without a checkpoint
//! An index says which inode asked for a chunk, at which offset, in which bucket. So every bucket
//! comes back as `recovered-NUMBER` and every inode in it as `inode-NUMBER`, with the newest chunk on
//! top wherever several lie over each other: chunk ids rise in the order of writing. Names, attributes
//! and times are lost, and so is everything that happened without writing bytes: what was deleted or
//! cut off may be there again, holes punched into a file are filled, copies that shared their bytes
//! with something else are missing or end early.
use std::collections::{BTreeMap, HashMap, HashSet};

use meta::{Durability, Meta};
use serde::{Deserialize, Serialize};
use store::restore::FoundChunk;
use store::{ChunkId, DomainId};

use crate::clone::row::CLONE;
use crate::schema::{self, BUCKET, BucketRecord, ExtentRecord, INODE, NEXT_INODE, UPLOAD, VOLUME};
use crate::{ChunkUser, Error, InodeNo, Kind, Result, clock, dentry, explain, inode, names, snapshot, vfs};

/// Inode numbers left out after a restore: the gateway that was lost may have used some.
const APART: u64 = 1 << 24;

/// Which ranges of which files need one of `chunks`; at most `most`. Reads all extents.
pub async fn lost_content(meta: &Meta, chunks: &[u64], most: usize) -> Result<Vec<ChunkUser>> {
    let wanted: HashSet<ChunkId> = chunks.iter().copied().map(ChunkId).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let snapshot = meta.snapshot()?;
    tokio::task::spawn_blocking(move || explain::users(&*snapshot, &wanted, most))
        .await
        .map_err(|error| Error::Internal(error.to_string()))?
}

/// Leaves out numbers that the lost gateway may have used, so that no inode number, and with it no
/// generated ETag, means two things.
pub async fn begin_anew(meta: &Meta) -> Result<()> {
    meta.write(Durability::Synced, |tx| -> Result<()> {
        if let Some(row) = tx.get(&[NEXT_INODE])? {
            let next = schema::decode::<u64>(&row)?.saturating_add(APART);
            tx.put(&[NEXT_INODE], &schema::encode(&next)?)?;
        }
        Ok(())
    })
    .await
}

/// What a restored namespace holds, for its operator to compare with what they know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// Buckets.
    pub buckets: u64,
    /// Inodes: directories, files of all kinds, versions and parts of uploads.
    pub inodes: u64,
    /// Volumes.
    pub volumes: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Clones.
    pub clones: u64,
    /// Multipart uploads that were begun and not ended.
    pub uploads: u64,
}

/// Counts what the namespace holds. Reads all rows of inodes.
pub async fn holds(meta: &Meta) -> Result<Holds> {
    let snapshot = meta.snapshot()?;
    tokio::task::spawn_blocking(move || {
        let count = |table: u8| -> Result<u64> {
            let mut rows = schema::scan(&*snapshot, &[table])?;
            rows.try_fold(0, |count, row| row.map(|_| count + 1).map_err(Error::from))
        };
        let snapshots = snapshot::row::all(&*snapshot)?;
        Ok(Holds {
            buckets: count(BUCKET)?,
            inodes: count(INODE)?,
            volumes: count(VOLUME)?,
            snapshots: snapshots.iter().filter(|(_, record)| !record.deleted).count() as u64,
            clones: count(CLONE)?,
            uploads: count(UPLOAD)?,
        })
    })
    .await
    .map_err(|error| Error::Internal(error.to_string()))?
}

/// What [`rescue`] made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rescued {
    /// Buckets.
    pub buckets: u64,
    /// Files.
    pub files: u64,
    /// Bytes that their extents cover.
    pub bytes: u64,
    /// How often each chunk is used; for [`store::restore::finish`].
    pub uses: Vec<(ChunkId, u32)>,
}

/// A bucket's files by inode number, each as the chunks that were written for it, oldest first.
type Files = BTreeMap<u64, Vec<FoundChunk>>;

/// Makes buckets and files of chunks. May be run again after it was cut off.
pub async fn rescue(meta: &Meta, mut found: Vec<FoundChunk>) -> Result<Rescued> {
    vfs::make_root(meta).await?;
    found.sort_unstable_by_key(|one| one.chunk);
    let mut uses: HashMap<ChunkId, u32> = found.iter().map(|one| (one.chunk, 0)).collect();
    // Buckets and files have one space of numbers; a file whose number is taken gets a fresh one.
    let mut taken: HashSet<u64> = found.iter().map(|one| one.domain.0).chain([0, 1]).collect();
    let mut next = found
        .iter()
        .map(|one| one.owner.inode.max(one.domain.0))
        .filter(|number| *number < u64::MAX - APART)
        .max()
        .unwrap_or(1)
        .saturating_add(APART);
    let mut buckets: BTreeMap<DomainId, Files> = BTreeMap::new();
    for one in found {
        let files = buckets.entry(one.domain).or_default();
        files.entry(one.owner.inode).or_default().push(one);
    }
    let mut rescued = Rescued::default();
    for (domain, files) in buckets {
        let bucket = InodeNo(domain.0);
        make_bucket(meta, bucket).await?;
        rescued.buckets += 1;
        for (owner, chunks) in files {
            let mut ino = owner;
            if !taken.insert(ino) || ino >= next {
                ino = next;
                next += 1;
            }
            let extents = layered(&chunks);
            for extent in extents.values() {
                *uses.entry(extent.chunk).or_default() += 1;
                rescued.bytes += u64::from(extent.len);
            }
            make_file(meta, bucket, InodeNo(ino), owner, extents).await?;
            rescued.files += 1;
        }
    }
    meta.write(Durability::Synced, move |tx| -> Result<()> {
        Ok(tx.put(&[NEXT_INODE], &schema::encode(&next)?)?)
    })
    .await?;
    rescued.uses = uses.into_iter().collect();
    rescued.uses.sort_unstable();
    Ok(rescued)
}

/// The chunks as extents by offset, later ones over earlier ones.
fn layered(chunks: &[FoundChunk]) -> BTreeMap<u64, ExtentRecord> {
    let mut extents: BTreeMap<u64, ExtentRecord> = BTreeMap::new();
    for one in chunks {
        let (start, Some(end)) = (
            one.owner.offset,
            one.owner
                .offset
                .checked_add(u64::from(one.len))
                .filter(|end| *end <= inode::SIZE_MAX),
        ) else {
            continue;
        };
        let under: Vec<(u64, ExtentRecord)> = extents
            .range(start.saturating_sub(store::CHUNK_MAX as u64)..end)
            .map(|(offset, extent)| (*offset, *extent))
            .filter(|(offset, extent)| offset + u64::from(extent.len) > start)
            .collect();
        for (offset, extent) in under {
            extents.remove(&offset);
            let its_end = offset + u64::from(extent.len);
            if offset < start {
                let len = (start - offset) as u32;
                extents.insert(offset, ExtentRecord { len, ..extent });
            }
            if its_end > end {
                let cut = (end - offset) as u32;
                let rest = ExtentRecord {
                    start: extent.start + cut,
                    len: extent.len - cut,
                    ..extent
                };
                extents.insert(end, rest);
            }
        }
        extents.insert(
            start,
            ExtentRecord {
                chunk: one.chunk,
                start: 0,
                len: one.len,
            },
        );
    }
    extents
}

async fn make_bucket(meta: &Meta, ino: InodeNo) -> Result<()> {
    let now = clock::now();
    meta.write(Durability::Buffered, move |tx| -> Result<()> {
        if inode::load(&*tx, ino)?.is_some() {
            return Ok(());
        }
        let mut root = inode::live_directory(&*tx, InodeNo::ROOT)?;
        let mut record = inode::new(Kind::Directory, 0o755, root.uid, root.gid, ino.0, now);
        record.explicit = true;
        let suffix = names::suffix(format!("recovered-{}", ino.0).as_bytes(), true);
        dentry::attach(tx, InodeNo::ROOT, &suffix, ino, &mut record)?;
        let bucket = BucketRecord { created: now };
        tx.put(&schema::inode_key(BUCKET, ino), &schema::encode(&bucket)?)?;
        inode::put(tx, ino, &record)?;
        root.nlink += 1;
        inode::put(tx, InodeNo::ROOT, &root)
    })
    .await
}

async fn make_file(
    meta: &Meta,
    bucket: InodeNo,
    ino: InodeNo,
    owner: u64,
    extents: BTreeMap<u64, ExtentRecord>,
) -> Result<()> {
    let now = clock::now();
    meta.write(Durability::Buffered, move |tx| -> Result<()> {
        if inode::load(&*tx, ino)?.is_some() {
            return Ok(());
        }
        let directory = inode::live_directory(&*tx, bucket)?;
        let mut record = inode::new(Kind::File, 0o644, directory.uid, directory.gid, bucket.0, now);
        record.nlink = 1;
        let end = extents.last_key_value();
        record.size = end.map_or(0, |(offset, extent)| offset + u64::from(extent.len));
        record.allocated = extents.values().map(|extent| u64::from(extent.len)).sum();
        dentry::attach(tx, bucket, format!("inode-{owner}").as_bytes(), ino, &mut record)?;
        for (offset, extent) in &extents {
            tx.put(&schema::extent_key(ino, *offset), &schema::encode(extent)?)?;
        }
        inode::put(tx, ino, &record)
    })
    .await
}

#[cfg(test)]
mod tests {
    use store::Owner;

    use super::*;

    fn chunk(chunk: u64, offset: u64, len: u32) -> FoundChunk {
        FoundChunk {
            chunk: ChunkId(chunk),
            domain: DomainId(3),
            owner: Owner { inode: 9, offset },
            len,
        }
    }

    fn flat(chunks: &[FoundChunk]) -> Vec<(u64, u64, u32, u32)> {
        layered(chunks)
            .into_iter()
            .map(|(offset, extent)| (offset, extent.chunk.0, extent.start, extent.len))
            .collect()
    }

    #[test]
    fn the_newest_chunk_lies_on_top() {
        let all = [
            chunk(1, 0, 100),
            chunk(2, 100, 100),
            chunk(3, 50, 100),
            chunk(4, 60, 10),
        ];
        assert_eq!(
            flat(&all),
            [
                (0, 1, 0, 50),
                (50, 3, 0, 10),
                (60, 4, 0, 10),
                (70, 3, 20, 80),
                (150, 2, 50, 50)
            ]
        );
        assert_eq!(flat(&[chunk(1, 0, 10), chunk(2, 0, 20)]), [(0, 2, 0, 20)]);
        assert_eq!(flat(&[chunk(1, u64::MAX - 3, 10)]), []);
    }

    #[tokio::test]
    async fn files_come_back_by_number_and_every_use_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let meta = Meta::open(&meta::MetaConfig {
            engine: meta::EngineKind::Fjall,
            path: dir.path().join("meta"),
            cache_bytes: 8 << 20,
        })
        .unwrap();
        let found = vec![
            chunk(1, 0, 100),
            chunk(2, 40, 10),
            chunk(3, 0, 0x1_0000),
            FoundChunk {
                domain: DomainId(9),
                ..chunk(4, 0, 7)
            },
        ];
        for _ in 0..2 {
            let rescued = rescue(&meta, found.clone()).await.unwrap();
            assert_eq!(
                (rescued.buckets, rescued.files, rescued.bytes),
                (2, 2, 0x1_0000 + 7)
            );
            let uses: Vec<_> = rescued
                .uses
                .iter()
                .map(|(chunk, uses)| (chunk.0, *uses))
                .collect();
            assert_eq!(uses, [(1, 0), (2, 0), (3, 1), (4, 1)]);
        }
        // Bucket 9 has the number that the file of bucket 3 had.
        let snapshot = meta.snapshot().unwrap();
        assert_eq!(
            inode::load(&*snapshot, InodeNo(9)).unwrap().unwrap().kind,
            Kind::Directory
        );
        let lost = lost_content(&meta, &[3, 77], 10).await.unwrap();
        assert_eq!(lost.len(), 1);
        assert_eq!(lost[0].path.as_deref(), Some("recovered-3/inode-9"));
    }
}
