//! The `.snapshots` directory: it is in no row.
use std::collections::HashMap;

use super::gone;
use super::number::{Place, Sight, listing_of};
use super::path::{self, DIRECTORY};
use crate::vfs::{Core, View};
use crate::{Attr, DirEntry, DirPosition, Error, InodeNo, Kind, Result, inode};

/// Permission bits: to look, for everybody who may look at the directory it lies in.
const MODE: u32 = 0o555;

impl Core {
    /// `.snapshots` in `directory`, when something asked for that name and there is no such entry.
    pub(crate) fn listing_in(&self, directory: InodeNo, name: &[u8]) -> Result<Option<Attr>> {
        if name != DIRECTORY {
            return Ok(None);
        }
        let read = self.snapshot()?;
        let snapshots = self.known.at(&*read)?;
        if path::has_listing(&*read, &snapshots, directory)? {
            return self.listing_attr(directory).map(Some);
        }
        Ok(None)
    }

    /// Attributes of the `.snapshots` of `directory`: those of the directory, read-only.
    pub(crate) fn listing_attr(&self, directory: InodeNo) -> Result<Attr> {
        let record = inode::get(&*self.snapshot()?, directory)?;
        let attr = inode::attr(listing_of(directory)?, &record);
        Ok(Attr {
            mode: MODE & attr.mode,
            nlink: 2,
            size: 0,
            allocated: 0,
            ..attr
        })
    }

    /// The entry `name` in the `.snapshots` of `directory`.
    pub(crate) fn lookup_snapshot(&self, directory: InodeNo, name: &[u8]) -> Result<Attr> {
        let read = self.snapshot()?;
        let snapshots = self.known.at(&*read)?;
        let snapshot = path::shown_as(&*read, &snapshots, directory, name)?.ok_or(Error::NotFound)?;
        // One view at a time: a database gives out few.
        drop(read);
        let sight = self.sight_into(self.meta.snapshot()?, &snapshot)?;
        root_attr(&sight)
    }

    /// Up to `max` entries of the `.snapshots` of `directory` after `after`.
    pub(crate) fn list_snapshots(
        &self,
        directory: InodeNo,
        after: Option<&DirPosition>,
        max: usize,
    ) -> Result<Vec<DirEntry>> {
        let read = self.snapshot()?;
        let snapshots = self.known.at(&*read)?;
        let shown = path::shown_in(&*read, &snapshots, directory)?;
        drop(read);
        let mut entries = Vec::new();
        for (name, snapshot) in shown {
            if entries.len() == max {
                break;
            }
            if after.is_none_or(|after| name > after.0) {
                let sight = self.sight_into(self.meta.snapshot()?, &snapshot)?;
                entries.push(DirEntry {
                    attr: root_attr(&sight)?,
                    position: DirPosition(name.clone()),
                    name,
                });
            }
        }
        Ok(entries)
    }

    /// The file that `path@name` names in the snapshot of that name, if there is one. The number is
    /// one for doors.
    pub(crate) fn file_in_snapshot(&self, name: &[u8]) -> Result<Option<InodeNo>> {
        let Some(at) = name.iter().rposition(|byte| *byte == b'@') else {
            return Ok(None);
        };
        let Ok(snapshot) = std::str::from_utf8(&name[at + 1..]) else {
            return Ok(None);
        };
        let read = self.snapshot()?;
        let snapshots = self.known.at(&*read)?;
        let found = path::find(&*read, &snapshots, &name[..at], snapshot);
        drop(read);
        match found {
            Ok(found) if found.record.directory => Ok(None),
            Ok(found) => {
                let sight = self.sight_into(self.meta.snapshot()?, &found)?;
                sight.show(sight.ino).map(Some)
            }
            Err(Error::NotFound | Error::Invalid(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The directory above a directory in a snapshot: that of the root is `.snapshots`.
    pub(crate) fn parent_in_view(&self, ino: InodeNo) -> Result<InodeNo> {
        let sight = match self.place_of(ino)? {
            Place::Listing(directory) => return Ok(directory),
            _ => self.sight(ino)?,
        };
        let record = inode::get(&*sight.read, sight.ino)?;
        match record.kind {
            Kind::Directory if sight.root == Some(sight.ino) => listing_of(self.shown_below(ino)?),
            Kind::Directory => sight.show(record.parent),
            _ => Err(Error::NotDirectory),
        }
    }

    /// The directory in whose `.snapshots` the snapshot is shown that a number for doors leads into.
    fn shown_below(&self, ino: InodeNo) -> Result<InodeNo> {
        let Place::View { snapshot, .. } = self.place_of(ino)? else {
            return Err(Error::NotFound);
        };
        let read = self.snapshot()?;
        let snapshots = self.known.at(&*read)?;
        let record = &snapshots
            .visible_numbered(snapshot)
            .ok_or(Error::NotFound)?
            .record;
        if gone::is_gone(&*read, record)? {
            return Ok(gone::home(&*read, record)?.0);
        }
        Ok(record.root)
    }

    /// A view of all that a sight sees, without anything buffered.
    pub(crate) fn view_of(&self, sight: Sight) -> View<'_> {
        View::new(self, HashMap::new(), sight.read, false)
    }
}

fn root_attr(sight: &Sight) -> Result<Attr> {
    let record = inode::get(&*sight.read, sight.ino)?;
    Ok(inode::attr(sight.show(sight.ino)?, &record))
}
