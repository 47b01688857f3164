//! The accountant: counts directories that got a quota, and folds changes into sums.
//!
//! **Counting.** An UNCOUNTED row names a directory whose record already says that it counts to the
//! quota, and the entry up to which its entries do, too. One step takes a batch of entries behind
//! that one, changes what they count to, and moves the row on; a directory among them gets a row of
//! its own. What is made in such a directory counts by itself, because its record was changed before
//! its entries were looked at; what is renamed in it is seen to by [`super::adopt`]. The versions of a
//! bucket, which no directory leads to, have a row too ([`super::versions`]). The rows are the
//! whole state: a crash loses a step.
//!
//! **Folding** looks up the rows of changes first and reads each by itself in its transaction: it
//! conflicts with nobody who adds one.
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use meta::{Durability, Transaction};
use store::workers::Worker;

use super::record::{self, QuotaRecord, Usage};
use super::room::Quotas;
use super::tally;
use super::versions::{self, VERSIONS};
use crate::dentry::Entry;
use crate::schema::{self, INODE, QUOTA, UNCOUNTED, USAGE};
use crate::vfs::Core;
use crate::{Error, InodeNo, Kind, Result, dentry, inode};

/// Entries counted, and changes folded, in one transaction.
const BATCH: usize = 256;
/// Pause between two looks at changes. Reading a sum costs what came together meanwhile.
const TICK: Duration = Duration::from_secs(1);

/// The background worker.
pub(crate) async fn run(core: Arc<Core>) {
    let worker = core.store.workers().register("accountant");
    loop {
        tokio::select! {
            () = core.stopped() => return,
            () = worker.turn() => {}
        }
        if core.quotas.may_exist()
            && let Err(error) = pass(&core, &worker).await
        {
            failed(&worker, &error);
        }
        tokio::select! {
            () = core.stopped() => return,
            () = core.quotas.count_wanted.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

fn failed(worker: &Worker, error: &Error) {
    worker.failed(error);
    tracing::warn!(%error, "counting for quotas failed; it will be tried again");
}

/// Counts and folds what there is to; a quota that fails keeps no other from its turn.
async fn pass(core: &Arc<Core>, worker: &Worker) -> Result<()> {
    let mut roots = Vec::new();
    for row in schema::scan(&*core.snapshot()?, &[QUOTA])? {
        let (key, value) = row?;
        let record: QuotaRecord = schema::decode(&value)?;
        roots.push((InodeNo(schema::number_at(&key, 1)?), record.counted));
    }
    for &(root, counted) in &roots {
        if counted {
            continue;
        }
        let work = worker.working(format!("counting what inode {} holds", root.0));
        while !core.is_stopping() {
            match count_step(core, root, worker).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    failed(worker, &error);
                    break;
                }
            }
            if !core.turn(worker).await {
                return Ok(());
            }
        }
        drop(work);
    }
    // Another gateway may have left changes behind. What comes from here on is folded the next time.
    if core.quotas.take_fold_wanted() || core.meta.is_shared() {
        for &(root, _) in &roots {
            if let Err(error) = fold(core, root, worker).await {
                core.quotas.fold_wanted();
                failed(worker, &error);
            }
        }
    }
    Ok(())
}

/// Counts some entries; answers whether there may be more.
async fn count_step(core: &Arc<Core>, root: InodeNo, worker: &Worker) -> Result<bool> {
    let rows = schema::inode_key(UNCOUNTED, root);
    let look = || {
        let snapshot = core.snapshot()?;
        let Some(first) = schema::scan(&*snapshot, &rows)?.next() else {
            return Ok(None);
        };
        let (row, seen) = first?;
        let dir = InodeNo(schema::number_at(&row, 9)?);
        if dir == VERSIONS {
            return Ok(Some((row, seen, dir, Vec::new())));
        }
        let after = schema::decode_raw(&seen)?;
        let from = if after.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(after)
        };
        let batch: Vec<Entry> = dentry::scan(&*snapshot, dir, from)?
            .take(BATCH)
            .collect::<Result<_>>()?;
        Ok(Some((row, seen, dir, batch)))
    };
    let Some((row, seen, dir, batch)) = core.unfolding(look).await? else {
        return finish(core, root).await;
    };
    if dir == VERSIONS {
        let counted = versions::count_step(core, root, row, seen).await?;
        worker.count("inodes counted", counted);
        return Ok(true);
    }
    let quotas = core.quotas.clone();
    let counted = core
        .write_beyond_limits(Durability::Buffered, move |tx| {
            if tx.get(&row)?.as_ref() != Some(&seen) {
                return Ok(0);
            }
            let mut counted = 0;
            for entry in &batch {
                counted += u64::from(take(tx, &quotas, root, dir, entry)?);
            }
            match batch.last() {
                Some(last) if batch.len() == BATCH => tx.put(&row, &schema::encode_raw(&last.suffix))?,
                _ => tx.delete(&row)?,
            }
            Ok(counted)
        })
        .await?;
    worker.count("inodes counted", counted);
    Ok(true)
}

