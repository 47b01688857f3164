//! Everything there is below a directory, inode by inode.
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::content;

/// One name and what it leads to. Access times are left out: looking changes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Inode number, mode with the file type, links, owner, group.
    pub inode: (u64, u32, u64, u32, u32),
    /// Length and 512-byte blocks.
    pub size: (u64, u64),
    /// Times of content and inode, in seconds and nanoseconds.
    pub times: [(i64, i64); 2],
    /// SHA-256 of a file, target of a symlink.
    pub content: String,
    /// Attributes by name.
    pub attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// All entries below `root` by path.
pub fn take(root: &Path) -> Result<BTreeMap<PathBuf, Entry>> {
    let mut entries = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            let about = std::fs::symlink_metadata(&path)?;
            let entry = describe(&path, &about).with_context(|| path.display().to_string())?;
            if about.is_dir() {
                open.push(path.clone());
            }
            entries.insert(path.strip_prefix(root)?.to_owned(), entry);
        }
    }
    Ok(entries)
}

fn describe(path: &Path, about: &Metadata) -> Result<Entry> {
    let content = if about.is_file() {
        content::sha256(&std::fs::read(path)?)
    } else if about.is_symlink() {
        String::from_utf8_lossy(std::fs::read_link(path)?.as_os_str().as_bytes()).into_owned()
    } else {
        String::new()
    };
    Ok(Entry {
        inode: (about.ino(), about.mode(), about.nlink(), about.uid(), about.gid()),
        size: (about.size(), about.blocks()),
        times: [
            (about.mtime(), about.mtime_nsec()),
            (about.ctime(), about.ctime_nsec()),
        ],
        content,
        attributes: if about.is_symlink() {
            BTreeMap::new()
        } else {
            attributes(path)?
        },
    })
}

fn attributes(path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; 64 << 10];
    let len = rustix::fs::listxattr(path, &mut names)?;
    let mut found = BTreeMap::new();
    for name in names[..len].split_inclusive(|byte| *byte == 0) {
        let name = CStr::from_bytes_with_nul(name)?;
        let mut value = vec![0; 64 << 10];
        let len = rustix::fs::getxattr(path, name, &mut value)?;
        value.truncate(len);
        found.insert(name.to_bytes().to_vec(), value);
    }
    Ok(found)
}
