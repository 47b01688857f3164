//! Names of inodes.
//!
//! Each inode record carries one of its names, so that a path can be found from an inode; further
//! hard links have LINK rows, and one of those moves into the record when the first name goes.
use std::ops::Bound;

use meta::{Read, Transaction};

use crate::names::{self, Shown};
use crate::schema::{self, DENTRY, DentryRecord, InodeRecord, LINK, LONG_NAME};
use crate::{Error, InodeNo, Kind, Result, quota};

/// A name that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Name as in DENTRY.
    pub suffix: Vec<u8>,
    pub ino: InodeNo,
    pub kind: Kind,
}

/// The entry with exactly this name (`name/` for a directory).
pub(crate) fn get(
    read: &(impl Read + ?Sized),
    parent: InodeNo,
    suffix: &[u8],
) -> Result<Option<DentryRecord>> {
    at(read, &schema::child_key(DENTRY, parent, suffix))
}

/// The entry with this key.
fn at(read: &(impl Read + ?Sized), key: &[u8]) -> Result<Option<DentryRecord>> {
    read.get(key)?.map(|value| schema::decode(&value)).transpose()
}

/// Whether the directory has no entries.
pub(crate) fn is_empty(read: &(impl Read + ?Sized), dir: InodeNo) -> Result<bool> {
    Ok(schema::scan(read, &schema::inode_key(DENTRY, dir))?
        .next()
        .transpose()?
        .is_none())
}

/// Entries of `dir` from the bound on, in order.
pub(crate) fn scan<'a, R: Read + ?Sized>(
    read: &'a R,
    dir: InodeNo,
    from: Bound<&[u8]>,
) -> Result<impl Iterator<Item = Result<Entry>> + 'a> {
    let prefix = schema::inode_key(DENTRY, dir);
    let from = match from {
        Bound::Included(suffix) => Bound::Included(schema::child_key(DENTRY, dir, suffix)),
        Bound::Excluded(suffix) => Bound::Excluded(schema::child_key(DENTRY, dir, suffix)),
        Bound::Unbounded => Bound::Included(prefix.to_vec()),
    };
    let rows = schema::scan_from(read, &prefix, from.as_ref().map(Vec::as_slice))?;
    Ok(rows.map(|row| {
        let (mut suffix, value) = row?;
        if suffix.len() < 9 {
            return Err(schema::damaged("short dentry key"));
        }
        suffix.drain(..9);
        let record: DentryRecord = schema::decode(&value)?;
        Ok(Entry {
            suffix,
            ino: record.ino,
            kind: record.kind,
        })
    }))
}

