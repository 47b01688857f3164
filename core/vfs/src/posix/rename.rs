//! Renaming.
use meta::{Durability, Transaction};

use super::remove;
use crate::dentry::Entry;
use crate::schema::InodeRecord;
use crate::version::{Histories, History};
use crate::vfs::Core;
use crate::{
    Error, InodeNo, Kind, RenameFlags, Result, Timestamp, Vfs, clock, dentry, inode, names, object_lock,
    quota, trash,
};

/// One rename.
#[derive(Clone)]
struct Rename {
    from: InodeNo,
    from_name: Vec<u8>,
    to: InodeNo,
    to_name: Vec<u8>,
    flags: RenameFlags,
}

impl Vfs {
    /// Renames. Across buckets, and with a directory that is not empty across quotas:
    /// [`crate::Error::CrossBucket`]. When it replaces a file, what was
    /// written to the new one is stored first, so that a crash never leaves an empty file where there
    /// was a full one.
    pub async fn rename(
        &self,
        from: InodeNo,
        from_name: &[u8],
        to: InodeNo,
        to_name: &[u8],
        flags: RenameFlags,
    ) -> Result<()> {
        Core::writable(from)?;
        Core::writable(to)?;
        let rename = Rename {
            from,
            from_name: from_name.to_vec(),
            to,
            to_name: to_name.to_vec(),
            flags,
        };
        let source = self.core.unfolding(|| replaces(&self.core, &rename)).await?;
        if let Some(source) = source {
            self.core.flush_inode(source).await?;
        }
        let (core, now) = (self.core.clone(), clock::now());
        let replaced = self
            .core
            .write_short(Durability::Buffered, move |tx| apply(tx, &core, &rename, now))
            .await?;
        if replaced {
            self.core.purge_wanted.notify_one();
        }
        Ok(())
    }
}

/// The source, if it has something that is not stored and the target exists.
fn replaces(core: &Core, rename: &Rename) -> Result<Option<InodeNo>> {
    if core.nodes.is_empty() {
        return Ok(None);
    }
    let rows = core.rows();
    let Some(source) = dentry::resolve(&rows, rename.from, &rename.from_name)? else {
        return Ok(None);
    };
    let node = core.nodes.peek(source.ino);
    if node.is_none_or(|node| !node.state.lock().is_dirty()) {
        return Ok(None);
    }
    let target = dentry::resolve(&rows, rename.to, &rename.to_name)?;
    Ok(target.map(|_| source.ino))
}

