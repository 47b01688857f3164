//! Unfolding: a directory of a clone takes over the names of its origin.
//!
//! One step takes over [`NAMES`] names in their order and moves the directory's row on, in one
//! transaction. Each name gets an inode of its own: record, times, attributes; files have their bytes
//! from the origin's inode as any clone has, directories are folded themselves. Nobody sees a directory
//! that is unfolded in part: its names cannot be read before the last is there. So whatever was looked
//! at has its inode number for good, and nothing has to be noted about names that change.
//!
//! A file with several names in the tree becomes one inode: its copy is noted, with the names that it
//! has not got yet, which count as links from the start.
//!
//! A worker unfolds what nobody looks at, too: a snapshot of what is folded would have names that no
//! row has.
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use meta::{Durability, Read, Transaction};
use parking_lot::Mutex;
use store::Store;
use store::workers::Worker;

use super::create::{LINKS_MAX, chain_of};
use super::fold::{self, COPY, CopyRecord, FOLDED_IN, FoldedRecord};
use super::row::{self, CLONE, CloneRecord};
use crate::dentry::Entry;
use crate::schema::{self, InodeRecord, LINK, VOLUME};
use crate::snapshot::as_of::AsOf;
use crate::snapshot::row::{SNAPSHOTS, SnapshotRecord, snapshot_key, state};
use crate::snapshot::{Snapshot, is_member};
use crate::vfs::{Core, LOOKS};
use crate::{Error, InodeNo, Kind, Result, clone, dentry, extent, inode, purge, xattrs};

/// Names taken over in one transaction.
const NAMES: usize = 128;
/// Notes looked at in one transaction.
const NOTES: usize = 100;
/// Pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long who looks into a directory, and a snapshot of what lies around it, waits for names to be taken
/// over. It goes on from there with the next look, and in the background.
const PATIENCE: Duration = Duration::from_secs(20);
/// Name of the worker.
const NAME: &str = "unfolder";

/// What a step did.
#[derive(Default)]
struct Step {
    /// Inodes made.
    made: i64,
    /// The directory is still folded.
    more: bool,
}

impl Core {
    /// Looks, and when that meets a folded directory unfolds it and looks again.
    pub(crate) async fn unfolding<T>(&self, mut look: impl FnMut() -> Result<T>) -> Result<T> {
        for _ in 0..LOOKS {
            match look() {
                Err(Error::Conflict) => self.unfold_wanted().await?,
                done => return done,
            }
        }
        Err(schema::damaged("directories that do not unfold"))
    }

    /// Unfolds the directories that somebody met. `Busy` when that takes long.
    pub(crate) async fn unfold_wanted(&self) -> Result<()> {
        self.unfold_wanted_for(PATIENCE).await
    }

    async fn unfold_wanted_for(&self, patience: Duration) -> Result<()> {
        let begin = store::clock::monotonic();
        while let Some(dir) = self.folds.take() {
            while self.unfold_step(dir).await? {
                if store::clock::monotonic().saturating_duration_since(begin) > patience {
                    return Err(STILL_FOLDED);
                }
            }
        }
        Ok(())
    }

    /// Unfolds everything at and below `root`. `Busy` when that takes long: it goes on in the background.
    pub(crate) async fn unfold_below(&self, root: InodeNo) -> Result<()> {
        let begin = store::clock::monotonic();
        loop {
            let Some(dir) = fold::below(&*self.meta.snapshot()?, root)? else {
                return Ok(());
            };
            if store::clock::monotonic().saturating_duration_since(begin) > PATIENCE {
                return Err(STILL_FOLDED);
            }
            self.unfold_step(dir).await?;
        }
    }

    /// Takes over the next names of a directory. Answers whether it is still folded.
    async fn unfold_step(&self, dir: InodeNo) -> Result<bool> {
        let spare = self.new_inodes(NAMES as u64).await?;
        let store = self.store.clone();
        let step = move |tx: &mut dyn Transaction| unfold(tx, &store, dir, spare);
        let done = self
            .attempt(Durability::Buffered, Arc::new(Mutex::new(step)), Arc::default())
            .await?;
        self.count_inodes(done.made);
        if !done.more {
            // The snapshot may have been needed for this alone.
            self.clean_wanted.notify_one();
        }
        Ok(done.more)
    }
}

/// Something there is folded.
const STILL_FOLDED: Error = Error::Busy("a clone is still taking over the names of its origin; try again");

/// `Busy` when something at or below `root` is folded.
pub(crate) fn refuse_folded(read: &(impl Read + ?Sized), root: InodeNo) -> Result<()> {
    match fold::below(read, root)? {
        Some(_) => Err(STILL_FOLDED),
        None => Ok(()),
    }
}

