//! Hard links.
use meta::Durability;

use crate::vfs::Core;
use crate::{Attr, Error, InodeNo, Kind, Result, Vfs, clock, dentry, inode, object_lock, trash};

impl Vfs {
    /// Gives a non-directory one more name.
    pub async fn link(&self, ino: InodeNo, parent: InodeNo, name: &[u8]) -> Result<Attr> {
        Core::writable(ino)?;
        Core::writable(parent)?;
        let name = name.to_vec();
        let now = clock::now();
        self.core
            .write_short(Durability::Buffered, move |tx| {
                let mut record = inode::get(&*tx, ino)?;
                if record.kind == Kind::Directory {
                    return Err(Error::NotPermitted);
                }
                let directory = inode::live_directory(&*tx, parent)?;
                let suffix = dentry::free_name(&*tx, parent, &name, record.kind)?;
                if parent == InodeNo::ROOT {
                    return Err(Error::NotPermitted);
                }
                trash::refuse(&*tx, parent, &directory)?;
                // An inode counts to one quota, whatever names it has.
                if directory.domain != record.domain || directory.quota != record.quota {
                    return Err(Error::CrossBucket);
                }
                // An inode without a name is on its way out.
                if record.nlink == 0 {
                    return Err(Error::NotFound);
                }
                if record.nlink >= inode::LINKS_MAX {
                    return Err(Error::TooManyLinks);
                }
                // With two names it could not become a version when one of them goes.
                object_lock::refuse(&*tx, ino, &record)?;
                dentry::attach_counted(tx, (parent, directory.quota), &suffix, ino, &mut record)?;
                record.nlink += 1;
                record.ctime = now;
                inode::put(tx, ino, &record)?;
                inode::touch_directory(tx, parent, now)
            })
            .await?;
        self.getattr(ino).await
    }
}