/// Answers whether it took the place of something.
fn apply(tx: &mut dyn Transaction, core: &Core, rename: &Rename, now: Timestamp) -> Result<bool> {
    let &Rename { from, to, flags, .. } = rename;
    if flags.exchange && flags.no_replace {
        return Err(Error::Invalid("exchange and no_replace exclude each other"));
    }
    let from_directory = inode::live_directory(&*tx, from)?;
    let other_directory = if from == to {
        None
    } else {
        Some(inode::live_directory(&*tx, to)?)
    };
    let to_directory = other_directory.as_ref().unwrap_or(&from_directory);
    let source = dentry::resolve(&*tx, from, &rename.from_name)?.ok_or(Error::NotFound)?;
    let target = dentry::resolve(&*tx, to, &rename.to_name)?;
    if flags.no_replace && target.is_some() {
        return Err(Error::Exists);
    }
    let in_root = [from, to].contains(&InodeNo::ROOT);
    if in_root && from != to {
        // A bucket is not a directory of another, and nothing else lives in the root.
        return Err(Error::CrossBucket);
    }
    if from_directory.domain != to_directory.domain {
        return Err(Error::CrossBucket);
    }
    leave_trash(tx, (from, &from_directory), (to, to_directory), &source, flags)?;
    // What comes into a tree that is being removed would go with it.
    if source.kind == Kind::Directory || from != to {
        not_below(tx, to, source.ino)?;
    }
    if flags.exchange {
        let target = target.ok_or(Error::NotFound)?;
        let directories = (&from_directory, to_directory);
        exchange(tx, rename, &source, &target, directories, now)?;
        return Ok(false);
    }
    let is_dir = source.kind == Kind::Directory;
    let new_suffix = match &target {
        None => dentry::name_known_free(&*tx, to, &rename.to_name, source.kind)?,
        Some(target) => {
            if target.ino == source.ino {
                // Two names of one inode, or one name: nothing happens.
                return Ok(false);
            }
            if target.suffix == trash::NAME {
                let record = inode::live_directory(&*tx, target.ino)?;
                trash::refuse(&*tx, target.ino, &record)?;
            }
            match (is_dir, target.kind == Kind::Directory) {
                (true, false) => return Err(Error::NotDirectory),
                (false, true) => return Err(Error::IsDirectory),
                (true, true) if to == InodeNo::ROOT => return Err(Error::Exists),
                (true, true) => {
                    remove::remove_directory(tx, &core.nodes, to, &target.suffix, target.ino, now)?;
                }
                (false, false) => replace(tx, core, to_directory, to, target, now)?,
            }
            target.suffix.clone()
        }
    };
    let mut record = inode::get(&*tx, source.ino)?;
    if is_dir {
        object_lock::refuse_move(&*tx, source.ino, &record)?;
    }
    let (from_quota, to_quota) = (from_directory.quota, to_directory.quota);
    quota::adopt(tx, source.ino, &mut record, from_quota, to_quota)?;
    dentry::detach(tx, from, &source.suffix, source.ino, &mut record)?;
    dentry::attach_counted(tx, (to, to_quota), &new_suffix, source.ino, &mut record)?;
    save(tx, source.ino, record, now)?;
    if source.kind == Kind::File
        && let Some(histories) = Histories::of(&*tx, InodeNo(from_directory.domain))?
    {
        if let Some(left) = histories.at(&*tx, from, &source.suffix)? {
            // Only what has versions can be held.
            object_lock::refuse_file(&*tx, source.ino, InodeNo(from_directory.domain))?;
            left.moved_away(tx, &core.nodes, now)?;
        }
        if let Some(taken) = histories.at(&*tx, to, &new_suffix)? {
            taken.arrive(tx, &core.nodes, source.ino, now)?;
        }
    }
    if is_dir {
        let replaced = target.is_some();
        change_links(tx, from, -1)?;
        change_links(tx, to, i32::from(!replaced))?;
    }
    after(tx, (from, &from_directory), to, now)?;
    Ok(target.is_some())
}

/// Takes the name of a non-directory that another one is to have.
fn replace(
    tx: &mut dyn Transaction,
    core: &Core,
    directory: &InodeRecord,
    parent: InodeNo,
    target: &Entry,
    now: Timestamp,
) -> Result<()> {
    if target.kind == Kind::File
        && let Some(history) = History::at(&*tx, directory.domain, parent, &target.suffix)?
        && history.keep(tx, parent, &target.suffix, target.ino, now)?
    {
        return Ok(());
    }
    remove::remove_file(tx, &core.nodes, parent, &target.suffix, target.ino, now)
}

/// The trash of a bucket stays where it is, and nothing is put there; what is taken out is in it no
/// longer.
fn leave_trash(
    tx: &mut dyn Transaction,
    from: (InodeNo, &InodeRecord),
    to: (InodeNo, &InodeRecord),
    source: &Entry,
    flags: RenameFlags,
) -> Result<()> {
    trash::refuse(&*tx, to.0, to.1)?;
    if source.suffix == trash::NAME {
        let record = inode::live_directory(&*tx, source.ino)?;
        trash::refuse(&*tx, source.ino, &record)?;
    }
    if trash::is_trash(&*tx, from.0, from.1)? {
        if flags.exchange {
            return Err(Error::NotPermitted);
        }
        trash::forget(tx, InodeNo(from.1.domain), source.ino)?;
    }
    Ok(())
}

/// `directory` is neither `ancestor` nor anywhere below it, and some path leads to it.
fn not_below(tx: &mut dyn Transaction, directory: InodeNo, ancestor: InodeNo) -> Result<()> {
    let mut at = directory;
    while at != InodeNo::ROOT {
        if at == ancestor {
            return Err(Error::Invalid("a directory cannot move into itself"));
        }
        at = inode::load_timeless(&*tx, at)?.ok_or(Error::NotFound)?.parent;
        if at.0 == 0 {
            return Err(Error::NotFound);
        }
    }
    Ok(())
}

