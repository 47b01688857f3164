//! Listing versions.
//!
//! Two walks in the order of keys run side by side: one over the tree, which has the present objects
//! ([`Walk`]), and one over the rows of VERSION_OF_KEY, which have the rest. Both seek past what a
//! listing rolls up or has shown already, and neither keeps more than where it is.
use std::ops::Bound;
use std::sync::Arc;

use super::row::{self, VersionRow};
use super::{VersionId, find};
use crate::object::Key;
use crate::object::list::{Walk, entry_info, roll_up};
use crate::schema;
use crate::vfs::{Core, LOOKS, View};
use crate::{Error, InodeNo, ObjectInfo, Result, Timestamp, Vfs, bucket, trash};

/// What a listing of versions asks for.
#[derive(Clone, Debug, Default)]
pub struct VersionRequest {
    /// Only keys that begin so.
    pub prefix: Vec<u8>,
    /// Keys that share a prefix up to the next delimiter are rolled into one entry.
    pub delimiter: Option<Vec<u8>>,
    /// Only what comes after all versions of this key, and only rolled-up prefixes after it.
    pub after_key: Option<Vec<u8>>,
    /// With `after_key`: what comes after this version of it.
    pub after_id: Option<VersionId>,
    /// Most entries, versions and prefixes together.
    pub max: usize,
}

/// An object, an older version of one, or a delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionEntry {
    /// Its key.
    pub key: Vec<u8>,
    /// Its id.
    pub id: VersionId,
    /// It is what the key shows: the present object, or the delete marker because of which there is
    /// none.
    pub latest: bool,
    /// When it was made, or its content changed last.
    pub at: Timestamp,
    /// The object, without metadata; `None`: a delete marker.
    pub object: Option<ObjectInfo>,
}

impl VersionEntry {
    pub(super) fn marker(row: VersionRow, latest: bool) -> Self {
        Self {
            key: row.key,
            id: row.record.id,
            latest,
            at: row.record.at,
            object: None,
        }
    }
}

/// A page of a listing: keys in byte order, of each key the newest version first.
#[derive(Clone, Debug, Default)]
pub struct VersionPage {
    /// Versions and delete markers.
    pub entries: Vec<VersionEntry>,
    /// Rolled-up prefixes.
    pub prefixes: Vec<Vec<u8>>,
    /// Pass as `after_key` and `after_id` for the next page; `None` at the end.
    pub next: Option<(Vec<u8>, Option<VersionId>)>,
}

impl Vfs {
    /// Lists versions, in a bucket that was never versioned too. Sizes, times and ETags are current.
    pub async fn list_versions(&self, bucket: &str, request: VersionRequest) -> Result<VersionPage> {
        let (core, bucket, request) = (self.core.clone(), bucket.to_owned(), Arc::new(request));
        let list = move || list(&core, &bucket, &request);
        for _ in 0..LOOKS {
            let page = tokio::task::spawn_blocking(list.clone())
                .await
                .map_err(|error| Error::Internal(error.to_string()))?;
            match page {
                Err(Error::Conflict) => self.core.unfold_wanted().await?,
                page => return page,
            }
        }
        Err(Error::Busy("directories of clones take over names; try again"))
    }
}

fn list(core: &Core, bucket: &str, request: &VersionRequest) -> Result<VersionPage> {
    let view = core.view()?;
    let bucket = bucket::find(view.snapshot(), bucket)?;
    let mut page = VersionPage::default();
    if request.max == 0 {
        return Ok(page);
    }
    let prefix = request.prefix.as_slice();
    let delimiter = request
        .delimiter
        .as_deref()
        .filter(|delimiter| !delimiter.is_empty());
    let mut both = Both::begin(&view, bucket, request)?;
    // Who does not ask for what was deleted does not see it.
    let hidden = !prefix.starts_with(trash::NAME) && trash::get(view.snapshot(), bucket)?.is_some();
    let (mut count, mut last) = (0, None);
    while let Some(entry) = both.next()? {
        let key = entry.key();
        if !key.starts_with(prefix) {
            break;
        }
        let rolled = if hidden && key.starts_with(trash::NAME) {
            Some((trash::NAME.to_vec(), false))
        } else {
            delimiter
                .and_then(|delimiter| roll_up(key, prefix.len(), delimiter))
                .map(|rolled| {
                    let shown = request.after_key.as_ref().is_none_or(|after| rolled > *after);
                    (rolled, shown)
                })
        };
        let shows = rolled.as_ref().is_none_or(|(_, shown)| *shown);
        if shows && count == request.max {
            page.next = last;
            break;
        }
        count += usize::from(shows);
        match rolled {
            Some((rolled, shown)) => {
                let behind = schema::after_prefix(&rolled);
                if shown {
                    last = Some((rolled.clone(), None));
                    page.prefixes.push(rolled);
                }
                match behind {
                    Some(behind) => both = Both::from(&view, bucket, &behind)?,
                    None => break,
                }
            }
            None => {
                let entry = both.show(entry)?;
                last = Some((entry.key.clone(), Some(entry.id)));
                page.entries.push(entry);
            }
        }
    }
    Ok(page)
}

