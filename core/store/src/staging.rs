//! Staging: durable local storage of sealed chunks until the network has them for certain.
//!
//! Small frames ride in the transaction that names them, as a row. Larger ones are appended to
//! [`files`] first and synced ([`Staging::sync`]) before a transaction names them, so that no row
//! ever names bytes that are not there. Space is counted by [`budget`] and given back by [`settle`];
//! [`reserve`] keeps the disk itself from filling up.
pub(crate) mod budget;
pub(crate) mod file;
pub(crate) mod files;
pub(crate) mod reserve;
pub(crate) mod row;
pub(crate) mod settle;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meta::{Durability, Meta, Read, Transaction};

use self::budget::Budget;
use self::file::record_len;
use self::files::{Appended, Files};
use self::reserve::Reserve;
use self::row::{FreedRow, Place, StagedRow};
use self::settle::{EndedTickets, Settler, Ticket};
use crate::frame::{FRAME_MAX, OVERHEAD};
use crate::{ChunkId, Error, Owner, Result, steps, tables};

/// Plaintext of this many bytes rides in a row even when it does not compress.
pub(crate) const INLINE_PLAIN: usize = 16 << 10;
/// Longest frame that rides in a row.
const INLINE_MAX: usize = INLINE_PLAIN + OVERHEAD;
/// Chunks that leave staging in one transaction.
const BATCH: usize = 500;
/// How long a chunk waits for space before it is refused.
const PATIENCE: Duration = Duration::from_secs(2);

/// A frame that is in staging and that no row names yet.
#[derive(Clone, Debug)]
pub(crate) struct StagedFrame {
    row: StagedRow,
    /// The frame itself when it rides in a row.
    inline: Option<Bytes>,
    /// Its record when it is in a file.
    record: Option<Appended>,
    ticket: Arc<Ticket>,
}

/// Space taken for a frame that is still being sealed. Given back unless it is used.
pub(crate) struct Admission {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.correct(self.bytes);
        }
    }
}

/// The staging area.
pub(crate) struct Staging {
    meta: Meta,
    /// Whose staging it is.
    member: u16,
    files: Arc<Files>,
    budget: Arc<Budget>,
    reserve: Arc<Reserve>,
    settler: Arc<Settler>,
}

impl Staging {
    /// Opens staging in `directory`. Everything committed to `meta` must be durable: files that no
    /// row names are deleted. It is that of `member`: what others staged is theirs to keep. At most `limit` bytes are taken, and `reserve` bytes of the disks under
    /// it and under the metadata are left free. Answers what [`Settler::run`] needs, too.
    pub(crate) async fn open(
        directory: &Path,
        meta: Meta,
        member: u16,
        limit: u64,
        reserve: u64,
    ) -> Result<(Self, EndedTickets)> {
        let reserve = Reserve::new(vec![directory.to_owned(), meta.directory().to_owned()], reserve);
        let directory = directory.to_owned();
        let files = tokio::task::spawn_blocking(move || Files::open(&directory, member))
            .await
            .map_err(|_| Error::ShuttingDown)??;
        let files = Arc::new(files);
        let budget = Arc::new(Budget::new(limit, PATIENCE));
        let (settler, ended) = Settler::new(meta.clone(), member, files.clone(), budget.clone());
        let staging = Self {
            meta,
            member,
            files,
            budget,
            reserve: Arc::new(reserve),
            settler,
        };
        let counting = staging.parts();
        tokio::task::spawn_blocking(move || counting.recount())
            .await
            .map_err(|_| Error::ShuttingDown)??;
        staging.settler.give_back().await?;
        staging.files.delete_dead();
        Ok((staging, ended))
    }

    /// Counts a chunk to this staging, in `tx`, whose frame rides in a row that another member put there; answers the
    /// bytes that [`Self::adopted`] is to be told after the commit. 0 of a chunk that counts to it already.
    pub(crate) fn adopt(&self, tx: &mut dyn Transaction, chunk: ChunkId) -> Result<u64> {
        let row = Self::row(&*tx, chunk)?.ok_or(Error::UnknownChunk(chunk))?;
        if !row.place.is_inline() || row.place.member() == self.member {
            return Ok(0);
        }
        let place = Place::inline(self.member);
        let key = tables::chunk_key(tables::STAGED, chunk);
        tx.put(&key, &row::encode(&StagedRow { place, ..row })?)?;
        Ok(settle::space(row.frame_len, place))
    }

    /// So many bytes of rows count to this staging from now on.
    pub(crate) fn adopted(&self, bytes: u64) {
        self.budget.take(bytes);
    }

