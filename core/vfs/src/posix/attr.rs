//! Changing attributes.
use meta::Durability;

use crate::buffer::Layer;
use crate::vfs::Core;
use crate::{
    Attr, Error, InodeNo, Kind, Result, SetAttr, TimeChange, Timestamp, Vfs, clock, inode, object_lock,
};

impl Vfs {
    /// Changes attributes; answers the new ones. The size of a volume cannot be changed here.
    pub async fn setattr(&self, ino: InodeNo, change: SetAttr) -> Result<Attr> {
        Core::writable(ino)?;
        if let Some(size) = change.size {
            set_size(&self.core, ino, size).await?;
        }
        let rest = SetAttr { size: None, ..change };
        if rest != SetAttr::default() {
            let guard = self.core.nodes.enter(ino)?;
            // No flush may be under way: it would set the mtime of the changes it stores.
            let _gate = guard.node.gate.lock().await;
            let now = clock::now();
            if let Some(mtime) = rest.mtime {
                let mut state = guard.node.state.lock();
                let moment = moment(mtime, now);
                // A flush that failed and waits for its next try sets it too.
                if let Some(waiting) = state.flushing.take() {
                    let mut layer = Layer::clone(&waiting);
                    layer.mtime = moment;
                    state.flushing = Some(std::sync::Arc::new(layer));
                }
                if let Some(layer) = state.active.as_mut().map(std::sync::Arc::make_mut) {
                    layer.mtime = moment;
                }
            }
            self.core
                .write_short(Durability::Buffered, move |tx| {
                    let mut record = inode::get(&*tx, ino)?;
                    if rest.mtime.is_some() {
                        object_lock::refuse(&*tx, ino, &record)?;
                    }
                    apply(&mut record, &rest, now);
                    inode::put(tx, ino, &record)?;
                    if record.kind == Kind::Directory {
                        inode::put_directory_times(tx, ino, record.mtime, record.ctime)?;
                    }
                    Ok(())
                })
                .await?;
        }
        self.getattr(ino).await
    }
}

fn moment(change: TimeChange, now: Timestamp) -> Timestamp {
    match change {
        TimeChange::Now => now,
        TimeChange::At(moment) => moment,
    }
}

fn apply(record: &mut crate::schema::InodeRecord, change: &SetAttr, now: Timestamp) {
    if let Some(mode) = change.mode {
        record.mode = mode & 0o7777;
    }
    record.uid = change.uid.unwrap_or(record.uid);
    record.gid = change.gid.unwrap_or(record.gid);
    if let Some(atime) = change.atime {
        record.atime = moment(atime, now);
    }
    if let Some(mtime) = change.mtime {
        record.mtime = moment(mtime, now);
        record.mtime_is_posix = true;
    }
    record.ctime = now;
}

async fn set_size(core: &std::sync::Arc<Core>, ino: InodeNo, size: u64) -> Result<()> {
    if size > inode::SIZE_MAX {
        return Err(Error::TooLarge);
    }
    core.change(ino, 0, move |layer, base| {
        if base.fixed_size && size != layer.size {
            return Err(Error::NotPermitted);
        }
        layer.truncate(size);
        Ok(())
    })
    .await
}
