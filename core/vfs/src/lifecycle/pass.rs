//! One pass over a bucket.
use std::time::Instant;

use futures::StreamExt;
use meta::Durability;
use store::workers::Worker;

use super::calendar::Calendar;
use super::document::Seen;
use super::progress::{Position, Progress, digest};
use super::{Lifecycle, SETTING, Tags, tags_of};
use crate::object::{Key, delete, find};
use crate::{
    Error, InodeNo, Precondition, Result, Timestamp, UploadInfo, VersionEntry, VersionId, VersionRequest,
    Vfs, bucket, clock, inode,
};

/// Versions and uploads looked at at a time.
const PAGE: usize = 1000;
/// Pages after which progress is noted: each note waits for the disk.
const NOTED: usize = 16;
/// Deletions under way at a time: they share the syncs that they wait for.
const PARALLEL: usize = 16;

/// A pass.
pub(super) struct Pass<'a> {
    pub vfs: &'a Vfs,
    pub worker: &'a Worker,
    pub bucket: &'a str,
    pub calendar: Calendar,
    pub rules: Lifecycle,
    pub progress: Progress,
}

/// Something to delete.
#[derive(Debug)]
enum Doomed {
    /// A present object, as it was seen.
    Object {
        key: Vec<u8>,
        ino: InodeNo,
        modified: Timestamp,
        tags: Tags,
    },
    /// A noncurrent version, or a delete marker.
    Version {
        key: Vec<u8>,
        id: VersionId,
        counter: &'static str,
    },
    Upload(UploadInfo),
}

/// What a walk knows of the key that it is at.
#[derive(Default)]
struct Walked {
    key: Vec<u8>,
    /// When what is newer than the next version of it was made.
    since: Option<Timestamp>,
    /// Noncurrent versions seen of it.
    noncurrent: u32,
    /// Its newest is a delete marker, made then; there may be nothing behind it.
    marker: Option<(VersionId, Timestamp)>,
    /// Versions that stay.
    kept: u32,
}

