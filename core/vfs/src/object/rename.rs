//! Renaming objects within a bucket. No byte moves, and the object stays the inode that it is.
use meta::{Durability, Transaction};

use super::delete;
use super::key::{Key, find, leaf};
use super::place::{self, make_directories};
use crate::version::History;
use crate::vfs::Core;
use crate::{
    Error, InodeNo, Kind, Precondition, Result, Timestamp, Vfs, bucket, clock, dentry, inode, object_lock,
    posix, quota, snapshot, trash,
};

/// One rename.
struct Rename {
    from: Key,
    to: Key,
    of_source: Precondition,
    of_target: Precondition,
    now: Timestamp,
}

impl Vfs {
    /// Gives the object `from` the key `to`, in the place of what has that; durable when it returns.
    /// Both preconditions are decided in the same step. [`Error::NotFound`] without a source;
    /// [`Error::Invalid`] for keys that end in `/`, and for one and the same key.
    pub async fn rename_object(
        &self,
        bucket: &str,
        from: &[u8],
        to: &[u8],
        of_source: Precondition,
        of_target: Precondition,
    ) -> Result<()> {
        let rename = Rename {
            from: Key::new(from)?,
            to: Key::new(to)?,
            of_source,
            of_target,
            now: clock::now(),
        };
        if rename.from.is_directory() || rename.to.is_directory() {
            return Err(Error::Invalid("a key that ends in / cannot be renamed"));
        }
        if rename.from == rename.to {
            return Err(Error::Invalid("source and target are one key"));
        }
        // What was written to the source is stored before it takes the place of something.
        let look = || {
            let snapshot = self.core.snapshot()?;
            let bucket = bucket::find(&*snapshot, bucket)?;
            find(&*snapshot, bucket, &rename.from)
        };
        let found = self.core.unfolding(look).await?.ok_or(Error::NotFound)?;
        self.core.flush_inode(found.ino).await?;
        let spare = self.core.new_inodes(rename.to.depth()).await?;
        let (core, bucket) = (self.core.clone(), bucket.to_owned());
        let made = self
            .core
            .write(Durability::Synced, move |tx| {
                apply(tx, &core, &bucket, &rename, spare)
            })
            .await?;
        self.core.count_inodes(made);
        self.core.purge_wanted.notify_one();
        Ok(())
    }
}

/// Answers how many directories it made.
fn apply(
    tx: &mut dyn Transaction,
    core: &Core,
    bucket: &str,
    rename: &Rename,
    spare: InodeNo,
) -> Result<i64> {
    let (bucket, now) = (bucket::find(&*tx, bucket)?, rename.now);
    for key in [&rename.from, &rename.to] {
        snapshot::refuse_change(&*tx, &core.known, bucket, key.bytes())?;
    }
    let source = find(&*tx, bucket, &rename.from)?.ok_or(Error::NotFound)?;
    if source.kind != Kind::File {
        return Err(Error::NotFound);
    }
    place::check(tx, core, Some(source.ino), &rename.of_source)?;
    let left = inode::live_directory(&*tx, source.parent)?;
    trash::refuse(&*tx, source.parent, &left)?;
    let mut made = 0;
    let (parent, existing) = make_directories(tx, bucket, &rename.to, spare, now, &mut made)?;
    let entered = inode::live_directory(&*tx, parent)?;
    trash::refuse(&*tx, parent, &entered)?;
    place::check(tx, core, existing, &rename.of_target)?;
    let (from_leaf, to_leaf) = (leaf(&rename.from), leaf(&rename.to));
    let history = History::of(&*tx, bucket, rename.to.bytes())?;
    if let Some(old) = existing {
        if old == source.ino {
            return Err(Error::Invalid("both keys are names of one file"));
        }
        delete::refuse_attached(&*tx, core, old, &inode::get(&*tx, old)?)?;
        let kept = match &history {
            Some(history) => history.keep(tx, parent, to_leaf, old, now)?,
            None => false,
        };
        if !kept {
            posix::remove::remove_file(tx, &core.nodes, parent, to_leaf, old, now)?;
        }
    }
    let mut record = inode::get(&*tx, source.ino)?;
    object_lock::refuse(&*tx, source.ino, &record)?;
    quota::adopt(tx, source.ino, &mut record, left.quota, entered.quota)?;
    dentry::detach(tx, source.parent, from_leaf, source.ino, &mut record)?;
    dentry::attach_counted(tx, (parent, entered.quota), to_leaf, source.ino, &mut record)?;
    record.ctime = now;
    inode::put(tx, source.ino, &record)?;
    if let Some(left) = History::of(&*tx, bucket, rename.from.bytes())? {
        left.moved_away(tx, &core.nodes, now)?;
    }
    if let Some(history) = &history {
        history.arrive(tx, &core.nodes, source.ino, now)?;
    }
    inode::touch_directory(tx, parent, now)?;
    inode::touch_directory(tx, source.parent, now)?;
    delete::prune(tx, core, bucket, source.parent, now)?;
    Ok(made)
}
