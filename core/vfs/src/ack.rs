//! Which level an acknowledgement stands for.
//!
//! The level in force is the strictest of
//! - the gateway's ([`VfsConfig::ack`](crate::VfsConfig::ack));
//! - that of the door or the request: a handle made by [`Vfs::demanding`];
//! - what the call itself asks for;
//! - the attribute `user.cess.ack` of the file, or of an export, which is the same;
//! - the same attribute of its bucket's directory.
//!
//! So nobody gets less than somebody who owns the data asked for. The attribute is stored like any
//! other and every door can set it; a PUT makes a new inode, which has its bucket's alone.
use std::sync::Arc;
use std::time::Duration;

use meta::{Durability, Read, Transaction};

use crate::schema::{self, InodeRecord};
use crate::snapshot::Sight;
use crate::snapshot::number::Place;
use crate::vfs::{Core, blocking};
use crate::{Error, InodeNo, Kind, Level, Result, Vfs, clock, extent, inode, xattrs};

/// Name of the attribute that holds the level of a file or a bucket.
pub(crate) const ATTRIBUTE: &[u8] = b"user.cess.ack";

/// What a handle asks for, beside what the data ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// At least this level.
    pub level: Level,
    /// Longest wait for a level above staged.
    pub timeout: Duration,
}

impl Terms {
    /// As strict as these and `level`.
    pub(crate) fn and(self, level: Option<Level>) -> Self {
        Self {
            level: level.map_or(self.level, |level| level.max(self.level)),
            ..self
        }
    }
}

impl Vfs {
    /// A handle of the same namespace whose acknowledgements stand for at least `level`, and wait for
    /// it for at most `timeout`, if that is shorter than before.
    #[must_use]
    pub fn demanding(&self, level: Option<Level>, timeout: Option<Duration>) -> Self {
        let mut handle = self.clone();
        handle.terms = handle.terms.and(level);
        handle.terms.timeout = timeout.map_or(handle.terms.timeout, |time| time.min(handle.terms.timeout));
        handle
    }

    /// The level that a file, or a bucket's directory, asks for itself.
    pub async fn ack(&self, ino: InodeNo) -> Result<Option<Level>> {
        let Sight { read, ino, .. } = self.core.sight(ino)?;
        inode::get(&*read, ino)?;
        stored(&*read, ino)
    }

    /// The level that an acknowledgement about a file through this handle stands for.
    pub async fn ack_in_force(&self, ino: InodeNo) -> Result<Level> {
        let Sight { read, ino, .. } = self.core.sight(ino)?;
        Ok(in_force(&*read, ino)?.max(self.terms.level))
    }

    /// Sets or clears the level that a regular file or a bucket's directory asks for. Durable when it
    /// returns. `Invalid` for anything else.
    pub async fn set_ack(&self, ino: InodeNo, level: Option<Level>) -> Result<()> {
        Core::writable(ino)?;
        let now = clock::now();
        self.core
            .write(Durability::Synced, move |tx| {
                let mut record = inode::get(&*tx, ino)?;
                match level {
                    Some(level) => set(tx, ino, &record, name(Some(level)).as_bytes())?,
                    None => xattrs::remove(tx, ino, ATTRIBUTE)?,
                }
                record.ctime = now;
                inode::put(tx, ino, &record)?;
                if record.kind == Kind::Directory {
                    inode::put_directory_times(tx, ino, record.mtime, now)?;
                }
                Ok(())
            })
            .await
    }

    /// Waits until what the file holds now has reached `level`, as an fsync asking for it would, but
    /// for at most `timeout`. [`Error::NotYet`] when it has not. [`Error::WriteLost`] while an opener has
    /// still to be told that a write was lost: asking here tells nobody else's fsync.
    pub async fn wait_level(&self, ino: InodeNo, level: Level, timeout: Duration) -> Result<()> {
        let guard = self.core.enter(ino)?;
        self.core.flush_inode(ino).await?;
        if guard.node.state.lock().lost > 0 {
            return Err(Error::WriteLost);
        }
        self.core.meta.sync().await?;
        self.core.wait_for(ino, level, timeout).await
    }
}

