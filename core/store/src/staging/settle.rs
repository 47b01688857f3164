//! Giving staging space back, and only when it is certain that nobody needs it.
//!
//! A transaction may be run again or fail after its closure has ended, so closures change rows and
//! nothing else. Space is given back by what the rows say:
//! - a chunk that leaves staging moves from the STAGED to the FREED table in the transaction that
//!   drops it;
//!   the FREED rows of a member lie side by side, and each gives back what is its own, whoever dropped it;
//! - a worker reads FREED, syncs the metadata (a crash must not bring a row back whose bytes are
//!   gone), gives the disk space back, deletes the rows and corrects the counts;
//! - a chunk that was staged and never recorded has no row. Its [`Ticket`], dropped with the last
//!   copy of its `StagedChunk`, brings it here; when neither table knows it, it is garbage;
//! - a chunk that a transaction named may be in a commit whose write failed: what is visible does not
//!   show it, and yet the journal may hold it and a restart bring it back. So nothing that was named
//!   is called garbage before a sync that began later has succeeded. While the metadata have a
//!   commit in doubt there is none, and the tickets wait.
//!
//! A chunk that comes back from the network may be staged twice, by two who do not know of each other;
//! one of them names it. So tickets are told apart by the place of their bytes as well, and where the
//! place is the same, because it is a row, by their number: a row stands for one of them.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meta::{Durability, Meta, Read};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::staging::budget::Budget;
use crate::staging::file::record_len;
use crate::staging::files::Files;
use crate::staging::row::{self, FreedRow, Place, StagedRow};
use crate::workers::Worker;
use crate::{ChunkId, Error, Result, steps, tables};

/// Rows in one pass of the worker.
const ROWS: usize = 1000;
/// A transaction that frees announces itself before it commits. The worker looks after these
/// pauses; a commit that takes longer is found at the next announcement. A look that fails is
/// repeated after the last of them until one succeeds.
pub(crate) const LOOKS: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(500),
    Duration::from_secs(5),
];

/// Held by every copy of a `StagedChunk`; the last one dropped settles the chunk.
#[derive(Debug)]
pub(crate) struct Ticket {
    chunk: ChunkId,
    held: FreedRow,
    /// A transaction has named it, committed or not.
    named: AtomicBool,
    settle: mpsc::UnboundedSender<Ended>,
}

impl Ticket {
    /// A transaction names the chunk.
    pub(crate) fn name(&self) {
        self.named.store(true, Ordering::SeqCst);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let ended = Ended {
            chunk: self.chunk,
            held: self.held,
            named: *self.named.get_mut(),
        };
        // Without a worker the next start finds the garbage.
        let _ = self.settle.send(ended);
    }
}

#[derive(Debug)]
struct Ended {
    chunk: ChunkId,
    held: FreedRow,
    named: bool,
}

/// Tickets that have not ended, by what they stand for. Who removes one may discount its space.
#[derive(Default)]
struct Open(Mutex<HashMap<(ChunkId, Place), u32>>);

impl Open {
    fn add(&self, chunk: ChunkId, place: Place) {
        *self.0.lock().entry((chunk, place)).or_default() += 1;
    }

    /// Removes one; answers how many there were.
    fn remove(&self, chunk: ChunkId, place: Place) -> u32 {
        match self.0.lock().entry((chunk, place)) {
            Entry::Vacant(_) => 0,
            Entry::Occupied(mut tickets) => {
                let before = *tickets.get();
                if before > 1 {
                    *tickets.get_mut() -= 1;
                } else {
                    tickets.remove();
                }
                before
            }
        }
    }
}

/// Settles what chunks held.
pub(crate) struct Settler {
    meta: Meta,
    member: u16,
    files: Arc<Files>,
    budget: Arc<Budget>,
    tickets: mpsc::UnboundedSender<Ended>,
    open: Open,
    freed: Notify,
    /// One at a time decides what happens to a chunk.
    deciding: tokio::sync::Mutex<()>,
}

/// The tickets that ended; the worker's end of the channel.
pub(crate) struct EndedTickets(mpsc::UnboundedReceiver<Ended>);

impl Settler {
    /// The settler and what [`Settler::run`] needs.
    pub(crate) fn new(
        meta: Meta,
        member: u16,
        files: Arc<Files>,
        budget: Arc<Budget>,
    ) -> (Arc<Self>, EndedTickets) {
        let (tickets, ended) = mpsc::unbounded_channel();
        let settler = Self {
            meta,
            member,
            files,
            budget,
            tickets,
            open: Open::default(),
            freed: Notify::new(),
            deciding: tokio::sync::Mutex::new(()),
        };
        (Arc::new(settler), EndedTickets(ended))
    }

    /// A ticket for a chunk that was just staged.
    pub(crate) fn ticket(&self, chunk: ChunkId, frame_len: u32, place: Place) -> Ticket {
        self.open.add(chunk, place);
        Ticket {
            chunk,
            held: FreedRow { frame_len, place },
            named: AtomicBool::new(false),
            settle: self.tickets.clone(),
        }
    }

    /// A transaction that is about to commit moved rows to FREED.
    pub(crate) fn announce(&self) {
        self.freed.notify_one();
    }

