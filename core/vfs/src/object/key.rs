//! Keys as paths.
use meta::Read;

use crate::{Error, InodeNo, Kind, Result, dentry};

/// Longest key, in bytes.
pub(crate) const KEY_MAX: usize = 1024;

/// A key taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    bytes: Vec<u8>,
}

impl Key {
    pub(crate) fn new(key: &[u8]) -> Result<Self> {
        if key.is_empty() {
            return Err(Error::InvalidName("empty key"));
        }
        if key.len() > KEY_MAX {
            return Err(Error::NameTooLong);
        }
        Ok(Self { bytes: key.to_vec() })
    }

    /// The key of something that a mount made, whose paths may be longer than a client's keys.
    pub(crate) fn of_path(key: &[u8]) -> Self {
        Self { bytes: key.to_vec() }
    }

    /// The key.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Names as in DENTRY, one after the other: all but the last are directories, and so is the last
    /// when the key ends in `/`.
    pub(crate) fn suffixes(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split_inclusive(|byte| *byte == b'/')
    }

    /// How many names that are.
    pub(crate) fn depth(&self) -> u64 {
        self.suffixes().count() as u64
    }

    /// Whether it names a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.bytes.ends_with(b"/")
    }
}

/// An entry that a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub parent: InodeNo,
    pub ino: InodeNo,
    pub kind: Kind,
}

/// The entry with exactly this key, whatever it is.
pub(crate) fn find(read: &(impl Read + ?Sized), bucket: InodeNo, key: &Key) -> Result<Option<Found>> {
    let mut found = Found {
        parent: InodeNo(0),
        ino: bucket,
        kind: Kind::Directory,
    };
    for suffix in key.suffixes() {
        match dentry::get(read, found.ino, suffix)? {
            Some(entry) => {
                found = Found {
                    parent: found.ino,
                    ino: entry.ino,
                    kind: entry.kind,
                }
            }
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// `bucket/key` taken apart.
pub(crate) fn split_path(path: &[u8]) -> Result<(&str, Key)> {
    let slash = path.iter().position(|byte| *byte == b'/');
    let (bucket, key) = path.split_at(slash.ok_or(Error::InvalidName("not of the form bucket/key"))?);
    let bucket = std::str::from_utf8(bucket).map_err(|_| Error::NoSuchBucket)?;
    Ok((bucket, Key::new(&key[1..])?))
}

/// The last name of a key, as in DENTRY.
pub(crate) fn leaf(key: &Key) -> &[u8] {
    key.suffixes().last().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_apart_at_slashes() {
        let parts = |key: &[u8]| {
            Key::new(key)
                .unwrap()
                .suffixes()
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        };
        assert_eq!(parts(b"a"), [b"a"]);
        assert_eq!(parts(b"a/b"), [&b"a/"[..], b"b"]);
        assert_eq!(parts(b"a//b/"), [&b"a/"[..], b"/", b"b/"]);
        assert_eq!(parts(b"/a"), [&b"/"[..], b"a"]);
        assert_eq!(parts(b"/"), [b"/"]);
        assert_eq!(leaf(&Key::new(b"a//b/").unwrap()), b"b/");
        assert!(Key::new(b"").is_err());
        assert!(Key::new(&[b'x'; 1024]).is_ok());
        assert!(matches!(Key::new(&[b'x'; 1025]), Err(Error::NameTooLong)));
    }
}