impl Core {
    /// Waits until the inode's chunks reached the level in force. The caller has entered the inode; it
    /// may lie in a snapshot.
    pub(crate) async fn wait_level(self: &Arc<Self>, ino: InodeNo, terms: Terms) -> Result<()> {
        if let Place::Listing(_) = self.place_of(ino)? {
            return Ok(());
        }
        let asked = {
            let Sight { read, ino, .. } = self.sight(ino)?;
            in_force(&*read, ino)?
        };
        self.wait_for(ino, asked.max(terms.level), terms.timeout).await
    }

    async fn wait_for(self: &Arc<Self>, ino: InodeNo, level: Level, timeout: Duration) -> Result<()> {
        if level == Level::Staged {
            return Ok(());
        }
        // A file without content has a name and attributes, which a checkpoint has to carry out, too.
        let core = self.clone();
        let chunks = blocking(move || {
            let Sight { read, ino, .. } = core.sight(ino)?;
            extent::chunks(&*read, ino)
        })
        .await?;
        Ok(self.store.wait_level(&chunks, level, timeout).await?)
    }
}

/// What the file and its bucket ask for.
pub(crate) fn in_force(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<Level> {
    let Some(record) = inode::load_timeless(read, ino)? else {
        return Ok(Level::Staged);
    };
    let own = stored(read, ino)?;
    let bucket = stored(read, InodeNo(record.domain))?;
    Ok(own.max(bucket).unwrap_or(Level::Staged))
}

/// The attribute of one inode.
pub(crate) fn stored(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<Option<Level>> {
    xattrs::get(read, ino, ATTRIBUTE)?
        .map(|value| parse(&value).ok_or_else(|| schema::damaged("no level in an attribute")))
        .transpose()
}

/// Sets the attribute to `value`, as a client wrote it.
pub(crate) fn set(tx: &mut dyn Transaction, ino: InodeNo, record: &InodeRecord, value: &[u8]) -> Result<()> {
    let is_bucket = record.kind == Kind::Directory && record.domain == ino.0;
    if record.kind != Kind::File && !is_bucket {
        return Err(Error::Invalid("only a bucket or a regular file has a level"));
    }
    let level = parse(value).ok_or(Error::Invalid("a level is staged, placed or verified"))?;
    xattrs::set(tx, ino, ATTRIBUTE, name(Some(level)).as_bytes())
}

/// A level by its name.
fn parse(value: &[u8]) -> Option<Level> {
    // Who sets an attribute with a shell easily adds a line end.
    match value.trim_ascii() {
        b"staged" => Some(Level::Staged),
        b"placed" => Some(Level::Placed),
        b"verified" => Some(Level::Verified),
        _ => None,
    }
}

/// The name of the level that bytes have reached; `None`: they are only buffered.
pub(crate) fn name(level: Option<Level>) -> &'static str {
    match level {
        None => "buffered",
        Some(Level::Staged) => "staged",
        Some(Level::Placed) => "placed",
        Some(Level::Verified) => "verified",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_only_get_stricter() {
        let terms = Terms {
            level: Level::Placed,
            timeout: Duration::from_secs(1),
        };
        assert_eq!(terms.and(None).level, Level::Placed);
        assert_eq!(terms.and(Some(Level::Staged)).level, Level::Placed);
        assert_eq!(terms.and(Some(Level::Verified)).level, Level::Verified);
    }

    #[test]
    fn levels_have_one_name_each() {
        for level in [Level::Staged, Level::Placed, Level::Verified] {
            assert_eq!(parse(name(Some(level)).as_bytes()), Some(level));
            assert_eq!(name(Some(level)), level.to_string());
        }
        assert_eq!(parse(b"placed\n"), Some(Level::Placed));
        for wrong in [b"".as_slice(), b"Placed", b"placed!", b"buffered"] {
            assert_eq!(parse(wrong), None);
        }
    }
}
