//! Multipart uploads.
//!
//! A part is an inode without a name that its PART row keeps. Completing an upload moves the
//! extents of its parts to the object's inode, in the transaction that gives it the key; where these
//! are very many, they are gathered before, in steps ([`super::assemble`]).
use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;

use futures::StreamExt;
use meta::{Durability, Read, Transaction};
use sha2::{Digest, Sha256};

use super::assemble::{self, Joining};
use super::key::{Key, find};
use super::writer::{Spilled, Target};
use super::{Content, NewObject, ObjectSource, ObjectWriter, place};
use crate::schema::{self, INODE, ORPHAN, PART, PartRecord, UPLOAD, UploadRecord};
use crate::vfs::Core;
use crate::{
    Error, InodeNo, Kind, ObjectInfo, ObjectMeta, PartInfo, Precondition, Result, UploadId, UploadInfo, Vfs,
    bucket, clock, extent, inode, purge, quota, snapshot,
};

/// Most parts of an upload.
const PARTS_MAX: u32 = 10_000;

/// An upload that a part belongs to.
#[derive(Clone)]
pub(super) struct PartTarget {
    row: Vec<u8>,
    upload: u64,
    bucket_ino: InodeNo,
    number: u32,
}

fn upload_row(bucket: InodeNo, key: &[u8], upload: u64) -> Vec<u8> {
    let bucket = bucket.0.to_be_bytes();
    schema::key(
        UPLOAD,
        &[&bucket, &schema::escape(key), &[0, 0], &upload.to_be_bytes()],
    )
}

/// Key and number of an upload from its row's key.
fn parse_upload_row(row: &[u8]) -> Result<(Vec<u8>, u64)> {
    let middle = row
        .get(9..row.len().saturating_sub(10))
        .ok_or_else(|| schema::damaged("short upload key"))?;
    Ok((schema::unescape(middle), schema::number_at(row, row.len() - 8)?))
}

fn upload_id(upload: u64, nonce: u64) -> UploadId {
    UploadId(format!("{upload:016x}{nonce:016x}"))
}

fn parse_id(id: &UploadId) -> Result<(u64, u64)> {
    let digits = |range: Range<usize>| {
        id.0.get(range)
            .and_then(|text| u64::from_str_radix(text, 16).ok())
    };
    match (id.0.len(), digits(0..16), digits(16..32)) {
        (32, Some(upload), Some(nonce)) => Ok((upload, nonce)),
        _ => Err(Error::NoSuchUpload),
    }
}

/// The upload's row and record.
pub(super) fn find_upload(
    read: &(impl Read + ?Sized),
    bucket: InodeNo,
    key: &[u8],
    id: &UploadId,
) -> Result<(Vec<u8>, u64, UploadRecord)> {
    let (upload, nonce) = parse_id(id)?;
    let row = upload_row(bucket, key, upload);
    let record: UploadRecord = schema::decode(&read.get(&row)?.ok_or(Error::NoSuchUpload)?)?;
    if record.nonce == nonce {
        Ok((row, upload, record))
    } else {
        Err(Error::NoSuchUpload)
    }
}

fn part_info(number: u32, part: &PartRecord) -> PartInfo {
    PartInfo {
        number,
        size: part.size,
        etag: part.etag.clone(),
        modified: part.modified,
    }
}

impl Vfs {
    /// Begins a multipart upload.
    pub async fn create_upload(&self, bucket: &str, key: &[u8], meta: ObjectMeta) -> Result<UploadId> {
        let key = Key::new(key)?;
        let upload = self.core.new_inodes(1).await?.0;
        let record = UploadRecord {
            created: clock::now(),
            nonce: store::random::u64(),
            meta,
        };
        let id = upload_id(upload, record.nonce);
        let (bucket, known) = (bucket.to_owned(), self.core.known.clone());
        self.core
            .write(Durability::Synced, move |tx| {
                let bucket = bucket::find(&*tx, &bucket)?;
                snapshot::refuse_change(&*tx, &known, bucket, key.bytes())?;
                Ok(tx.put(
                    &upload_row(bucket, key.bytes(), upload),
                    &schema::encode(&record)?,
                )?)
            })
            .await?;
        Ok(id)
    }

    /// Begins part `number` (1..=10,000); a committed part of that number is replaced.
    pub async fn part_writer(
        &self,
        bucket: &str,
        key: &[u8],
        upload: &UploadId,
        number: u32,
    ) -> Result<ObjectWriter> {
        let target = self.part_target(bucket, key, upload, number)?;
        let ino = self.core.new_inodes(1).await?;
        let bucket_ino = target.bucket_ino;
        Ok(ObjectWriter::new(self, Target::Part(target), bucket_ino, ino))
    }

