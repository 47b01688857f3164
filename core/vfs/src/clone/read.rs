//! Reading extents of clones together with those of their origins.
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::ops::{Bound, Range};
use std::sync::Arc;

use meta::{KeyValue, Read};
use store::CHUNK_MAX;

use super::fold::Folds;
use super::row::{self, CloneRecord, WINDOW};
use crate::extent::Extent;
use crate::schema::{self, EXTENT};
use crate::snapshot::Known;
use crate::snapshot::as_of::AsOf;
use crate::snapshot::preserve::engine_error;
use crate::{InodeNo, Result};

type Rows<'a> = Box<dyn Iterator<Item = meta::Result<KeyValue>> + 'a>;

/// Extents looked up at a time.
const BATCH: usize = 1024;

/// Rows, with the extents of clones as they read.
pub(crate) struct WithOrigins {
    rows: Box<dyn Read + Send>,
    known: Arc<Known>,
    /// Set for rows as they are now: in snapshots nothing is folded.
    folds: Option<Arc<Folds>>,
    /// Whether these rows have clones; looked at once.
    clones: OnceCell<bool>,
}

impl WithOrigins {
    pub(crate) fn new(rows: Box<dyn Read + Send>, known: Arc<Known>, folds: Option<Arc<Folds>>) -> Self {
        Self {
            rows,
            known,
            folds,
            clones: OnceCell::new(),
        }
    }

    /// Names in a folded directory are not read before they are there.
    fn refuse_folded(&self, key: &[u8]) -> meta::Result<()> {
        match &self.folds {
            Some(folds) if folds.may_exist() && folds.hold(&*self.rows, key)? => Err(meta::Error::Conflict),
            _ => Ok(()),
        }
    }

    fn has_clones(&self) -> Result<bool> {
        if let Some(&known) = self.clones.get() {
            return Ok(known);
        }
        let found = self.known.at(&*self.rows)?.has_clones();
        Ok(*self.clones.get_or_init(|| found))
    }
}

impl Read for WithOrigins {
    /// Nobody asks for an extent by its key without having found it in a range.
    fn get(&self, key: &[u8]) -> meta::Result<Option<Vec<u8>>> {
        self.refuse_folded(key)?;
        self.rows.get(key)
    }

    fn range<'a>(&'a self, from: Bound<&[u8]>, to: Bound<&[u8]>, reverse: bool) -> meta::Result<Rows<'a>> {
        if let Bound::Included(key) | Bound::Excluded(key) = from {
            self.refuse_folded(key)?;
        }
        if is_of_extents(from) && self.has_clones().map_err(engine_error)? {
            let rows: &dyn Read = &*self.rows;
            if let Some(merged) = merged(rows, from, to, reverse).map_err(engine_error)? {
                return Ok(merged);
            }
        }
        self.rows.range(from, to, reverse)
    }
}

/// Whether a range begins within the extents of an inode.
pub(crate) fn is_of_extents(from: Bound<&[u8]>) -> bool {
    matches!(from, Bound::Included(key) | Bound::Excluded(key) if key.len() >= 9 && key[0] == EXTENT)
}

/// A range of the extents of one inode, when it is a clone.
pub(crate) fn merged<'a>(
    rows: &'a dyn Read,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    reverse: bool,
) -> Result<Option<Rows<'a>>> {
    let (Bound::Included(first) | Bound::Excluded(first)) = from else {
        return Ok(None);
    };
    let ino = InodeNo(schema::number_at(first, 1)?);
    if row::origin(rows, ino)?.is_none() {
        return Ok(None);
    }
    let offset = |key: &[u8]| {
        if key.len() < 17 {
            Ok(0)
        } else {
            schema::number_at(key, 9)
        }
    };
    let begin = match from {
        Bound::Excluded(key) => offset(key)?.saturating_add(1),
        _ => offset(first)?,
    };
    let own = &first[..9];
    let end = match to {
        Bound::Included(key) if key.starts_with(own) => offset(key)?.saturating_add(1),
        Bound::Excluded(key) if key.starts_with(own) => offset(key)?,
        _ => u64::MAX,
    };
    let extents = Merged {
        rows,
        ino,
        at: begin,
        end,
        batch: VecDeque::new(),
    };
    let rows = extents.map(move |extent| {
        let extent = extent.map_err(engine_error)?;
        let value = schema::encode(&extent.record).map_err(engine_error)?;
        Ok((schema::extent_key(ino, extent.offset).to_vec(), value))
    });
    if reverse {
        let mut all = rows.collect::<meta::Result<Vec<_>>>()?;
        all.reverse();
        return Ok(Some(Box::new(all.into_iter().map(Ok))));
    }
    Ok(Some(Box::new(rows)))
}

/// Extents of an inode that begin at or behind `at`, batch by batch.
struct Merged<'a> {
    rows: &'a dyn Read,
    ino: InodeNo,
    at: u64,
    end: u64,
    batch: VecDeque<Extent>,
}

