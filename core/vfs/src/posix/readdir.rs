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
            let page: Vec<_> = dentry::scan(snapshot, dir, from)?
                .take(max)
                .collect::<Result<_>>()?;
            let inos: Vec<_> = page.iter().map(|entry| entry.ino).collect();
            let is_full = page.len() == max;
            let mut entries = Vec::with_capacity(page.len());
            let mut page = page.into_iter().zip(view.records(&inos)?).peekable();
            while let Some((entry, record)) = page.next() {
                let name = match page.peek() {
                    // What follows lies on the next page, which is not read for that.
                    None if is_full => dentry::display(snapshot, dir, &entry.suffix)?,
                    next => {
                        let next = next.map(|(next, _)| next.suffix.as_slice());
                        dentry::display_before(snapshot, dir, &entry.suffix, next)?
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
