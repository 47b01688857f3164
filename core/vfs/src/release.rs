//! Giving chunks back that were overwritten or cut away.
//!
//! A reader looks at the extents of an inode once and reads their chunks afterwards, for as long as
//! a slow client takes. So a transaction that drops a reference only notes it in the DROPPED table,
//! and this worker releases it when nobody can still hold the older view: it looks at the noted
//! rows, remembers which guards exist at that moment ([`crate::buffer::Nodes`]), and waits until the
//! guards of that inode among them are gone. Guards made later see the newer extents. References
//! are counted per inode, so a slow reader of one file holds back nothing of another. Then other
//! gateways on the namespace are asked for theirs ([`crate::inquiry`]).
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use meta::{Durability, Read, Transaction};
use store::{ChunkId, Store};

use crate::schema::{self, DROPPED};
use crate::vfs::Core;
use crate::{Error, InodeNo, Result};

/// Rows of one inode in one transaction.
const ROWS: usize = 1000;
/// Inodes whose readers are waited for at a time.
const INODES: usize = 256;
/// How often readers are looked at while one is waited for.
const TICK: Duration = Duration::from_millis(100);
/// The same while another gateway reads.
const LOOK: Duration = Duration::from_secs(1);
/// Commits that drop references come in bursts; one pass serves a burst.
const GATHER: Duration = Duration::from_millis(20);

/// Rows of an inode that wait for readers older than `boundary`.
struct Waiting {
    boundary: u64,
    rows: Vec<(ChunkId, u32)>,
}

/// The background worker.
pub(crate) async fn run(core: Arc<Core>) {
    let mut waiting = HashMap::new();
    loop {
        if core.only_reads() {
            return core.stopped().await;
        }
        let mut pause = TICK;
        let more = match pass(&core, &mut waiting).await {
            Ok(Passed { more, used }) => {
                if used {
                    pause = LOOK;
                }
                more
            }
            Err(error) => {
                tracing::warn!(%error, "releasing chunks failed; it will be tried again");
                pause = LOOK;
                true
            }
        };
        let waits = more || !waiting.is_empty();
        tokio::select! {
            () = core.stopped() => return,
            () = core.release_wanted.notified(), if pause == TICK => tokio::time::sleep(GATHER).await,
            () = tokio::time::sleep(pause), if waits => {}
        }
    }
}

/// How a pass ended.
struct Passed {
    /// There may be rows to look at again.
    more: bool,
    /// Another gateway holds some of them back.
    used: bool,
}

/// Releases what can be released.
async fn pass(core: &Core, waiting: &mut HashMap<InodeNo, Waiting>) -> Result<Passed> {
    let mut more = gather(core, waiting)?;
    let ready: Vec<InodeNo> = waiting
        .iter()
        .filter(|(ino, wait)| core.nodes.is_past(**ino, wait.boundary))
        .map(|(ino, _)| *ino)
        .collect();
    let elsewhere = core.read_elsewhere(&ready).await?;
    for ino in ready {
        if elsewhere.contains(&ino) {
            continue;
        }
        let Some(Waiting { rows, .. }) = waiting.remove(&ino) else {
            continue;
        };
        // What was noted of it while it was waited for has not been looked at.
        more = true;
        let store = core.store.clone();
        let released = core
            .write(Durability::Buffered, move |tx| {
                for &(chunk, count) in &rows {
                    release(tx, &store, ino, chunk, count)?;
                }
                Ok(())
            })
            .await;
        match released {
            // What others dropped must not wait for what can never be released.
            Err(Error::Damaged(reason)) => skip(ino, &reason),
            released => released?,
        }
    }
    Ok(Passed {
        more,
        used: !elsewhere.is_empty(),
    })
}

/// Looks at the noted rows of inodes that are not waited for yet.
fn gather(core: &Core, waiting: &mut HashMap<InodeNo, Waiting>) -> Result<bool> {
    let snapshot = core.snapshot()?;
    // After the snapshot: a guard made from here on sees what the snapshot sees, or newer.
    let boundary = core.nodes.boundary();
    let mut from = vec![DROPPED];
    let mut more = false;
    loop {
        let Some(row) = schema::scan_from(&*snapshot, &[DROPPED], std::ops::Bound::Included(&from))?.next()
        else {
            return Ok(more);
        };
        let ino = InodeNo(schema::number_at(&row?.0, 1)?);
        if waiting.len() >= INODES {
            return Ok(true);
        }
        if let Entry::Vacant(slot) = waiting.entry(ino) {
            match rows(&*snapshot, ino) {
                Ok(rows) => {
                    more |= rows.len() == ROWS;
                    slot.insert(Waiting { boundary, rows });
                }
                Err(Error::Damaged(reason)) => skip(ino, &reason),
                Err(error) => return Err(error),
            }
        }
        match schema::after_prefix(&schema::inode_key(DROPPED, ino)) {
            Some(next) => from = next,
            None => return Ok(more),
        }
    }
}

/// The first noted rows of an inode.
fn rows(read: &(impl Read + ?Sized), ino: InodeNo) -> Result<Vec<(ChunkId, u32)>> {
    schema::scan(read, &schema::inode_key(DROPPED, ino))?
        .take(ROWS)
        .map(|row| {
            let (key, value) = row?;
            Ok((ChunkId(schema::number_at(&key, 9)?), schema::decode(&value)?))
        })
        .collect()
}

fn skip(ino: InodeNo, reason: &str) {
    tracing::error!(
        ino = ino.0,
        reason,
        "what an inode dropped cannot be released; it stays"
    );
}

/// Releases `count` of the noted references; more may have been noted since.
fn release(tx: &mut dyn Transaction, store: &Store, ino: InodeNo, chunk: ChunkId, count: u32) -> Result<()> {
    let key = schema::dropped_key(ino, chunk);
    let noted: u32 = tx
        .get(&key)?
        .map(|value| schema::decode(&value))
        .transpose()?
        .unwrap_or(0);
    let now = noted.min(count);
    for _ in 0..now {
        store.release(tx, chunk)?;
    }
    if noted > now {
        tx.put(&key, &schema::encode(&(noted - now))?)?;
    } else {
        tx.delete(&key)?;
    }
    Ok(())
}