    /// The worker: runs until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, ended: EndedTickets, worker: Worker) {
        let EndedTickets(mut ended) = ended;
        let mut look = LOOKS.len();
        // A moment, not a pause: what comes in meanwhile must not put the look off for ever.
        let mut due: Option<Instant> = None;
        loop {
            worker.turn().await;
            let pause = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.freed.notified() => {
                    look = 0;
                    let soon = Instant::now() + LOOKS[0];
                    due = Some(due.map_or(soon, |due| due.min(soon)));
                }
                () = pause => {
                    look += 1;
                    due = LOOKS.get(look).map(|pause| Instant::now() + *pause);
                    let _work = worker.working("giving staging space back");
                    if let Err(error) = self.give_back().await {
                        tracing::warn!(%error, "staging space cannot be given back now");
                        worker.failed(&error);
                        // The rows are there, whether or not anything is announced ever again.
                        look = LOOKS.len() - 1;
                        due = Some(Instant::now() + LOOKS[look]);
                    }
                }
                first = ended.recv() => {
                    let Some(first) = first else { return };
                    let mut batch = vec![first];
                    while batch.len() < ROWS && let Ok(next) = ended.try_recv() {
                        batch.push(next);
                    }
                    while let Err(error) = self.end_tickets(&batch).await {
                        tracing::warn!(%error, "staged chunks stay counted for now");
                        worker.failed(&error);
                        tokio::time::sleep(LOOKS[2]).await;
                    }
                }
            }
        }
    }

    /// Nothing has happened when it fails.
    async fn end_tickets(&self, batch: &[Ended]) -> Result<()> {
        let _deciding = self.deciding.lock().await;
        let mut known = self.known(batch)?;
        if batch
            .iter()
            .zip(&known)
            .any(|(ended, known)| ended.named && !known)
        {
            // Every commit that named one of them is decided then.
            self.meta.sync().await?;
            known = self.known(batch)?;
        }
        let mut garbage = Vec::new();
        for (ended, known) in batch.iter().zip(known) {
            match self.open.remove(ended.chunk, ended.held.place) {
                0 => {}
                1 if known => {}
                // The row stands for another one.
                _ => garbage.push((ended.chunk, ended.held)),
            }
        }
        self.discount(garbage, true).await
    }

    /// Which of the tickets a row stands for.
    fn known(&self, batch: &[Ended]) -> Result<Vec<bool>> {
        let snapshot = self.meta.snapshot()?;
        batch
            .iter()
            .map(|ended| Ok(ended.named && is_known(&*snapshot, ended.chunk, ended.held.place)?))
            .collect()
    }

    /// Gives back everything that the FREED table names.
    pub(crate) async fn give_back(&self) -> Result<()> {
        loop {
            let _deciding = self.deciding.lock().await;
            let freed = freed_rows(&*self.meta.snapshot()?, self.member)?;
            if freed.is_empty() {
                return Ok(());
            }
            let all = freed.len() < ROWS;
            // From here on no crash can bring the STAGED rows back.
            self.meta.sync().await?;
            steps::reach_async(steps::RECLAIM_PUNCH).await?;
            self.punch(freed.clone()).await?;
            steps::reach_async(steps::RECLAIM_PUNCHED).await?;
            let member = self.member;
            let chunks: Vec<_> = freed.iter().map(|(chunk, _)| *chunk).collect();
            self.meta
                .write::<(), Error, _>(Durability::Buffered, move |tx| {
                    for chunk in &chunks {
                        tx.delete(&tables::member_key(tables::FREED, member, *chunk))?;
                    }
                    Ok(())
                })
                .await?;
            for (chunk, held) in &freed {
                self.open.remove(*chunk, held.place);
            }
            self.discount(freed, false).await?;
            if all {
                return Ok(());
            }
        }
    }

    async fn punch(&self, held: Vec<(ChunkId, FreedRow)>) -> Result<()> {
        let files = self.files.clone();
        tokio::task::spawn_blocking(move || {
            for (_, held) in held {
                if let Place::File { file, offset } = held.place {
                    files.punch(file, offset, record_len(held.frame_len as usize));
                }
            }
        })
        .await
        .map_err(|_| Error::ShuttingDown)
    }

    async fn discount(&self, held: Vec<(ChunkId, FreedRow)>, punch: bool) -> Result<()> {
        if punch {
            self.punch(held.clone()).await?;
        }
        let (files, budget) = (self.files.clone(), self.budget.clone());
        tokio::task::spawn_blocking(move || {
            for (_, held) in held {
                let bytes = space(held.frame_len, held.place);
                if let Place::File { file, .. } = held.place {
                    files.discount(file, bytes);
                }
                budget.free(bytes);
            }
        })
        .await
        .map_err(|_| Error::ShuttingDown)
    }
}

/// Bytes that a frame takes in staging.
pub(crate) fn space(frame_len: u32, place: Place) -> u64 {
    match place {
        Place::Inline | Place::InlineOf(_) => u64::from(frame_len),
        Place::File { .. } => record_len(frame_len as usize),
    }
}

/// Whether a row says that `chunk` lies, or lay, at `place`.
fn is_known(read: &dyn Read, chunk: ChunkId, place: Place) -> Result<bool> {
    if let Some(row) = read.get(&tables::chunk_key(tables::STAGED, chunk))?
        && row::decode::<StagedRow>(&row)?.place == place
    {
        return Ok(true);
    }
    match read.get(&tables::member_key(tables::FREED, place.member(), chunk))? {
        Some(row) => Ok(row::decode::<FreedRow>(&row)?.place == place),
        None => Ok(false),
    }
}

/// The first rows of `member` in the FREED table.
fn freed_rows(read: &dyn Read, member: u16) -> Result<Vec<(ChunkId, FreedRow)>> {
    tables::member_rows(read, tables::FREED, member, ChunkId(0))?
        .take(ROWS)
        .map(|row| {
            let (key, value) = row?;
            Ok((tables::member_and_chunk(&key)?.1, row::decode(&value)?))
        })
        .collect()
}
