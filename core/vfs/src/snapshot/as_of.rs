//! Rows as of a snapshot.
//!
//! Every reading function of this crate takes a [`Read`]; handed an [`AsOf`] it sees inodes, names,
//! attributes and extents as they were. Ranges stay within one table of one inode, which is all that
//! those functions ask for; rows of tables that are not kept show as they are now.
use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::{Bound, Deref};

use meta::{KeyValue, Read};

use super::preserve::engine_error;
use super::row;
use crate::InodeNo;
use crate::schema::{self, DENTRY, DentryRecord};

type Rows<'a> = Box<dyn Iterator<Item = meta::Result<KeyValue>> + 'a>;

/// The value that a row had; `None`: there was none.
struct Was(Option<Vec<u8>>);

/// A view of the rows underneath as of a snapshot.
pub(crate) struct AsOf<R> {
    read: R,
    /// The snapshot's number.
    number: u64,
    /// Inodes with this number or a higher one came later.
    mark: u64,
}

impl<R: Deref> AsOf<R>
where
    R::Target: Read,
{
    pub(crate) fn new(read: R, number: u64, mark: u64) -> Self {
        Self { read, number, mark }
    }

    /// The oldest value of the row that was kept at the snapshot or later, if any was.
    fn kept(&self, preserved_row: &[u8]) -> meta::Result<Option<Was>> {
        let from = row::preserved_key(preserved_row, self.number);
        let to = row::preserved_key(preserved_row, u64::MAX);
        let found = self
            .read
            .range(Bound::Included(&from), Bound::Included(&to), false)?
            .next();
        found
            .transpose()?
            .map(|(_, value)| row::decode_kept(&value).map(Was).map_err(engine_error))
            .transpose()
    }
}

/// Whether the row belongs to a name that was given to an inode that came later.
fn is_later_name(key: &[u8], value: &[u8], mark: u64) -> bool {
    key.first() == Some(&DENTRY)
        && schema::decode::<DentryRecord>(value).is_ok_and(|entry| entry.ino.0 >= mark)
}

impl<R: Deref> Read for AsOf<R>
where
    R::Target: Read,
{
    fn get(&self, key: &[u8]) -> meta::Result<Option<Vec<u8>>> {
        let Some(preserved_row) = row::preserved_row_of(key) else {
            return self.read.get(key);
        };
        let value = match self.kept(&preserved_row)? {
            Some(Was(value)) => value,
            None => self.read.get(key)?,
        };
        Ok(value.filter(|value| !is_later_name(key, value, self.mark)))
    }

    fn range<'a>(&'a self, from: Bound<&[u8]>, to: Bound<&[u8]>, reverse: bool) -> meta::Result<Rows<'a>> {
        let (Bound::Included(first) | Bound::Excluded(first)) = from else {
            return self.read.range(from, to, reverse);
        };
        let (Some(ino), Some(&table)) = (row::owner(first), first.first()) else {
            return self.read.range(from, to, reverse);
        };
        let own = &first[..9];
        // Not beyond this table of this inode.
        let to = match to {
            Bound::Included(last) | Bound::Excluded(last) if last.starts_with(own) => to,
            _ => Bound::Unbounded,
        };
        let end = schema::after_prefix(own);
        let current_to = match (to, &end) {
            (Bound::Unbounded, Some(end)) => Bound::Excluded(end.as_slice()),
            (to, _) => to,
        };
        let (kept_from, kept_to) = kept_bounds(table, ino, from, to);
        let current = self.read.range(from, current_to, false)?;
        let kept = self.read.range(
            kept_from.as_ref().map(Vec::as_slice),
            kept_to.as_ref().map(Vec::as_slice),
            false,
        )?;
        let rows = Merged {
            current: current.peekable(),
            kept: Kept {
                rows: kept,
                number: self.number,
                last: None,
            }
            .peekable(),
            mark: self.mark,
        };
        if reverse {
            let mut all = rows.collect::<meta::Result<Vec<_>>>()?;
            all.reverse();
            return Ok(Box::new(all.into_iter().map(Ok)));
        }
        Ok(Box::new(rows))
    }
}

/// Where the kept rows lie whose own keys are between the bounds.
fn kept_bounds(
    table: u8,
    ino: InodeNo,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let row_of = |key: &[u8]| row::preserved_row(table, ino, key.get(9..).unwrap_or_default());
    let behind = |key: &[u8]| row::preserved_key(&row_of(key), u64::MAX);
    let from = match from {
        Bound::Included(key) => Bound::Included(row_of(key)),
        Bound::Excluded(key) => Bound::Excluded(behind(key)),
        Bound::Unbounded => Bound::Included(row::preserved_table(table, ino)),
    };
    let to = match to {
        Bound::Included(key) => Bound::Included(behind(key)),
        Bound::Excluded(key) => Bound::Excluded(row_of(key)),
        Bound::Unbounded => match schema::after_prefix(&row::preserved_table(table, ino)) {
            Some(end) => Bound::Excluded(end),
            None => Bound::Unbounded,
        },
    };
    (from, to)
}

/// Of each kept row the value that counts: the first that was kept at the snapshot or later.
struct Kept<'a> {
    rows: Rows<'a>,
    number: u64,
    /// Own key of the row answered last.
    last: Option<Vec<u8>>,
}

impl Iterator for Kept<'_> {
    type Item = meta::Result<(Vec<u8>, Option<Vec<u8>>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let parsed = match self.rows.next()? {
                Ok((key, value)) => {
                    row::parse_preserved(&key).and_then(|own| Ok((own, row::decode_kept(&value)?)))
                }
                Err(error) => return Some(Err(error)),
            };
            let ((own, number), value) = match parsed {
                Ok(parsed) => parsed,
                Err(error) => return Some(Err(engine_error(error))),
            };
            if number < self.number || self.last.as_ref() == Some(&own) {
                continue;
            }
            self.last = Some(own.clone());
            return Some(Ok((own, value)));
        }
    }
}

/// Rows as they are now, and over them those that were kept.
struct Merged<'a> {
    current: Peekable<Rows<'a>>,
    kept: Peekable<Kept<'a>>,
    mark: u64,
}

impl Iterator for Merged<'_> {
    type Item = meta::Result<KeyValue>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.current.peek(), self.kept.peek()) {
                (None, None) => return None,
                (Some(Err(_)), _) | (Some(_), None) => Ordering::Less,
                (_, Some(Err(_))) | (None, Some(_)) => Ordering::Greater,
                (Some(Ok((current, _))), Some(Ok((kept, _)))) => current.cmp(kept),
            };
            if order == Ordering::Equal {
                self.current.next();
            }
            let (key, value) = if order == Ordering::Less {
                match self.current.next()? {
                    Ok(row) => row,
                    Err(error) => return Some(Err(error)),
                }
            } else {
                match self.kept.next()? {
                    Ok((key, Some(value))) => (key, value),
                    Ok((_, None)) => continue,
                    Err(error) => return Some(Err(error)),
                }
            };
            if !is_later_name(&key, &value, self.mark) {
                return Some(Ok((key, value)));
            }
        }
    }
}
