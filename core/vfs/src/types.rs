//! The words doors and vfs share.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::VersionId;

/// Names an inode. 1 is the root, whose entries are the buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InodeNo(pub u64);

impl InodeNo {
    /// The directory of buckets.
    pub const ROOT: Self = Self(1);
}

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Kind {
    Directory,
    File,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

/// A moment: nanoseconds since 1970-01-01 UTC, signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

/// POSIX attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: InodeNo,
    /// Kind.
    pub kind: Kind,
    /// Permission bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Links.
    pub nlink: u32,
    /// Device number of a device node.
    pub rdev: u32,
    /// Length in bytes.
    pub size: u64,
    /// Allocated bytes (sum of extents, buffered writes included).
    pub allocated: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of inode.
    pub ctime: Timestamp,
    /// Creation.
    pub birth: Timestamp,
}

/// Who makes a new inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creator {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits, umask applied.
    pub mode: u32,
}

/// Changes of attributes; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Truncate or extend (with a hole).
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<TimeChange>,
    /// Modification time.
    pub mtime: Option<TimeChange>,
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeChange {
    /// The gateway's clock.
    Now,
    /// This moment.
    At(Timestamp),
}

/// One directory entry, with its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Name as a mount shows it (escaped where needed, `docs/SEMANTICS.md`).
    pub name: Vec<u8>,
    /// Attributes.
    pub attr: Attr,
    /// Where to go on after this entry.
    pub position: DirPosition,
}

/// A place in a directory, stable while entries come and go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirPosition(pub Vec<u8>);

/// Flags of a rename (renameat2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenameFlags {
    /// Fail with `Exists` instead of replacing.
    pub no_replace: bool,
    /// Swap the two names.
    pub exchange: bool,
}

/// How an extended attribute is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrSet {
    /// Make or replace.
    Any,
    /// `Exists` if there.
    Create,
    /// `NotFound` if not there.
    Replace,
}

/// Space and inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatFs {
    /// Bytes that can be stored in all.
    pub total_bytes: u64,
    /// Bytes still free.
    pub free_bytes: u64,
    /// Inodes in use.
    pub inodes: u64,
    /// Inodes still free, where a quota limits them.
    pub free_inodes: Option<u64>,
}

/// What a range of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentInfo {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// Reads as zeroes and takes no space.
    pub hole: bool,
    /// Level of its bytes; holes count as verified.
    pub level: store::Level,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Name.
    pub name: String,
    /// Its directory.
    pub ino: InodeNo,
    /// When it was made.
    pub created: Timestamp,
}

/// Content headers, user metadata and settings of an object. Kept as `user.s3.*` extended attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectMeta {
    /// `Content-Type`, `Cache-Control`, … by lower-case header name.
    pub headers: BTreeMap<String, String>,
    /// `x-amz-meta-*` by lower-case name without the prefix.
    pub user: BTreeMap<String, String>,
    /// What a door keeps about the object and no other door may touch: tags, grants. A mount neither
    /// shows nor changes them ([`Vfs::change_object_settings`](crate::Vfs::change_object_settings)).
    pub settings: BTreeMap<String, String>,
}

/// An object as HEAD shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its inode.
    pub ino: InodeNo,
    /// Key.
    pub key: Vec<u8>,
    /// Length in bytes.
    pub size: u64,
    /// Without quotes: MD5 hex of a simple PUT, `md5-n` of a multipart, opaque with a `-` after
    /// POSIX or NBD wrote last.
    pub etag: String,
    /// Last change of content.
    pub modified: Timestamp,
    /// Headers and user metadata.
    pub meta: ObjectMeta,
    /// Parts of a multipart object.
    pub parts: Option<u32>,
    /// Which version of its key it is; `None` in a bucket that was never versioned, in pages of
    /// [`Vfs::list_objects`](crate::Vfs::list_objects), and in snapshots.
    pub version: Option<VersionId>,
}

/// Condition of a write, decided inside its transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// The object must exist with one of these ETags (`*` = any).
    pub if_match: Option<Vec<String>>,
    /// The object must not exist with one of these ETags (`*` = must not exist).
    pub if_none_match: Option<Vec<String>>,
    /// The object must exist and have changed last in this second since 1970.
    pub if_modified_at: Option<i64>,
    /// The object must exist and have so many bytes.
    pub if_size: Option<u64>,
}

impl Precondition {
    /// Whether it asks for an object that is there.
    pub fn wants_object(&self) -> bool {
        self.if_match.is_some() || self.if_modified_at.is_some() || self.if_size.is_some()
    }
}

/// What a listing asks for.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// Only keys that begin so.
    pub prefix: Vec<u8>,
    /// Keys that share a prefix up to the next delimiter are rolled into one entry.
    pub delimiter: Option<Vec<u8>>,
    /// Only keys (and rolled-up prefixes) after this.
    pub start_after: Option<Vec<u8>>,
    /// Most entries, objects and prefixes together.
    pub max: usize,
}

/// A page of a listing, in byte order of the keys.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// Objects.
    pub objects: Vec<ObjectInfo>,
    /// Rolled-up prefixes.
    pub prefixes: Vec<Vec<u8>>,
    /// Pass as `start_after` for the next page; `None` at the end.
    pub next: Option<Vec<u8>>,
}

/// Names a multipart upload: opaque text, safe in URLs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub String);

/// A part that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// 1..=10,000.
    pub number: u32,
    /// Length in bytes.
    pub size: u64,
    /// As the door gave it.
    pub etag: String,
    /// When.
    pub modified: Timestamp,
}

/// A multipart upload in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// Its id.
    pub id: UploadId,
    /// Key it will become.
    pub key: Vec<u8>,
    /// When it began.
    pub created: Timestamp,
    /// Metadata the object will have.
    pub meta: ObjectMeta,
}

/// A file with a fixed size and a sector size, meant to be attached as a block device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeInfo {
    /// `bucket/key`.
    pub path: String,
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes that take space.
    pub allocated: u64,
    /// 512 or 4096.
    pub sector: u32,
    /// Free text.
    pub description: String,
}

/// What an NBD export is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The inode behind it.
    pub ino: InodeNo,
    /// It lies in a snapshot.
    pub read_only: bool,
    /// Bytes.
    pub size: u64,
    /// Smallest sensible request in bytes.
    pub sector: u32,
    /// Free text.
    pub description: String,
}
