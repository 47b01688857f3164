//! Joining many extents in bounded steps.
//!
//! A completion moves the extents of its parts in the transaction that makes the object. Where they are
//! too many for one transaction, they are gathered first: a nameless inode, the *assembly*, comes to
//! share them, step by step, each step a transaction of at most [`STEP`] extents. The parts stay as they
//! are all that time, so that nothing is lost when the completion is refused in the end, given up, or
//! asked for with another list. The last step is as small as a rename: the assembly gets its key, and
//! the parts lose theirs.
//!
//! The assembly is the upload's part number 0, which no client can name: its row says which list it is
//! made for (a digest, in the place of the ETag) and how many bytes it has. So a completion that broke
//! off, even by a crash, goes on where it was when it is asked for again, and an upload that is aborted
//! takes its assembly along.
use std::sync::Arc;

use meta::{Durability, Read, Transaction};
use sha2::{Digest, Sha256};

use super::key::Key;
use super::multipart::find_upload;
use crate::extent;
use crate::schema::{self, INODE, PartRecord};
use crate::vfs::Core;
use crate::{Error, InodeNo, Kind, Result, Timestamp, UploadId, bucket, clock, inode, purge, snapshot};

/// Extents that one transaction takes: 1 GiB of an upload as clients write it.
pub(super) const STEP: usize = 4096;
/// Number of the part that is the assembly.
const ASSEMBLY: u32 = 0;

/// A completion that is gathered.
pub(super) struct Joining {
    pub bucket: String,
    pub key: Key,
    pub id: UploadId,
    /// Numbers and ETags, in order.
    pub parts: Arc<[(u32, String)]>,
}

impl Joining {
    /// Which list it is.
    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (number, etag) in self.parts.iter() {
            hash.update(number.to_be_bytes());
            hash.update((etag.len() as u64).to_be_bytes());
            hash.update(etag.as_bytes());
        }
        hex::encode(hash.finalize())
    }
}

/// What a step found.
enum Step {
    /// The upload is no more.
    Gone,
    /// There is more to gather; whether the assembly was made in this step.
    More { made: bool },
    /// All of it is gathered.
    Done { made: bool },
}

/// Gathers what is too much for one transaction. Answers whether it was: whether there is an assembly.
pub(super) async fn gather(core: &Arc<Core>, joining: Joining) -> Result<bool> {
    let Some(ends) = large(core, &joining)? else {
        return Ok(false);
    };
    // The object's inode, and those of directories that its key may need.
    let spare = core.new_inodes(1 + joining.key.depth()).await?;
    let (joining, ends) = (Arc::new(joining), Arc::new(ends));
    let mut spare = Some(spare);
    loop {
        let (inner, task, ends) = (core.clone(), joining.clone(), ends.clone());
        let step = core
            .write_beyond_limits(Durability::Buffered, move |tx| {
                step(tx, &inner, &task, &ends, spare)
            })
            .await?;
        // A number names one inode only: what it named first may be being purged.
        spare = None;
        match step {
            Step::Gone => return Ok(false),
            Step::More { made } => core.count_inodes(i64::from(made)),
            Step::Done { made } => {
                core.count_inodes(i64::from(made));
                return Ok(true);
            }
        }
    }
}

/// Where each of the parts ends in the object, if they have more than [`STEP`] extents.
fn large(core: &Core, joining: &Joining) -> Result<Option<Vec<u64>>> {
    let read = core.snapshot()?;
    let bucket = bucket::find(&*read, &joining.bucket)?;
    let (_, upload, _) = find_upload(&*read, bucket, joining.key.bytes(), &joining.id)?;
    let (mut ends, mut at, mut left) = (Vec::with_capacity(joining.parts.len()), 0u64, STEP + 1);
    for (number, etag) in joining.parts.iter() {
        let part = part(&*read, upload, *number, etag)?;
        if left > 0 {
            left -= extent::overlapping(&*read, part.ino, &(0..part.size), left)?.len();
        }
        at = at.checked_add(part.size).ok_or(Error::TooLarge)?;
        ends.push(at);
    }
    Ok((left == 0).then_some(ends))
}

