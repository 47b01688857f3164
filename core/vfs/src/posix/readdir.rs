//! Listing directories.
use std::ops::Bound;

use crate::snapshot::number::Place;
use crate::{DirEntry, DirPosition, Error, InodeNo, Kind, Result, Vfs, dentry, inode};

impl Vfs {
    /// Up to `max` entries after `after`, without `.` and `..`, in a stable order.
    pub async fn readdir(
        &self,
        dir: InodeNo,
        after: Option<DirPosition>,
        max: usize,
    ) -> Result<Vec<DirEntry>> {
        if let Place::Listing(directory) = self.core.place_of(dir)? {
            let list = || self.core.list_snapshots(directory, after.as_ref(), max);
            return self.core.unfolding(list).await;
        }
        let core = self.core.clone();
        let list = move || -> Result<Vec<DirEntry>> {
            let sight = core.sight(dir)?;
            let (dir, numbers) = (sight.ino, sight.numbers());
            let view = if sight.is_view() {
                core.view_of(sight)
            } else {
                core.view()?
            };
            let snapshot = view.snapshot();
            let directory = inode::load_timeless(snapshot, dir)?.ok_or(Error::NotFound)?;
            if directory.kind != Kind::Directory {
                return Err(Error::NotDirectory);
            }
            let from = after
                .as_ref()
                .map_or(Bound::Unbounded, |after| Bound::Excluded(after.0.as_slice()));
            let mut entries = Vec::new();
            let mut rows = dentry::scan(snapshot, dir, from)?.peekable();
            while entries.len() < max {
                let Some(entry) = rows.next().transpose()? else {
                    break;
                };
                let record = view.record(entry.ino)?;
                // No row behind the page is read for its last name.
                let name = if entries.len() + 1 == max {
                    dentry::display(snapshot, dir, &entry.suffix)?
                } else {
                    match rows.peek() {
                        Some(Err(_)) => dentry::display(snapshot, dir, &entry.suffix)?,
                        next => {
                            let next = next.and_then(|next| next.as_ref().ok());
                            let next = next.map(|next| next.suffix.as_slice());
                            dentry::display_before(snapshot, dir, &entry.suffix, next)?
                        }
                    }
                };
                entries.push(DirEntry {
                    name,
                    attr: inode::attr(numbers.show(entry.ino)?, &record),
                    position: DirPosition(entry.suffix),
                });
            }
            Ok(entries)
        };
        loop {
            let listed = tokio::task::spawn_blocking(list.clone())
                .await
                .map_err(|error| Error::Internal(error.to_string()))?;
            match listed {
                Err(Error::Conflict) => self.core.unfold_wanted().await?,
                listed => return listed,
            }
        }
    }
}