/// Whether the present object of a key is older than a version that is gone.
fn present_is_older(view: &View<'_>, bucket: InodeNo, key: &Key, gone: VersionId) -> Result<bool> {
    let Some(ino) = find::ino_of(view.snapshot(), bucket, key, None)? else {
        return Ok(false);
    };
    Ok(match row::id_of(view.snapshot(), ino)? {
        VersionId::NULL => view.record(ino)?.modified.0.max(0) as u64 <= gone.0,
        id => id < gone,
    })
}

/// Something to list.
enum Next {
    Present(Vec<u8>, InodeNo),
    Row(VersionRow),
}

impl Next {
    fn key(&self) -> &[u8] {
        match self {
            Self::Present(key, _) => key,
            Self::Row(row) => &row.key,
        }
    }
}

/// The two walks.
struct Both<'a> {
    view: &'a View<'a>,
    /// The bucket is versioned.
    versioned: bool,
    walk: Walk<'a>,
    rows: Box<dyn Iterator<Item = meta::Result<meta::KeyValue>> + 'a>,
    present: Option<(Vec<u8>, InodeNo)>,
    row: Option<VersionRow>,
    /// The key whose newest version has been seen.
    headed: Option<Vec<u8>>,
}

impl<'a> Both<'a> {
    /// Behind what a request names.
    fn begin(view: &'a View<'a>, bucket: InodeNo, request: &VersionRequest) -> Result<Self> {
        let prefix = request.prefix.as_slice();
        let Some(after) = request.after_key.as_deref().filter(|after| *after >= prefix) else {
            return Self::from(view, bucket, prefix);
        };
        let Some(id) = request.after_id else {
            let end = row::at(bucket, after, 0);
            return Self::new(view, bucket, after, false, Bound::Excluded(&end));
        };
        let key = Key::of_path(after);
        let begin = row::of_key(bucket, after);
        match find::locate(view.snapshot(), bucket, &key, id)? {
            Some(find::Place::Present(_)) => {
                Self::new(view, bucket, after, false, Bound::Included(&begin))?.heading(after)
            }
            Some(find::Place::Row(row)) => {
                let row = row::at(bucket, after, row.position);
                Self::new(view, bucket, after, false, Bound::Excluded(&row))?.heading(after)
            }
            // Removed since: what is older than it was. What was `null` may have been anywhere.
            None if id == VersionId::NULL => Self::from(view, bucket, after),
            // What the key shows now is older as well: it came back.
            None if present_is_older(view, bucket, &key, id)? => Self::from(view, bucket, after),
            None => {
                let row = row::at(bucket, after, id.0);
                Self::new(view, bucket, after, false, Bound::Excluded(&row))?.heading(after)
            }
        }
    }

    /// From the first key that is at least `from`.
    fn from(view: &'a View<'a>, bucket: InodeNo, from: &[u8]) -> Result<Self> {
        let row = row::of_prefix(bucket, from);
        Self::new(view, bucket, from, true, Bound::Included(&row))
    }

    fn new(
        view: &'a View<'a>,
        bucket: InodeNo,
        from: &[u8],
        inclusive: bool,
        row: Bound<&[u8]>,
    ) -> Result<Self> {
        let mut both = Self {
            view,
            versioned: row::state(view.snapshot(), bucket)?.is_some(),
            walk: Walk::new(view, bucket, from, inclusive)?,
            rows: schema::scan_from(view.snapshot(), &row::of_bucket(bucket), row)?,
            present: None,
            row: None,
            headed: None,
        };
        both.present = both.walk.next()?;
        both.step()?;
        Ok(both)
    }

    fn heading(mut self, key: &[u8]) -> Result<Self> {
        self.headed = Some(key.to_vec());
        Ok(self)
    }

    /// On to the next row.
    fn step(&mut self) -> Result<()> {
        self.row = self.rows.next().map(|row| row::parse(row?)).transpose()?;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Next>> {
        let row_first = match (&self.present, &self.row) {
            (None, None) => return Ok(None),
            (Some((key, _)), Some(row)) => row.key < *key,
            (present, _) => present.is_none(),
        };
        if row_first {
            let row = self.row.take();
            self.step()?;
            return Ok(row.map(Next::Row));
        }
        let present = self.present.take();
        self.present = self.walk.next()?;
        Ok(present.map(|(key, ino)| Next::Present(key, ino)))
    }

    /// What a listing says of it.
    fn show(&mut self, next: Next) -> Result<VersionEntry> {
        let heads = self.headed.as_deref() != Some(next.key());
        if heads {
            self.headed = Some(next.key().to_vec());
        }
        let (key, ino, id) = match next {
            Next::Row(row) if row.record.is_marker() => return Ok(VersionEntry::marker(row, heads)),
            Next::Row(row) => (row.key, row.record.ino, row.record.id),
            Next::Present(key, ino) => {
                let id = if self.versioned && !key.ends_with(b"/") {
                    row::id_of(self.view.snapshot(), ino)?
                } else {
                    VersionId::NULL
                };
                let info = entry_info(self.view, key, ino)?;
                return Ok(Self::entry(info, id, true));
            }
        };
        Ok(Self::entry(entry_info(self.view, key, ino)?, id, false))
    }

    fn entry(info: ObjectInfo, id: VersionId, latest: bool) -> VersionEntry {
        VersionEntry {
            key: info.key.clone(),
            id,
            latest,
            at: info.modified,
            object: Some(ObjectInfo {
                version: Some(id),
                ..info
            }),
        }
    }
}