    /// The same staging, for a transaction that outlives the call.
    pub(crate) fn parts(&self) -> Self {
        Self {
            meta: self.meta.clone(),
            member: self.member,
            files: self.files.clone(),
            budget: self.budget.clone(),
            reserve: self.reserve.clone(),
            settler: self.settler.clone(),
        }
    }

    /// Counts what the rows need, once, at open.
    fn recount(&self) -> Result<()> {
        let snapshot = self.meta.snapshot()?;
        let mut lost = 0u64;
        let mut count = |frame_len, place| {
            let bytes = settle::space(frame_len, place);
            self.budget.take(bytes);
            if let Place::File { file, .. } = place
                && !self.files.count(file, bytes)
            {
                lost += 1;
            }
        };
        for row in tables::rows_from(&*snapshot, tables::STAGED, ChunkId(0))? {
            let row: StagedRow = row::decode(&row?.1)?;
            if row.place.member() == self.member {
                count(row.frame_len, row.place);
            }
        }
        // Their files may have gone before their rows: giving back the rest of them is due anyway.
        let mut freed = 0u64;
        for row in tables::member_rows(&*snapshot, tables::FREED, self.member, ChunkId(0))? {
            let row: FreedRow = row::decode(&row?.1)?;
            let bytes = settle::space(row.frame_len, row.place);
            self.budget.take(bytes);
            if let Place::File { file, .. } = row.place {
                self.files.count(file, bytes);
            }
            freed += 1;
        }
        if lost > 0 {
            tracing::error!(
                chunks = lost,
                "staging files are missing; what the network has is still readable"
            );
        }
        tracing::debug!(bytes = self.budget.used(), freed, "staging counted");
        Ok(())
    }

    /// Another gateway may have let chunks go that lie in this one's staging.
    pub(crate) fn announce_freed(&self) {
        self.settler.announce();
    }

    /// The worker that gives space back.
    pub(crate) fn settler(&self) -> Arc<Settler> {
        self.settler.clone()
    }

    /// Takes the space that a frame of `plain_len` bytes needs at most, waiting for it if need be.
    pub(crate) async fn admit(&self, plain_len: usize) -> Result<Admission> {
        // What cannot be named would only fill the disk.
        self.meta.check()?;
        let bytes = record_len(plain_len + OVERHEAD);
        self.reserve.admit(bytes, || self.budget.estimate(bytes))?;
        self.budget.admit(bytes).await?;
        Ok(Admission {
            budget: self.budget.clone(),
            bytes,
        })
    }

    /// Takes a frame in. Not durable yet. Blocks on the disk when it is longer than [`INLINE_MAX`].
    pub(crate) fn put(
        &self,
        mut admission: Admission,
        chunk: ChunkId,
        owner: Owner,
        plain_len: u32,
        frame: Vec<u8>,
    ) -> Result<StagedFrame> {
        debug_assert!(frame.len() <= FRAME_MAX);
        let frame_len = frame.len() as u32;
        let (place, record, inline) = if frame.len() <= INLINE_MAX {
            (Place::inline(self.member), None, Some(Bytes::from(frame)))
        } else {
            let record = self.files.append(chunk, &frame)?;
            (record.place(), Some(record), None)
        };
        let used = settle::space(frame_len, place);
        self.budget.correct(admission.bytes.saturating_sub(used));
        admission.bytes = 0;
        let ticket = Arc::new(self.settler.ticket(chunk, frame_len, place));
        Ok(StagedFrame {
            row: StagedRow {
                plain_len,
                frame_len,
                owner,
                place,
            },
            inline,
            record,
            ticket,
        })
    }

    /// Makes everything that was put before the call durable, but for what rides in rows.
    pub(crate) async fn sync(&self) -> Result<()> {
        self.files.sync().await
    }

    /// Whether there is room for what grows the metadata without going through staging.
    pub(crate) fn require_room(&self) -> Result<()> {
        self.meta.check()?;
        self.reserve.require_half(|| self.budget.estimate(0))
    }