impl Iterator for Merged<'_> {
    type Item = Result<Extent>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.batch.is_empty() && self.at < self.end {
            match extents(self.rows, self.ino, self.at, self.end, BATCH) {
                Ok(found) => {
                    self.at = match found.last() {
                        Some(last) if found.len() == BATCH => last.offset + 1,
                        _ => self.end,
                    };
                    self.batch = found.into();
                }
                Err(error) => {
                    self.at = self.end;
                    return Some(Err(error));
                }
            }
        }
        self.batch.pop_front().map(Ok)
    }
}

/// Extents of an inode, clone or not, that touch `range`, in order.
pub(crate) fn overlapping(rows: &dyn Read, ino: InodeNo, range: &Range<u64>) -> Result<Vec<Extent>> {
    let from = range.start.saturating_sub(CHUNK_MAX as u64 - 1);
    let mut found = extents(rows, ino, from, range.end, usize::MAX)?;
    found.retain(|extent| extent.end() > range.start);
    Ok(found)
}

/// The first `max` extents of an inode, clone or not, that begin within `from..to`.
fn extents(rows: &dyn Read, ino: InodeNo, from: u64, to: u64, max: usize) -> Result<Vec<Extent>> {
    if from >= to {
        return Ok(Vec::new());
    }
    let (first, last) = (schema::extent_key(ino, from), schema::extent_key(ino, to));
    let mut found = Vec::new();
    for row in rows
        .range(Bound::Included(&first), Bound::Excluded(&last), false)?
        .take(max)
    {
        let (key, value) = row?;
        found.push(Extent {
            offset: schema::number_at(&key, 9)?,
            record: schema::decode(&value)?,
        });
    }
    if let Some(origin) = row::origin(rows, ino)? {
        found.extend(of_origin(rows, ino, &origin, from, to, max)?);
        found.sort_unstable_by_key(|extent| extent.offset);
        // A view over a transaction has laid the same ones beside the clone's own already.
        found.dedup_by_key(|extent| extent.offset);
        found.truncate(max);
    }
    Ok(found)
}

/// The first `max` extents that a clone has from its origin, cut at the ends of windows, that begin
/// within `from..to`.
fn of_origin(
    rows: &dyn Read,
    ino: InodeNo,
    origin: &CloneRecord,
    from: u64,
    to: u64,
    max: usize,
) -> Result<Vec<Extent>> {
    let then = AsOf::new(rows, origin.snapshot, origin.mark);
    let mut pieces: Vec<Extent> = Vec::new();
    // What begins before may reach beyond the end of a window, where a piece begins.
    let mut at = from.saturating_sub(CHUNK_MAX as u64 - 1);
    let mut last_window = None;
    loop {
        let batch = extents(&then, origin.ino, at, to, max)?;
        for extent in &batch {
            for piece in at_windows(extent) {
                let window = piece.offset / WINDOW;
                let copied = match last_window {
                    Some((last, copied)) if last == window => copied,
                    _ => rows.get(&row::copied_key(ino, window))?.is_some(),
                };
                last_window = Some((window, copied));
                if !copied && (from..to).contains(&piece.offset) {
                    pieces.push(piece);
                }
            }
        }
        match batch.last() {
            Some(last) if batch.len() == max && pieces.len() < max => at = last.offset + 1,
            _ => return Ok(pieces),
        }
    }
}

/// What a clone has from its origin in one window that was not copied.
pub(crate) fn in_window(
    rows: &dyn Read,
    ino: InodeNo,
    origin: &CloneRecord,
    window: u64,
) -> Result<Vec<Extent>> {
    let begin = window.saturating_mul(WINDOW);
    of_origin(rows, ino, origin, begin, begin.saturating_add(WINDOW), usize::MAX)
}

/// The parts of an extent, one per window that it touches.
fn at_windows(extent: &Extent) -> impl Iterator<Item = Extent> + '_ {
    let windows = extent.offset / WINDOW..=(extent.end() - 1) / WINDOW;
    windows.map(|window| extent.cut(&(window * WINDOW..(window + 1) * WINDOW)))
}

#[cfg(test)]
mod tests {
    use store::ChunkId;

    use super::*;
    use crate::schema::ExtentRecord;

    #[test]
    fn extents_are_cut_at_the_ends_of_windows() {
        let extent = |offset, start, len| Extent {
            offset,
            record: ExtentRecord {
                chunk: ChunkId(7),
                start,
                len,
            },
        };
        let cut = |extent: &Extent| at_windows(extent).collect::<Vec<_>>();
        for whole in [extent(0, 5, 10), extent(WINDOW - 10, 5, 10), extent(WINDOW, 0, 1)] {
            assert_eq!(cut(&whole), [whole]);
        }
        assert_eq!(
            cut(&extent(WINDOW - 10, 5, 30)),
            [extent(WINDOW - 10, 5, 10), extent(WINDOW, 15, 20)]
        );
    }
}