/// Shares up to [`STEP`] more extents. A part that is uploaded again meanwhile under the same ETag has
/// the same bytes; whether all are still the named ones is asked in the last step.
fn step(
    tx: &mut dyn Transaction,
    core: &Core,
    joining: &Joining,
    ends: &[u64],
    spare: Option<InodeNo>,
) -> Result<Step> {
    let bucket = bucket::find(&*tx, &joining.bucket)?;
    snapshot::refuse_change(&*tx, &core.known, bucket, joining.key.bytes())?;
    let (_, upload, _) = match find_upload(&*tx, bucket, joining.key.bytes(), &joining.id) {
        // Completed or aborted meanwhile: whoever asked finds out in the last step.
        Err(Error::NoSuchUpload) => return Ok(Step::Gone),
        found => found?,
    };
    let (mut assembly, made) = open(tx, upload, bucket, &joining.digest(), spare, clock::now())?;
    let mut record = inode::get(&*tx, assembly.ino)?;
    let mut left = STEP;
    let first = ends.partition_point(|end| *end <= assembly.size);
    for (index, (number, etag)) in joining.parts.iter().enumerate().skip(first) {
        if left == 0 {
            break;
        }
        let part = part(&*tx, upload, *number, etag)?;
        let begins = ends[index] - part.size.min(ends[index]);
        let range = assembly.size.saturating_sub(begins)..part.size;
        let extents = extent::overlapping(&*tx, part.ino, &range, left)?;
        let whole = extents.len() < left;
        left -= extents.len();
        for extent in &extents {
            let mut shared = extent.cut(&range);
            shared.offset += begins;
            core.store.retain(tx, shared.record.chunk)?;
            extent::insert(tx, assembly.ino, &shared)?;
            record.allocated += u64::from(shared.record.len);
        }
        assembly.size = match extents.last() {
            Some(last) if !whole => begins + last.end(),
            _ => ends[index],
        };
    }
    inode::put(tx, assembly.ino, &record)?;
    tx.put(&schema::part_key(upload, ASSEMBLY), &schema::encode(&assembly)?)?;
    if ends.last().is_none_or(|end| assembly.size >= *end) {
        Ok(Step::Done { made })
    } else {
        Ok(Step::More { made })
    }
}

/// The assembly for this list. One for another list goes, and a new one begins. Answers whether it did.
fn open(
    tx: &mut dyn Transaction,
    upload: u64,
    bucket: InodeNo,
    digest: &str,
    spare: Option<InodeNo>,
    now: Timestamp,
) -> Result<(PartRecord, bool)> {
    let row = tx.get(&schema::part_key(upload, ASSEMBLY))?;
    if let Some(row) = row {
        let assembly: PartRecord = schema::decode(&row)?;
        if assembly.etag == digest {
            return Ok((assembly, false));
        }
        if spare.is_some() {
            purge::orphan(tx, assembly.ino)?;
        }
    }
    let spare = spare.ok_or(Error::Busy(
        "the upload is being completed with another list of parts",
    ))?;
    // It counts to a quota when it gets its key, and the parts no longer do.
    let record = inode::new(Kind::File, 0, 0, 0, bucket.0, now);
    tx.put(&schema::inode_key(INODE, spare), &schema::encode(&record)?)?;
    let assembly = PartRecord {
        ino: spare,
        size: 0,
        etag: digest.to_owned(),
        modified: now,
    };
    Ok((assembly, true))
}

fn part(read: &(impl Read + ?Sized), upload: u64, number: u32, etag: &str) -> Result<PartRecord> {
    let row = read.get(&schema::part_key(upload, number))?;
    let part = row.map(|row| schema::decode::<PartRecord>(&row)).transpose()?;
    part.filter(|part| part.etag == etag)
        .ok_or(Error::InvalidPart(number))
}

/// The inode of the whole assembly for this list, if there is one; its row goes.
pub(super) fn take(
    tx: &mut dyn Transaction,
    upload: u64,
    joining: &Joining,
    size: u64,
) -> Result<Option<InodeNo>> {
    let key = schema::part_key(upload, ASSEMBLY);
    let Some(row) = tx.get(&key)? else {
        return Ok(None);
    };
    let assembly: PartRecord = schema::decode(&row)?;
    if assembly.etag != joining.digest() || assembly.size != size {
        return Ok(None);
    }
    tx.delete(&key)?;
    Ok(Some(assembly.ino))
}

/// The parts gave all they have to an assembly: they count no longer, and go.
pub(super) fn drop_gathered(tx: &mut dyn Transaction, parts: &[(InodeNo, u64)]) -> Result<()> {
    for &(ino, _) in parts {
        let mut record = inode::get(&*tx, ino)?;
        record.quota = InodeNo(0);
        inode::put(tx, ino, &record)?;
        purge::orphan(tx, ino)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_digests_of_their_own() {
        let digest = |parts: &[(u32, &str)]| {
            let parts: Vec<_> = parts.iter().map(|(n, etag)| (*n, (*etag).to_owned())).collect();
            Joining {
                bucket: "b".into(),
                key: Key::new(b"k").unwrap(),
                id: UploadId(String::new()),
                parts: parts.into(),
            }
            .digest()
        };
        let lists = [
            digest(&[(1, "a")]),
            digest(&[(2, "a")]),
            digest(&[(1, "b")]),
            digest(&[(1, "a"), (2, "b")]),
            digest(&[(1, "ab")]),
        ];
        for (number, one) in lists.iter().enumerate() {
            assert!(lists[..number].iter().all(|other| other != one));
        }
        assert_eq!(digest(&[(1, "a")]), lists[0]);
    }
}