    /// Why nothing is taken in at the moment, for the operator.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.meta.trouble().or_else(|| self.reserve.trouble())
    }

    /// Names a frame in `tx`. Fails when the disk has lost it since it was put.
    pub(crate) fn name(tx: &mut dyn Transaction, chunk: ChunkId, frame: &StagedFrame) -> Result<()> {
        if let Some(record) = &frame.record {
            record.require_safe()?;
        }
        frame.ticket.name();
        tx.put(
            &tables::chunk_key(tables::STAGED, chunk),
            &row::encode(&frame.row)?,
        )?;
        if let Some(bytes) = &frame.inline {
            tx.put(&tables::chunk_key(tables::INLINE, chunk), bytes)?;
        }
        Ok(())
    }

    /// Bytes of the frame of a chunk that was put.
    pub(crate) fn frame_len(frame: &StagedFrame) -> u32 {
        frame.row.frame_len
    }

    /// Who staged a chunk that was put.
    pub(crate) fn member_of(frame: &StagedFrame) -> u16 {
        frame.row.place.member()
    }

    /// Who asked for a chunk that was put.
    pub(crate) fn owner_of(frame: &StagedFrame) -> Owner {
        frame.row.owner
    }

    /// Lets `chunk` leave staging in `tx`; false when it is not there. Its space is given back
    /// after the commit.
    pub(crate) fn leave(&self, tx: &mut dyn Transaction, chunk: ChunkId) -> Result<bool> {
        let key = tables::chunk_key(tables::STAGED, chunk);
        let Some(value) = tx.get(&key)? else {
            return Ok(false);
        };
        let StagedRow { frame_len, place, .. } = row::decode(&value)?;
        tx.delete(&key)?;
        if place.is_inline() {
            tx.delete(&tables::chunk_key(tables::INLINE, chunk))?;
        }
        tx.put(
            &tables::member_key(tables::FREED, place.member(), chunk),
            &row::encode(&FreedRow { frame_len, place })?,
        )?;
        self.settler.announce();
        Ok(true)
    }

    /// Lets chunks leave staging that the network has for certain, or that nothing refers to.
    /// Chunks that are not in staging are passed over.
    pub(crate) async fn reclaim(&self, chunks: &[ChunkId]) -> Result<()> {
        for batch in chunks.chunks(BATCH) {
            let batch = batch.to_vec();
            let parts = self.parts();
            self.meta
                .write::<(), Error, _>(Durability::Buffered, move |tx| {
                    for chunk in &batch {
                        parts.leave(tx, *chunk)?;
                    }
                    Ok(())
                })
                .await?;
        }
        steps::reach_async(steps::RECLAIM_LEFT).await?;
        self.settler.give_back().await
    }

    /// Puts a recorded chunk whose record has rotted into a new one; false when it is not in staging any
    /// more. The old record is given back.
    pub(crate) async fn replace(&self, chunk: ChunkId, frame: Bytes) -> Result<bool> {
        let frame_len = frame.len() as u32;
        let (parts, bytes) = (self.parts(), frame.clone());
        let appended = if frame.len() <= INLINE_MAX {
            None
        } else {
            let appending = tokio::task::spawn_blocking(move || parts.files.append(chunk, &bytes));
            Some(appending.await.map_err(|_| Error::ShuttingDown)??)
        };
        let place = appended
            .as_ref()
            .map_or(Place::inline(self.member), Appended::place);
        let used = settle::space(frame_len, place);
        self.budget.take(used);
        // Dropped early it gives the new record back once it is certain that no row names it.
        let ticket = self.settler.ticket(chunk, frame_len, place);
        self.sync().await?;
        ticket.name();
        let replaced = self.move_row(chunk, frame, place, appended).await;
        // The commit may be there although it could not be synced, and has freed the old record then.
        self.settler.announce();
        if replaced? {
            self.settler.give_back().await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Names another place of a chunk, durably; the old one is to be given back.
    async fn move_row(
        &self,
        chunk: ChunkId,
        frame: Bytes,
        place: Place,
        appended: Option<Appended>,
    ) -> Result<bool> {
        if let Some(new) = appended {
            new.require_safe()?;
        }
        self.meta
            .write(Durability::Synced, move |tx| -> Result<bool> {
                let Some(old) = Self::row(&*tx, chunk)? else {
                    return Ok(false);
                };
                let frame_len = frame.len() as u32;
                tx.put(
                    &tables::chunk_key(tables::STAGED, chunk),
                    &row::encode(&StagedRow {
                        frame_len,
                        place,
                        ..old
                    })?,
                )?;
                if place.is_inline() {
                    tx.put(&tables::chunk_key(tables::INLINE, chunk), &frame)?;
                }
                let freed = FreedRow {
                    frame_len: old.frame_len,
                    place: old.place,
                };
                let key = tables::member_key(tables::FREED, old.place.member(), chunk);
                tx.put(&key, &row::encode(&freed)?)?;
                Ok(true)
            })
            .await
    }

    /// The row about `chunk`.
    pub(crate) fn row(read: &(impl Read + ?Sized), chunk: ChunkId) -> Result<Option<StagedRow>> {
        read.get(&tables::chunk_key(tables::STAGED, chunk))?
            .map(|value| row::decode(&value))
            .transpose()
    }

    /// The member in whose staging `chunk` lies, if it lies in one. What rides in rows is everybody's to read.
    pub(crate) fn holder(read: &(impl Read + ?Sized), chunk: ChunkId) -> Result<Option<u16>> {
        Ok(Self::row(read, chunk)?.map(|row| row.place.member()))
    }

    /// Whether `place` is a file of another member, which this one cannot read.
    pub(crate) const fn is_elsewhere(&self, place: Place) -> bool {
        !place.is_inline() && place.member() != self.member
    }

    /// The sealed frame of a recorded chunk; `None` when it is not in staging, `Damaged` when its
    /// bytes have rotted, `Elsewhere` when another gateway has it. May block on the disk.
    pub(crate) fn frame(&self, chunk: ChunkId) -> Result<Option<Bytes>> {
        // A chunk can leave between the look at the row and the look at the file: then it has no
        // row any more. Looking once more decides.
        for _ in 0..2 {
            let snapshot = self.meta.snapshot()?;
            let Some(row) = Self::row(&*snapshot, chunk)? else {
                return Ok(None);
            };
            if self.is_elsewhere(row.place) {
                return Err(Error::Elsewhere(format!(
                    "chunk {} is staged by another gateway",
                    chunk.0
                )));
            }
            match row.place {
                Place::Inline | Place::InlineOf(_) => {
                    let frame = snapshot
                        .get(&tables::chunk_key(tables::INLINE, chunk))?
                        .ok_or_else(|| tables::damaged("a staged chunk has no frame"))?;
                    return Ok(Some(Bytes::from(frame)));
                }
                Place::File { file, offset } => match self.files.read(file, offset, chunk, row.frame_len) {
                    Ok(Some(frame)) => return Ok(Some(frame)),
                    Err(Error::Damaged(_)) if Self::row(&*self.meta.snapshot()?, chunk)?.is_none() => {
                        return Ok(None);
                    }
                    Ok(None) => {}
                    Err(error) => return Err(error),
                },
            }
        }
        Err(Error::Damaged(chunk))
    }

    /// Who asked for a chunk in staging.
    pub(crate) fn owner(&self, chunk: ChunkId) -> Result<Owner> {
        let snapshot = self.meta.snapshot()?;
        Ok(Self::row(&*snapshot, chunk)?
            .ok_or(Error::UnknownChunk(chunk))?
            .owner)
    }

    /// As [`Self::frame`], written to `room`, which the frame must fill; answers who asked for the
    /// chunk.
    pub(crate) fn frame_into(&self, chunk: ChunkId, room: &mut [u8]) -> Result<Option<Owner>> {
        let Some(row) = Self::row(&*self.meta.snapshot()?, chunk)? else {
            return Ok(None);
        };
        if row.frame_len as usize != room.len() {
            return Err(Error::Damaged(chunk));
        }
        if !self.is_elsewhere(row.place)
            && let Place::File { file, offset } = row.place
            && self.files.read_into(file, offset, chunk, room)?
        {
            return Ok(Some(row.owner));
        }
        // In a row of its own, or on the way out of staging.
        let Some(frame) = self.frame(chunk)? else {
            return Ok(None);
        };
        if frame.len() != room.len() {
            return Err(Error::Damaged(chunk));
        }
        room.copy_from_slice(&frame);
        Ok(Some(row.owner))
    }

    /// Whether a recorded chunk is in staging.
    pub(crate) fn holds(&self, chunk: ChunkId) -> Result<bool> {
        Ok(self
            .meta
            .snapshot()?
            .get(&tables::chunk_key(tables::STAGED, chunk))?
            .is_some())
    }

    /// The other member on whose disk a recorded chunk lies.
    pub(crate) fn elsewhere(&self, chunk: ChunkId) -> Result<Option<u16>> {
        let row = Self::row(&*self.meta.snapshot()?, chunk)?;
        let place = row.map(|row| row.place).filter(|place| self.is_elsewhere(*place));
        Ok(place.map(Place::member))
    }

    /// Bytes that staging holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.budget.used()
    }

    /// Has the disk answer reads of these chunks, and of no others, with an error.
    #[cfg(test)]
    pub(crate) fn break_reads(&self, chunks: &[ChunkId]) {
        *self.files.broken.reads.lock() = chunks.iter().copied().collect();
    }

    /// Staging files on disk.
    #[cfg(test)]
    pub(crate) fn file_count(&self) -> usize {
        self.files.len()
    }
}