fn unfold(tx: &mut dyn Transaction, store: &Store, dir: InodeNo, spare: InodeNo) -> Result<Step> {
    let Some(folded) = fold::get(&*tx, dir)? else {
        return Ok(Step::default());
    };
    let bucket = inode::load_timeless(&*tx, dir)?
        .ok_or_else(|| schema::damaged("a folded directory without an inode"))?
        .domain;
    let entries: Vec<Entry> = {
        let then = AsOf::new(&*tx, folded.origin.snapshot, folded.origin.mark);
        let from = match folded.after.as_slice() {
            b"" => Bound::Unbounded,
            after => Bound::Excluded(after),
        };
        dentry::scan(&then, folded.origin.ino, from)?
            .take(NAMES)
            .collect::<Result<_>>()?
    };
    let mut made = 0;
    for (entry, spare) in entries.iter().zip(spare.0..) {
        made += i64::from(take_over(tx, store, bucket, dir, &folded, entry, InodeNo(spare))?);
    }
    let more = entries.len() == NAMES;
    let last = entries.last().filter(|_| more);
    fold::progress(tx, bucket, dir, &folded, last.map(|last| last.suffix.as_slice()))?;
    Ok(Step { made, more })
}

/// Takes over one name. Answers whether it made an inode, which then is `spare`.
fn take_over(
    tx: &mut dyn Transaction,
    store: &Store,
    bucket: u64,
    dir: InodeNo,
    folded: &FoldedRecord,
    entry: &Entry,
    spare: InodeNo,
) -> Result<bool> {
    let origin = CloneRecord {
        ino: entry.ino,
        ..folded.origin
    };
    let old = {
        let then = AsOf::new(&*tx, origin.snapshot, origin.mark);
        inode::load(&then, origin.ino)?.ok_or_else(|| schema::damaged("a name without an inode"))?
    };
    let mut links = old.nlink;
    if old.kind != Kind::Directory {
        links = 1;
        if old.nlink > 1 {
            let key = fold::copy_key(bucket, folded.tree, origin.ino);
            if let Some(row) = tx.get(&key)? {
                let copy = schema::decode(&row)?;
                name_copy(tx, &key, copy, dir, entry)?;
                return Ok(false);
            }
            links = names_within(&*tx, &origin, folded, &old)?;
            if links > 1 {
                let copy = CopyRecord {
                    ino: spare,
                    names_left: links - 1,
                };
                tx.put(&key, &schema::encode(&copy)?)?;
            }
        }
    }
    let is_directory = old.kind == Kind::Directory;
    let mut record = InodeRecord {
        nlink: links,
        parent: InodeNo(0),
        name: Vec::new(),
        upload: None,
        quota: InodeNo(0),
        ..old
    };
    dentry::attach(tx, dir, &entry.suffix, spare, &mut record)?;
    become_copy(tx, store, spare, origin, &record)?;
    if is_directory {
        fold::fold(tx, bucket, spare, folded.tree, origin)?;
    }
    Ok(true)
}

/// A file that was taken over already gets one more of its names.
fn name_copy(
    tx: &mut dyn Transaction,
    key: &[u8],
    copy: CopyRecord,
    dir: InodeNo,
    entry: &Entry,
) -> Result<()> {
    let mut record = inode::get(&*tx, copy.ino)?;
    dentry::attach(tx, dir, &entry.suffix, copy.ino, &mut record)?;
    inode::put(tx, copy.ino, &record)?;
    if copy.names_left > 1 {
        let copy = CopyRecord {
            names_left: copy.names_left - 1,
            ..copy
        };
        Ok(tx.put(key, &schema::encode(&copy)?)?)
    } else {
        Ok(tx.delete(key)?)
    }
}

/// How many of a file's names lie in the tree that was cloned.
fn names_within(
    tx: &dyn Transaction,
    origin: &CloneRecord,
    folded: &FoldedRecord,
    old: &InodeRecord,
) -> Result<u32> {
    let row = tx.get(&snapshot_key(origin.snapshot))?;
    let row = row.ok_or_else(|| schema::damaged("a clone without its snapshot"))?;
    let snapshot = Snapshot {
        number: origin.snapshot,
        record: schema::decode::<SnapshotRecord>(&row)?,
    };
    let mut directories = vec![old.parent];
    {
        let then = AsOf::new(tx, origin.snapshot, origin.mark);
        for row in schema::scan(&then, &schema::inode_key(LINK, origin.ino))? {
            directories.push(InodeNo(schema::number_at(&row?.0, 9)?));
        }
    }
    let mut names = 0;
    for directory in directories {
        names += u32::from(directory == folded.origin.ino || is_member(tx, &snapshot, directory)?);
    }
    // The one that led here, at least.
    Ok(names.max(1))
}