    fn part_target(&self, bucket: &str, key: &[u8], upload: &UploadId, number: u32) -> Result<PartTarget> {
        if !(1..=PARTS_MAX).contains(&number) {
            return Err(Error::InvalidPart(number));
        }
        let snapshot = self.core.snapshot()?;
        let bucket_ino = bucket::find(&*snapshot, bucket)?;
        let (row, upload, _) = find_upload(&*snapshot, bucket_ino, key, upload)?;
        Ok(PartTarget {
            row,
            upload,
            bucket_ino,
            number,
        })
    }

    /// Makes a part from a range of an object: shares extents within a bucket, else copies bytes. The
    /// ETag looks like an MD5 but names the stored ranges: no byte is read to make it. `expected` is the
    /// ETag of the source that was looked at: [`Error::Busy`] when it was replaced since.
    pub async fn copy_part(
        &self,
        from: ObjectSource<'_>,
        expected: Option<&str>,
        range: Option<Range<u64>>,
        bucket: &str,
        key: &[u8],
        upload: &UploadId,
        number: u32,
    ) -> Result<PartInfo> {
        let source = self.open_source(from).await?;
        if expected.is_some_and(|etag| etag != source.info().etag) {
            return Err(Error::Busy("the source of the copy was replaced meanwhile"));
        }
        let size = source.info().size;
        let range = range.unwrap_or(0..size);
        if range.start > range.end || range.end > size {
            return Err(Error::OutOfRange);
        }
        let target = self.part_target(bucket, key, upload, number)?;
        let mut hash = Sha256::new();
        hash.update(source.info().etag.as_bytes());
        for number in [source.info().ino.0, range.start, range.end] {
            hash.update(number.to_be_bytes());
        }
        let etag = hex::encode(&hash.finalize()[..16]);
        if from.bucket != bucket {
            let mut writer = self.part_writer(bucket, key, upload, number).await?;
            let mut bytes = source.stream(range);
            while let Some(data) = bytes.next().await {
                writer.write(data?).await?;
            }
            return writer.commit_part(etag).await;
        }
        let ino = self.core.new_inodes(1).await?;
        let (from, len) = (source.place()?, range.end - range.start);
        let content = Content::Shared { from, range };
        put_part(&self.core, &target, ino, len, etag, content, None).await
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
        let snapshot = self.core.snapshot()?;
        let bucket = bucket::find(&*snapshot, bucket)?;
        let (_, upload, _) = find_upload(&*snapshot, bucket, key, upload)?;
        let prefix = schema::key(PART, &[&upload.to_be_bytes()]);
        let mut parts = Vec::new();
        for row in schema::scan_from(
            &*snapshot,
            &prefix,
            Bound::Excluded(&schema::part_key(upload, after)),
        )? {
            if parts.len() == max {
                return Ok((parts, true));
            }
            let (key, value) = row?;
            parts.push(part_info(part_number(&key)?, &schema::decode(&value)?));
        }
        Ok((parts, false))
    }

    /// Uploads in flight whose key begins with `prefix`, after `(key, upload)`, at most `max`; and
    /// whether there are more. They are in order of key, then of creation.
    pub async fn list_uploads(
        &self,
        bucket: &str,
        prefix: &[u8],
        after: Option<(Vec<u8>, Option<UploadId>)>,
        max: usize,
    ) -> Result<(Vec<UploadInfo>, bool)> {
        let snapshot = self.core.snapshot()?;
        let bucket = bucket::find(&*snapshot, bucket)?;
        let rows = schema::key(UPLOAD, &[&bucket.0.to_be_bytes(), &schema::escape(prefix)]);
        let from = match after {
            None => rows.clone(),
            Some((key, after)) => {
                let number = match after {
                    Some(id) => parse_id(&id)?.0,
                    None => u64::MAX,
                };
                upload_row(bucket, &key, number).max(rows.clone())
            }
        };
        let mut uploads = Vec::new();
        for row in schema::scan_from(&*snapshot, &rows, Bound::Included(&from))? {
            let (row, value) = row?;
            if row == from {
                continue;
            }
            if uploads.len() == max {
                return Ok((uploads, true));
            }
            let (key, upload) = parse_upload_row(&row)?;
            let record: UploadRecord = schema::decode(&value)?;
            let id = upload_id(upload, record.nonce);
            uploads.push(UploadInfo {
                id,
                key,
                created: record.created,
                meta: record.meta,
            });
        }
        Ok((uploads, false))
    }

