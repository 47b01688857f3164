//! From paths to snapshots and into them.
//!
//! A snapshot is named `PATH@NAME`. Its content is found below the `.snapshots` directory of what it
//! was taken of: `DIRECTORY/.snapshots/NAME/…`, and `DIRECTORY/.snapshots/FILE@NAME` for a file, or for
//! a file or directory that was there and is deleted ([`gone`]). That
//! directory is not there for listings of what it lies in, only for who asks for it by name; a real
//! entry of its name takes precedence over it.
use std::sync::Arc;

use meta::Read;

use super::gone;
use super::known::{Known, Snapshot, Snapshots};
use crate::object::{Key, find as find_key};
use crate::{Error, InodeNo, Kind, Result, bucket, dentry, inode, names};

/// Where snapshots are shown.
pub(crate) const DIRECTORY: &[u8] = b".snapshots";

/// The bucket, directory or regular file at `bucket`, `bucket/directory/` or `bucket/key`; without a
/// slash at the end a file comes before a directory.
pub(super) fn root(read: &(impl Read + ?Sized), path: &[u8]) -> Result<InodeNo> {
    let (name, rest) = match path.iter().position(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (path, &[][..]),
    };
    let name = std::str::from_utf8(name).map_err(|_| Error::NoSuchBucket)?;
    let bucket = bucket::find(read, name)?;
    if rest.is_empty() {
        return Ok(bucket);
    }
    let mut found = find_key(read, bucket, &Key::new(rest)?)?;
    if found.is_none() && !rest.ends_with(b"/") {
        found = find_key(read, bucket, &Key::new(&[rest, b"/"].concat())?)?;
    }
    match found {
        Some(found) if matches!(found.kind, Kind::File | Kind::Directory) => Ok(found.ino),
        Some(_) => Err(Error::Invalid("neither a directory nor a regular file")),
        None => Err(Error::NotFound),
    }
}

/// Snapshots of what is at `path`, else of what was there when they were taken.
pub(super) fn taken_of(
    read: &(impl Read + ?Sized),
    snapshots: &Snapshots,
    path: &[u8],
) -> Result<Vec<Arc<Snapshot>>> {
    let at = match root(read, path) {
        Ok(root) => snapshots.of(root).cloned().collect::<Vec<_>>(),
        Err(Error::NotFound | Error::NoSuchBucket) => Vec::new(),
        Err(error) => return Err(error),
    };
    let there = at.iter().map(|snapshot| snapshot.number).collect::<Vec<_>>();
    let was_there = |snapshot: &&Arc<Snapshot>| {
        names::without_slash(&snapshot.record.path) == names::without_slash(path)
            && !there.contains(&snapshot.number)
    };
    let mut found = Vec::new();
    for snapshot in snapshots.visible().iter().filter(was_there) {
        // What was renamed has its snapshots under its new name.
        if gone::is_gone(read, &snapshot.record)? {
            found.push(snapshot.clone());
        }
    }
    found.extend(at);
    Ok(found)
}

/// The snapshot `path@name`. What is at the path now comes before what was there.
pub(super) fn find(
    read: &(impl Read + ?Sized),
    snapshots: &Snapshots,
    path: &[u8],
    name: &str,
) -> Result<Arc<Snapshot>> {
    taken_of(read, snapshots, path)?
        .into_iter()
        .rev()
        .find(|snapshot| snapshot.record.name == name)
        .ok_or(Error::NotFound)
}

/// The snapshot that `name` stands for in the `.snapshots` of `directory`.
pub(super) fn shown_as(
    read: &(impl Read + ?Sized),
    snapshots: &Snapshots,
    directory: InodeNo,
    name: &[u8],
) -> Result<Option<Arc<Snapshot>>> {
    let text = |name: &[u8]| std::str::from_utf8(name).map(str::to_owned).ok();
    match name.iter().rposition(|byte| *byte == b'@') {
        None => Ok(text(name).and_then(|name| snapshots.named(directory, &name).cloned())),
        Some(at) => {
            let (file, name) = (&name[..at], &name[at + 1..]);
            let Some(name) = text(name) else {
                return Ok(None);
            };
            if let Some(entry) = dentry::resolve(read, directory, file)?
                && entry.kind == Kind::File
                && let Some(found) = snapshots.named(entry.ino, &name)
            {
                return Ok(Some(found.clone()));
            }
            for snapshot in snapshots.visible().iter().rev() {
                let record = &snapshot.record;
                if record.name == name
                    && gone::is_gone(read, record)?
                    && gone::home(read, record)? == (directory, file.to_vec())
                {
                    return Ok(Some(snapshot.clone()));
                }
            }
            Ok(None)
        }
    }
}

