//! Listing objects.
//!
//! Walking the tree depth-first in DENTRY order *is* the byte order of keys, because a directory's
//! name ends in `/` there. A [`Walk`] keeps one scan per level of the tree; its memory is the depth
//! of the tree, whatever the bucket holds. When a key rolls up into a prefix, the walk seeks to the
//! first key behind that prefix and never sees what it skips.
use std::ops::Bound;
use std::sync::Arc;

use super::{in_snapshot, place};
use crate::dentry::Entry;
use crate::schema::{self, InodeRecord};
use crate::snapshot::{self, Located};
use crate::vfs::{Core, View};
use crate::{
    Error, InodeNo, Kind, ListPage, ListRequest, ObjectInfo, ObjectMeta, Result, Vfs, bucket, dentry, inode,
    trash,
};

impl Vfs {
    /// Lists in byte order. Sizes, times and ETags are current; metadata are left out: HEAD has them.
    ///
    /// A rolled-up prefix is listed when it is itself greater than `start_after`.
    pub async fn list_objects(&self, bucket: &str, request: ListRequest) -> Result<ListPage> {
        let (core, bucket, request) = (self.core.clone(), bucket.to_owned(), Arc::new(request));
        let list = move || list(&core, &bucket, &request);
        loop {
            let page = tokio::task::spawn_blocking(list.clone())
                .await
                .map_err(|error| Error::Internal(error.to_string()))?;
            match page {
                Err(Error::Conflict) => self.core.unfold_wanted().await?,
                page => return page,
            }
        }
    }
}

fn list(core: &Core, bucket: &str, request: &ListRequest) -> Result<ListPage> {
    let view = core.view()?;
    let bucket = bucket::find(view.snapshot(), bucket)?;
    let known = core.known.at(view.snapshot())?;
    match snapshot::locate(view.snapshot(), &known, bucket, &request.prefix)? {
        Located::Live => list_below(&view, bucket, request, Ok),
        located => in_snapshot::list(core, view, &known, located, request),
    }
}

/// Lists below a directory; `show` numbers inodes for doors.
pub(super) fn list_below(
    view: &View<'_>,
    bucket: InodeNo,
    request: &ListRequest,
    show: impl Fn(InodeNo) -> Result<InodeNo>,
) -> Result<ListPage> {
    let mut page = ListPage::default();
    if request.max == 0 {
        return Ok(page);
    }
    let prefix = request.prefix.as_slice();
    let delimiter = request
        .delimiter
        .as_deref()
        .filter(|delimiter| !delimiter.is_empty());
    let mut walk = match &request.start_after {
        Some(after) if after.as_slice() >= prefix => Walk::new(view, bucket, after, false)?,
        _ => Walk::new(view, bucket, prefix, true)?,
    };
    // Who does not ask for what was deleted does not see it.
    let hidden = !prefix.starts_with(trash::NAME) && trash::get(view.snapshot(), bucket)?.is_some();
    let (mut count, mut last, mut found) = (0, Vec::new(), Vec::new());
    while let Some((key, ino)) = walk.next()? {
        if !key.starts_with(prefix) {
            break;
        }
        if hidden && key.starts_with(trash::NAME) {
            match schema::after_prefix(trash::NAME) {
                Some(behind) => walk = Walk::new(view, bucket, &behind, true)?,
                None => break,
            }
            continue;
        }
        let rolled = delimiter.and_then(|delimiter| roll_up(&key, prefix.len(), delimiter));
        if let Some(rolled) = &rolled {
            let skip = request
                .start_after
                .as_ref()
                .is_some_and(|after| rolled.as_slice() <= after.as_slice());
            let behind = schema::after_prefix(rolled);
            if skip {
                match behind {
                    Some(behind) => walk = Walk::new(view, bucket, &behind, true)?,
                    None => break,
                }
                continue;
            }
        }
        if count == request.max {
            page.next = Some(last);
            break;
        }
        count += 1;
        match rolled {
            Some(rolled) => {
                last.clone_from(&rolled);
                let behind = schema::after_prefix(&rolled);
                page.prefixes.push(rolled);
                match behind {
                    Some(behind) => walk = Walk::new(view, bucket, &behind, true)?,
                    None => break,
                }
            }
            None => {
                last.clone_from(&key);
                found.push((key, ino));
            }
        }
    }
    page.objects = entry_infos(view, found, show)?;
    Ok(page)
}

