//! Where snapshots of what is deleted are shown.
//!
//! A snapshot outlives what it was taken of. It is shown then in the deepest directory that there still
//! is of those on its path, as a file's is: `REST@NAME`. REST is what follows of the path, each
//! component as a mount shows it, with colons instead of slashes.
use meta::Read;

use super::row::SnapshotRecord;
use crate::{InodeNo, Result, dentry, inode, names};

/// Between the components of a path that are shown as one name.
const SEPARATOR: u8 = b':';

/// Whether what the snapshot was taken of has no name any more.
pub(super) fn is_gone(read: &(impl Read + ?Sized), record: &SnapshotRecord) -> Result<bool> {
    let root = inode::load_timeless(read, record.root)?;
    Ok(root.is_none_or(|root| root.nlink == 0))
}

/// Of what is gone: the directory in whose `.snapshots` it is shown, and the name there up to the `@`.
pub(super) fn home(read: &(impl Read + ?Sized), record: &SnapshotRecord) -> Result<(InodeNo, Vec<u8>)> {
    // From the bucket on, which has kept its inode if not its name.
    let mut directory = InodeNo(record.domain);
    let mut rest: Vec<u8> = Vec::new();
    let mut components = record
        .path
        .split_inclusive(|byte| *byte == b'/')
        .skip(1)
        .peekable();
    while let Some(component) = components.next() {
        let is_above = rest.is_empty() && components.peek().is_some();
        if is_above && let Some(entry) = dentry::get(read, directory, component)? {
            directory = entry.ino;
            continue;
        }
        if !rest.is_empty() {
            rest.push(SEPARATOR);
        }
        let is_dir = component.ends_with(b"/");
        rest.extend(names::show(names::without_slash(component), is_dir, false));
    }
    Ok((directory, rest))
}