    /// One upload in flight.
    pub async fn upload(&self, bucket: &str, key: &[u8], upload: &UploadId) -> Result<UploadInfo> {
        let snapshot = self.core.snapshot()?;
        let bucket = bucket::find(&*snapshot, bucket)?;
        let (_, _, record) = find_upload(&*snapshot, bucket, key, upload)?;
        Ok(UploadInfo {
            id: upload.clone(),
            key: key.to_vec(),
            created: record.created,
            meta: record.meta,
        })
    }

    /// Joins the parts `(number, etag)` into the object: writes extents, moves no bytes. The caller
    /// gives the ETag (`md5-n`) and headers to add to the metadata the upload began with. Asked again
    /// with the same parts it answers the same, as long as the object is still the upload's.
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
        let key = Key::new(key)?;
        let joining = |parts: &Arc<[(u32, String)]>| Joining {
            bucket: bucket.to_owned(),
            key: key.clone(),
            id: upload.clone(),
            parts: parts.clone(),
        };
        let parts: Arc<[(u32, String)]> = parts.into();
        match assemble::gather(&self.core, joining(&parts)).await {
            // Whether it was completed before is seen below.
            Err(Error::NoSuchUpload) => {}
            gathered => {
                gathered?;
            }
        }
        let spare = self.core.new_inodes(1 + key.depth()).await?;
        let (id, now, joining) = (upload.clone(), clock::now(), joining(&parts));
        let (core, bucket) = (self.core.clone(), bucket.to_owned());
        let (info, placed) = self
            .core
            .write(Durability::Synced, move |tx| {
                let bucket_ino = bucket::find(&*tx, &bucket)?;
                let (row, upload, record) = match find_upload(&*tx, bucket_ino, key.bytes(), &id) {
                    Ok(found) => found,
                    Err(Error::NoSuchUpload) => {
                        let info = completed(tx, bucket_ino, &key, &id, &etag)?;
                        return Ok((info, None));
                    }
                    Err(error) => return Err(error),
                };
                let (inodes, size) = take_parts(tx, upload, &parts)?;
                let assembly = assemble::take(tx, upload, &joining, size)?;
                let mut meta = record.meta;
                meta.headers.extend(headers.clone());
                let new = NewObject {
                    bucket: bucket.clone(),
                    bucket_ino,
                    key: key.clone(),
                    ino: assembly.unwrap_or(spare),
                    size,
                    etag: Some(etag.clone()),
                    meta,
                    parts: Some(parts.len() as u32),
                    upload: Some(upload),
                    precondition: precondition.clone(),
                    now,
                    fixed_size: false,
                };
                let content = match assembly {
                    Some(_) => Content::Gathered(&inodes),
                    None => Content::Parts(&inodes),
                };
                let mut placed = place(tx, &core, &new, &content)?;
                // Those that are gone, or the one that was counted when it was begun.
                placed.inodes -= assembly.map_or(inodes.len() as i64, |_| 1);
                // Parts that were not named.
                bucket::drop_parts(tx, upload)?;
                tx.delete(&row)?;
                Ok((placed.info.clone(), Some(placed)))
            })
            .await?;
        if let Some(placed) = placed {
            self.core.placed(&placed, 0);
        }
        self.core.wait_level_of(info.ino, self.terms).await?;
        Ok(info)
    }

    /// Drops an upload and its parts.
    pub async fn abort_upload(&self, bucket: &str, key: &[u8], upload: &UploadId) -> Result<()> {
        let (bucket, key, id) = (bucket.to_owned(), key.to_vec(), upload.clone());
        self.core
            .write(Durability::Synced, move |tx| {
                let bucket = bucket::find(&*tx, &bucket)?;
                let (row, upload, _) = find_upload(&*tx, bucket, &key, &id)?;
                bucket::drop_parts(tx, upload)?;
                Ok(tx.delete(&row)?)
            })
            .await?;
        self.core.purge_wanted.notify_one();
        Ok(())
    }
}

fn part_number(row: &[u8]) -> Result<u32> {
    let bytes = row.get(9..13).and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(u32::from_be_bytes)
        .ok_or_else(|| schema::damaged("short part key"))
}