fn exchange(
    tx: &mut dyn Transaction,
    rename: &Rename,
    source: &Entry,
    target: &Entry,
    directories: (&InodeRecord, &InodeRecord),
    now: Timestamp,
) -> Result<()> {
    let &Rename { from, to, .. } = rename;
    let quotas = (directories.0.quota, directories.1.quota);
    if source.ino == target.ino {
        return Ok(());
    }
    if target.suffix == trash::NAME {
        let record = inode::live_directory(&*tx, target.ino)?;
        trash::refuse(&*tx, target.ino, &record)?;
    }
    let (source_dir, target_dir) = (source.kind == Kind::Directory, target.kind == Kind::Directory);
    if target_dir {
        not_below(tx, from, target.ino)?;
    }
    let name = |entry: &Entry, is_dir| names::suffix(names::without_slash(&entry.suffix), is_dir);
    let source_suffix = name(target, source_dir);
    let target_suffix = name(source, target_dir);
    // A file and a directory trade names: what the escaped form stood for may be taken.
    let taken = |suffix: &[u8], parent, own: &[&Entry]| -> Result<bool> {
        let found = dentry::get(&*tx, parent, suffix)?;
        Ok(found.is_some_and(|found| own.iter().all(|entry| entry.ino != found.ino)))
    };
    let both = [source, target];
    if taken(&source_suffix, to, &both)? || taken(&target_suffix, from, &both)? {
        return Err(Error::Exists);
    }
    let mut source_record = inode::get(&*tx, source.ino)?;
    let mut target_record = inode::get(&*tx, target.ino)?;
    object_lock::refuse_move(&*tx, source.ino, &source_record)?;
    object_lock::refuse_move(&*tx, target.ino, &target_record)?;
    quota::adopt(tx, source.ino, &mut source_record, quotas.0, quotas.1)?;
    quota::adopt(tx, target.ino, &mut target_record, quotas.1, quotas.0)?;
    dentry::detach(tx, from, &source.suffix, source.ino, &mut source_record)?;
    dentry::detach(tx, to, &target.suffix, target.ino, &mut target_record)?;
    let (into, back) = ((to, quotas.1), (from, quotas.0));
    dentry::attach_counted(tx, into, &source_suffix, source.ino, &mut source_record)?;
    dentry::attach_counted(tx, back, &target_suffix, target.ino, &mut target_record)?;
    save(tx, source.ino, source_record, now)?;
    save(tx, target.ino, target_record, now)?;
    if source_dir != target_dir {
        let moved = if source_dir { 1 } else { -1 };
        change_links(tx, to, moved)?;
        change_links(tx, from, -moved)?;
    }
    after(tx, (from, directories.0), to, now)
}

/// Saves a record whose name changed.
fn save(
    tx: &mut dyn Transaction,
    ino: InodeNo,
    mut record: crate::schema::InodeRecord,
    now: Timestamp,
) -> Result<()> {
    record.ctime = now;
    inode::put(tx, ino, &record)?;
    if record.kind == Kind::Directory {
        inode::put_directory_times(tx, ino, record.mtime, now)?;
    }
    Ok(())
}

fn change_links(tx: &mut dyn Transaction, ino: InodeNo, change: i32) -> Result<()> {
    if change == 0 {
        return Ok(());
    }
    let mut record = inode::live_directory(&*tx, ino)?;
    record.nlink = record.nlink.saturating_add_signed(change);
    inode::put(tx, ino, &record)
}

/// `from.1` is the record of the directory that the name was taken from, as it was before.
fn after(tx: &mut dyn Transaction, from: (InodeNo, &InodeRecord), to: InodeNo, now: Timestamp) -> Result<()> {
    // One that is explicit stays so.
    if !from.1.explicit {
        let record = inode::live_directory(&*tx, from.0)?;
        remove::emptied_by_mount(tx, from.0, record)?;
    }
    if from.0 != to {
        inode::touch_directory(tx, from.0, now)?;
    }
    inode::touch_directory(tx, to, now)
}
