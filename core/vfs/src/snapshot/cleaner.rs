//! Giving back what only deleted snapshots needed.
//!
//! For each inode of which rows are kept under a deleted snapshot's number, the kept rows are gone
//! through in transactions of bounded size. A row kept under that number is the state of the row as
//! of every older snapshot that has none of its own. If the next older snapshot that the inode
//! belongs to is one of those, the row moves there; else nobody needs it, and an extent's reference
//! goes the way of all references ([`crate::release`]), under whoever may still be reading.
//!
//! A snapshot that clones need is not looked at before the last of them is gone.
//!
//! What is left to do is what the rows say, so a restart goes on where it stopped.
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use meta::{Durability, Read, Transaction};
use store::workers::Worker;

use super::known::Known;
use super::row::{self, PRESERVED_IN, SNAPSHOTS};
use crate::clone::row::{CLONE, CloneRecord};
use crate::schema::{self, EXTENT, ExtentRecord};
use crate::vfs::Core;
use crate::{InodeNo, Result, clone, extent};

/// Kept rows moved or dropped in one transaction.
const ROWS: usize = 500;
/// Kept rows looked at to find them.
const LOOKED: usize = 20_000;
/// Pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often readers are looked at while they are waited for.
const READERS_TICK: Duration = Duration::from_millis(100);
/// Name of the worker.
const NAME: &str = "snapshot-cleaner";

/// The background worker.
pub(crate) async fn run(core: Arc<Core>) {
    let worker = core.store.workers().register(NAME);
    loop {
        if core.only_reads() {
            return core.stopped().await;
        }
        let failed = match pass(&core, &worker).await {
            Ok(()) => false,
            Err(error) => {
                tracing::warn!(%error, "cleaning up after a snapshot failed; it will be tried again");
                worker.failed(&error);
                worker.waits(RETRY_PAUSE);
                true
            }
        };
        tokio::select! {
            () = core.stopped() => return,
            () = core.clean_wanted.notified() => {}
            () = tokio::time::sleep(RETRY_PAUSE), if failed => {}
        }
    }
}

/// Cleans up after every deleted snapshot.
async fn pass(core: &Arc<Core>, worker: &Worker) -> Result<()> {
    loop {
        // One may need another no more.
        let all = row::all(&*core.snapshot()?)?;
        let Some((number, record)) = all.into_iter().find(|(_, record)| record.is_dead()) else {
            return Ok(());
        };
        let work = worker.working(format!(
            "what only {}@{} needed",
            String::from_utf8_lossy(&record.path),
            record.name
        ));
        loop {
            let next = next_inode(&*core.snapshot()?, number)?;
            let Some(ino) = next else { break };
            let mut from = None;
            loop {
                tokio::select! {
                    () = core.stopped() => return Ok(()),
                    () = worker.turn() => {}
                }
                let kept = gather(&*core.snapshot()?, number, ino, from.as_deref())?;
                if kept.keys.iter().any(|key| row::table_of_kept(key) == Some(CLONE)) {
                    // Who reads a clone reads its origin, which may go with this row.
                    wait_for_readers(core, ino).await?;
                }
                let (known, keys, is_last) = (core.known.clone(), kept.keys, kept.next.is_none());
                let (dropped, moved) = core
                    .write(Durability::Buffered, move |tx| {
                        clean(tx, &known, number, ino, &keys, is_last)
                    })
                    .await?;
                worker.count("rows given back", dropped);
                worker.count("rows moved to an older snapshot", moved);
                core.release_wanted.notify_one();
                if kept.next.is_none() {
                    break;
                }
                from = kept.next;
            }
        }
        core.write(Durability::Buffered, move |tx| forget(tx, number))
            .await?;
        worker.count("snapshots gone", 1);
        // A bucket that was deleted may have waited for it.
        core.purge_wanted.notify_one();
        drop(work);
    }
}

/// Waits for whoever reads the inode in any snapshot now, through whichever gateway.
async fn wait_for_readers(core: &Core, ino: InodeNo) -> Result<()> {
    let boundary = core.nodes.boundary();
    while !core.nodes.is_past(ino, boundary) && !core.is_stopping() {
        tokio::time::sleep(READERS_TICK).await;
    }
    while !core.is_stopping() && !core.read_elsewhere(&[ino]).await?.is_empty() {
        tokio::time::sleep(READERS_TICK).await;
    }
    Ok(())
}

