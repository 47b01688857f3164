//! Holes, reservations, sharing ranges, and what is data.
use std::ops::Range;

use meta::Durability;

use super::Allocate;
use super::io::check_end;
use crate::snapshot::Sight;
use crate::vfs::Core;
use crate::{Error, ExtentInfo, InodeNo, Kind, Level, Result, Vfs, clock, extent, inode, object_lock};

/// Bytes copied at a time between buckets.
const COPY_STEP: u64 = 1 << 20;

impl Vfs {
    /// fallocate. Space is bought as it is needed, so reserving sets nothing aside.
    pub async fn allocate(&self, ino: InodeNo, offset: u64, len: u64, what: Allocate) -> Result<()> {
        if len == 0 {
            return Err(Error::Invalid("empty range"));
        }
        let end = offset
            .checked_add(len)
            .filter(|end| *end <= inode::SIZE_MAX)
            .ok_or(Error::TooLarge)?;
        self.core
            .change(ino, 0, move |layer, base| {
                let (zero, extend) = match what {
                    Allocate::Reserve { keep_size } => (false, !keep_size),
                    Allocate::Punch => (true, false),
                    Allocate::Zero { keep_size } => (true, !keep_size),
                };
                if extend {
                    check_end(layer, base, Some(end))?;
                    layer.grow(end);
                }
                if zero {
                    layer.zero(offset..end.min(layer.size).max(offset));
                }
                Ok(())
            })
            .await
    }

    /// Copies a range by sharing extents (within a bucket; else by bytes). Answers bytes copied.
    pub async fn copy_range(
        &self,
        from: InodeNo,
        from_offset: u64,
        to: InodeNo,
        to_offset: u64,
        len: u64,
    ) -> Result<u64> {
        Core::writable(to)?;
        let source = self.core.enter(from)?;
        let target = self.core.nodes.enter(to)?;
        let source_record = self.core.current_record(from)?;
        let target_record = self.core.current_record(to)?;
        for record in [&source_record, &target_record] {
            match record.kind {
                Kind::File => {}
                Kind::Directory => return Err(Error::IsDirectory),
                _ => return Err(Error::Invalid("not a regular file")),
            }
        }
        let start = from_offset.min(source_record.size);
        let range = start..from_offset.saturating_add(len).min(source_record.size).max(start);
        let len = range.end - range.start;
        if len == 0 {
            return Ok(0);
        }
        let end = to_offset
            .checked_add(len)
            .filter(|end| *end <= inode::SIZE_MAX)
            .ok_or(Error::TooLarge)?;
        if from == to && range.start < end && to_offset < range.end {
            return Err(Error::Invalid("ranges overlap"));
        }
        if target_record.fixed_size && end > target_record.size {
            return Err(Error::NoSpace);
        }
        if source_record.domain != target_record.domain {
            drop((source, target));
            return self.copy_bytes(from, range, to, to_offset).await;
        }
        self.core.flush_inode(from).await?;
        let from = self.core.place_of(from)?;
        // From here on nobody writes to the target, so that its size is the stored one.
        let task = {
            let core = self.core.clone();
            async move {
                let _content = target.node.content.write().await;
                let _gate = target.node.gate.lock().await;
                core.flush_gated(&target).await?;
                let now = clock::now();
                let store = core.store.clone();
                core.write(Durability::Buffered, move |tx| {
                    let (size, _) = from.extents(&*tx, &(0..0))?;
                    let mut record = inode::get(&*tx, to)?;
                    object_lock::refuse(&*tx, to, &record)?;
                    let range = range.start.min(size)..range.end.min(size);
                    let copied = range.end - range.start;
                    let place = to_offset..to_offset + copied;
                    record.allocated -= extent::remove(tx, &store, to, &place)?;
                    record.allocated += extent::share(tx, &store, from, &range, to, to_offset)?;
                    record.size = record.size.max(place.end);
                    record.mtime = now;
                    record.ctime = now;
                    record.modified = now;
                    record.mtime_is_posix = true;
                    record.generation += 1;
                    record.etag = None;
                    record.parts = None;
                    record.upload = None;
                    inode::put(tx, to, &record)?;
                    Ok(copied)
                })
                .await
            }
        };
        // Runs on although the caller goes away: it holds the target's locks until it has committed.
        let copied = tokio::spawn(task)
            .await
            .map_err(|error| Error::Internal(error.to_string()))??;
        drop(source);
        self.core.release_wanted.notify_one();
        Ok(copied)
    }

    async fn copy_bytes(&self, from: InodeNo, range: Range<u64>, to: InodeNo, to_offset: u64) -> Result<u64> {
        let mut copied = 0;
        while copied < range.end - range.start {
            let step = COPY_STEP.min(range.end - range.start - copied);
            let data = self.read(from, range.start + copied, step as u32).await?;
            if data.is_empty() {
                break;
            }
            let len = data.len() as u64;
            self.write(to, to_offset + copied, data).await?;
            copied += len;
        }
        Ok(copied)
    }

    /// Data and holes of a range, in order, without gaps, at most `max` of them. What is buffered is
    /// stored first.
    pub async fn extents(&self, ino: InodeNo, offset: u64, len: u64, max: usize) -> Result<Vec<ExtentInfo>> {
        let _guard = self.core.enter(ino)?;
        self.core.flush_inode(ino).await?;
        let Sight {
            read: snapshot, ino, ..
        } = self.core.sight(ino)?;
        let size = inode::get(&*snapshot, ino)?.size;
        let range = offset.min(size)..offset.saturating_add(len).min(size);
        let mut infos: Vec<ExtentInfo> = Vec::new();
        let mut at = range.start;
        let hole = |from: u64, to: u64| ExtentInfo {
            offset: from,
            len: to - from,
            hole: true,
            level: Level::Verified,
        };
        // Every extent gives a run of data and at most one hole before it, but runs merge: look at
        // batches until there are enough runs.
        while at < range.end && infos.len() <= max {
            let batch = extent::overlapping(&*snapshot, ino, &(at..range.end), 1024)?;
            for found in &batch {
                let found = found.cut(&range);
                if found.offset > at {
                    infos.push(hole(at, found.offset));
                }
                let level = self.core.level_of(&[found.record.chunk])?;
                match infos.last_mut() {
                    Some(last) if !last.hole && last.level == level => {
                        last.len += u64::from(found.record.len);
                    }
                    _ => infos.push(ExtentInfo {
                        offset: found.offset,
                        len: u64::from(found.record.len),
                        hole: false,
                        level,
                    }),
                }
                at = found.end();
                if infos.len() > max {
                    break;
                }
            }
            if batch.is_empty() {
                infos.push(hole(at, range.end));
                at = range.end;
            }
        }
        infos.truncate(max);
        Ok(infos)
    }
}
