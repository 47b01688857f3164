//! Finding inodes, and keeping them alive.
use crate::snapshot::Sight;
use crate::snapshot::number::Place;
use crate::vfs::Core;
use crate::{Attr, Error, InodeNo, Kind, Result, StatFs, Vfs, dentry, inode};
use crate::{schema, vfs};

/// Capacity that [`Vfs::statfs`] reports: space on the network is bought as it is needed, so the
/// figure only has to be larger than what anybody copies.
const CAPACITY: u64 = 1 << 50;

impl Vfs {
    /// Attributes of the entry `name` in `parent`.
    ///
    /// `.snapshots` is found in a directory of which, or of files in which, there are snapshots, though
    /// no listing shows it; what lies in it is read-only.
    pub async fn lookup(&self, parent: InodeNo, name: &[u8]) -> Result<Attr> {
        if let Place::Listing(directory) = self.core.place_of(parent)? {
            let look = || self.core.lookup_snapshot(directory, name);
            return self.core.unfolding(look).await;
        }
        for _ in 0..vfs::LOOKS {
            let entry = if let Place::View { .. } = self.core.place_of(parent)? {
                let sight = self.core.sight(parent)?;
                let entry = entry_in(&*sight.read, sight.ino, name)?;
                sight.show(entry.ok_or(Error::NotFound)?.ino)?
            } else {
                let look = || entry_in(&self.core.rows(), parent, name);
                if let Some(entry) = self.core.unfolding(look).await? {
                    entry.ino
                } else {
                    let look = || self.core.listing_in(parent, name);
                    return self.core.unfolding(look).await?.ok_or(Error::NotFound);
                }
            };
            match self.getattr(entry).await {
                // It was removed in between; what the name means now is another look.
                Err(Error::NotFound) => {}
                result => return result,
            }
        }
        Err(schema::damaged("a name without an inode"))
    }

    /// The directory that holds the directory `ino` (root: itself).
    pub async fn parent(&self, ino: InodeNo) -> Result<InodeNo> {
        if Core::writable(ino).is_err() {
            return self.core.unfolding(|| self.core.parent_in_view(ino)).await;
        }
        let record = inode::load_timeless(&*self.core.snapshot()?, ino)?.ok_or(Error::NotFound)?;
        match record.kind {
            Kind::Directory if record.parent.0 != 0 => Ok(record.parent),
            Kind::Directory => Err(Error::NotFound),
            _ => Err(Error::NotDirectory),
        }
    }

    /// Attributes.
    pub async fn getattr(&self, ino: InodeNo) -> Result<Attr> {
        if let Place::Listing(directory) = self.core.place_of(ino)? {
            return self.core.listing_attr(directory);
        }
        Ok(inode::attr(ino, &self.core.current_record(ino)?))
    }

    /// Keeps the inode alive while it is open. Its attributes and its content are those of this moment
    /// or later, whichever gateway changed them.
    pub async fn open_inode(&self, ino: InodeNo) -> Result<Attr> {
        let guard = self.core.enter(ino)?;
        self.core.look_again(ino);
        let attr = self.getattr(ino).await?;
        self.core.nodes.open(&guard);
        Ok(attr)
    }

    /// Undoes one [`Self::open_inode`].
    pub async fn close(&self, ino: InodeNo) -> Result<()> {
        self.core.nodes.close(self.core.node_of(ino)?)
    }

    /// Makes every namespace change before the call durable, and has everything that other gateways
    /// committed before it show from now on.
    pub async fn sync_namespace(&self) -> Result<()> {
        self.core.rows.be_newer();
        Ok(self.core.meta.sync().await?)
    }

    /// Space and inodes. The space is what can be bought, not what was: `total_bytes` is fixed.
    pub async fn statfs(&self) -> Result<StatFs> {
        let used = self.core.store.used_bytes()?;
        Ok(StatFs {
            total_bytes: CAPACITY,
            free_bytes: CAPACITY.saturating_sub(used),
            inodes: self.core.inodes(),
            free_inodes: None,
        })
    }

    /// `bucket/key` of an inode, for messages. `None` when it has no name.
    pub async fn path_of(&self, ino: InodeNo) -> Result<Option<String>> {
        let Sight { read, ino, .. } = self.core.sight(ino)?;
        Ok(path(&*read, ino)?.map(|path| String::from_utf8_lossy(&path).into_owned()))
    }
}

/// The entry that the directory shows as `name`.
fn entry_in(
    read: &(impl meta::Read + ?Sized),
    directory: InodeNo,
    name: &[u8],
) -> Result<Option<dentry::Entry>> {
    match inode::kind(read, directory)? {
        Some(Kind::Directory) => dentry::resolve(read, directory, name),
        Some(_) => Err(Error::NotDirectory),
        None => Err(Error::NotFound),
    }
}

/// `bucket/key` of an inode; directories end in `/`.
pub(crate) fn path(read: &(impl meta::Read + ?Sized), ino: InodeNo) -> Result<Option<Vec<u8>>> {
    let mut names = Vec::new();
    let mut at = ino;
    while at != InodeNo::ROOT {
        match inode::load_timeless(read, at)? {
            Some(record) if record.parent.0 != 0 => {
                names.push(record.name);
                at = record.parent;
            }
            _ => return Ok(None),
        }
    }
    names.reverse();
    Ok(Some(names.concat()))
}
