//! What an operation came to, and what the model says it must come to.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use md5::{Digest as _, Md5};

/// Content of a file. Shared, because the model keeps many versions.
pub type Content = Arc<Vec<u8>>;

/// What the model knows of an ETag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Etag {
    /// Exactly this.
    Known(String),
    /// One the gateway made up, because POSIX or NBD wrote last: not to be taken for an MD5.
    Opaque,
    /// Nothing: either of the above.
    Unknown,
}

impl Etag {
    /// Of a simple PUT.
    pub fn md5(bytes: &[u8]) -> Self {
        Self::Known(hex::encode(Md5::digest(bytes)))
    }

    fn allows(&self, seen: &str) -> bool {
        let seen = seen.trim_matches('"');
        match self {
            Self::Known(etag) => etag == seen,
            Self::Opaque => seen.contains('-'),
            Self::Unknown => !seen.is_empty(),
        }
    }
}

/// An error of a door's own kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Number of an errno.
    Posix(i32),
    /// Status and code. HEAD has no code.
    S3(u16, &'static str),
    /// Reply to an option.
    Option(u32),
}

/// What a door answered.
#[derive(PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outcome {
    Done,
    Bytes(Vec<u8>),
    Number(u64),
    Text(String),
    Names(BTreeSet<String>),
    Etag(String),
    Object {
        size: u64,
        etag: String,
        tag: Option<String>,
        bytes: Option<Vec<u8>>,
    },
    Listing {
        objects: BTreeMap<String, (u64, String)>,
        prefixes: BTreeSet<String>,
    },
    Stat {
        size: u64,
        links: u64,
        kind: char,
    },
    Posix(i32),
    S3(u16, String),
    Option(u32),
    /// A failure that no model foresees.
    Broken(String),
}

/// What the model expects.
#[derive(PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Expected {
    Done,
    Bytes(Vec<u8>),
    Number(u64),
    Text(String),
    Names(BTreeSet<String>),
    Etag(Etag),
    Object {
        size: u64,
        etag: Etag,
        tag: Option<String>,
        bytes: Option<Vec<u8>>,
    },
    Listing {
        objects: BTreeMap<String, (u64, Etag)>,
        prefixes: BTreeSet<String>,
    },
    Stat {
        size: u64,
        links: u64,
        kind: char,
    },
    Refused(Refusal),
}

impl Expected {
    /// Whether the gateway may answer so.
    pub fn allows(&self, seen: &Outcome) -> bool {
        match (self, seen) {
            (Self::Done, Outcome::Done) => true,
            (Self::Bytes(model), Outcome::Bytes(seen)) => model == seen,
            (Self::Number(model), Outcome::Number(seen)) => model == seen,
            (Self::Text(model), Outcome::Text(seen)) => model == seen,
            (Self::Names(model), Outcome::Names(seen)) => model == seen,
            (Self::Etag(model), Outcome::Etag(seen)) => model.allows(seen),
            (
                Self::Object {
                    size,
                    etag,
                    tag,
                    bytes,
                },
                Outcome::Object {
                    size: seen_size,
                    etag: seen_etag,
                    tag: seen_tag,
                    bytes: seen_bytes,
                },
            ) => size == seen_size && etag.allows(seen_etag) && tag == seen_tag && bytes == seen_bytes,
            (
                Self::Listing { objects, prefixes },
                Outcome::Listing {
                    objects: seen,
                    prefixes: seen_prefixes,
                },
            ) => {
                prefixes == seen_prefixes
                    && objects.len() == seen.len()
                    && objects.iter().zip(seen).all(
                        |((key, (size, etag)), (seen_key, (seen_size, seen_etag)))| {
                            key == seen_key && size == seen_size && etag.allows(seen_etag)
                        },
                    )
            }
            (
                Self::Stat { size, links, kind },
                Outcome::Stat {
                    size: seen_size,
                    links: seen_links,
                    kind: seen_kind,
                },
            ) => size == seen_size && links == seen_links && kind == seen_kind,
            (Self::Refused(Refusal::Posix(model)), Outcome::Posix(seen)) => model == seen,
            (Self::Refused(Refusal::S3(status, code)), Outcome::S3(seen, seen_code)) => {
                status == seen && (code.is_empty() || seen_code.is_empty() || code == seen_code)
            }
            (Self::Refused(Refusal::Option(model)), Outcome::Option(seen)) => model == seen,
            _ => false,
        }
    }