/// What a page says about its objects.
fn entry_infos(
    view: &View<'_>,
    found: Vec<(Vec<u8>, InodeNo)>,
    show: impl Fn(InodeNo) -> Result<InodeNo>,
) -> Result<Vec<ObjectInfo>> {
    let inos: Vec<InodeNo> = found.iter().map(|(_, ino)| *ino).collect();
    let records = view.records(&inos)?;
    found
        .into_iter()
        .zip(records)
        .map(|((key, ino), record)| Ok(info(show(ino)?, key, inode::etag(ino, &record), &record)))
        .collect()
}

/// The prefix that a key rolls up into.
pub(crate) fn roll_up(key: &[u8], prefix: usize, delimiter: &[u8]) -> Option<Vec<u8>> {
    let rest = &key[prefix..];
    let at = rest
        .windows(delimiter.len())
        .position(|window| window == delimiter)?;
    Some(key[..prefix + at + delimiter.len()].to_vec())
}

pub(crate) fn entry_info(view: &View<'_>, key: Vec<u8>, ino: InodeNo) -> Result<ObjectInfo> {
    let record = view.record(ino)?;
    Ok(info(ino, key, inode::etag(ino, &record), &record))
}

fn info(ino: InodeNo, key: Vec<u8>, etag: String, record: &InodeRecord) -> ObjectInfo {
    ObjectInfo {
        ino,
        key,
        size: record.size,
        etag,
        modified: record.modified,
        meta: ObjectMeta::default(),
        parts: record.parts,
        version: None,
    }
}

type Entries<'a> = Box<dyn Iterator<Item = Result<Entry>> + 'a>;

/// One directory on the way.
struct LevelScan<'a> {
    entries: Entries<'a>,
    /// Length of the directory's own key.
    key_len: usize,
}

/// Objects in byte order of their keys.
pub(crate) struct Walk<'a> {
    view: &'a View<'a>,
    levels: Vec<LevelScan<'a>>,
    /// Key of the directory of the deepest level.
    key: Vec<u8>,
}

impl<'a> Walk<'a> {
    /// Begins at the first key that is at least `from` (`inclusive`) or greater.
    pub(crate) fn new(view: &'a View<'a>, bucket: InodeNo, from: &[u8], inclusive: bool) -> Result<Self> {
        let mut walk = Self {
            view,
            levels: Vec::new(),
            key: Vec::new(),
        };
        let mut directory = bucket;
        let mut rest = from;
        loop {
            // Down into the directory that `rest` begins with, as long as `from` lies inside it.
            let slash = rest.iter().position(|byte| *byte == b'/');
            let inside = slash.filter(|slash| !inclusive || slash + 1 < rest.len());
            let child = match inside {
                Some(slash) => dentry::get(view.snapshot(), directory, &rest[..=slash])?,
                None => None,
            };
            let (Some(child), Some(slash)) = (child, inside) else {
                let bound = if inclusive {
                    Bound::Included(rest)
                } else {
                    Bound::Excluded(rest)
                };
                walk.enter(directory, if rest.is_empty() { Bound::Unbounded } else { bound })?;
                return Ok(walk);
            };
            let (name, later) = rest.split_at(slash + 1);
            walk.enter(directory, Bound::Excluded(name))?;
            walk.key.extend_from_slice(name);
            directory = child.ino;
            rest = later;
        }
    }

    fn enter(&mut self, directory: InodeNo, from: Bound<&[u8]>) -> Result<()> {
        let entries = Box::new(dentry::scan(self.view.snapshot(), directory, from)?);
        self.levels.push(LevelScan {
            entries,
            key_len: self.key.len(),
        });
        Ok(())
    }

    /// The next object.
    pub(crate) fn next(&mut self) -> Result<Option<(Vec<u8>, InodeNo)>> {
        while let Some(level) = self.levels.last_mut() {
            self.key.truncate(level.key_len);
            let Some(entry) = level.entries.next().transpose()? else {
                self.levels.pop();
                continue;
            };
            let key = [self.key.as_slice(), &entry.suffix].concat();
            match entry.kind {
                Kind::File => return Ok(Some((key, entry.ino))),
                Kind::Directory => {
                    self.key.clone_from(&key);
                    self.enter(entry.ino, Bound::Unbounded)?;
                    let record = inode::load_timeless(self.view.snapshot(), entry.ino)?;
                    let record = record.ok_or_else(|| schema::damaged("a name without an inode"))?;
                    if place::is_object(&record) {
                        return Ok(Some((key, entry.ino)));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }
}