/// Names in the `.snapshots` of `directory` and what they stand for, sorted.
pub(crate) fn shown_in(
    read: &(impl Read + ?Sized),
    snapshots: &Snapshots,
    directory: InodeNo,
) -> Result<Vec<(Vec<u8>, Arc<Snapshot>)>> {
    let Some(domain) = inode::load_timeless(read, directory)?.map(|record| record.domain) else {
        return Ok(Vec::new());
    };
    let mut shown = Vec::new();
    for snapshot in snapshots.visible() {
        let record = &snapshot.record;
        if record.domain != domain {
            continue;
        }
        if record.root == directory {
            shown.push((record.name.clone().into_bytes(), false, snapshot.clone()));
            continue;
        }
        let root = inode::load_timeless(read, record.root)?.filter(|root| root.nlink > 0);
        let is_gone = root.is_none();
        let (home, mut name) = match root {
            Some(file) if !record.directory && file.parent == directory => {
                (directory, dentry::display(read, directory, &file.name)?)
            }
            Some(_) => continue,
            None => gone::home(read, record)?,
        };
        name.push(b'@');
        name.extend_from_slice(record.name.as_bytes());
        if home == directory && name.len() <= names::SHOWN_MAX {
            shown.push((name, is_gone, snapshot.clone()));
        }
    }
    // Of one name: what is there comes before what is gone, and of that the newest first.
    shown.sort_by(|a, b| (&a.0, a.1, b.2.number).cmp(&(&b.0, b.1, a.2.number)));
    shown.dedup_by(|later, first| later.0 == first.0);
    Ok(shown
        .into_iter()
        .map(|(name, _, snapshot)| (name, snapshot))
        .collect())
}

/// Whether `directory` has a `.snapshots` for who asks: something to show, and no entry of the name.
pub(crate) fn has_listing(
    read: &(impl Read + ?Sized),
    snapshots: &Snapshots,
    directory: InodeNo,
) -> Result<bool> {
    if snapshots.is_empty() || dentry::resolve(read, directory, DIRECTORY)?.is_some() {
        return Ok(false);
    }
    Ok(!shown_in(read, snapshots, directory)?.is_empty())
}

/// A place below the `.snapshots` of a directory.
pub(crate) struct Listing {
    /// First part of the key, with the slash behind `.snapshots`.
    pub prefix: Vec<u8>,
    pub directory: InodeNo,
    /// What follows.
    pub rest: Vec<u8>,
}

/// What a key leads to.
pub(crate) enum Located {
    /// Nothing of snapshots.
    Live,
    /// To no snapshot that there is.
    Listing(Listing),
    /// Into a snapshot.
    Inside {
        listing: Listing,
        snapshot: Arc<Snapshot>,
        /// First part of the key, up to the snapshot, with a slash behind that of a directory.
        prefix: Vec<u8>,
        /// What follows; nothing for a file.
        rest: Vec<u8>,
    },
}

/// Where in `bucket` a key or a prefix of keys leads.
pub(crate) fn locate(
    read: &(impl Read + ?Sized),
    snapshots: &Snapshots,
    bucket: InodeNo,
    key: &[u8],
) -> Result<Located> {
    // Most keys name nothing of snapshots; those must not be walked twice.
    let is_listing = |component: &[u8]| component.strip_suffix(b"/") == Some(DIRECTORY);
    let mut components = key.split_inclusive(|byte| *byte == b'/');
    if snapshots.is_empty() || !components.clone().any(is_listing) {
        return Ok(Located::Live);
    }
    let (mut end, mut directory) = (0, bucket);
    let found = components.find_map(|component| {
        end += component.len();
        match dentry::get(read, directory, component) {
            Ok(Some(entry)) => {
                directory = entry.ino;
                None
            }
            Ok(None) => Some(Ok(component)),
            Err(error) => Some(Err(error)),
        }
    });
    match found.transpose()? {
        Some(component) if is_listing(component) && has_listing(read, snapshots, directory)? => {}
        _ => return Ok(Located::Live),
    }
    let listing = Listing {
        prefix: key[..end].to_vec(),
        directory,
        rest: key[end..].to_vec(),
    };
    let slash = listing.rest.iter().position(|byte| *byte == b'/');
    let name = &listing.rest[..slash.unwrap_or(listing.rest.len())];
    match shown_as(read, snapshots, directory, name)? {
        Some(snapshot) if snapshot.record.directory == slash.is_some() => {
            let inside = end + slash.map_or(listing.rest.len(), |slash| slash + 1);
            Ok(Located::Inside {
                listing,
                snapshot,
                prefix: key[..inside].to_vec(),
                rest: key[inside..].to_vec(),
            })
        }
        _ => Ok(Located::Listing(listing)),
    }
}

/// `ReadOnly` for a key that leads to where snapshots are shown.
pub(crate) fn refuse_change(
    tx: &(impl Read + ?Sized),
    known: &Known,
    bucket: InodeNo,
    key: &[u8],
) -> Result<()> {
    match locate(tx, &*known.within(tx)?, bucket, key)? {
        Located::Live => Ok(()),
        Located::Listing(_) | Located::Inside { .. } => Err(Error::ReadOnly),
    }
}
