//! Extended attributes.
use meta::Durability;

use crate::schema::InodeRecord;
use crate::snapshot::Sight;
use crate::snapshot::number::Place;
use crate::vfs::Core;
use crate::{Error, InodeNo, Kind, Result, Vfs, XattrSet, ack, clock, inode, object_lock, xattrs};

/// XATTR_NAME_MAX of Linux.
const NAME_MAX: usize = 255;
/// XATTR_SIZE_MAX of Linux.
const VALUE_MAX: usize = 64 << 10;
/// The lowest level of the inode's bytes, or `buffered`.
const STATE: &[u8] = b"user.cess.state";
/// The ETag that S3 shows.
const ETAG: &[u8] = b"user.cess.etag";

impl Vfs {
    /// Value of an extended attribute. `user.cess.ack` is the level that a file or bucket asks for;
    /// `user.cess.state` and other `user.cess.*` are computed.
    pub async fn getxattr(&self, ino: InodeNo, name: &[u8]) -> Result<Vec<u8>> {
        if name.starts_with(xattrs::COMPUTED) && name != ack::ATTRIBUTE {
            let record = self.core.current_record(ino)?;
            if record.kind != Kind::File {
                return Err(Error::NotFound);
            }
            return match name {
                STATE => Ok(ack::name(self.level(ino).await?).into()),
                ETAG => Ok(inode::etag(ino, &record).into_bytes()),
                _ => Err(Error::NotFound),
            };
        }
        if name.starts_with(xattrs::SETTING) {
            return Err(Error::NotFound);
        }
        let Sight {
            read: snapshot, ino, ..
        } = self.core.sight(ino)?;
        inode::get(&*snapshot, ino)?;
        xattrs::get(&*snapshot, ino, name)?.ok_or(Error::NotFound)
    }

    /// Names of extended attributes; those that are too long for a mount are left out.
    pub async fn listxattr(&self, ino: InodeNo) -> Result<Vec<Vec<u8>>> {
        if let Place::Listing(_) = self.core.place_of(ino)? {
            return Ok(Vec::new());
        }
        let Sight {
            read: snapshot, ino, ..
        } = self.core.sight(ino)?;
        let record = inode::get(&*snapshot, ino)?;
        let stored = xattrs::with_prefix(&*snapshot, ino, b"")?;
        let mut names: Vec<_> = stored
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| name.len() <= NAME_MAX && !name.starts_with(xattrs::SETTING))
            .collect();
        if record.kind == Kind::File {
            names.extend([STATE.to_vec(), ETAG.to_vec()]);
        }
        Ok(names)
    }

    /// Sets one. `user.s3.meta.mtime` sets the modification time as well.
    pub async fn setxattr(&self, ino: InodeNo, name: &[u8], value: &[u8], how: XattrSet) -> Result<()> {
        Core::writable(ino)?;
        check_name(name)?;
        if value.len() > VALUE_MAX {
            return Err(Error::TooLarge);
        }
        self.core.store.require_room()?;
        let (name, value) = (name.to_vec(), value.to_vec());
        self.change_xattr(ino, move |tx, record| {
            refuse_held(&*tx, ino, record, &name)?;
            let there = xattrs::get(&*tx, ino, &name)?.is_some();
            match how {
                XattrSet::Create if there => return Err(Error::Exists),
                XattrSet::Replace if !there => return Err(Error::NotFound),
                _ => {}
            }
            if xattrs::is_mtime(&name)
                && let Some(mtime) = std::str::from_utf8(&value).ok().and_then(xattrs::parse_mtime)
            {
                record.mtime = mtime;
                record.mtime_is_posix = false;
            }
            if name == ack::ATTRIBUTE {
                return ack::set(tx, ino, record, &value);
            }
            xattrs::set(tx, ino, &name, &value)
        })
        .await
    }

    /// Removes one.
    pub async fn removexattr(&self, ino: InodeNo, name: &[u8]) -> Result<()> {
        Core::writable(ino)?;
        check_name(name)?;
        let name = name.to_vec();
        self.change_xattr(ino, move |tx, record| {
            refuse_held(&*tx, ino, record, &name)?;
            xattrs::get(&*tx, ino, &name)?.ok_or(Error::NotFound)?;
            xattrs::remove(tx, ino, &name)
        })
        .await
    }

    async fn change_xattr<F>(&self, ino: InodeNo, mut f: F) -> Result<()>
    where
        F: FnMut(&mut dyn meta::Transaction, &mut InodeRecord) -> Result<()> + Send + 'static,
    {
        let now = clock::now();
        let change = move |tx: &mut dyn meta::Transaction| {
            let mut record = inode::get(&*tx, ino)?;
            f(tx, &mut record)?;
            record.ctime = now;
            inode::put(tx, ino, &record)?;
            if record.kind == Kind::Directory {
                inode::put_directory_times(tx, ino, record.mtime, now)?;
            }
            Ok(())
        };
        self.core.write_short(Durability::Buffered, change).await
    }
}

/// What S3 shows of a held object stays as it is.
fn refuse_held(read: &dyn meta::Read, ino: InodeNo, record: &InodeRecord, name: &[u8]) -> Result<()> {
    if name.starts_with(xattrs::S3) {
        object_lock::refuse(read, ino, record)?;
    }
    Ok(())
}

fn check_name(name: &[u8]) -> Result<()> {
    let is_computed = name.starts_with(xattrs::COMPUTED) && name != ack::ATTRIBUTE;
    if is_computed || name.starts_with(xattrs::SETTING) {
        return Err(Error::NotPermitted);
    }
    if name.is_empty() || name.contains(&0) {
        return Err(Error::InvalidName("name of an extended attribute"));
    }
    if name.len() > NAME_MAX {
        Err(Error::NameTooLong)
    } else {
        Ok(())
    }
}