impl Pass<'_> {
    /// Does what is due. What it could not finish goes on where it was noted.
    pub(super) async fn run(mut self) -> Result<()> {
        let prefixes = self
            .rules
            .prefixes(|rule| rule.expiration.is_some() || rule.noncurrent.is_some());
        for prefix in prefixes {
            if !self.versions_below(&prefix).await? {
                return Ok(());
            }
        }
        for prefix in self.rules.prefixes(|rule| rule.abort_uploads.is_some()) {
            if !self.uploads_below(&prefix).await? {
                return Ok(());
            }
        }
        self.progress.next = None;
        self.progress.save(self.vfs, self.bucket).await
    }

    /// Whether to go on: the rules are still these, and nobody asks to stop.
    async fn goes_on(&self, worked: Option<Instant>) -> Result<bool> {
        if let Some(since) = worked {
            tokio::select! {
                () = self.vfs.core.stopped() => {}
                () = tokio::time::sleep(since.elapsed()) => {}
            }
        }
        if !self.vfs.core.turn(self.worker).await {
            return Err(Error::ShuttingDown);
        }
        let document = self.vfs.bucket_setting(self.bucket, SETTING).await?;
        Ok(document.is_some_and(|document| digest(&document) == self.progress.rules))
    }

    /// `false`: the rules were changed meanwhile.
    async fn versions_below(&mut self, prefix: &[u8]) -> Result<bool> {
        let mut request = VersionRequest {
            prefix: prefix.to_vec(),
            max: PAGE,
            ..VersionRequest::default()
        };
        if let Some(position) = &self.progress.next {
            let key = hex::decode(&position.key).unwrap_or_default();
            if key.as_slice() > prefix && !key.starts_with(prefix) {
                // It lies behind this prefix.
                return Ok(true);
            }
            if key.starts_with(prefix) && !key.is_empty() {
                // Versions of one key are judged by those before them: from the first of the key on.
                request.after_key = Some(key);
            }
        }
        let mut walked = Walked::default();
        let (mut worked, mut pages) = (None, 0);
        loop {
            if !self.goes_on(worked).await? {
                return Ok(false);
            }
            let began = store::clock::monotonic();
            worked = Some(began);
            let page = self.vfs.list_versions(self.bucket, request.clone()).await?;
            let now = clock::now();
            let mut doomed = Vec::new();
            for entry in page.entries {
                if entry.key != walked.key {
                    doomed.extend(self.leave(&mut walked, now));
                    walked.key.clone_from(&entry.key);
                }
                doomed.extend(self.judge(&mut walked, entry, now)?);
            }
            if page.next.is_none() {
                doomed.extend(self.leave(&mut walked, now));
            }
            self.carry_out(doomed).await?;
            let Some((key, id)) = page.next else {
                return Ok(true);
            };
            pages += 1;
            if pages % NOTED == 0 {
                // All of the key before has been seen; of this one perhaps not.
                self.progress.next = Some(Position {
                    key: hex::encode(before(&key)),
                    version: None,
                });
                self.progress.save(self.vfs, self.bucket).await?;
            }
            request.after_key = Some(key);
            request.after_id = id;
        }
    }

    /// All versions of a key have been seen.
    fn leave(&self, walked: &mut Walked, now: Timestamp) -> Option<Doomed> {
        let Walked {
            key, marker, kept, ..
        } = std::mem::take(walked);
        let (id, made) = marker.filter(|_| kept == 0)?;
        self.rules
            .ends_marker(&key, made, now, self.calendar)
            .then_some(Doomed::Version {
                key,
                id,
                counter: "delete markers removed",
            })
    }

    fn judge(&self, walked: &mut Walked, entry: VersionEntry, now: Timestamp) -> Result<Option<Doomed>> {
        // A rename keeps the time of the content; the id says when it came to this key (`null`: 0).
        let came = Timestamp(i64::try_from(entry.id.0).unwrap_or(i64::MAX));
        let since = walked.since.replace(entry.at.max(came));
        let Some(object) = entry.object.as_ref() else {
            if entry.latest {
                walked.marker = Some((entry.id, entry.at));
                return Ok(None);
            }
            return Ok(self.judge_noncurrent(walked, &entry, 0, &Tags::new(), since, now));
        };
        let tags = if self.rules.asks_for_tags() {
            tags_of(&*self.vfs.core.snapshot()?, object.ino)?
        } else {
            Tags::new()
        };
        if !entry.latest {
            return Ok(self.judge_noncurrent(walked, &entry, object.size, &tags, since, now));
        }
        walked.kept += 1;
        let seen = Seen {
            key: &entry.key,
            size: object.size,
            tags: &tags,
            since: entry.at,
        };
        let ends = self.rules.ends_object(&seen, now, self.calendar);
        Ok(ends.then(|| Doomed::Object {
            ino: object.ino,
            modified: object.modified,
            key: entry.key.clone(),
            tags,
        }))
    }

    fn judge_noncurrent(
        &self,
        walked: &mut Walked,
        entry: &VersionEntry,
        size: u64,
        tags: &Tags,
        since: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Doomed> {
        let seen = Seen {
            key: &entry.key,
            size,
            tags,
            // Nothing newer was seen: it was removed meanwhile, and a later pass knows more.
            since: since?,
        };
        let ends = self
            .rules
            .ends_version(&seen, walked.noncurrent, now, self.calendar);
        walked.noncurrent += 1;
        // Its removal may be refused: the marker before it goes when it stands alone.
        walked.kept += 1;
        ends.then(|| Doomed::Version {
            key: entry.key.clone(),
            id: entry.id,
            counter: "versions removed",
        })
    }

    /// `false`: the rules were changed meanwhile.
    async fn uploads_below(&self, prefix: &[u8]) -> Result<bool> {
        let mut after = None;
        let mut worked = None;
        loop {
            if !self.goes_on(worked).await? {
                return Ok(false);
            }
            worked = Some(store::clock::monotonic());
            let (page, more) = self.vfs.list_uploads(self.bucket, prefix, after, PAGE).await?;
            after = page.last().map(|last| (last.key.clone(), Some(last.id.clone())));
            let now = clock::now();
            let ends = |upload: &UploadInfo| {
                self.rules
                    .ends_upload(&upload.key, upload.created, now, self.calendar)
            };
            self.carry_out(page.into_iter().filter(ends).map(Doomed::Upload).collect())
                .await?;
            if !more {
                return Ok(true);
            }
        }
    }

    async fn carry_out(&self, doomed: Vec<Doomed>) -> Result<()> {
        let mut done = futures::stream::iter(doomed)
            .map(|doomed| self.end(doomed))
            .buffer_unordered(PARALLEL);
        let mut failed = None;
        while let Some(result) = done.next().await {
            match result {
                Ok(Some(counter)) => self.worker.count(counter, 1),
                // It changed since it was listed.
                Ok(None) | Err(Error::NotFound | Error::NoSuchUpload) => {}
                Err(error) if passes(&error) => {
                    failed.get_or_insert(error);
                }
                Err(error) => {
                    tracing::debug!(%error, bucket = self.bucket, "lifecycle leaves something that is held");
                    self.worker.count("refused", 1);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Deletes one thing. `None`: it is no longer what was seen.
    async fn end(&self, doomed: Doomed) -> Result<Option<&'static str>> {
        match doomed {
            Doomed::Object {
                key,
                ino,
                modified,
                tags,
            } => {
                let ended = self.end_object(key, ino, modified, tags).await?;
                Ok(ended.then_some("objects expired"))
            }
            Doomed::Version { key, id, counter } => {
                let deleted = self.vfs.delete_noncurrent(self.bucket, &key, id).await?;
                Ok(deleted.existed.then_some(counter))
            }
            Doomed::Upload(upload) => {
                self.vfs
                    .abort_upload(self.bucket, &upload.key, &upload.id)
                    .await?;
                Ok(Some("uploads aborted"))
            }
        }
    }

    /// Deletes a present object as a DELETE does, unless it was replaced, written to or tagged since.
    async fn end_object(&self, key: Vec<u8>, ino: InodeNo, modified: Timestamp, tags: Tags) -> Result<bool> {
        let (core, bucket) = (self.vfs.core.clone(), self.bucket.to_owned());
        let (key, asks_for_tags, now) = (Key::new(&key)?, self.rules.asks_for_tags(), clock::now());
        let ended = self
            .vfs
            .core
            .write(Durability::Buffered, move |tx| {
                let bucket = bucket::find(&*tx, &bucket)?;
                if find(&*tx, bucket, &key)?.is_none_or(|found| found.ino != ino) {
                    return Ok(false);
                }
                let mut record = inode::get(&*tx, ino)?;
                core.overlay(ino, &mut record);
                if record.modified != modified || (asks_for_tags && tags_of(&*tx, ino)? != tags) {
                    return Ok(false);
                }
                delete::delete(tx, &core, bucket, &key, &Precondition::default(), now)?;
                Ok(true)
            })
            .await?;
        self.vfs.core.purge_wanted.notify_one();
        self.vfs.core.release_wanted.notify_one();
        Ok(ended)
    }
}

/// Whether an error says nothing about what was to be deleted, and may be gone later.
fn passes(error: &Error) -> bool {
    matches!(
        error,
        Error::SlowDown { .. }
            | Error::Unavailable(_)
            | Error::ShuttingDown
            | Error::Superseded(_)
            | Error::NoSpace
            | Error::NoSuchBucket
            | Error::Internal(_)
    )
}

/// A key behind which `key` is the next in order, or close to it: what lies in between is looked at twice.
fn before(key: &[u8]) -> Vec<u8> {
    let mut before = key.to_vec();
    match before.pop() {
        Some(0) | None => before,
        Some(last) => {
            before.push(last - 1);
            before.push(0xff);
            before
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_lies_before_the_key_that_is_not_finished() {
        for key in [&b"a"[..], b"a/b\x01", b"b\0", b"\x01"] {
            assert!(before(key).as_slice() < key, "{key:?}");
        }
        assert_eq!(before(b""), b"");
    }
}