    /// Where two long byte strings differ first, for the report.
    pub fn difference(&self, seen: &Outcome) -> String {
        let (model, seen) = match (self, seen) {
            (Self::Bytes(model), Outcome::Bytes(seen)) => (model, seen),
            (
                Self::Object {
                    bytes: Some(model), ..
                },
                Outcome::Object {
                    bytes: Some(seen), ..
                },
            ) => (model, seen),
            _ => return String::new(),
        };
        differences(model, seen)
    }
}

/// The ranges in which two byte strings differ, shortly.
pub fn differences(model: &[u8], seen: &[u8]) -> String {
    let mut text = String::new();
    if model.len() != seen.len() {
        text = format!("lengths {} and {}; ", model.len(), seen.len());
    }
    let differ: Vec<_> = (0..model.len().min(seen.len()))
        .filter(|&at| model[at] != seen[at])
        .collect();
    if let (Some(first), Some(last)) = (differ.first(), differ.last()) {
        let zeroes = differ.iter().all(|&at| seen[at] == 0);
        text += &format!(
            "{} bytes differ between {first} and {last}{}",
            differ.len(),
            if zeroes { ", all of them zero" } else { "" }
        );
    }
    text
}

/// Bytes print as their number and a checksum.
struct Short<'a>(&'a [u8]);

impl fmt::Debug for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = hex::encode(&Md5::digest(self.0)[..4]);
        write!(f, "{} bytes ({sum}…)", self.0.len())
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Bytes(bytes) => Short(bytes).fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) | Self::Etag(text) => text.fmt(f),
            Self::Names(names) => names.fmt(f),
            Self::Object {
                size,
                etag,
                tag,
                bytes,
            } => {
                let bytes = bytes.as_deref().map(Short);
                write!(f, "object of {size} bytes, ETag {etag}, tag {tag:?}, {bytes:?}")
            }
            Self::Listing { objects, prefixes } => write!(f, "{objects:?} and prefixes {prefixes:?}"),
            Self::Stat { size, links, kind } => write!(f, "{kind}, {size} bytes, {links} links"),
            Self::Posix(errno) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
            Self::S3(status, code) => write!(f, "{status} {code}"),
            Self::Option(code) => write!(f, "NBD option refused: {code:#x}"),
            Self::Broken(why) => write!(f, "BROKEN: {why}"),
        }
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Bytes(bytes) => Short(bytes).fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Etag(etag) => etag.fmt(f),
            Self::Names(names) => names.fmt(f),
            Self::Object {
                size,
                etag,
                tag,
                bytes,
            } => {
                let bytes = bytes.as_deref().map(Short);
                write!(f, "object of {size} bytes, ETag {etag:?}, tag {tag:?}, {bytes:?}")
            }
            Self::Listing { objects, prefixes } => write!(f, "{objects:?} and prefixes {prefixes:?}"),
            Self::Stat { size, links, kind } => write!(f, "{kind}, {size} bytes, {links} links"),
            Self::Refused(Refusal::Posix(errno)) => {
                write!(f, "{}", std::io::Error::from_raw_os_error(*errno))
            }
            Self::Refused(Refusal::S3(status, code)) => write!(f, "{status} {code}"),
            Self::Refused(Refusal::Option(code)) => write!(f, "NBD option refused: {code:#x}"),
        }
    }
}