/// Nothing is left to count: from now on the limits hold. Answers whether something came after all.
async fn finish(core: &Arc<Core>, root: InodeNo) -> Result<bool> {
    core.write_beyond_limits(Durability::Buffered, move |tx| {
        if schema::scan(&*tx, &schema::inode_key(UNCOUNTED, root))?
            .next()
            .transpose()?
            .is_some()
        {
            return Ok(true);
        }
        if let Some(record) = record::get(&*tx, root)? {
            let record = QuotaRecord {
                counted: true,
                ..record
            };
            tx.put(&schema::inode_key(QUOTA, root), &schema::encode(&record)?)?;
        }
        Ok(false)
    })
    .await
}

/// Makes an entry of `dir` count to `root`, if it does not yet. Answers whether it did that.
fn take(
    tx: &mut dyn Transaction,
    quotas: &Quotas,
    root: InodeNo,
    dir: InodeNo,
    entry: &Entry,
) -> Result<bool> {
    // Renamed or removed since: whoever did saw to it.
    if dentry::get(&*tx, dir, &entry.suffix)?.is_none_or(|now| now.ino != entry.ino) {
        return Ok(false);
    }
    let Some(mut record) = inode::load_timeless(&*tx, entry.ino)? else {
        return Ok(false);
    };
    let around = record::chain(&*tx, root)?;
    // Quotas around this one, which it may have counted to before; 0 stands for none of them.
    let before = |quota: InodeNo| {
        let place = around.iter().skip(1).position(|(around, _)| *around == quota);
        place.or((quota.0 == 0).then_some(around.len() - 1))
    };
    if around.is_empty() || record.quota == root {
        return Ok(false);
    }
    if record.quota == entry.ino {
        // A quota inside this one: it is linked in with all that it holds.
        let Some(inner) = record::get(&*tx, entry.ino)? else {
            return Ok(false);
        };
        let Some(new) = before(inner.within) else {
            return Ok(false);
        };
        let held = record::usage(&*tx, entry.ino)?;
        for (outer, _) in &around[..=new] {
            quotas.grew(*outer, held.amounts());
            tally::put_change(tx, quotas, *outer, held)?;
        }
        let linked = QuotaRecord {
            within: root,
            ..inner
        };
        tx.put(&schema::inode_key(QUOTA, entry.ino), &schema::encode(&linked)?)?;
        return Ok(true);
    }
    if before(record.quota).is_none() {
        // Another name of it lies under another quota, and it counts there.
        return Ok(false);
    }
    record.quota = root;
    inode::put(tx, entry.ino, &record)?;
    if record.kind == Kind::Directory {
        let row = schema::child_key(UNCOUNTED, root, &entry.ino.0.to_be_bytes());
        tx.put(&row, &schema::encode_raw(&[]))?;
    }
    Ok(true)
}

/// Folds the changes of `root` into its sum, and forgets a quota whose directory is gone and which
/// nothing counts to any more.
async fn fold(core: &Arc<Core>, root: InodeNo, worker: &Worker) -> Result<()> {
    let base = schema::inode_key(USAGE, root);
    loop {
        let changes: Vec<Vec<u8>> = schema::scan_from(&*core.snapshot()?, &base, Bound::Excluded(&base))?
            .take(BATCH)
            .map(|row| row.map(|(key, _)| key))
            .collect::<meta::Result<_>>()?;
        let (more, folded) = (changes.len() == BATCH, changes.len() as u64);
        let quotas = core.quotas.clone();
        core.write_beyond_limits(Durability::Buffered, move |tx| {
            let sum_row = tx.get(&base)?;
            let mut sum: Usage = sum_row.map_or(Ok(Usage::default()), |row| schema::decode(&row))?;
            for key in &changes {
                if let Some(change) = tx.get(key)? {
                    sum.add(schema::decode(&change)?);
                    tx.delete(key)?;
                }
            }
            if !more && sum.is_nothing() && tx.get(&schema::inode_key(INODE, root))?.is_none() {
                tx.delete(&base)?;
                tx.delete(&schema::inode_key(QUOTA, root))?;
                quotas.forget(root);
            } else if !changes.is_empty() {
                tx.put(&base, &schema::encode(&sum)?)?;
            }
            Ok(())
        })
        .await?;
        worker.count("changes folded", folded);
        if more && core.is_stopping() {
            core.quotas.fold_wanted();
        }
        if !more || core.is_stopping() {
            return Ok(());
        }
    }
}