/// Takes the rows of the named parts away; answers their inodes in order, and the sum of their sizes.
fn take_parts(
    tx: &mut dyn Transaction,
    upload: u64,
    parts: &[(u32, String)],
) -> Result<(Vec<(InodeNo, u64)>, u64)> {
    let (mut inodes, mut size, mut last) = (Vec::with_capacity(parts.len()), 0u64, 0);
    if parts.is_empty() {
        return Err(Error::Invalid("no parts"));
    }
    for (number, etag) in parts {
        let row = schema::part_key(upload, *number);
        let part = tx
            .get(&row)?
            .map(|value| schema::decode::<PartRecord>(&value))
            .transpose()?;
        let part = part.filter(|part| part.etag == *etag && *number > last);
        let part = part.ok_or(Error::InvalidPart(*number))?;
        last = *number;
        size = size
            .checked_add(part.size)
            .filter(|size| *size <= inode::SIZE_MAX)
            .ok_or(Error::TooLarge)?;
        inodes.push((part.ino, part.size));
        tx.delete(&row)?;
    }
    Ok((inodes, size))
}

/// The object that the upload became, if it is still there.
fn completed(
    tx: &mut dyn Transaction,
    bucket: InodeNo,
    key: &Key,
    id: &UploadId,
    etag: &str,
) -> Result<ObjectInfo> {
    let (upload, _) = parse_id(id)?;
    if let Some(found) = find(&*tx, bucket, key)? {
        let record = inode::get(&*tx, found.ino)?;
        if record.upload == Some(upload) && record.etag.as_deref() == Some(etag) {
            return place::info(&*tx, found.ino, key.bytes(), &record);
        }
    }
    Err(Error::NoSuchUpload)
}

/// Makes the inode `ino` a part. When its writer spilled, it was counted before.
pub(super) async fn put_part(
    core: &Arc<Core>,
    target: &PartTarget,
    ino: InodeNo,
    size: u64,
    etag: String,
    content: Content<'_>,
    spilled: Option<Arc<Spilled>>,
) -> Result<PartInfo> {
    let early = i64::from(spilled.is_some());
    let (staged, shared) = match content {
        Content::Staged(staged) => (staged.to_vec(), None),
        Content::Shared { from, range } => (Vec::new(), Some((from, range))),
        Content::Parts(_) | Content::Gathered(_) => {
            return Err(Error::Invalid("a part is not made of parts"));
        }
    };
    let (target, store) = (target.clone(), core.store.clone());
    let part = PartRecord {
        ino,
        size,
        etag,
        modified: clock::now(),
    };
    let info = part_info(target.number, &part);
    core.write(Durability::Synced, move |tx| {
        let _kept = &spilled;
        // Still in flight?
        tx.get(&target.row)?.ok_or(Error::NoSuchUpload)?;
        place::put_staged(tx, &store, ino, &staged)?;
        let mut record = inode::new(Kind::File, 0, 0, 0, target.bucket_ino.0, part.modified);
        record.size = size;
        record.allocated = size;
        record.quota = quota::of_directory(&*tx, target.bucket_ino)?;
        if let Some((from, range)) = &shared {
            if from.extents(&*tx, &(0..0))?.0 < range.end {
                return Err(Error::OutOfRange);
            }
            record.allocated = extent::share(tx, &store, *from, range, ino, 0)?;
        }
        tx.put(&schema::inode_key(INODE, ino), &schema::encode(&record)?)?;
        tx.delete(&schema::inode_key(ORPHAN, ino))?;
        let row = schema::part_key(target.upload, target.number);
        if let Some(old) = tx.get(&row)? {
            purge::orphan(tx, schema::decode::<PartRecord>(&old)?.ino)?;
        }
        Ok(tx.put(&row, &schema::encode(&part)?)?)
    })
    .await?;
    core.count_inodes(1 - early);
    core.purge_wanted.notify_one();
    Ok(info)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn upload_rows_sort_by_key_and_lead_back(
            a in prop::collection::vec(prop_oneof![Just(0u8), Just(0xffu8), any::<u8>()], 0..6),
            b in prop::collection::vec(prop_oneof![Just(0u8), Just(0xffu8), any::<u8>()], 0..6),
            numbers: (u64, u64),
        ) {
            let rows = [upload_row(InodeNo(3), &a, numbers.0), upload_row(InodeNo(3), &b, numbers.1)];
            prop_assert_eq!(rows[0].cmp(&rows[1]), (&a, numbers.0).cmp(&(&b, numbers.1)));
            prop_assert_eq!(parse_upload_row(&rows[0]).unwrap(), (a, numbers.0));
        }
    }

    #[test]
    fn strange_upload_ids_are_no_upload() {
        for id in [
            "",
            "x",
            &"0".repeat(31),
            &"g".repeat(32),
            &"é".repeat(16),
            "+0000000000000000000000000000001x",
        ] {
            assert!(
                matches!(parse_id(&UploadId(id.to_owned())), Err(Error::NoSuchUpload)),
                "{id}"
            );
        }
        assert_eq!(parse_id(&upload_id(7, 9)).unwrap(), (7, 9));
    }
}
