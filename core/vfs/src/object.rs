//! Object operations: keys are opaque bytes, and no key is refused but the empty one and those
//! over 1,024 bytes.
use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{
    Bucket, InodeNo, Level, ListPage, ListRequest, ObjectInfo, ObjectMeta, PartInfo, Precondition, Result,
    UploadId, UploadInfo, Vfs,
};

/// What a finished write of an object carries.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// ETag without quotes (the door computed it).
    pub etag: String,
    /// Headers and user metadata. `user["mtime"]` (rclone) sets the inode's mtime.
    pub meta: ObjectMeta,
    /// Decided in the transaction.
    pub precondition: Precondition,
    /// Level to reach before answering; the configured one if `None`.
    pub level: Option<Level>,
}

/// Where metadata of a copy comes from.
#[derive(Clone, Debug)]
pub enum CopyMeta {
    /// From the source.
    Keep,
    /// These.
    Replace(ObjectMeta),
}

/// Takes an object's (or part's) bytes in order; nothing is visible before a commit, and dropping
/// it leaves nothing behind.
pub struct ObjectWriter {}

impl ObjectWriter {
    /// Appends bytes. Waits when too much is in flight.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        let _ = data;
        todo!()
    }
    /// Bytes taken so far.
    pub fn len(&self) -> u64 {
        todo!()
    }
    /// Whether none were.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Makes the object: durable and visible when this returns.
    pub async fn commit(self, commit: Commit) -> Result<ObjectInfo> {
        let _ = commit;
        todo!()
    }
    /// Makes the part of a multipart upload (for writers from [`Vfs::part_writer`]). `etag` is opaque
    /// here: it is kept, listed and compared as it is given.
    pub async fn commit_part(self, etag: String) -> Result<PartInfo> {
        let _ = etag;
        todo!()
    }
}

/// A point-in-time view of an object: later writes do not show in it.
pub struct ObjectReader {}

impl ObjectReader {
    /// What HEAD shows.
    pub fn info(&self) -> &ObjectInfo {
        todo!()
    }
    /// Bytes of a range, prefetched ahead within a budget.
    pub fn stream(self, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        let _ = range;
        todo!()
    }
    /// Level its bytes have reached.
    pub async fn level(&self) -> Result<Level> {
        todo!()
    }
}

impl Vfs {
    /// Makes a bucket. `Exists` if there.
    pub async fn create_bucket(&self, name: &str) -> Result<Bucket> {
        let _ = name;
        todo!()
    }
    /// Removes an empty bucket and its keys.
    pub async fn delete_bucket(&self, name: &str) -> Result<()> {
        let _ = name;
        todo!()
    }
    /// One bucket.
    pub async fn bucket(&self, name: &str) -> Result<Bucket> {
        let _ = name;
        todo!()
    }
    /// All buckets by name.
    pub async fn buckets(&self) -> Result<Vec<Bucket>> {
        todo!()
    }

    /// Begins an object.
    pub async fn object_writer(&self, bucket: &str, key: &[u8]) -> Result<ObjectWriter> {
        let _ = (bucket, key);
        todo!()
    }
    /// HEAD.
    pub async fn head_object(&self, bucket: &str, key: &[u8]) -> Result<ObjectInfo> {
        let _ = (bucket, key);
        todo!()
    }
    /// Opens an object to read.
    pub async fn get_object(&self, bucket: &str, key: &[u8]) -> Result<ObjectReader> {
        let _ = (bucket, key);
        todo!()
    }
    /// Removes an object. Answers whether there was one.
    pub async fn delete_object(&self, bucket: &str, key: &[u8], precondition: Precondition) -> Result<bool> {
        let _ = (bucket, key, precondition);
        todo!()
    }
    /// Copies an object; shares extents within a bucket, seals anew across buckets.
    pub async fn copy_object(
        &self,
        from_bucket: &str,
        from_key: &[u8],
        to_bucket: &str,
        to_key: &[u8],
        meta: CopyMeta,
        precondition: Precondition,
    ) -> Result<ObjectInfo> {
        let _ = (from_bucket, from_key, to_bucket, to_key, meta, precondition);
        todo!()
    }
    /// Lists in byte order.
    pub async fn list_objects(&self, bucket: &str, request: ListRequest) -> Result<ListPage> {
        let _ = (bucket, request);
        todo!()
    }

    /// Begins a multipart upload.
    pub async fn create_upload(&self, bucket: &str, key: &[u8], meta: ObjectMeta) -> Result<UploadId> {
        let _ = (bucket, key, meta);
        todo!()
    }
    /// Begins part `number` (1..=10,000); a committed part of that number is replaced.
    pub async fn part_writer(
        &self,
        bucket: &str,
        key: &[u8],
        upload: &UploadId,
        number: u32,
    ) -> Result<ObjectWriter> {
        let _ = (bucket, key, upload, number);
        todo!()
    }
    /// Makes a part from a range of an object.
    pub async fn copy_part(
        &self,
        from_bucket: &str,
        from_key: &[u8],
        range: Option<Range<u64>>,
        bucket: &str,
        key: &[u8],
        upload: &UploadId,
        number: u32,
    ) -> Result<PartInfo> {
        let _ = (from_bucket, from_key, range, bucket, key, upload, number);
        todo!()
    }
    /// Parts after number `after`, in order, at most `max`; and whether there are more.
    pub async fn list_parts(
        &self,
        bucket: &str,
        key: &[u8],
        upload: &UploadId,
        after: u32,
        max: usize,
    ) -> Result<(Vec<PartInfo>, bool)> {
        let _ = (bucket, key, upload, after, max);
        todo!()
    }
    /// Uploads in flight whose key begins with `prefix`, after `(key, upload)`, at most `max`; and whether there are more.
    pub async fn list_uploads(
        &self,
        bucket: &str,
        prefix: &[u8],
        after: Option<(Vec<u8>, Option<UploadId>)>,
        max: usize,
    ) -> Result<(Vec<UploadInfo>, bool)> {
        let _ = (bucket, prefix, after, max);
        todo!()
    }
    /// One upload in flight.
    pub async fn upload(&self, bucket: &str, key: &[u8], upload: &UploadId) -> Result<UploadInfo> {
        let _ = (bucket, key, upload);
        todo!()
    }
    /// Joins the parts `(number, etag)` into the object: writes extents, moves no bytes. The caller
    /// gives the ETag (`md5-n`) and headers to add to the metadata the upload began with. Asked again
    /// with the same parts it answers the same.
    pub async fn complete_upload(
        &self,
        bucket: &str,
        key: &[u8],
        upload: &UploadId,
        parts: &[(u32, String)],
        etag: String,
        headers: BTreeMap<String, String>,
        precondition: Precondition,
    ) -> Result<ObjectInfo> {
        let _ = (bucket, key, upload, parts, etag, headers, precondition);
        todo!()
    }
    /// Drops an upload and its parts.
    pub async fn abort_upload(&self, bucket: &str, key: &[u8], upload: &UploadId) -> Result<()> {
        let _ = (bucket, key, upload);
        todo!()
    }

    /// `bucket/key` of an inode, for messages. `None` when it has no name.
    pub async fn path_of(&self, ino: InodeNo) -> Result<Option<String>> {
        let _ = ino;
        todo!()
    }
}