/// An inode of which rows are kept under the number.
fn next_inode(read: &(impl Read + ?Sized), number: u64) -> Result<Option<InodeNo>> {
    let prefix = schema::key(PRESERVED_IN, &[&number.to_be_bytes()]);
    let first = schema::scan(read, &prefix)?.next().transpose()?;
    first
        .map(|(key, _)| schema::number_at(&key, 9).map(InodeNo))
        .transpose()
}

/// Rows kept under one number.
struct Gathered {
    keys: Vec<Vec<u8>>,
    /// Last row looked at, when there may be more behind it.
    next: Option<Vec<u8>>,
}

/// Finds rows of the inode that are kept under the number, behind the row `after`. Not in the
/// transaction that cleans: its reads would conflict with everything that is kept of the inode
/// meanwhile. Nothing is kept under the number of a deleted snapshot any more.
fn gather(read: &(impl Read + ?Sized), number: u64, ino: InodeNo, after: Option<&[u8]>) -> Result<Gathered> {
    let prefix = schema::key(row::PRESERVED, &[&ino.0.to_be_bytes()]);
    let from = after.map_or(Bound::Included(prefix.as_slice()), Bound::Excluded);
    let mut keys = Vec::new();
    for (looked, row) in schema::scan_from(read, &prefix, from)?.enumerate() {
        let (key, _) = row?;
        let is_last = looked + 1 == LOOKED || keys.len() + 1 == ROWS;
        if row::parse_preserved(&key)?.1 == number {
            keys.push(key.clone());
        }
        if is_last {
            return Ok(Gathered {
                keys,
                next: Some(key),
            });
        }
    }
    Ok(Gathered { keys, next: None })
}

/// Moves or drops rows kept under the number; answers how many it dropped and moved.
fn clean(
    tx: &mut dyn Transaction,
    known: &Known,
    number: u64,
    ino: InodeNo,
    keys: &[Vec<u8>],
    is_last: bool,
) -> Result<(u64, u64)> {
    let (mut dropped, mut moved) = (0, 0);
    // The next older snapshot may be deleted meanwhile; then this transaction conflicts and looks again.
    let snapshots = known.within(&*tx)?;
    let older = snapshots
        .newest_before(&*tx, ino, number)?
        .map(|older| older.number);
    for key in keys {
        let Some(value) = tx.get(key)? else { continue };
        tx.delete(key)?;
        let (own, _) = row::parse_preserved(key)?;
        let row = &key[..key.len() - 8];
        if let Some(older) = older {
            let at = row::preserved_key(row, older);
            let has_its_own = tx
                .range(Bound::Included(&at), Bound::Excluded(key), false)?
                .next()
                .transpose()?
                .is_some();
            if !has_its_own {
                tx.put(&at, &value)?;
                tx.put(&row::preserved_in_key(older, ino), &schema::encode_raw(&[]))?;
                moved += 1;
                continue;
            }
        }
        match (own[0], row::decode_kept(&value)?) {
            (EXTENT, Some(extent)) => {
                let extent: ExtentRecord = schema::decode(&extent)?;
                extent::drop_reference(tx, ino, extent.chunk, 1)?;
            }
            (CLONE, Some(clone)) => {
                let clone: CloneRecord = schema::decode(&clone)?;
                clone::row::count(tx, clone.snapshot, false)?;
            }
            _ => {}
        }
        dropped += 1;
    }
    if is_last {
        tx.delete(&row::preserved_in_key(number, ino))?;
    }
    Ok((dropped, moved))
}

/// Nothing is kept under the number any more.
fn forget(tx: &mut dyn Transaction, number: u64) -> Result<()> {
    tx.delete(&row::snapshot_key(number))?;
    let mut state = row::state(&*tx)?;
    state.changes += 1;
    Ok(tx.put(&[SNAPSHOTS], &schema::encode(&state)?)?)
}
