//! What the model test can do. An operation says everything that is needed to carry it out, and does
//! not depend on those before it: any subset of a list of operations is a list of operations, which is
//! what makes shrinking simple.
use crate::content;

/// The buckets of the test.
pub const BUCKETS: [&str; 2] = ["alpha", "beta"];

/// A name in a bucket: the key of an object, the path of a file, the name of an export.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index into [`BUCKETS`].
    pub bucket: usize,
    /// Path in the bucket.
    pub path: String,
}

impl Place {
    /// Name of the bucket.
    pub fn bucket_name(&self) -> &'static str {
        BUCKETS[self.bucket]
    }

    /// `bucket/key`.
    pub fn full(&self) -> String {
        format!("{}/{}", self.bucket_name(), self.path)
    }
}

/// Bytes named by a seed, so that an operation prints short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Seed of the bytes.
    pub seed: u64,
    /// How many.
    pub len: usize,
}

impl Blob {
    /// The bytes.
    pub fn bytes(self) -> Vec<u8> {
        content::bytes(self.seed, self.len)
    }
}

/// One step of the test.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Through S3.
    Object(ObjectOperation),
    /// Through the mount.
    File(FileOperation),
    /// Through NBD.
    Block(BlockOperation),
    /// Done to the gateway and its network.
    Event(Event),
}

/// Condition of a PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// None.
    None,
    /// `If-None-Match: *`.
    Absent,
    /// `If-Match: *`.
    Present,
    /// `If-Match` with an ETag that nothing has.
    Never,
}

/// Operations of the S3 door.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum ObjectOperation {
    Put {
        at: Place,
        body: Blob,
        tag: Option<u8>,
        condition: Condition,
    },
    Get {
        at: Place,
        range: Option<(u64, u64)>,
    },
    Head {
        at: Place,
    },
    Delete {
        at: Place,
    },
    /// All of one bucket.
    DeleteMany {
        bucket: usize,
        paths: Vec<String>,
    },
    Copy {
        from: Place,
        to: Place,
    },
    /// Pages of `page` entries to the end; version 1 or 2 of the call.
    List {
        bucket: usize,
        prefix: String,
        delimiter: bool,
        version: u8,
        page: usize,
    },
    /// Two parts; the first is as small as S3 allows.
    Multipart {
        at: Place,
        first: u64,
        last: Blob,
    },
    /// Begins an upload with one part and drops it.
    AbortMultipart {
        at: Place,
        part: Blob,
    },
    /// The empty object `path/`.
    PutDirectory {
        at: Place,
    },
    DeleteDirectory {
        at: Place,
    },
}

/// Flags of a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RenameHow {
    Replace,
    NoReplace,
    Exchange,
}

/// Operations of the mount.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum FileOperation {
    Create { at: Place },
    Write { at: Place, offset: u64, body: Blob },
    Append { at: Place, body: Blob },
    Read { at: Place, offset: u64, len: usize },
    Truncate { at: Place, len: u64 },
    Punch { at: Place, offset: u64, len: u64 },
    Rename { from: Place, to: Place, how: RenameHow },
    Link { from: Place, to: Place },
    Unlink { at: Place },
    Mkdir { at: Place },
    Rmdir { at: Place },
    Readdir { at: Place },
    Symlink { at: Place, target: String },
    Readlink { at: Place },
    SetXattr { at: Place, name: usize, value: Blob },
    GetXattr { at: Place, name: usize },
    RemoveXattr { at: Place, name: usize },
    ListXattr { at: Place },
    Stat { at: Place },
    Fsync { at: Place },
}

/// Extended attributes the test uses. The last one is user metadata of S3.
pub const XATTRS: [&str; 3] = ["user.t0", "user.t1", TAG_XATTR];
/// `x-amz-meta-tag` as the mount shows it.
pub const TAG_XATTR: &str = "user.s3.meta.tag";

/// Exports that may be attached at a time.
pub const SLOTS: usize = 2;

/// Operations of the NBD door. Offsets and lengths are cut to the size of what is attached; an empty
/// slot does nothing.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum BlockOperation {
    /// Lets go of what the slot holds first.
    Attach {
        slot: usize,
        at: Place,
    },
    Read {
        slot: usize,
        offset: u64,
        len: u64,
    },
    Write {
        slot: usize,
        offset: u64,
        body: Blob,
        fua: bool,
    },
    Zero {
        slot: usize,
        offset: u64,
        len: u64,
        allocate: bool,
        fua: bool,
    },
    Trim {
        slot: usize,
        offset: u64,
        len: u64,
        fua: bool,
    },
    Flush {
        slot: usize,
    },
    Detach {
        slot: usize,
    },
}

/// What a request to an attached export of `size` bytes really asks for.
pub fn cut(size: u64, offset: u64, len: u64) -> (u64, u64) {
    let offset = offset % (size + 1);
    (offset, len.min(size - offset))
}

/// Things that happen to the gateway.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Event {
    /// kill -9 and a start on the same data; then everything is compared with what may be there.
    Kill,
    /// kill -9 so many microseconds after the operation began. If it was answered, the answer counts;
    /// if not, it happened or it did not.
    KillDuring {
        operation: Box<Operation>,
        micros: u64,
    },
    /// So many miners from `first` on stop answering.
    Dead {
        first: usize,
        count: usize,
    },
    Heal,
    DropCaches,
    /// `flush --wait`: `staged`, `placed` or `verified`.
    Flush {
        level: &'static str,
    },
}