/// The entry that a mount shows as `shown`. Names that can be nobody's are not found.
pub(crate) fn resolve(read: &(impl Read + ?Sized), parent: InodeNo, shown: &[u8]) -> Result<Option<Entry>> {
    match names::parse(shown) {
        Ok(shown) => resolve_parsed(read, parent, &shown),
        Err(Error::InvalidName(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn resolve_parsed(read: &(impl Read + ?Sized), parent: InodeNo, shown: &Shown) -> Result<Option<Entry>> {
    let exact = |suffix: Vec<u8>| -> Result<Option<Entry>> {
        Ok(get(read, parent, &suffix)?.map(|record| Entry {
            suffix,
            ino: record.ino,
            kind: record.kind,
        }))
    };
    match shown {
        Shown::Plain(name) => {
            let mut key = schema::key(DENTRY, &[&parent.0.to_be_bytes(), name, b"/"]);
            let mut found = at(read, &key)?;
            if found.is_none() {
                key.pop();
                found = at(read, &key)?;
            }
            Ok(found.map(|record| Entry {
                suffix: key.split_off(9),
                ino: record.ino,
                kind: record.kind,
            }))
        }
        Shown::File(name) => match get(read, parent, &names::suffix(name, true))? {
            Some(_) => exact(name.clone()),
            None => Ok(None),
        },
        Shown::Long(hash) => {
            let row = read.get(&schema::child_key(LONG_NAME, parent, hash))?;
            let Some(suffix) = row
                .map(|row| schema::decode_raw(&row).map(<[u8]>::to_vec))
                .transpose()?
            else {
                return Ok(None);
            };
            // A name has one shown form only: not the hash when it can be shown in full.
            let is_long = display(read, parent, &suffix)? == names::show_hash(hash);
            if is_long { exact(suffix) } else { Ok(None) }
        }
    }
}

/// How a mount shows the entry.
pub(crate) fn display(read: &(impl Read + ?Sized), parent: InodeNo, suffix: &[u8]) -> Result<Vec<u8>> {
    let is_dir = suffix.ends_with(b"/");
    let name = names::without_slash(suffix);
    let shadowed = !is_dir && get(read, parent, &names::suffix(name, true))?.is_some();
    Ok(names::show(name, is_dir, shadowed))
}

/// As [`display`], where `next` is the entry that follows in the order of names; `None`: it is the last.
pub(crate) fn display_before(
    read: &(impl Read + ?Sized),
    parent: InodeNo,
    suffix: &[u8],
    next: Option<&[u8]>,
) -> Result<Vec<u8>> {
    let is_dir = suffix.ends_with(b"/");
    let directory = || suffix.iter().chain(b"/");
    // A directory of the same name comes later; between the two, few names fit.
    match next {
        _ if is_dir => {}
        Some(next) if next.iter().lt(directory()) => return display(read, parent, suffix),
        Some(next) if next.iter().eq(directory()) => return Ok(names::show(suffix, false, true)),
        _ => {}
    }
    Ok(names::show(names::without_slash(suffix), is_dir, false))
}

/// The name as in DENTRY for a new entry shown as `shown`; `Exists` when there is one.
pub(crate) fn free_name(
    read: &(impl Read + ?Sized),
    parent: InodeNo,
    shown: &[u8],
    kind: Kind,
) -> Result<Vec<u8>> {
    let parsed = names::parse(shown)?;
    if resolve_parsed(read, parent, &parsed)?.is_some() {
        return Err(Error::Exists);
    }
    new_name(read, parent, parsed, kind)
}

/// As [`free_name`], where the caller has seen already that there is no such entry.
pub(crate) fn name_known_free(
    read: &(impl Read + ?Sized),
    parent: InodeNo,
    shown: &[u8],
    kind: Kind,
) -> Result<Vec<u8>> {
    new_name(read, parent, names::parse(shown)?, kind)
}

fn new_name(read: &(impl Read + ?Sized), parent: InodeNo, parsed: Shown, kind: Kind) -> Result<Vec<u8>> {
    let is_dir = kind == Kind::Directory;
    match parsed {
        Shown::Plain(name) if is_dir => Ok(names::suffix(&name, true)),
        Shown::Plain(name) if !name.is_empty() => Ok(name),
        Shown::File(name) if !is_dir && get(read, parent, &names::suffix(&name, true))?.is_some() => Ok(name),
        _ => Err(Error::InvalidName(
            "an escaped name that nothing of this kind can have",
        )),
    }
}

/// Gives `ino` the name. The caller saves `record` and counts links and times.
pub(crate) fn attach(
    tx: &mut dyn Transaction,
    parent: InodeNo,
    suffix: &[u8],
    ino: InodeNo,
    record: &mut InodeRecord,
) -> Result<()> {
    let counts_to = if record.parent.0 == 0 && record.quota.0 == 0 {
        quota::of_directory(&*tx, parent)?
    } else {
        record.quota
    };
    attach_counted(tx, (parent, counts_to), suffix, ino, record)
}

/// As [`attach`], for who knows what quota the directory counts to.
pub(crate) fn attach_counted(
    tx: &mut dyn Transaction,
    (parent, counts_to): (InodeNo, InodeNo),
    suffix: &[u8],
    ino: InodeNo,
    record: &mut InodeRecord,
) -> Result<()> {
    let row = DentryRecord {
        ino,
        kind: record.kind,
    };
    tx.put(&schema::child_key(DENTRY, parent, suffix), &schema::encode(&row)?)?;
    if names::may_be_long(names::without_slash(suffix), suffix.ends_with(b"/")) {
        let hash = names::long_hash(suffix);
        tx.put(
            &schema::child_key(LONG_NAME, parent, &hash),
            &schema::encode_raw(suffix),
        )?;
    }
    if record.parent.0 == 0 {
        record.parent = parent;
        record.name = suffix.to_vec();
        if record.quota.0 == 0 {
            record.quota = counts_to;
        }
    } else {
        tx.put(&link_key(ino, parent, suffix), &schema::encode_raw(&[]))?;
    }
    Ok(())
}

/// Takes the name from `ino`. The caller saves `record` and counts links and times.
pub(crate) fn detach(
    tx: &mut dyn Transaction,
    parent: InodeNo,
    suffix: &[u8],
    ino: InodeNo,
    record: &mut InodeRecord,
) -> Result<()> {
    tx.delete(&schema::child_key(DENTRY, parent, suffix))?;
    if names::may_be_long(names::without_slash(suffix), suffix.ends_with(b"/")) {
        tx.delete(&schema::child_key(LONG_NAME, parent, &names::long_hash(suffix)))?;
    }
    if record.parent != parent || record.name != suffix {
        tx.delete(&link_key(ino, parent, suffix))?;
        return Ok(());
    }
    record.parent = InodeNo(0);
    record.name.clear();
    // Only hard links have further names, and a directory has none.
    if record.kind != Kind::Directory && record.nlink > 1 {
        let other = schema::scan(&*tx, &schema::inode_key(LINK, ino))?
            .next()
            .transpose()?;
        if let Some((key, _)) = other {
            record.parent = InodeNo(schema::number_at(&key, 9)?);
            record.name = key
                .get(17..)
                .ok_or_else(|| schema::damaged("short link key"))?
                .to_vec();
            tx.delete(&key)?;
        }
    }
    Ok(())
}

fn link_key(ino: InodeNo, parent: InodeNo, suffix: &[u8]) -> Vec<u8> {
    schema::key(LINK, &[&ino.0.to_be_bytes(), &parent.0.to_be_bytes(), suffix])
}