/// Makes the inode, which has this record, what the origin was: attributes, content, all but names.
pub(super) fn become_copy(
    tx: &mut dyn Transaction,
    store: &Store,
    ino: InodeNo,
    origin: CloneRecord,
    record: &InodeRecord,
) -> Result<()> {
    inode::put(tx, ino, record)?;
    if record.kind == Kind::Directory {
        inode::put_directory_times(tx, ino, record.mtime, record.ctime)?;
    }
    let (attributes, volume, links) = {
        let then = AsOf::new(&*tx, origin.snapshot, origin.mark);
        let volume = then.get(&schema::inode_key(VOLUME, origin.ino))?;
        (
            xattrs::with_prefix(&then, origin.ino, b"")?,
            volume,
            chain_of(&then, origin.ino)?,
        )
    };
    for (name, value) in &attributes {
        xattrs::set(tx, ino, name, value)?;
    }
    if let Some(volume) = volume {
        tx.put(&schema::inode_key(VOLUME, ino), &volume)?;
    }
    if record.allocated == 0 {
        return Ok(());
    }
    if links < LINKS_MAX {
        tx.put(&schema::inode_key(CLONE, ino), &schema::encode(&origin)?)?;
        return row::count(tx, origin.snapshot, true);
    }
    // The chain ends here: extents of its own, which share the chunks.
    let extents = {
        let then = AsOf::new(&*tx, origin.snapshot, origin.mark);
        clone::read::overlapping(&then, origin.ino, &(0..u64::MAX))?
    };
    for shared in &extents {
        store.retain(tx, shared.record.chunk)?;
        extent::insert(tx, ino, shared)?;
    }
    Ok(())
}

/// The background worker.
pub(crate) async fn run(core: Arc<Core>) {
    let worker = core.store.workers().register(NAME);
    loop {
        if core.only_reads() {
            return core.stopped().await;
        }
        let failed = core.folds.may_exist() && !pass(&core, &worker).await;
        if failed {
            worker.waits(RETRY_PAUSE);
        }
        tokio::select! {
            () = core.stopped() => return,
            () = core.folds.told.notified() => {}
            () = tokio::time::sleep(RETRY_PAUSE), if failed => {}
        }
    }
}

/// Unfolds all there is. Answers whether nothing failed.
async fn pass(core: &Core, worker: &Worker) -> bool {
    let mut well = true;
    let mut from = vec![FOLDED_IN];
    loop {
        if !core.turn(worker).await {
            return true;
        }
        let done = match next(core, &from) {
            Ok(Some((key, dir))) => {
                from = key;
                let _work = worker.working(format!("the names of inode {}", dir.0));
                all_of(core, worker, dir).await
            }
            // Those of directories that were met on the way lie behind them or in another bucket.
            Ok(None) if from.len() > 1 && well => {
                from.truncate(1);
                continue;
            }
            Ok(None) if well => return tidy(core, worker).await,
            Ok(None) => return false,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            worker.failed(&error);
            tracing::warn!(%error, "a directory of a clone cannot be unfolded now; it will be tried again");
            well = false;
            if from.len() == 1 {
                return false;
            }
        }
    }
}

/// The next folded directory.
fn next(core: &Core, from: &[u8]) -> Result<Option<(Vec<u8>, InodeNo)>> {
    let read = core.meta.snapshot()?;
    let row = schema::scan_from(&*read, &[FOLDED_IN], Bound::Excluded(from))?.next();
    row.transpose()?
        .map(|(key, _)| {
            let dir = InodeNo(schema::number_at(&key, 9)?);
            Ok((key, dir))
        })
        .transpose()
}

async fn all_of(core: &Core, worker: &Worker, dir: InodeNo) -> Result<()> {
    while core.unfold_step(dir).await? {
        if !core.turn(worker).await {
            break;
        }
    }
    worker.count("directories unfolded", 1);
    Ok(())
}

/// Nothing is folded any more.
async fn tidy(core: &Core, worker: &Worker) -> bool {
    loop {
        match core
            .write_beyond_limits(Durability::Buffered, forget_copies)
            .await
        {
            Ok(true) => {}
            Ok(false) => {
                core.purge_wanted.notify_one();
                return true;
            }
            Err(error) => {
                worker.failed(&error);
                return false;
            }
        }
    }
}

/// When nothing is folded, no copy gets another name: what is noted of them goes. Answers whether there is
/// more of it.
fn forget_copies(tx: &mut dyn Transaction) -> Result<bool> {
    if schema::scan(&*tx, &[FOLDED_IN])?.next().transpose()?.is_some() {
        return Ok(false);
    }
    let notes: Vec<_> = schema::scan(&*tx, &[COPY])?
        .take(NOTES)
        .collect::<meta::Result<_>>()?;
    for (key, value) in &notes {
        tx.delete(key)?;
        let copy: CopyRecord = schema::decode(value)?;
        let Some(mut record) = inode::load_timeless(&*tx, copy.ino)? else {
            continue;
        };
        // It was counted for a directory that came into the tree later.
        record.nlink = record.nlink.saturating_sub(copy.names_left);
        if record.nlink == 0 {
            purge::orphan(tx, copy.ino)?;
        }
        inode::put(tx, copy.ino, &record)?;
    }
    let mut now = state(&*tx)?;
    if notes.is_empty() && now.folded {
        now.folded = false;
        now.changes += 1;
        tx.put(&[SNAPSHOTS], &schema::encode(&now)?)?;
    }
    Ok(!notes.is_empty())
}

#[cfg(test)]
mod tests;
